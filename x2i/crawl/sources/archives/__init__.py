"""Web archives and WebDataset shards: images that lie inside another file."""
