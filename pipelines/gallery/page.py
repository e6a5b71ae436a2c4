"""The gallery's page: every picture under its heading, and what is not drawn with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.gallery.dataset import Built
from pipelines.gallery.pictures import column_pictures, relation_pictures, score_pictures, task_pictures
from pipelines.gallery.showcases import write_showcase
from x2i.annotate import ANNOTATIONS
from x2i.recipes import RECIPES, family_of
from x2i.relate import RELATIONS

HEAD = """# Gallery

`make gallery` draws these pictures: it builds a dataset from the demo's photographs with every annotation and recipe
that needs no downloaded weights. A few maps that need them were measured or set by hand, as stands beside each. The
photographs come with scikit-image; their makers and licenses are in `pipelines/demo/photographs.py`."""


def write_page(built: Built, folder: Path) -> Path:
    """Draws all pictures into `folder` and writes index.md there; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.md"
    path.write_text("\n".join(_lines(built, folder)) + "\n", encoding="utf-8")
    return path


def _lines(built: Built, folder: Path) -> Iterator[str]:
    yield HEAD
    yield from _scores(built, folder)
    yield from _columns(built, folder)
    pictures = task_pictures(built.photographs, folder / "tasks") | task_pictures(built.scenes, folder / "tasks")
    notes: dict[str, str] = {}
    for showcase, dataset in built.showcases:
        found = task_pictures(dataset, folder / "tasks")
        pictures, notes = pictures | found, notes | dict.fromkeys(found, showcase.note)
    yield from _tasks(pictures, notes, folder)
    yield from ("", "## Not drawn", "", "| name | why |", "|---|---|")
    undrawn = {name: "no image passed its conditions" for name in RECIPES if name not in pictures}
    for name, why in {**undrawn, **built.missing}.items():
        yield f"| `{name}` | {why.partition(' (there are')[0]} |"


def _scores(built: Built, folder: Path) -> Iterator[str]:
    yield from ("", "## Scores", "", "Images from the lowest value to the highest.")
    last = ""
    for name, field, picture in score_pictures(built.photographs, folder / "scores"):
        if name != last:
            yield from ("", f"### {name}", "", f"{ANNOTATIONS.get(name).title}.")
        last = name
        yield from ("", f"`{name}.{field}`", "", f"![{name}.{field}]({picture.relative_to(folder)})")


def _columns(built: Built, folder: Path) -> Iterator[str]:
    yield from ("", "## Annotations and relations")
    for name, picture in (
        *column_pictures(built.photographs, folder / "columns"),
        *relation_pictures(built.photographs, folder / "relations"),
    ):
        kind = ANNOTATIONS.get(name) if name in ANNOTATIONS else RELATIONS.get(name)
        title = getattr(kind, "title", "") or (kind.__doc__ or "").partition(".")[0]
        yield from ("", f"### {name}", "", f"{title}.", "", f"![{name}]({picture.relative_to(folder)})")
    for showcase, dataset in built.showcases:
        picture = write_showcase(showcase, dataset, folder / "columns" / f"{showcase.name}.webp")
        title = f"{ANNOTATIONS.get(showcase.annotation).title}. {showcase.note}"
        yield from ("", f"### {showcase.name}", "", title, "", f"![{showcase.name}]({picture.relative_to(folder)})")


def _tasks(pictures: Mapping[str, tuple[Path, str]], notes: Mapping[str, str], folder: Path) -> Iterator[str]:
    yield from ("", "## Tasks", "", "One sample of each: the inputs, the instruction, the output.")
    family = ""
    for name in (name for name in RECIPES if name in pictures):
        if family_of(name) != family:
            family = family_of(name)
            yield from ("", f"### {family.replace('_', ' ').capitalize()}")
        picture, instruction = pictures[name]
        title = " ".join([f"{RECIPES.get(name).title}.", *([notes[name]] if name in notes else [])])
        words = instruction.replace("<", "&lt;")
        yield from ("", f"#### {name}", "", title, "", f"> {words}", "")
        yield f"![{name}]({picture.relative_to(folder)})"
