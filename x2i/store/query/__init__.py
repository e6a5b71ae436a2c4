"""SQL over a dataset: views, predicates, selections."""
