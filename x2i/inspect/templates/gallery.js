"use strict";
// Every string of the dataset reaches the page through textContent or through an attribute set by name: never as HTML.
const samples = JSON.parse(document.getElementById("data").textContent);
const byKey = new Map(samples.map((sample) => [sample.key, sample]));
const cards = [...document.querySelectorAll(".card")];
const dialog = document.getElementById("dialog");
const search = document.getElementById("search");
const taskButtons = [...document.querySelectorAll(".tasks button")];
let task = "";

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function badge(number) {
  return make("span", `badge c${((number - 1) % 5) + 1}`, String(number));
}

function link(url) {
  if (!/^https?:\/\//i.test(url)) return document.createTextNode(url);
  const anchor = make("a", "", url);
  anchor.href = url;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer";
  return anchor;
}

function shown(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(5)));
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

function table(facts) {
  const body = make("table");
  for (const [name, value] of Object.entries(facts)) {
    const row = body.insertRow();
    row.append(make("th", "", name));
    const cell = make("td");
    cell.append(/url$/.test(name) ? link(String(value)) : document.createTextNode(shown(value)));
    row.append(cell);
  }
  return body;
}

function block(title, ...content) {
  const section = make("section");
  section.append(make("h3", "", title), ...content);
  return section;
}

function figure(image) {
  const box = make("figure");
  const picture = make("img");
  picture.src = image.src;
  picture.alt = image.name;
  picture.width = image.width;
  picture.height = image.height;
  picture.style.height = "auto";
  const caption = make("figcaption");
  if (image.number) caption.append(badge(image.number), " ");
  caption.append(`${image.name}, ${image.width} × ${image.height}, ${image.size}`);
  box.append(picture, caption);
  return box;
}

function sourceBlock(source, number, total) {
  const { columns = {}, picture, ...record } = source;
  const about = make("div");
  about.append(table(record));
  const parts = [about];
  if (picture) {
    const image = make("img");
    image.src = picture;
    image.alt = "source image";
    parts.unshift(image);
  }
  if (Object.keys(columns).length) {
    const noted = make("div");
    for (const [name, rows] of Object.entries(columns)) {
      noted.append(make("p", "sub", `column ${name}`), ...rows.map(table));
    }
    parts.push(noted);
  }
  const inside = make("div", "source");
  inside.append(...parts);
  return block(total > 1 ? `Source image ${number} of ${total}` : "Source image", inside);
}

function render(sample) {
  document.getElementById("dialog-title").textContent = sample.key;
  const said = make("p", "said");
  for (const part of sample.instruction) said.append(typeof part === "number" ? badge(part) : part);
  const full = make("div", "full");
  full.append(...sample.images.map(figure));
  const facts = make("div", "facts");
  if (sample.facts) {
    if (Object.keys(sample.facts).length) facts.append(block("Relation", table(sample.facts)));
  } else {
    facts.append(
      block("Sample", table({ task: sample.task, shard: sample.shard, recipe: sample.recipe })),
      block("Recipe parameters", table(sample.parameters)),
      block("Scores", Object.keys(sample.scores).length ? table(sample.scores) : make("p", "faint", "none")),
    );
  }
  const sources = sample.sources.map((source, place) => sourceBlock(source, place + 1, sample.sources.length));
  document.getElementById("detail").replaceChildren(said, full, facts, ...sources);
  dialog.scrollTop = 0;
}

function visibleCards() {
  return cards.filter((card) => !card.hidden && !card.closest("section").hidden);
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) {
    const sample = byKey.get(card.dataset.key);
    card.hidden = !(!task || sample.task === task) || !words.every((word) => sample.search.includes(word));
  }
  for (const section of document.querySelectorAll("section.task")) {
    section.hidden = ![...section.querySelectorAll(".card")].some((card) => !card.hidden);
  }
  for (const button of taskButtons) button.setAttribute("aria-pressed", String(button.dataset.task === task));
  const left = visibleCards().length;
  document.getElementById("count").textContent = left === cards.length ? "" : `${left} of ${cards.length}`;
  document.getElementById("nothing").hidden = left > 0;
}

function openFromAddress() {
  const sample = byKey.get(decodeURIComponent(location.hash.slice(1)));
  if (!sample) {
    if (dialog.open) dialog.close();
    return;
  }
  render(sample);
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const keys = visibleCards().map((card) => card.dataset.key);
  const here = keys.indexOf(decodeURIComponent(location.hash.slice(1)));
  const key = keys[here + by];
  if (key) location.replace(`#${key}`);
}

const themes = ["system", "light", "dark"];
function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = `${theme} colors`;
}
function nextTheme() {
  const now = document.documentElement.dataset.theme || "system";
  setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
}

for (const button of taskButtons) {
  button.addEventListener("click", () => {
    task = task === button.dataset.task ? "" : button.dataset.task;
    filter();
  });
}
search.addEventListener("input", filter);
document.getElementById("theme").addEventListener("click", nextTheme);
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  const key = decodeURIComponent(location.hash.slice(1));
  if (!key) return;
  history.replaceState(null, "", location.pathname + location.search);
  const card = cards.find((candidate) => candidate.dataset.key === key);
  if (card) card.focus();
});
window.addEventListener("hashchange", openFromAddress);
document.addEventListener("keydown", (event) => {
  if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !dialog.open) { event.preventDefault(); search.focus(); }
  if (dialog.open && event.key === "ArrowLeft") { event.preventDefault(); step(-1); }
  if (dialog.open && event.key === "ArrowRight") { event.preventDefault(); step(1); }
});
filter();
openFromAddress();
