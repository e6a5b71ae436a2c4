"""The report: the funnel from URLs to samples, and the training run."""
