"""How a dataset lies on disk: tar shards, their indexes, columns, relations and the ledger of commits."""

from x2i.store.dataset import Dataset

__all__ = ["Dataset"]
