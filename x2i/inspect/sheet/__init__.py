"""Contact sheets: grids of samples or images as one picture."""
