"""Statistics of datasets and shards."""
