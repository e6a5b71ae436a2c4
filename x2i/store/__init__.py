"""How a dataset lies on disk: tar shards, their indexes, columns, relations and the ledger of commits."""

from x2i.store.dataset import Dataset
from x2i.store.files.without_pandas import make_first_array

__all__ = ["Dataset"]

make_first_array()
