"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const SHOWN = 8;
const cuts = data.scores.map((score) => ({ mode: "", threshold: score.start }));

const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(part && part < whole / 10 ? 1 : 0)}%` : "");
const shorten = (value) => String(Number(value.toPrecision(3)));
const passes = (value, cut) => value !== null && (cut.mode === ">=" ? value >= cut.threshold : value <= cut.threshold);

function place(score, value) {
  const at = score.logarithmic
    ? Math.log(value / score.low) / Math.log(score.high / score.low)
    : (value - score.low) / (score.high - score.low);
  return Math.min(1, Math.max(0, Number.isFinite(at) ? at : 0));
}

function valueAt(score, at) {
  const value = score.logarithmic ? score.low * (score.high / score.low) ** at : score.low + at * (score.high - score.low);
  return Number(value.toPrecision(4));
}

function predicate(score, cut) {
  if (score.flag) return cut.mode === ">=" ? score.name : `NOT ${score.name}`;
  return `${score.name} ${cut.mode} ${cut.threshold}`;
}

function figure(picture, value) {
  const element = document.createElement("figure");
  const image = document.createElement("img");
  image.src = picture.src;
  image.alt = picture.key;
  image.title = picture.key;
  const caption = document.createElement("figcaption");
  caption.textContent = shorten(value);
  element.append(image, caption);
  return element;
}

function showPictures(section, number, score, cut) {
  const known = data.pictures.filter((picture) => picture.values[number] !== null);
  known.sort((a, b) => a.values[number] - b.values[number]);
  // What equals the threshold is kept, whichever side that is.
  const isBelow = (value) => (cut.mode === "<=" ? value <= cut.threshold : value < cut.threshold);
  const split = known.filter((picture) => isBelow(picture.values[number])).length;
  const sides = { below: known.slice(Math.max(0, split - SHOWN), split), above: known.slice(split, split + SHOWN) };
  for (const [side, pictures] of Object.entries(sides)) {
    const kept = cut.mode && (cut.mode === ">=") === (side === "above");
    const state = cut.mode ? (kept ? "kept" : "cut") : "";
    const words = score.flag ? (side === "below" ? "without" : "with") : side === "below" ? "just below" : "just above";
    const none = pictures.length ? "" : " (no picture)";
    section.querySelector(`h3.${side}`).textContent = (state ? `${words}: ${state}` : words) + none;
    const strip = section.querySelector(`.strip.${side}`);
    strip.className = `strip ${side} ${state === "cut" ? "lost" : state}`;
    strip.replaceChildren(...pictures.map((picture) => figure(picture, picture.values[number])));
  }
}

function show(number) {
  const [score, cut] = [data.scores[number], cuts[number]];
  const section = document.getElementById(`score-${number}`);
  const at = place(score, cut.threshold);
  section.querySelector("select").value = cut.mode;
  section.querySelector(".slider").value = String(Math.round(1000 * at));
  section.querySelector(".threshold").value = String(cut.threshold);
  const shade = section.querySelector(".cut");
  shade.className = `cut ${cut.mode === ">=" ? "low" : cut.mode === "<=" ? "high" : "none"}`;
  shade.style.width = `${100 * (cut.mode === "<=" ? 1 - at : at)}%`;
  const values = data.sample[number];
  const kept = values.filter((value) => passes(value, cut)).length;
  const below = values.filter((value) => value !== null && value < cut.threshold).length;
  section.querySelector(".share").textContent = cut.mode
    ? `${percent(kept, values.length)} kept`
    : score.flag ? `${percent(values.length - below, values.length)} with` : `${percent(below, values.length)} below`;
  showPictures(section, number, score, cut);
}

function showTogether() {
  const active = cuts.map((cut, number) => number).filter((number) => cuts[number].mode);
  const count = data.sample[0].length;
  let kept = 0;
  for (let row = 0; row < count; row++) {
    if (active.every((number) => passes(data.sample[number][row], cuts[number]))) kept++;
  }
  const predicates = active.map((number) => predicate(data.scores[number], cuts[number]));
  const expected = Math.round((kept / count) * data.total).toLocaleString("en");
  document.getElementById("kept").textContent = active.length
    ? `${percent(kept, count)} kept, ${count === data.total ? "" : "about "}${expected} images`
    : "no cut chosen";
  document.getElementById("command").textContent = active.length
    ? `x2i select ${data.dataset} ${predicates.map((text) => `"${text}"`).join(" ")}`
    : "";
  document.getElementById("copy").hidden = !active.length;
  const address = active.map((number) => `${data.scores[number].name}${cuts[number].mode}${cuts[number].threshold}`);
  history.replaceState(null, "", address.length ? `#${encodeURIComponent(address.join("&"))}` : location.pathname);
}

function change(number, changes) {
  Object.assign(cuts[number], changes);
  show(number);
  showTogether();
}

for (const part of decodeURIComponent(location.hash.slice(1)).split("&")) {
  const found = /^([\w.]+)(>=|<=)(.+)$/.exec(part);
  const number = found ? data.scores.findIndex((score) => score.name === found[1]) : -1;
  if (number >= 0 && Number.isFinite(Number(found[3]))) cuts[number] = { mode: found[2], threshold: Number(found[3]) };
}
data.scores.forEach((score, number) => {
  const section = document.getElementById(`score-${number}`);
  section.querySelector("select").addEventListener("change", (event) => change(number, { mode: event.target.value }));
  section.querySelector(".slider").addEventListener("input", (event) => {
    change(number, { threshold: valueAt(score, Number(event.target.value) / 1000) });
  });
  section.querySelector(".threshold").addEventListener("change", (event) => {
    if (event.target.value !== "") change(number, { threshold: Number(event.target.value) });
  });
  show(number);
});
document.getElementById("copy").addEventListener("click", () => {
  getSelection().selectAllChildren(document.getElementById("command"));
  document.execCommand("copy");
});
showTogether();
