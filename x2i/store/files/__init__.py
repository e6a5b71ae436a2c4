"""Files on disk or on an object store: atomic writes, caching, byte ranges, tar."""
