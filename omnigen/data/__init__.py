"""From shards to packs: which sample comes when is arithmetic, so the whole data state is a few integers."""
