"""Every registered annotation keeps the promises of its base class, whatever it says about images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import NO_PIXELS, AnnotateStage
from tests.support.photos import photo
from tests.support.stored_images import Given, store
from tests.support.tiny_models import annotation_options
from x2i.annotate import ANNOTATIONS
from x2i.annotate.base import Annotation, Found, StoredImage
from x2i.errors import UserError
from x2i.image import decode
from x2i.options import option_fields
from x2i.scenes.draw import draw
from x2i.scenes.scene import SceneOptions, scene_at, scene_url
from x2i.settings import from_mapping
from x2i.store import Dataset, paths
from x2i.store.images import read_image_index
from x2i.tables import TableSpec, without_half_floats

INLINE = RunOptions(executor=Executor.INLINE)
SCENE = scene_url(SceneOptions(seed=3, size=192), 2)
PICTURES = (
    Given(photo("astronaut", 256), alt="An astronaut in an orange suit in front of a flag"),
    Given(photo("page", 384), alt="A page of a book about coins and markers"),  # gray
    Given(photo("coffee", 320), alt="A cup of coffee on a wooden table"),
    Given(draw(scene_at(SCENE)).pixels, alt="Two things", url=SCENE),
)
PARTITION = "00000"


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Mapping[str, Annotation]:
    """Every annotation by name, with weights that it can load without a network."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for name in ANNOTATIONS:
        found[name] = from_mapping(ANNOTATIONS.get(name), annotation_options(name, folder), name)
        try:
            found[name].config()
        except UserError as error:
            pytest.fail(f"{name}: give it an entry in tests.support.tiny_models.annotation_options: {error}")
    return found


@pytest.fixture(scope="module")
def together(annotations, tmp_path_factory) -> Dataset:
    """A dataset with every annotation, made in as few passes as what they read allows."""
    dataset = store(tmp_path_factory.mktemp("together") / "d", PICTURES)
    waiting = dict(annotations)
    while waiting:
        ready = [one for one in waiting.values() if not set(one.columns) & set(waiting)]
        assert ready, f"these wait for one another's columns: {sorted(waiting)}"
        for summary in execute([AnnotateStage(one) for one in ready], dataset, INLINE):
            assert summary.failed == {}, summary
        waiting = {name: one for name, one in waiting.items() if one not in ready}
    return dataset


def column(dataset: Dataset, name: str) -> Path:
    return paths.column_file(dataset.root, name, PARTITION)


def stored(dataset: Dataset, annotation: Annotation) -> list[StoredImage]:
    """Returns the pictures as the stage hands them to an annotator."""
    fields = ["key", *annotation.image_fields]
    index = read_image_index(dataset.root, PARTITION, fields).to_pylist()
    tables = {name: pq.read_table(column(dataset, name)).to_pylist() for name in annotation.columns}
    images = []
    for row in index:
        rows = {name: [entry for entry in table if entry["key"] == row["key"]] for name, table in tables.items()}
        images.append(
            StoredImage(row["key"], row, rows, decode(dataset.image(row["key"])[1]) if annotation.pixels else NO_PIXELS)
        )
    return images


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_it_says_what_it_is(name):
    kind = ANNOTATIONS.get(name)
    assert kind.name == name
    assert 5 <= len(kind.title) <= 100
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # what dataclass writes where there is no docstring
    for field in option_fields(kind):
        assert len(field.option.help) > 8, field.name
        assert not field.required, f"{field.name}: `x2i list` shows an annotation without options"
    assert kind().spec().schema.names[0] == "key"


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_its_rows_are_those_of_its_declared_table(name, annotations, together):
    spec, file = annotations[name].spec_of(annotations[name].load()), column(together, name)
    assert TableSpec.read(file) == spec
    table = pq.read_table(file)
    assert table.schema.remove_metadata().equals(spec.schema)
    keys = [f"{PARTITION}-{number:05d}" for number in range(len(PICTURES))]
    if spec.rows == "one":
        assert table["key"].to_pylist() == keys
    assert set(table["key"].to_pylist()) <= set(keys)
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
    said = [field.name for field in annotations[name].fields]
    assert table.num_rows, "none of the pictures has anything that it finds: choose others"
    assert any(table[field].null_count < table.num_rows for field in said)
    with duckdb.connect() as connection:
        connection.register("rows", table.cast(without_half_floats(table.schema)))
        connection.execute(f"SELECT count(*) FROM rows WHERE {spec.kept}")  # raises unless `kept` is SQL


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_a_second_run_alone_writes_the_same_bytes(name, annotations, together, tmp_path):
    dataset = store(tmp_path / "d", PICTURES)
    for read in annotations[name].columns:
        execute([AnnotateStage(annotations[read])], dataset, INLINE)
    execute([AnnotateStage(annotations[name])], dataset, INLINE)
    assert column(dataset, name).read_bytes() == column(together, name).read_bytes()


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_an_image_alone_gets_the_verdict_that_it_gets_in_a_batch(name, annotations, together):
    annotation = annotations[name]
    annotator = annotation.load()
    images = stored(together, annotation)
    batch = annotator.annotate(images)
    assert len(batch) == len(images)
    for image, verdict in zip(images, batch):
        (alone,) = annotator.annotate([image])
        assert_alike(alone, verdict, annotation.spec().schema)


def assert_alike(one: Any, other: Any, schema: pa.Schema) -> None:
    if isinstance(one, Found):
        assert len(one.rows) == len(other.rows)
        for row, second in zip(one.rows, other.rows):
            assert_alike(row, second, schema)
    elif isinstance(one, Mapping):
        assert set(one) == set(other) <= set(schema.names)
        for field in one:
            assert_values_alike(one[field], other[field])
    else:
        assert one == other


def assert_values_alike(one: Any, other: Any) -> None:
    if isinstance(one, Mapping):  # an encoded map
        maps = [cv2.imdecode(np.frombuffer(value["bytes"], np.uint8), cv2.IMREAD_UNCHANGED) for value in (one, other)]
        levels = np.iinfo(maps[0].dtype).max
        assert np.abs(maps[0].astype(np.float64) - maps[1]).max() <= 1e-3 * levels
    elif isinstance(one, (float, np.ndarray)) or (isinstance(one, list) and one and isinstance(one[0], float)):
        assert np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max() <= 1e-4 * max(
            1, np.abs(np.asarray(one)).max()
        )
    else:
        assert one == other
