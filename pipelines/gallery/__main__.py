"""`python -m pipelines.gallery FOLDER WORK` draws the gallery into FOLDER, from a dataset that it builds in WORK."""

import sys
from pathlib import Path

from pipelines.gallery.dataset import build
from pipelines.gallery.page import write_page


def main(folder: Path, work: Path) -> None:
    sys.stdout.write(f"{write_page(build(work), folder)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
