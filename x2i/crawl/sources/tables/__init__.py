"""Tables of URLs: .csv .tsv .txt .json .jsonl .parquet, one file or many."""
