"""Patches, conditions, writes by filter and metadata through the official Python client, which sends them as
its own types and reads the answers into its own models.

Run through `tests/client/run`. Prints one line a test and `N passed, N failed, N skipped`.
"""

import pathlib
import threading
import urllib.request

import turbopuffer

from server import Server
from suite import equal, main, raises


class Fixture:
    """Two servers on one folder."""

    def __init__(self, folder: pathlib.Path):
        self.servers = [Server(folder), Server(folder)]
        self.clients = [server.client() for server in self.servers]

    def namespace(self, name: str, server: int = 0):
        return self.clients[server].namespace(name)


def library(fixture: Fixture, name: str):
    """Ten documents, years 1900 to 1909, half of them in a segment."""
    ns = fixture.namespace(name)
    rows = [{"id": n, "vector": [float(n), 0.5], "year": 1900 + n} for n in range(10)]
    ns.write(upsert_rows=rows[:5], distance_metric="euclidean_squared")
    flush = f"{fixture.servers[0].url}/v1/namespaces/{name}/flush"
    with urllib.request.urlopen(urllib.request.Request(flush, method="POST"), timeout=60) as answer:
        equal(answer.status, 200, "flush")
    ns.write(upsert_rows=rows[5:])
    return ns


def shown(ns) -> dict:
    answer = ns.query(rank_by=("id", "asc"), limit=100, exclude_attributes=["vector"])
    rows = [row.to_dict() for row in answer.rows]
    return {row.pop("id"): row for row in rows}


def patches_change_what_they_name(fixture: Fixture) -> None:
    ns = library(fixture, "patches")
    reply = ns.write(
        patch_rows=[{"id": 1, "title": "one"}, {"id": 7, "year": None}, {"id": 77, "title": "nobody"}],
        return_affected_ids=True,
    )
    equal((reply.rows_patched, reply.rows_affected, reply.rows_upserted), (2, 2, None))
    equal(reply.to_dict()["patched_ids"], [1, 7])
    reply = ns.write(patch_columns={"id": [1, 2], "title": ["uno", "due"], "year": [1, 2]})
    equal(reply.rows_patched, 2)
    rows = shown(ns)
    equal(rows[1], {"title": "uno", "year": 1})
    equal(rows[2], {"title": "due", "year": 2})
    equal(rows[7], {}, "a null removes")
    equal(len(rows), 10, "an unknown id is not made")
    answer = ns.query(rank_by=("id", "asc"), limit=2, include_attributes=["vector"])
    equal([row.vector for row in answer.rows], [[0.0, 0.5], [1.0, 0.5]], "vectors stay")
    bad = turbopuffer.BadRequestError
    raises(bad, lambda: ns.write(patch_rows=[{"id": 1, "vector": [1.0, 1.0]}]), "vector")
    raises(bad, lambda: ns.write(patch_rows=[{"id": 1}], deletes=[1]), "twice")
    missing = fixture.namespace("missing")
    for write in (
        lambda: missing.write(patch_rows=[{"id": 1, "n": 1}]),
        lambda: missing.write(deletes=[1]),
        lambda: missing.write(delete_by_filter=("n", "Eq", 1)),
        lambda: missing.write(patch_by_filter={"filters": ("n", "Eq", 1), "patch": {"n": 2}}),
    ):
        raises(turbopuffer.NotFoundError, write)


def conditions_look_at_the_document_that_is_there(fixture: Fixture) -> None:
    ns = library(fixture, "conditions")
    newer = ("year", "Lt", {"$ref_new": "year"})
    reply = ns.write(
        upsert_rows=[
            {"id": 1, "vector": [1.0, 1.0], "year": 1950},
            {"id": 8, "vector": [8.0, 1.0], "year": 1850},
            {"id": 20, "vector": [20.0, 1.0], "year": 1800},
        ],
        upsert_condition=newer,
        return_affected_ids=True,
    )
    equal(reply.to_dict()["upserted_ids"], [1, 20], "a missing document is inserted")
    reply = ns.write(
        patch_rows=[{"id": 2, "year": 1960}, {"id": 9, "year": 1860}, {"id": 30, "year": 2000}],
        patch_condition=newer,
    )
    equal(reply.rows_patched, 1)
    reply = ns.write(deletes=[3, 4, 40], delete_condition=("year", "Gte", 1904))
    equal(reply.rows_deleted, 1)
    # Nothing is less than null, which is what a delete compares with.
    equal(ns.write(deletes=[5], delete_condition=newer).rows_deleted, 0)
    equal(ns.write(deletes=[5], delete_condition=("year", "Gte", {"$ref_new": "year"})).rows_deleted, 1)
    reply = ns.write(
        upsert_rows=[{"id": 0, "vector": [9.0, 9.0]}, {"id": 21, "vector": [9.0, 9.0]}],
        upsert_condition=("id", "Eq", None),
    )
    equal(reply.rows_upserted, 1, "inserts only")
    years = {id: row.get("year") for id, row in shown(ns).items()}
    equal(
        years,
        {0: 1900, 1: 1950, 2: 1960, 3: 1903, 6: 1906, 7: 1907, 8: 1908, 9: 1909, 20: 1800, 21: None},
    )
    bad = turbopuffer.BadRequestError
    raises(bad, lambda: ns.write(deletes=[1], upsert_condition=newer), "upsert_condition")


