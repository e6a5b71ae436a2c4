"""Make training samples of one task from the images of a dataset, and read them.

python examples/materialize_recipe.py data samples
"""

import sys
from pathlib import Path

import x2i

dataset, folder = x2i.Dataset.open(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(exist_ok=True)
dataset.run("materialize", recipes={"inpaint": {}}, select={"large": "images.width >= 256"}, max_side=256)

for sample, images in dataset.samples("inpaint"):
    print(sample.key, sample.sizes, sample.instruction)
    *inputs, output = (x2i.Picture(data) for data in images)
    for number, picture in enumerate(inputs, start=1):
        picture.save(folder / f"{sample.key}.input_{number}.{picture.format}")
    output.save(folder / f"{sample.key}.output.{output.format}")
