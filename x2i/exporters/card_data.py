"""Who publishes a dataset, under what name, and what its construction counted: the facts behind card and Croissant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from x2i.store import Dataset, paths
from x2i.store.commits import Counts, list_commits
from x2i.store.stages import committed_stages

SPDX_ADDRESSES = {
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "cc-by-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "cc-by-sa-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "cc-by-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "cc-by-sa-2.0": "https://creativecommons.org/licenses/by-sa/2.0/",
}
MOST_LICENSES = 50


@dataclass(frozen=True)
class Publication:
    """name: of the dataset. contact: where takedown requests go, "" if none was given. date: ISO 8601, of publication.

    licenses: how many samples have a source image under it ("" if none is stated). recipes: samples by
    "<name> <version>". steps: what every stage of the construction counted, in order. ingest: what those
    that wrote the image store counted together. robots: True where every crawl obeyed robots.txt, False where one did
    not, None where nothing was crawled. user_agents: under which it asked.
    """

    name: str
    url: str
    creator: str
    contact: str
    date: str
    version: str
    licenses: Mapping[str, int] = field(default_factory=dict)
    recipes: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, Counts] = field(default_factory=dict)
    ingest: Counts = field(default_factory=Counts)
    robots: bool | None = None
    user_agents: tuple[str, ...] = ()

    def license_urls(self) -> list[str]:
        """Returns the addresses of the known licenses, the commonest first."""
        ordered = sorted(self.licenses, key=lambda name: (-self.licenses[name], name))[:MOST_LICENSES]
        return list(dict.fromkeys(url for name in ordered if (url := license_address(name))))

    def single_license(self) -> str:
        """Returns the identifier (such as "cc-by-4.0") that every sample's images share, "" if there is none."""
        addresses = {license_address(name) for name in self.licenses}
        known = {url: name for name, url in SPDX_ADDRESSES.items()}
        return known.get(addresses.pop(), "") if len(addresses) == 1 else ""


def license_address(name: str) -> str:
    """Returns the address of a license given by address or SPDX name; "" if it is neither."""
    if re.match(r"https?://", name):
        address = re.sub(r"^http://", "https://", name)
        return next((url for url in SPDX_ADDRESSES.values() if address.rstrip("/") == url.rstrip("/")), name)
    return SPDX_ADDRESSES.get(name.strip().lower().replace(" ", "-"), "")


def counted(records: Iterable[tuple[str, dict[str, Any]]], what: str) -> dict[str, int]:
    """Adds up one mapping ("licenses", "recipes") of what was recorded about every shard."""
    sums: Counter[str] = Counter()
    for _, facts in records:
        sums.update(facts[what])
    return dict(sorted(sums.items()))


def construction(source: Path) -> dict[str, Any]:
    """Returns the fields steps, ingest, robots and user_agents of a Publication, from the commits of dataset `source`.

    A folder of shards has no commits: then they are empty.
    """
    if not (source / paths.DATASET_FILE).exists():
        return {}
    root = Dataset.open(source).root
    stages = committed_stages(root)
    ingest = [stage for stage in stages if stage.kind == "images"]
    crawls = [
        commit.config
        for stage in ingest
        for commit in list_commits(root, stage.name)
        if "ignore_robots" in commit.config
    ]
    agents = {str(config.get("user_agent", "")) for config in crawls}
    return {
        "steps": {stage.name: stage.counts for stage in stages},
        "ingest": sum((stage.counts for stage in ingest), Counts()),
        "robots": not any(config["ignore_robots"] for config in crawls) if crawls else None,
        "user_agents": tuple(sorted(agents - {""})),
    }
