"""The gallery of the docs: a dataset built from the demo's photographs, and one picture per task and per column."""
