"""Import a Hugging Face image dataset from disk: Parquet, save_to_disk, or a folder with metadata.jsonl.

    python examples/import_hf_images.py captioned-photos data

What was written beside the images becomes their captions.
"""

import sys

import x2i

source, data = sys.argv[1:]
dataset = x2i.Dataset.create(data)
dataset.run("import", name="hf-images", path=source)
dataset.run("caption")
for key, caption in dataset.query("SELECT key, caption FROM captions ORDER BY key").fetchall():
    print(key, caption)
