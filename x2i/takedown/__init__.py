"""Taking images down: what descends from them is found through lineage and removed file by file."""
