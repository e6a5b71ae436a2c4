"""Training OmniGen on shards: the objective, the loop, and what a run leaves behind."""
