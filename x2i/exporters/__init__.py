"""Writing datasets in the formats of other projects: OmniGen's JSONL, a Hugging Face folder with card and Croissant."""
