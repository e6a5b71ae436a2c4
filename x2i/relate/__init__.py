"""How images relate to each other: exact and near duplicates, and pairs that show the same thing."""
