"""The order of samples and packs, computed from indexes and seeds."""
