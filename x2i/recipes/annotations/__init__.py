"""The annotations family: maps and marks of what models found. x2i.recipes.decode_targets reads them back."""
