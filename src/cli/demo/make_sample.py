#!/usr/bin/env python3
"""Makes tate.ndjson.gz: 2,000 evenly chosen records of the Tate collection.

Usage: make_sample.py PATH/docs.ndjson.gz

The input holds one record per line; README.md beside this file says where it comes from. The output is
the same, byte for byte, for the same input and the same zlib: records keep their order, keys are
sorted as listed below, the gzip header has no time and no name.
"""

import gzip
import json
import pathlib
import sys

ROWS = 2_000
FIELDS = [
    "id",
    "title",
    "artist",
    "year_start",
    "acquisition_year",
    "medium",
    "classification",
    "width_mm",
    "subject_groups",
]


def main(source: str) -> None:
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    chosen = [records[n * len(records) // ROWS] for n in range(ROWS)]
    text = "".join(json.dumps(slim(record), ensure_ascii=False) + "\n" for record in chosen)
    target = pathlib.Path(__file__).with_name("tate.ndjson.gz")
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.encode("utf-8"))
    print(f"{target.name}: {len(chosen)} records, {target.stat().st_size} bytes")


def slim(record: dict) -> dict:
    """The fields kept; absent values and empty lists are left out."""
    return {key: record[key] for key in FIELDS if record.get(key) not in (None, [])}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
