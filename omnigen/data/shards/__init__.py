"""Which shards a run reads, and what their indexes hold."""
