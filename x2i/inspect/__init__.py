"""Looking at a dataset: tables for the terminal, contact sheets, the gallery, the report."""
