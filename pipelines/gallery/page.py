"""The gallery's page: every picture under its heading, and what is not drawn with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.gallery.pictures import column_pictures, relation_pictures, score_pictures, task_pictures
from x2i.annotate import ANNOTATIONS
from x2i.recipes import RECIPES, family_of
from x2i.relate import RELATIONS
from x2i.store import Dataset

HEAD = """# Gallery

`make gallery` draws these pictures: it builds a dataset from the demo's photographs with every annotation and recipe
that needs no downloaded weights. The photographs come with scikit-image; their makers and licenses are in
`pipelines/demo/photographs.py`."""


def write_page(dataset: Dataset, scenes: Dataset, missing: Mapping[str, str], folder: Path) -> Path:
    """Draws all pictures into `folder` and writes index.md there; returns its path. missing: what has none -> why."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.md"
    path.write_text("\n".join(_lines(dataset, scenes, missing, folder)) + "\n", encoding="utf-8")
    return path


def _lines(dataset: Dataset, scenes: Dataset, missing: Mapping[str, str], folder: Path) -> Iterator[str]:
    yield HEAD
    yield from ("", "## Scores", "", "Images from the lowest value to the highest.")
    last = ""
    for name, field, picture in score_pictures(dataset, folder / "scores"):
        if name != last:
            yield from ("", f"### {name}", "", f"{ANNOTATIONS.get(name).title}.")
        last = name
        yield from ("", f"`{name}.{field}`", "", f"![{name}.{field}]({picture.relative_to(folder)})")
    yield from ("", "## Annotations and relations")
    for name, picture in (
        *column_pictures(dataset, folder / "columns"),
        *relation_pictures(dataset, folder / "relations"),
    ):
        kind = ANNOTATIONS.get(name) if name in ANNOTATIONS else RELATIONS.get(name)
        title = getattr(kind, "title", "") or (kind.__doc__ or "").partition(".")[0]
        yield from ("", f"### {name}", "", f"{title}.", "", f"![{name}]({picture.relative_to(folder)})")
    pictures = task_pictures(dataset, folder / "tasks") | task_pictures(scenes, folder / "tasks")
    yield from ("", "## Tasks", "", "One sample of each: the inputs, the instruction, the output.")
    family = ""
    for name in (name for name in RECIPES if name in pictures):
        if family_of(name) != family:
            family = family_of(name)
            yield from ("", f"### {family.replace('_', ' ').capitalize()}")
        picture, instruction = pictures[name]
        words = instruction.replace("<", "&lt;")
        yield from ("", f"#### {name}", "", f"{RECIPES.get(name).title}.", "", f"> {words}", "")
        yield f"![{name}]({picture.relative_to(folder)})"
    yield from ("", "## Not drawn", "", "| name | why |", "|---|---|")
    undrawn = {name: "no image passed its conditions" for name in RECIPES if name not in pictures}
    for name, why in {**undrawn, **missing}.items():
        yield f"| `{name}` | {why.partition(' (there are')[0]} |"
