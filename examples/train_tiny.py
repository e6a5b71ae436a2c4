"""Train a small network on the samples of a dataset, and generate an image with it.

    python examples/train_tiny.py data run train.steps=2000

Needs the extra: pip install 'x2i[train]'. What follows the folders replaces values of the configuration.
"""

import sys
from pathlib import Path

from omnigen.configurations import find_configuration
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.train.run import train

data, run, *settings = sys.argv[1:]
train(find_configuration(Path("tiny")), [f"data.shards=[{data}]", *settings], out=Path(run))

pipeline = OmniGenPipeline.from_pretrained(run)
pictures = pipeline("A cat looks into the camera", height=64, width=64, num_inference_steps=10)
pictures.images[0].save(Path(run) / "generated.png")
