"""Backends on Hugging Face transformers: any model of a folder or of the Hub that its Auto classes load."""
