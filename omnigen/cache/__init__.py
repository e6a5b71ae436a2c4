"""Keeping what does not change from one epoch to the next: posteriors of images and tokenized prompts of shards."""
