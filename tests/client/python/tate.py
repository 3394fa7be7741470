"""The catalogue records, and their orders, computed the slow and obvious way."""

import gzip
import json

from filters import ordered
from suite import data_folder

SCHEMA = {
    "title": {"type": "string", "filterable": False},
    "artist": "string",
    "year_start": "int",
    "acquisition_year": "int",
    "classification": "string",
    "width_mm": "float",
    "subject_groups": "[]string",
}
ORDERS = [
    [("year_start", "asc")],
    [("year_start", "desc")],
    [("width_mm", "desc")],
    [("artist", "asc")],
    [("id", "desc")],
    [("classification", "asc"), ("year_start", "desc")],
    [("acquisition_year", "desc"), ("artist", "asc"), ("width_mm", "asc")],
]


def load(count: int, offset: int = 0) -> list[dict]:
    """`count` records spread over the set, by ascending id; another `offset` gives other records."""
    folder = data_folder("ELACSYM_DATA_TATE")
    with gzip.open(f"{folder}/docs.ndjson.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    chosen = [records[n * len(records) // count + offset] for n in range(count)]
    rows = [{key: record[key] for key in ("id", *SCHEMA)} for record in chosen]
    return by_id(rows)


def by_id(rows) -> list[dict]:
    """Rows as the server orders their ids: by bytes."""
    return sorted(rows, key=lambda row: row["id"].encode())


def in_order(rows: list[dict], order: list) -> list[dict]:
    """Rows, given by id, in `order`; ties stay in the order of ids, in descending order too."""
    # A stable sort by each key from the last to the first.
    for attribute, direction in reversed(order):
        rows = sorted(rows, key=lambda row: ordered(row[attribute]), reverse=direction == "desc")
    return rows
