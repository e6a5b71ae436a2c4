"""One file per command of `x2i`."""
