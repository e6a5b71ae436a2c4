"""Training samples or images as a torch dataset. Only `Dataset.to_torch` imports this module, which imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from x2i.image import decode
from x2i.store.image_rows import ImageRows
from x2i.store.shards import Shard


class TorchSamples(IterableDataset):
    """Yields every sample of the shards in `tars`, decoded; each worker of a DataLoader reads a part of them.

    A sample is {"key", "task", "instruction"} with "input_images", a list of uint8 RGB tensors (3, height, width), and
    "output_image", one such tensor. Sizes differ from sample to sample: use `batch_size=None` or a `collate_fn`.
    """

    def __init__(self, tars: list[Path]) -> None:
        super().__init__()
        self.tars = tars

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for tar in self.tars:
            shard = Shard(tar)
            for row in shard.index().to_pylist()[number::workers]:
                *inputs, output = (_tensor(data) for data in shard.image_data(row))
                words = {name: row[name] for name in ("key", "task", "instruction")}
                yield {**words, "input_images": inputs, "output_image": output}


class TorchImages(IterableDataset):
    """Yields stored images as {"image": a uint8 RGB tensor (3, height, width), "key", "url", "text", ...}; each worker
    of a DataLoader reads a part of them. Fields that hold images, such as a depth map, stay encoded.
    """

    def __init__(self, rows: ImageRows) -> None:
        super().__init__()
        self.rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        for row in self.rows.rows(*((worker.id, worker.num_workers) if worker else (0, 1))):
            yield {**row, "image": _tensor(row["image"]["bytes"])}


def _tensor(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(decode(data).transpose(2, 0, 1)))
