"""The first promises, kept to the official Python client: what is acknowledged is there, answers are
exact, errors have the right class, and a killed server comes back with all of it.

Run through `tests/client/run`. Prints one line a test and `N passed, N failed, N skipped`.
"""

import gzip
import hashlib
import io
import pathlib
import tempfile
import threading
import urllib.request

import numpy
import turbopuffer

import tate as records
from filters import fixed_filters, matches, random_filters
from server import Server
from suite import data_folder, equal, main, raises

ROWS = 5_000


class Fixture:
    """One server on one folder, and a client of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.server = Server(folder)
        self.client = self.server.client()
        self.tate: list[dict] = []

    def restart_after_kill(self) -> None:
        """SIGKILL, then a new server on the same folder."""
        self.server.kill()
        self.server = Server(self.folder)
        self.client = self.server.client()


def ids(answer) -> list:
    return [row.id for row in answer.rows]


def plain(answer) -> list[dict]:
    """The rows as dictionaries, as sent."""
    return [row.to_dict() for row in answer.rows]


def url_json(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return reply.status, reply.read()


# ------------------------------------------------------------------------------------- documents


def process_endpoints_answer(fixture: Fixture) -> None:
    for path in ("/livez", "/ready", "/health", "/metrics"):
        status, body = url_json(fixture.server.url + path)
        equal(status, 200, path)
        assert body, f"{path} has no body"


def write_rows_is_read_at_once(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    reply = ns.write(
        upsert_rows=[
            {"id": 1, "vector": [0.1, 0.7], "title": "one", "n": 1, "even": False},
            {"id": 2, "vector": [0.3, 0.9], "title": "two", "n": 2, "even": True},
            {"id": 2**64 - 1, "vector": [1, 0], "title": None, "tags": ["a", "b"]},
        ],
        distance_metric="euclidean_squared",
    )
    equal((reply.status, reply.rows_affected, reply.rows_upserted), ("OK", 3, 3))
    assert reply.rows_deleted is None, "rows_deleted without a delete"
    assert isinstance(reply.message, str) and reply.message
    assert isinstance(reply.billing.billable_logical_bytes_written, int)
    assert reply.to_dict()["seq"] >= 1, "no seq in the reply"
    answer = ns.query(rank_by=("id", "asc"), limit=10, include_attributes=True)
    expected = [
        {"id": 1, "vector": [0.1, 0.7], "title": "one", "n": 1, "even": False},
        {"id": 2, "vector": [0.3, 0.9], "title": "two", "n": 2, "even": True},
        {"id": 2**64 - 1, "vector": [1.0, 0.0], "tags": ["a", "b"]},
    ]
    equal(plain(answer), expected, "rows come back exactly")


def write_columns_replaces_whole_documents(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    reply = ns.write(
        upsert_columns={"id": [2, 3], "vector": [[0.25, 0.5], [0.25, 4.0]], "n": [20, None]},
        distance_metric="euclidean_squared",
    )
    equal(reply.rows_upserted, 2)
    answer = ns.query(rank_by=("id", "asc"), limit=10, exclude_attributes=["vector"])
    found = {row["id"]: row for row in plain(answer)}
    equal(found[2], {"id": 2, "n": 20}, "no trace of the old title")
    equal(found[3], {"id": 3}, "a null is absent")


def query_replies_carry_cost(fixture: Fixture) -> None:
    answer = fixture.client.namespace("rows").query(
        rank_by=("vector", "ANN", [0.0, 0.0]), top_k=2, include_attributes=["n"]
    )
    equal(ids(answer), [2, 1], "nearest first")
    dists = [row["$dist"] for row in answer.rows]
    assert dists[0] == 0.3125 and abs(dists[1] - 0.5) < 1e-6, dists
    performance = answer.performance.to_dict()
    for key in ("server_total_ms", "query_execution_ms", "exhaustive_search_count"):
        assert isinstance(performance[key], int), key
    equal(performance["approx_namespace_size"], 4)
    assert isinstance(performance["cache_hit_ratio"], float)
    for key in ("as_of_seq", "round_trips", "store_gets", "store_bytes", "unindexed_rows"):
        assert isinstance(performance[key], int), key
    assert isinstance(answer.billing.billable_logical_bytes_returned, int)


def deletes_remove_and_tolerate_absent_ids(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    reply = ns.write(deletes=[1, 777])
    equal(reply.rows_deleted, 2, "absent ids are counted")
    answer = ns.query(rank_by=("id", "asc"), limit=10)
    equal(ids(answer), [2, 3, 2**64 - 1])
    assert all("$dist" not in row for row in answer.rows), "order by attribute has no $dist"


def conditional_upsert_applies_where_it_holds(fixture: Fixture) -> None:
    ns = fixture.client.namespace("conditional")
    ns.write(upsert_rows=[{"id": "a", "version": 3}, {"id": "b", "version": 9}])
    reply = ns.write(
        upsert_rows=[{"id": "a", "version": 5}, {"id": "b", "version": 5}, {"id": "c", "version": 5}],
        upsert_condition=("version", "Lt", 5),
        return_affected_ids=True,
    )
    equal(reply.rows_upserted, 2, "only what was applied")
    equal(sorted(reply.upserted_ids), ["a", "c"])
    ns.write(upsert_rows=[{"id": "a", "version": 0}], upsert_condition=("id", "Eq", None))
    answer = ns.query(rank_by=("id", "asc"), limit=10, include_attributes=["version"])
    equal([(row.id, row.version) for row in answer.rows], [("a", 5), ("b", 9), ("c", 5)])


def rejected_write_changes_nothing(fixture: Fixture) -> None:
    ns = fixture.client.namespace("conditional")
    raises(
        turbopuffer.BadRequestError,
        lambda: ns.write(upsert_rows=[{"id": "d", "version": 1}, {"id": "e", "version": "x"}]),
    )
    equal(ids(ns.query(rank_by=("id", "asc"), limit=10)), ["a", "b", "c"])


def compressed_requests_and_replies_work(fixture: Fixture) -> None:
    ns = fixture.server.client(compression=True).namespace("packed")
    rows = [{"id": n, "text": f"row {n} " * 20} for n in range(500)]
    equal(ns.write(upsert_rows=rows).rows_upserted, 500)
    answer = ns.query(rank_by=("id", "asc"), limit=1_000, include_attributes=True)
    equal(plain(answer), rows)


# ---------------------------------------------------------------------------------- real records


def tate_records_are_written(fixture: Fixture) -> None:
    rows = records.load(ROWS)
    ns = fixture.client.namespace("tate")
    for start in range(0, ROWS, 1_000):
        ns.write(upsert_rows=rows[start : start + 1_000], schema=records.SCHEMA)
    fixture.tate = rows
    equal(ns.metadata().approx_row_count, ROWS)


def tate(fixture: Fixture) -> list[dict]:
    data_folder("ELACSYM_DATA_TATE")
    assert fixture.tate, "the records were not written"
    return fixture.tate


def tate_filters_equal_python(fixture: Fixture) -> None:
    rows = tate(fixture)
    ns = fixture.client.namespace("tate")
    for condition in fixed_filters() + random_filters(seed=7, count=120):
        answer = ns.query(rank_by=("id", "asc"), limit=10_000, filters=condition)
        expected = [row["id"] for row in rows if matches(condition, row)]
        equal(ids(answer), expected, f"filter {condition}")


def tate_orders_equal_python(fixture: Fixture) -> None:
    rows = tate(fixture)
    ns = fixture.client.namespace("tate")
    for order in records.ORDERS:
        expected = records.in_order(rows, order)
        rank_by = order[0] if len(order) == 1 else order
        answer = ns.query(rank_by=rank_by, limit=700)
        equal(ids(answer), [row["id"] for row in expected[:700]], f"order {order}")


def tate_attributes_come_back(fixture: Fixture) -> None:
    rows = {row["id"]: row for row in tate(fixture)}
    answer = fixture.client.namespace("tate").query(
        rank_by=("id", "asc"), limit=10_000, include_attributes=True
    )
    for found in plain(answer):
        expected = {key: value for key, value in rows[found["id"]].items() if value is not None}
        equal(found, expected, found["id"])


# --------------------------------------------------------------------------------------- vectors


def photo_neighbours_equal_numpy(fixture: Fixture) -> None:
    folder = data_folder("ELACSYM_DATA_PHOTO_SIFT")
    with gzip.open(f"{folder}/base.npy.gz") as packed:
        base = numpy.load(io.BytesIO(packed.read()))[:ROWS].astype(numpy.int64)
    queries = numpy.load(f"{folder}/queries.npy")[:40].astype(numpy.int64)
    photo = numpy.load(f"{folder}/photo.npy")[:ROWS].astype(int).tolist()
    ns = fixture.client.namespace("photo-sift")
    for start in range(0, ROWS, 1_000):
        part = slice(start, start + 1_000)
        ns.write(
            upsert_columns={
                "id": list(range(start, start + 1_000)),
                "vector": base[part].astype(float).tolist(),
                "photo": photo[part],
            },
            distance_metric="euclidean_squared",
        )
    numbers = numpy.array(photo)
    half = sorted(set(photo))[::2]
    selections = [
        (None, numpy.ones(ROWS, bool)),
        (["photo", "Eq", half[0]], numbers == half[0]),
        (["photo", "In", half], numpy.isin(numbers, half)),
    ]
    for query in queries:
        # Whole numbers below 2^24: float32 sums are exact in any order, so equality is fair.
        distances = ((base - query) ** 2).sum(axis=1)
        for condition, selected in selections:
            rows = numpy.flatnonzero(selected)
            expected = rows[numpy.lexsort((rows, distances[rows]))][:10]
            for mode in ("ANN",) if condition is None else ("ANN", "kNN"):
                extra = {} if condition is None else {"filters": condition}
                answer = ns.query(rank_by=("vector", mode, query.tolist()), limit=10, **extra)
                what = f"{mode} {condition}"
                equal(ids(answer), expected.tolist(), what)
                equal([row["$dist"] for row in answer.rows], distances[expected].tolist(), what)


def all_metrics_equal_numpy(fixture: Fixture) -> None:
    chance = numpy.random.default_rng(11)
    base = chance.standard_normal((700, 37)).astype(numpy.float32)
    query = chance.standard_normal(37).astype(numpy.float32)
    wide, asked = base.astype(float), query.astype(float)
    norms = numpy.linalg.norm(wide, axis=1) * numpy.linalg.norm(asked)
    truths = {
        "cosine_distance": 1 - wide @ asked / norms,
        "euclidean_squared": ((wide - asked) ** 2).sum(axis=1),
        "dot_product": -(wide @ asked),
    }
    for metric, truth in truths.items():
        ns = fixture.client.namespace(f"metric-{metric}")
        ns.write(
            upsert_columns={"id": list(range(700)), "vector": base.tolist()},
            distance_metric=metric,
        )
        answer = ns.query(rank_by=("vector", "ANN", query.tolist()), limit=50)
        equal(len(answer.rows), 50)
        best = numpy.sort(truth)[:50]
        for row, expected in zip(answer.rows, best, strict=True):
            tolerance = 1e-5 * max(1.0, abs(expected))
            assert abs(row["$dist"] - expected) < tolerance, (metric, row, expected)
            assert abs(truth[row.id] - expected) < tolerance, (metric, row, expected)


# ------------------------------------------------------------------------------------ namespaces


def namespaces_are_listed_in_pages(fixture: Fixture) -> None:
    names = [f"list-{n:02}" for n in range(25)]
    for name in names:
        fixture.client.namespace(name).write(upsert_rows=[{"id": 1, "n": 1}])
    found = [summary.id for summary in fixture.client.namespaces(prefix="list-", page_size=10)]
    equal(found, names)
    everything = [summary.id for summary in fixture.client.namespaces()]
    assert set(names) < set(everything) and everything == sorted(everything)


def metadata_and_schema_describe_the_namespace(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    metadata = ns.metadata().to_dict()
    equal(metadata["approx_row_count"], 3)
    assert metadata["created_at"] and metadata["updated_at"]
    assert metadata["index"]["status"] in ("up-to-date", "updating")
    equal(metadata["schema"]["id"], {"type": "uint"})
    equal(metadata["schema"]["vector"]["type"], "[2]f32")
    equal(metadata["schema"]["vector"]["ann"], {"distance_metric": "euclidean_squared"})
    old = fixture.client.get("/v1/namespaces/rows/metadata", cast_to=object)
    equal(old["approx_row_count"], 3, "metadata of older clients")
    schema = ns.schema()
    equal(schema["id"].type, "uint")
    equal(schema["vector"].type, "[2]f32")
    equal((schema["title"].type, schema["title"].filterable), ("string", True))
    equal((schema["n"].type, schema["tags"].type), ("int", "[]string"))
    assert ns.exists() and not fixture.client.namespace("nothing-here").exists()


def delete_all_drops_and_the_name_starts_anew(fixture: Fixture) -> None:
    ns = fixture.client.namespace("dropped")
    ns.write(upsert_rows=[{"id": 1, "n": 1}])
    equal(ns.delete_all().status, "OK")
    raises(turbopuffer.NotFoundError, lambda: ns.query(rank_by=("id", "asc"), limit=1))
    raises(turbopuffer.NotFoundError, ns.delete_all)
    assert "dropped" not in [summary.id for summary in fixture.client.namespaces()]
    ns.write(upsert_rows=[{"id": "text now", "other": True}])
    answer = ns.query(rank_by=("id", "asc"), limit=10, include_attributes=True)
    equal(plain(answer), [{"id": "text now", "other": True}])


# ---------------------------------------------------------------------------------------- errors


def missing_namespace_is_not_found(fixture: Fixture) -> None:
    ns = fixture.client.namespace("nothing-here")
    for action in (
        lambda: ns.query(rank_by=("id", "asc"), limit=1),
        ns.metadata,
        ns.schema,
        ns.delete_all,
        lambda: ns.write(deletes=[1]),
    ):
        raises(turbopuffer.NotFoundError, action)


def senseless_requests_are_bad_requests(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    fresh = fixture.client.namespace("never-made")
    by_id = ("id", "asc")
    for action in (
        lambda: ns.query(rank_by=by_id, limit=1, filters=("nope", "Eq", 1)),
        lambda: ns.query(rank_by=by_id, limit=1, filters=("n", "Eq", "text")),
        lambda: ns.query(rank_by=by_id, limit=0),
        lambda: ns.query(rank_by=by_id, limit=10_001),
        lambda: ns.query(rank_by=by_id, limit=1, top_k=1),
        lambda: ns.query(rank_by=by_id, limit=1, include_attributes=["nope"]),
        lambda: ns.query(rank_by=("nope", "asc"), limit=1),
        lambda: ns.query(rank_by=("vector", "kNN", [0.0, 0.0]), limit=1),
        lambda: ns.query(rank_by=("vector", "ANN", [0.0, 0.0, 0.0]), limit=1),
        lambda: ns.write(upsert_rows=[{"id": 9, "vector": [1.0, 2.0, 3.0]}]),
        lambda: ns.write(upsert_rows=[{"id": 9, "n": 1}]),
        lambda: ns.write(upsert_rows=[{"id": "text", "vector": [1.0, 2.0]}]),
        lambda: ns.write(upsert_rows=[{"id": 9, "vector": [1.0, 2.0]}], deletes=[9]),
        lambda: ns.write(
            upsert_rows=[{"id": 9, "vector": [1.0, 2.0]}], distance_metric="cosine_distance"
        ),
        lambda: ns.write(),
        lambda: fresh.write(upsert_rows=[{"id": 1, "vector": [1.0]}]),
        lambda: fresh.write(upsert_rows=[{"id": "x" * 65}]),
        lambda: fresh.write(upsert_rows=[{"id": 1, "$dist": 1}]),
        lambda: fixture.client.namespace("no spaces").metadata(),
    ):
        raises(turbopuffer.BadRequestError, action)
    assert not fresh.exists(), "a refused first write must not make the namespace"


def misshapen_requests_are_unprocessable(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    by_id = ("id", "asc")
    for action in (
        lambda: ns.query(rank_by=by_id, limit=1, filters=("n", "Resembles", 1)),
        lambda: ns.query(rank_by=by_id, limit=1, filters=("n", "In", [1, None])),
        lambda: ns.query(rank_by=by_id, limit=1, filters=("n", "In", [1, "2"])),
        lambda: ns.query(rank_by=by_id, top_k=-1),
        lambda: ns.query(rank_by=by_id, limit=1, include_attributes="n"),
        lambda: ns.query(rank_by=by_id, limit=1, consistency="eventual"),
        lambda: ns.query(rank_by=by_id, limit=1, consistency={"level": "psychic"}),
        lambda: ns.write(extra_body={"upsert_rows": {"id": 1}}),
        lambda: ns.write(upsert_rows=[{"id": 9, "vector": [1.0, 2.0]}], distance_metric="taxi"),
    ):
        raises(turbopuffer.UnprocessableEntityError, action)


def features_not_served_say_so(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    for action in (
        lambda: ns.query(rank_by=("title", "BM25", "one"), limit=1),
        lambda: ns.write(copy_from_namespace="rows"),
    ):
        try:
            action()
        except turbopuffer.APIStatusError as error:
            assert error.status_code in (400, 404, 501), error
            equal(error.body["status"], "error")
        else:
            raise AssertionError("an unknown request was answered as if it had been understood")
    equal(len(ns.query(rank_by=("id", "asc"), limit=10).rows), 3, "and nothing was changed")


def wrong_key_is_unauthenticated(_: Fixture) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    with tempfile.TemporaryDirectory(prefix="elacsym-keys-") as folder:
        server = Server(pathlib.Path(folder), ELACSYM_AUTH__KEY_DIGESTS=digest)
        try:
            right, wrong = (server.client(api_key=key).namespace("k") for key in ("right", "wrong"))
            row = [{"id": 1, "n": 1}]
            raises(turbopuffer.AuthenticationError, lambda: wrong.write(upsert_rows=row))
            equal(right.write(upsert_rows=row).rows_upserted, 1)
            raises(turbopuffer.AuthenticationError, wrong.metadata)
        finally:
            server.kill()


# ------------------------------------------------------------------------- consistency and death


def consistency_levels_are_accepted(fixture: Fixture) -> None:
    ns = fixture.client.namespace("rows")
    for level in ({"level": "strong"}, {"level": "eventual"}):
        answer = ns.query(rank_by=("id", "asc"), limit=10, consistency=level)
        equal(ids(answer), [2, 3, 2**64 - 1], str(level))


def two_servers_on_one_folder_agree(fixture: Fixture) -> None:
    other = Server(fixture.folder)
    try:
        sides = [
            fixture.client.namespace("shared"),
            other.client().namespace("shared"),
        ]
        for n in range(30):
            writer, reader = sides[n % 2], sides[(n + 1) % 2]
            writer.write(upsert_rows=[{"id": n, "n": n}])
            answer = reader.query(rank_by=("id", "asc"), limit=100)
            equal(ids(answer), list(range(n + 1)), "a strong read sees the other server's write")
        failures: list[Exception] = []

        def write_many(side: int) -> None:
            try:
                for n in range(40):
                    sides[side].write(upsert_rows=[{"id": 1_000 * (side + 1) + n, "n": n}])
            except Exception as error:  # noqa: BLE001 - reported by the main thread
                failures.append(error)

        threads = [threading.Thread(target=write_many, args=(side,)) for side in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        expected = [*range(30), *range(1_000, 1_040), *range(2_000, 2_040)]
        for side in sides:
            equal(ids(side.query(rank_by=("id", "asc"), limit=1_000)), expected)
        sides[1].delete_all()
        raises(turbopuffer.NotFoundError, lambda: sides[0].query(rank_by=("id", "asc"), limit=1))
    finally:
        other.kill()


def killed_server_comes_back_with_everything(fixture: Fixture) -> None:
    names = [summary.id for summary in fixture.client.namespaces()]
    assert len(names) > 25, names

    def everything() -> dict:
        return {
            name: plain(
                fixture.client.namespace(name).query(
                    rank_by=("id", "asc"), limit=10_000, include_attributes=True
                )
            )
            for name in names
        }

    fixture.client.namespace("rows").write(deletes=[3])
    before = everything()
    fixture.restart_after_kill()
    equal([summary.id for summary in fixture.client.namespaces()], names)
    after = everything()
    for name in names:
        equal(after[name], before[name], name)
    fixture.client.namespace("rows").write(upsert_rows=[{"id": 50, "vector": [1.0, 1.0]}])
    equal(ids(fixture.client.namespace("rows").query(rank_by=("id", "asc"), limit=2)), [2, 50])


def asked_to_stop_ends_with_success(fixture: Fixture) -> None:
    equal(fixture.server.stop(), 0, "exit status after SIGTERM")


TESTS = [
    process_endpoints_answer,
    write_rows_is_read_at_once,
    write_columns_replaces_whole_documents,
    query_replies_carry_cost,
    deletes_remove_and_tolerate_absent_ids,
    conditional_upsert_applies_where_it_holds,
    rejected_write_changes_nothing,
    compressed_requests_and_replies_work,
    tate_records_are_written,
    tate_filters_equal_python,
    tate_orders_equal_python,
    tate_attributes_come_back,
    photo_neighbours_equal_numpy,
    all_metrics_equal_numpy,
    namespaces_are_listed_in_pages,
    metadata_and_schema_describe_the_namespace,
    delete_all_drops_and_the_name_starts_anew,
    missing_namespace_is_not_found,
    senseless_requests_are_bad_requests,
    misshapen_requests_are_unprocessable,
    features_not_served_say_so,
    wrong_key_is_unauthenticated,
    consistency_levels_are_accepted,
    two_servers_on_one_folder_agree,
    killed_server_comes_back_with_everything,
    asked_to_stop_ends_with_success,
]


if __name__ == "__main__":
    main(TESTS, Fixture)
