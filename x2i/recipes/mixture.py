"""The mixture: how many samples each recipe makes of what it could make, and which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

Short = Literal["fill", "scale"]
SPARE = 4
"""Candidates that are looked at for each sample that is wanted, where caps may leave some out."""


@dataclass(frozen=True)
class Wanted:
    """What one recipe is to give: a share of the total by its weight, or a number of samples."""

    weight: float = 1.0
    samples: int | None = None


def sample_counts(
    available: Mapping[str, int], wanted: Mapping[str, Wanted], total: int | None, short: Short = "fill"
) -> dict[str, int]:
    """Returns how many samples each recipe makes.

    available: how many each could make. Recipes with a number get it, or what is there. The others share what is left
    of `total` by their weights, to the sample (largest remainders, then by name). Where one has less than its share,
    "fill" gives the rest to the others by their weights, so that the total is kept as far as possible, and "scale"
    makes all that have weights smaller, so that their proportions are. total: None for as many as there are, in
    these proportions if short is "scale".
    """
    counts = {name: min(want.samples, available[name]) for name, want in wanted.items() if want.samples is not None}
    weights = {name: want.weight for name, want in wanted.items() if want.samples is None and want.weight > 0}
    zero = {name: 0 for name in wanted if name not in counts and name not in weights}
    left = None if total is None else max(0, total - sum(counts.values()))
    shared = _scaled if short == "scale" else _filled
    return {**counts, **zero, **(shared(available, weights, left) if weights else {})}


def draw(
    candidates: pa.Table,
    wanted: Mapping[str, Wanted],
    total: int | None,
    short: Short,
    per_image: int | None,
    per_host: int | None,
) -> dict[str, pa.Array]:
    """Returns the keys of the samples that are made, by recipe.

    candidates: recipe, key, images (a list of keys), hosts (a list, "" for none); keys are distinct. An image is part
    of `per_image` samples at most, over all recipes, and a host's images of `per_host`; which, is decided by hash,
    those of recipes that are short of candidates first. Of what is left, each recipe takes those of the smallest hash.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.register("given", candidates)
        connection.execute("CREATE TABLE candidates AS SELECT *, md5('mixture:' || key) AS hash FROM given")
        have = _counted(connection, "candidates", wanted)
        if per_image is not None or per_host is not None:
            asked: Mapping[str, float] = {name: want.samples or want.weight for name, want in wanted.items()}
            if total is not None:
                asked = sample_counts(have, wanted, total, short)
            need = [(name, max(1e-6, asked[name]) / max(1, have[name])) for name in wanted]
            connection.execute("CREATE TABLE needs (recipe VARCHAR, need DOUBLE)")
            connection.executemany("INSERT INTO needs VALUES (?, ?)", need)
            connection.execute(
                # Efraimidis and Spirakis, Inf. Process. Lett. 2006: an exponential of rate `need` for each candidate
                "CREATE TABLE ranked AS SELECT candidates.*, "
                "-ln((('0x' || hash[1:13])::HUGEINT + 1)::DOUBLE / pow(16, 13)) / need AS rank "
                "FROM candidates JOIN needs USING (recipe)"
            )
            for unit, most in (("images", per_image), ("hosts", per_host)):
                if most is not None:
                    connection.execute(f"""
                        CREATE OR REPLACE TABLE ranked AS
                        WITH used AS (SELECT key, rank, unnest(list_distinct({unit})) AS unit FROM ranked),
                             placed AS (SELECT key, unit, row_number() OVER (PARTITION BY unit ORDER BY rank, key)
                                        AS place FROM used)
                        SELECT * FROM ranked
                        WHERE key NOT IN (SELECT key FROM placed WHERE place > {int(most)} AND unit <> '')
                    """)
            connection.execute("CREATE OR REPLACE TABLE candidates AS SELECT * EXCLUDE (rank) FROM ranked")
            have = _counted(connection, "candidates", wanted)
        counts = sample_counts(have, wanted, total, short)
        drawn = {}
        for name, count in counts.items():
            text = "SELECT key FROM candidates WHERE recipe = ? ORDER BY hash, key LIMIT ?"
            drawn[name] = connection.sql(text, params=[name, count]).to_arrow_table()["key"].combine_chunks()
        return drawn


def _counted(connection: duckdb.DuckDBPyConnection, table: str, wanted: Mapping[str, Wanted]) -> dict[str, int]:
    rows = connection.execute(f"SELECT recipe, count(*) FROM {table} GROUP BY recipe").fetchall()
    return dict.fromkeys(wanted, 0) | dict(rows)


def _filled(available: Mapping[str, int], weights: Mapping[str, float], total: int | None) -> dict[str, int]:
    if total is None:
        return {name: available[name] for name in weights}
    counts: dict[str, int] = {}
    open_weights, left = dict(weights), total
    while open_weights:
        shares = _apportioned(open_weights, left)
        lacking = [name for name, count in shares.items() if available[name] <= count]
        if not lacking:
            return counts | shares
        for name in lacking:
            counts[name] = available[name]
            left -= available[name]
            del open_weights[name]
    return counts


def _scaled(available: Mapping[str, int], weights: Mapping[str, float], total: int | None) -> dict[str, int]:
    whole = sum(weights.values())
    most = min(int(available[name] * whole / weight + 1e-9) for name, weight in weights.items())
    size = most if total is None else min(total, most)
    shares = _apportioned(weights, size)
    while any(shares[name] > available[name] for name in shares):  # a remainder went to a recipe that has no more
        size -= 1
        shares = _apportioned(weights, size)
    return shares


def _apportioned(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Returns whole numbers in the proportions of `weights` that sum to `total`: largest remainders."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    order = sorted(weights, key=lambda name: (-(exact[name] - counts[name]), name))
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
