"""Types of attributes through the official client: vectors of every width, bytes, sparse vectors, dates,
and schemas that change; in the log, in segments, and after the server was killed.

Run through `tests/client/run`.
"""

import base64
import datetime
import json
import pathlib
import urllib.request
import uuid

import numpy
import turbopuffer

import parquet_files
from server import Server
from suite import equal, main, raises

ROWS = 400
WIDTHS = {"vector": ("[24]f32", 24), "half": ("[40]f16", 40), "byte": ("[16]i8", 16)}
BY_HAND = {"ELACSYM_FLUSH__AGE_MS": "3600000", "ELACSYM_FLUSH__BYTES": str(250 << 20)}


class Fixture:
    """One server on one folder, and a client of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.server = Server(folder, **BY_HAND)
        self.client = self.server.client()
        chance = numpy.random.default_rng(7)
        self.vectors = {
            "vector": chance.random((ROWS, 24), numpy.float32) - 0.5,
            # What it rounds to is what is compared below.
            "half": (chance.random((ROWS, 40), numpy.float32) - 0.5) * 8,
            "byte": chance.integers(-128, 128, (ROWS, 16)).astype(numpy.float32),
        }

    def flush(self, name: str) -> None:
        request = urllib.request.Request(f"{self.server.url}/v1/namespaces/{name}/flush", method="POST")
        with urllib.request.urlopen(request, timeout=60) as reply:
            equal(json.load(reply)["status"], "OK", "flush")

    def restart_after_kill(self) -> None:
        self.server.kill()
        self.server = Server(self.folder, **BY_HAND)
        self.client = self.server.client()


def plain(answer) -> list[dict]:
    return [row.to_dict() for row in answer.rows]


def everywhere(fixture: Fixture, name: str, check) -> None:
    """Runs a check on rows in the log, after a kill, in a segment, and after another kill."""
    check(fixture.client.namespace(name))
    fixture.restart_after_kill()
    check(fixture.client.namespace(name))
    fixture.flush(name)
    check(fixture.client.namespace(name))
    fixture.restart_after_kill()
    check(fixture.client.namespace(name))


def packed(row: numpy.ndarray) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def stored(fixture: Fixture, name: str) -> numpy.ndarray:
    """Vectors as they are stored: numpy rounds to the nearest, ties to even, too."""
    vectors = fixture.vectors[name]
    return vectors.astype(numpy.float16).astype(numpy.float32) if name == "half" else vectors


def vectors_of_every_width_are_searched_by_each(fixture: Fixture) -> None:
    ns = fixture.client.namespace("widths")
    for start in range(0, ROWS, 100):
        rows = []
        for row in range(start, start + 100):
            # Numbers and base64 in one request.
            forms = {
                name: packed(vectors[row]) if row % 3 == 0 else vectors[row].tolist()
                for name, vectors in fixture.vectors.items()
            }
            rows.append({"id": row, "even": row % 2 == 0, **forms})
        ns.write(
            upsert_rows=rows,
            distance_metric="euclidean_squared",
            schema={name: {"type": kind, "ann": True} for name, (kind, _) in WIDTHS.items()},
        )
    chance = numpy.random.default_rng(8)
    queries = {name: chance.random(dims, numpy.float32) * 3 for name, (_, dims) in WIDTHS.items()}

    def check(ns) -> None:
        for name, query in queries.items():
            distances = ((stored(fixture, name).astype(float) - query.astype(float)) ** 2).sum(axis=1)
            expected = numpy.argsort(distances, kind="stable")[:10].tolist()
            answer = ns.query(rank_by=(name, "ANN", query.tolist()), limit=10, include_attributes=True)
            equal([row.id for row in answer.rows], expected, name)
            for row in answer.rows:
                near = abs(row["$dist"] - distances[row.id]) <= 1e-4 * max(1.0, distances[row.id])
                assert near, f"{name} {row.id}: {row['$dist']} is not {distances[row.id]}"
                for other in WIDTHS:
                    shown = numpy.array(row.to_dict()[other], numpy.float32)
                    equal(shown.tolist(), stored(fixture, other)[row.id].tolist(), other)
            answer = ns.query(
                rank_by=(name, "kNN", query.tolist()),
                filters=("even", "Eq", True),
                limit=5,
                include_attributes=[name],
                vector_encoding="base64",
            )
            even = [row for row in numpy.argsort(distances, kind="stable").tolist() if row % 2 == 0]
            equal([row.id for row in answer.rows], even[:5], f"{name} of the even")
            for row in answer.rows:
                equal(row.to_dict()[name], packed(stored(fixture, name)[row.id]), "base64 of float32")

    everywhere(fixture, "widths", check)


def numbers_that_a_width_does_not_hold_are_bad_requests(fixture: Fixture) -> None:
    ns = fixture.client.namespace("widths")
    row = {"id": 1, "vector": [0.0] * 24, "half": [0.0] * 40, "byte": [0] * 16}

    def write(**changes) -> None:
        ns.write(upsert_rows=[{**row, **changes}])

    bad = turbopuffer.BadRequestError
    raises(bad, lambda: write(half=[65520.0] * 40), "`half`")
    raises(bad, lambda: write(byte=[0.5] * 16), "whole numbers from -128 to 127")
    raises(bad, lambda: write(byte=[128] * 16), "found 128")
    raises(bad, lambda: write(byte=[1] * 15), "[16]i8")
    raises(bad, lambda: write(half=None), "`half`")
    raises(bad, lambda: write(more="x" * 4_097), "4096")
    raises(bad, lambda: ns.write(patch_rows=[{"id": 1, "byte": [0] * 16}]), "patched")
    more = {"type": "[2]f32", "ann": True}
    raises(bad, lambda: ns.write(upsert_rows=[row], schema={"w": more}), "`w` cannot be added")
    other = {"type": "[40]f32", "ann": True}
    raises(bad, lambda: ns.update_schema(schema={"half": other}), "type cannot change")
    raises(bad, lambda: ns.update_schema(schema={"half": {"drop": True}}), "cannot be dropped")


def parquet_files_hold_every_width(fixture: Fixture) -> None:
    paths = [path for path in parquet_files.segments(fixture.folder)]
    equal(len(paths), 1, "segments")
    for reader, read in parquet_files.READERS.items():
        rows = sorted(read(paths[0]), key=lambda row: row["id"])
        equal(len(rows), ROWS, reader)
        for name in WIDTHS:
            value = rows[3][name]
            if name == "byte":
                found = numpy.frombuffer(value, numpy.int8).astype(numpy.float32).tolist()
            elif isinstance(value, bytes):
                found = numpy.frombuffer(value, "<f2").astype(numpy.float32).tolist()
            else:
                found = [float(number) for number in value]
            equal(found, stored(fixture, name)[3].tolist(), f"{reader} {name}")


def scalars_bytes_and_sparse_vectors_come_back(fixture: Fixture) -> None:
    ns = fixture.client.namespace("types")
    ref = uuid.uuid5(uuid.NAMESPACE_URL, "types")
    ns.write(
        upsert_rows=[
            {
                "id": "",
                "raw": base64.b64encode(bytes(range(256))).decode(),
                "words": {"sea": 0.5, "moon": -2},
                "at": datetime.datetime(2024, 3, 2, 1, 2, 3, 456_000, tzinfo=datetime.timezone.utc),
                "day": "2024-03-02",
                "ref": str(ref).upper(),
                "size": 2**64 - 1,
                "ratio": 7,
                "guessed": 0.1,
                "none": [],
                "seen": ["2024-03-02T01:00:00+01:00"],
            },
            {"id": "é" * 32, "raw": "", "words": {}},
        ],
        schema={
            "raw": "bytes",
            "words": {"type": "{}f16", "sparse_knn": {"distance_metric": "dot_product"}},
            "at": "datetime",
            "day": "datetime",
            "ref": "uuid",
            "size": "uint",
            "ratio": "float",
            "seen": "[]datetime",
        },
    )
    expected = [
        {
            "id": "",
            "raw": base64.b64encode(bytes(range(256))).decode(),
            "words": {"sea": 0.5, "moon": -2.0},
            "at": "2024-03-02T01:02:03.456000000Z",
            "day": "2024-03-02T00:00:00.000000000Z",
            "ref": str(ref),
            "size": 2**64 - 1,
            "ratio": 7.0,
            "guessed": 0.1,
            "none": [],
            "seen": ["2024-03-02T00:00:00.000000000Z"],
        },
        {"id": "é" * 32, "raw": "", "words": {}},
    ]

    def check(ns) -> None:
        answer = ns.query(rank_by=("id", "asc"), limit=5, include_attributes=True)
        equal(plain(answer), expected, "rows")
        schema = ns.schema()
        equal(schema["none"].to_dict()["type"], "[]unknown", "type of an empty list")
        view = {"type": "{}f16", "filterable": False, "full_text_search": None}
        view["sparse_knn"] = {"distance_metric": "dot_product"}
        equal(schema["words"].to_dict(), view, "schema of a sparse vector")
        equal(schema["raw"].to_dict()["filterable"], False, "bytes")

        answer = ns.query(rank_by=("words", "SparseKNN", {"sea": 3, "sand": 1}), limit=5)
        equal([(row.id, row["$dist"]) for row in answer.rows], [("", 1.5)], "SparseKNN")

    everywhere(fixture, "types", check)
    ns = fixture.client.namespace("types")
    ns.write(patch_rows=[{"id": "", "words": {"tide": 1}, "raw": None}])
    row = plain(ns.query(rank_by=("id", "asc"), limit=1, include_attributes=["words", "raw"]))
    equal(row, [{"id": "", "words": {"tide": 1.0}}], "patched")
    bad = turbopuffer.BadRequestError
    for attribute in ("raw", "words"):
        filters = (attribute, "Eq", None)
        raises(bad, lambda: ns.query(filters=filters, limit=1), "not filterable")  # noqa: B023
        raises(bad, lambda: ns.query(rank_by=(attribute, "asc"), limit=1), attribute)  # noqa: B023
    raises(bad, lambda: ns.write(upsert_rows=[{"id": "i" * 65}]), "64 bytes")
    raises(bad, lambda: ns.write(upsert_rows=[{"id": 5}]), "string")
    raises(bad, lambda: ns.write(upsert_rows=[{"id": "x", "day": "yesterday"}]), "datetime")
    raises(bad, lambda: ns.write(upsert_rows=[{"id": "x", "new": {"a": 1}}]), "found object")


def dropped_attribute_is_gone_and_its_name_begins_anew(fixture: Fixture) -> None:
    ns = fixture.client.namespace("drops")
    ns.write(upsert_rows=[{"id": 1, "a": 1, "b": "x"}, {"id": 2, "a": 2}])
    fixture.flush("drops")
    ns.write(upsert_rows=[{"id": 3, "a": 3}])
    after = ns.update_schema(schema={"a": {"drop": True}})
    assert "a" not in after, after
    expected = [{"id": 1, "b": "x"}, {"id": 2}, {"id": 3}]

    def check(ns) -> None:
        answer = ns.query(rank_by=("id", "asc"), limit=9, include_attributes=True)
        equal(plain(answer), expected, "rows")

    check(ns)
    raises(turbopuffer.BadRequestError, lambda: ns.query(rank_by=("a", "asc"), limit=1), "not found")
    ns.write(upsert_rows=[{"id": 4, "a": "text"}])
    expected.append({"id": 4, "a": "text"})
    equal(ns.schema()["a"].type, "string", "the new type")
    everywhere(fixture, "drops", check)
    ns = fixture.client.namespace("drops")
    ns.write(upsert_rows=[{"id": 5, "a": True}], schema={"a": {"drop": True}})
    expected[3:] = [{"id": 4}, {"id": 5, "a": True}]
    everywhere(fixture, "drops", check)


def options_change_in_place(fixture: Fixture) -> None:
    ns = fixture.client.namespace("options")
    ns.write(
        upsert_rows=[{"id": 1, "t": "one"}],
        schema={"t": {"type": "string", "regex": True}},
    )

    def shown() -> dict:
        return {key: value for key, value in ns.schema()["t"].to_dict().items() if value is not None}

    equal(shown(), {"type": "string", "filterable": False, "regex": True}, "as declared")
    raises(
        turbopuffer.BadRequestError,
        lambda: ns.query(filters=("t", "Eq", "one"), limit=1),
        "not filterable",
    )
    ns.update_schema(schema={"t": {"type": "string", "filterable": True}})
    equal(shown(), {"type": "string", "filterable": True, "regex": True}, "merged")
    equal([row.id for row in ns.query(filters=("t", "Eq", "one"), limit=1).rows], [1])
    ns.update_schema(schema={"t": "string"})
    equal(shown(), {"type": "string", "filterable": True}, "a bare type turns the rest off")
    bad = turbopuffer.BadRequestError
    raises(bad, lambda: ns.update_schema(schema={"t": "int"}), "type cannot change")
    raises(bad, lambda: ns.update_schema(schema={"id": {"drop": True}}), "`id` cannot be dropped")
    raises(bad, lambda: ns.update_schema(schema={"id": "string"}), "kind of `id`")


TESTS = [
    vectors_of_every_width_are_searched_by_each,
    numbers_that_a_width_does_not_hold_are_bad_requests,
    parquet_files_hold_every_width,
    scalars_bytes_and_sparse_vectors_come_back,
    dropped_attribute_is_gone_and_its_name_begins_anew,
    options_change_in_place,
]


if __name__ == "__main__":
    main(TESTS, Fixture)
