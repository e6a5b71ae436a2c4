"""Score the images of a dataset, find duplicates, and ask questions in SQL.

python examples/query.py data
"""

import sys

import x2i

dataset = x2i.Dataset.open(sys.argv[1])
dataset.run("filter")
dataset.run("dedup")
print("columns:", dataset.columns(), "relations:", dataset.relations())

sharpest = dataset.query("""
    SELECT key, width, height, quality.sharpness
    FROM images JOIN quality USING (key) JOIN duplicates USING (key)
    WHERE NOT duplicates.is_duplicate
    ORDER BY quality.sharpness DESC
    LIMIT 5
""")
print(sharpest)

for picture in dataset.pictures("quality.min_side >= 256 AND NOT duplicates.is_duplicate"):
    print(picture)
