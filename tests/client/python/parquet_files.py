"""Reads Parquet files by three readers that share no code with the server."""

import pathlib

import duckdb
import polars
import pyarrow.parquet


def segments(folder: pathlib.Path) -> set[pathlib.Path]:
    """The documents of all segments of a bucket."""
    return set(folder.glob("ns/*/seg/*/*.parquet"))


def by_pyarrow(path: pathlib.Path) -> list[dict]:
    return pyarrow.parquet.read_table(path).to_pylist()


def by_duckdb(path: pathlib.Path) -> list[dict]:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in found.description]
        return [
            {name: list(v) if isinstance(v, tuple) else v for name, v in zip(names, row, strict=True)}
            for row in found.fetchall()
        ]


def by_polars(path: pathlib.Path) -> list[dict]:
    return polars.read_parquet(path).to_dicts()


READERS = {"pyarrow": by_pyarrow, "DuckDB": by_duckdb, "Polars": by_polars}
