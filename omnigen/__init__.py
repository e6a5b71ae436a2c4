"""omnigen: the OmniGen model (arXiv 2409.11340), its trainer and its sampler. Knows nothing of Ray or of pipelines."""

__version__ = "0.1.0"
