"""`python -m pipelines.reference FOLDER` writes the reference pages."""

import sys
from pathlib import Path

from pipelines.reference import write_reference


def main(folder: Path) -> None:
    for path in write_reference(folder):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