def filters_delete_and_patch(fixture: Fixture) -> None:
    ns = library(fixture, "filters")
    reply = ns.write(
        delete_by_filter=("year", "Gte", 1908),
        patch_by_filter={"filters": ("year", "Lt", 1903), "patch": {"old": True, "year": None}},
        return_affected_ids=True,
    )
    reply_ids = reply.to_dict()
    equal((reply_ids["deleted_ids"], reply_ids["patched_ids"]), ([8, 9], [0, 1, 2]))
    equal((reply.rows_deleted, reply.rows_patched, reply.rows_affected), (2, 3, 5))
    assert not reply.rows_remaining, "all of it was done"
    rows = shown(ns)
    equal([id for id, row in rows.items() if row == {"old": True}], [0, 1, 2])
    equal(list(rows), list(range(8)))


def filter_beyond_its_limit_is_refused_or_partial(fixture: Fixture) -> None:
    ns = fixture.namespace("many")
    n = 50_003
    for first in range(0, n, 25_000):
        last = min(first + 25_000, n)
        ns.write(upsert_columns={"id": list(range(first, last)), "n": [1] * (last - first)})
    patch = {"filters": ("n", "Eq", 1), "patch": {"n": 2}}
    error = raises(turbopuffer.BadRequestError, lambda: ns.write(patch_by_filter=patch), "50000 rows")
    equal(error.body["type"], "by_filter_too_much")
    equal(ns.query(filters=("n", "Eq", 2), limit=1).rows, [], "nothing was changed")
    reply = ns.write(patch_by_filter=patch, patch_by_filter_allow_partial=True)
    equal((reply.rows_patched, reply.rows_remaining), (50_000, True))
    reply = ns.write(patch_by_filter=patch, patch_by_filter_allow_partial=True)
    equal((reply.rows_patched, bool(reply.rows_remaining)), (3, False))


def counters_counted_through_two_servers_lose_nothing(fixture: Fixture) -> None:
    fixture.namespace("counter").write(upsert_rows=[{"id": 1, "n": 0}])
    applied: list[int] = []

    def count(server: int) -> None:
        ns = fixture.namespace("counter", server)
        for step in range(25):
            known = ns.query(rank_by=("id", "asc"), limit=1, include_attributes=["n"]).rows[0]["n"]
            if step % 2:
                reply = ns.write(
                    patch_rows=[{"id": 1, "n": known + 1}], patch_condition=("n", "Eq", known)
                )
                applied.append(reply.rows_patched)
            else:
                reply = ns.write(
                    upsert_rows=[{"id": 1, "n": known + 1}], upsert_condition=("n", "Eq", known)
                )
                applied.append(reply.rows_upserted)

    threads = [threading.Thread(target=count, args=(at % 2,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(len(applied), 100, "every write was answered")
    equal(shown(fixture.namespace("counter"))[1]["n"], sum(applied), "increments")


def metadata_of_a_read_only_namespace(fixture: Fixture) -> None:
    ns = library(fixture, "frozen")
    other = fixture.namespace("frozen", 1)
    equal(len(shown(other)), 10, "the other server has it open")
    before = ns.metadata()
    assert before.read_only is None and before.pinning is None, before
    metadata = ns.update_metadata(read_only=True)
    equal((metadata.read_only, metadata.approx_row_count), (True, 10))
    bad = turbopuffer.BadRequestError
    for each in (other, ns):
        raises(bad, lambda: each.write(upsert_rows=[{"id": 99, "vector": [1.0, 1.0]}]), "read-only")
        raises(bad, lambda: each.write(deletes=[1]), "read-only")
        raises(bad, lambda: each.write(patch_rows=[{"id": 1, "year": 1}]), "read-only")
        raises(bad, lambda: each.update_schema(schema={"more": "string"}), "read-only")
        equal(each.metadata().read_only, True)
    equal(len(shown(other)), 10)
    metadata = other.update_metadata(pinning={"replicas": 2})
    equal((metadata.read_only, metadata.pinning.replicas), (True, 2))
    metadata = ns.update_metadata(read_only=False, pinning=None)
    assert metadata.read_only is None and metadata.pinning is None, metadata
    equal(other.write(deletes=[1]).rows_deleted, 1)
    equal(ns.update_metadata(pinning=True).pinning.replicas, 1)
    raises(turbopuffer.UnprocessableEntityError, lambda: ns.update_metadata(read_only="yes"))
    gone = fixture.namespace("absent")
    raises(turbopuffer.NotFoundError, lambda: gone.update_metadata(read_only=True))


TESTS = [
    patches_change_what_they_name,
    conditions_look_at_the_document_that_is_there,
    filters_delete_and_patch,
    filter_beyond_its_limit_is_refused_or_partial,
    counters_counted_through_two_servers_lose_nothing,
    metadata_of_a_read_only_namespace,
]


if __name__ == "__main__":
    main(TESTS, Fixture)
