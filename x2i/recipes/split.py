"""Which images are held out: whole groups that show the same, so that nothing held out is seen in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from x2i.relate import RELATIONS
from x2i.relate.near import clusters
from x2i.seeding import unit_interval
from x2i.store.query.views import IMAGES, connect, list_views

if TYPE_CHECKING:
    from x2i.store import Dataset

Part = Literal["all", "train", "validation"]


def parts_of(dataset: Dataset, validation: float) -> pa.Table:
    """Returns `key` and `part` of every stored image: "validation" for about this share of the groups, else "train".

    A group is what any relation joins, directly or through others: duplicates and images whose hashes are near, pairs
    of one subject, frames; and the frames of one video. Its part is decided by the hash of its smallest uid, so it
    stays the same when other images are added.
    """
    views = list_views(dataset)
    joined = {name: RELATIONS.get(name).spec.image_keys for name in RELATIONS if name in views}
    selects = [
        "SELECT first(key) OVER (PARTITION BY extra->>'video', split_part(url, '#', 1)) AS a, key AS b "
        f"FROM {IMAGES} WHERE extra->>'video' IS NOT NULL"
    ]
    with connect(dataset, views) as connection:
        images = connection.sql(f"SELECT key, uid FROM {IMAGES} ORDER BY key").to_arrow_table()
        for name, fields in joined.items():
            columns = {row[0]: row[1] for row in connection.sql(f'DESCRIBE "{name}"').fetchall()}
            lists = [name if columns[name].endswith("[]") else f"[{name}]" for name in fields if name in columns]
            together = f"list_distinct(flatten([{', '.join(lists)}]))"
            selects.append(f'SELECT keys[1] AS a, unnest(keys[2:]) AS b FROM (SELECT {together} AS keys FROM "{name}")')
        text = " UNION ALL ".join(f"({select})" for select in selects)
        links = connection.sql(f"SELECT DISTINCT a, b FROM ({text}) WHERE a IS NOT NULL AND a <> b").to_arrow_table()
    keys = np.array(images["key"].to_pylist(), dtype=object)
    group = _groups(keys, links)
    uids = np.array(images["uid"].to_pylist(), dtype=object)
    least: dict[int, str] = {}
    for number, uid in zip(group.tolist(), uids.tolist()):
        least[number] = min(uid, least.get(number, uid))
    held_out = {number: unit_interval("validation", uid) < validation for number, uid in least.items()}
    parts = ["validation" if held_out[number] else "train" for number in group.tolist()]
    return pa.table({"key": images["key"], "part": parts})


def _groups(keys: np.ndarray, links: pa.Table) -> np.ndarray:
    """Returns the number of the group of each key. Links to images that are not stored any more are passed over."""
    place = {key: number for number, key in enumerate(keys.tolist())}
    pairs = [
        (place[a], place[b])
        for a, b in zip(links["a"].to_pylist(), links["b"].to_pylist())
        if a in place and b in place
    ]
    return clusters(len(keys), np.array(pairs, np.int64).reshape(-1, 2))
