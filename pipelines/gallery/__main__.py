"""`python -m pipelines.gallery FOLDER WORK` draws the gallery into FOLDER, from a dataset that it builds in WORK."""

import sys
from pathlib import Path

from pipelines.gallery.dataset import build
from pipelines.gallery.page import write_page

folder = Path(sys.argv[1])
dataset, scenes, missing = build(Path(sys.argv[2]))
sys.stdout.write(f"{write_page(dataset, scenes, missing, folder)}\n")
