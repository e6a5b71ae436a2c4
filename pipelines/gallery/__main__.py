"""`python -m pipelines.gallery FOLDER WORK` draws the gallery into FOLDER, from a dataset that it builds in WORK."""

import sys
from pathlib import Path

from pipelines.gallery.dataset import build
from pipelines.gallery.page import write_page


def main(folder: Path, work: Path) -> None:
    dataset, scenes, missing = build(work)
    sys.stdout.write(f"{write_page(dataset, scenes, missing, folder)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
