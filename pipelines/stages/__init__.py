"""The stages: what each plans, and what a worker does with one planned partition."""
