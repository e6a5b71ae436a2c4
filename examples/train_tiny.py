"""Train a small network on the samples of a dataset, and generate an image with it.

    python examples/train_tiny.py data run train.steps=2000

Needs the extra: pip install 'x2i[train]'. What follows the folders replaces values of the configuration.
"""

import sys
from pathlib import Path

import x2i
from omnigen.configurations import find_configuration
from omnigen.generate.options import GenerationOptions
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.train.run import train

data, run, *settings = sys.argv[1:]
train(find_configuration(Path("tiny")), [f"data.shards=[{data}]", *settings], out=Path(run))

pipeline = OmniGenPipeline.load(Path(run))
options = GenerationOptions(height=64, width=64, steps=10)
x2i.Picture.of_pixels(pipeline("A cat looks into the camera", options=options)).save(Path(run) / "generated.png")
