"""The page of scores: each score's histogram with the pictures around a cut that the reader moves."""
