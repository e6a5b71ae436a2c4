"""`python -m pipelines.reference FOLDER` writes the reference pages."""

import sys
from pathlib import Path

from pipelines.reference import write_reference

for path in write_reference(Path(sys.argv[1])):
    sys.stdout.write(f"{path}\n")
