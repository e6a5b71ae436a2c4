"""Read a folder of photographs into a dataset, and look at it.

    python examples/crawl_folder.py photos data

Words beside a picture (1.txt beside 1.jpg) become its text.
"""

import sys

import x2i

photos, data = sys.argv[1:]
dataset = x2i.Dataset.create(data)
(summary,) = dataset.run("crawl", sources=[photos])
print(f"{summary.counts.ok} images stored; failed: {summary.counts.failed}; filtered: {summary.counts.filtered}")

for picture in dataset.pictures():
    assert picture.record is not None
    print(picture, picture.record.text)
