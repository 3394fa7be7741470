"""Every call of the official Python client, its classes of errors, and the ways in which LangChain's integration uses it.

Run through `tests/client/run`. No answer of this version is 403 (a key that is valid opens everything) or 409 (what could
be there already, the target of a copy, is not served), so PermissionDeniedError and ConflictError do not arise.
"""

import asyncio
import pathlib
import tempfile
import time

import turbopuffer

from server import Server
from suite import equal, main, raises

BY_ID = ("id", "asc")
HASTE_SECONDS = 3.0


class Fixture:
    """One server, and a client of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.server = Server(folder)
        self.client = self.server.client()


def ids(answer) -> list:
    return [row.id for row in answer.rows]


def plain(answer) -> list[dict]:
    return [row.to_dict() for row in answer.rows]


# ----------------------------------------------------------------------------------------- calls


def listing_takes_prefix_and_pages(fixture: Fixture) -> None:
    names = [f"list-{n:02}" for n in range(7)]
    for name in reversed(names):
        fixture.client.namespace(name).write(upsert_rows=[{"id": 1}])
    fixture.client.namespace("other").write(upsert_rows=[{"id": 1}])
    for size in (1, 3, 7, 1_000):
        pages = fixture.client.namespaces(prefix="list-", page_size=size)
        equal([summary.id for summary in pages], names, f"pages of {size}")
    equal([summary.id for summary in fixture.client.namespaces(prefix="none")], [])
    first = fixture.client.namespaces(prefix="list-", page_size=3)
    equal([summary.id for summary in first.namespaces], names[:3])
    equal([summary.id for summary in first.get_next_page().namespaces], names[3:6])
    for query in ({"page_size": 0}, {"page_size": 1_001}, {"cursor": "no cursor"}):
        raises(turbopuffer.BadRequestError, lambda query=query: fixture.client.namespaces(**query))


def schema_is_told_and_changed(fixture: Fixture) -> None:
    ns = fixture.client.namespace("schema")
    equal(ns.exists(), False)
    ns.write(
        upsert_rows=[{"id": 1, "vector": [1.0, 0.0], "name": "a", "tags": ["x"]}],
        distance_metric="cosine_distance",
        schema={"seen": "datetime", "code": {"type": "string", "filterable": False}},
    )
    equal(ns.exists(), True)
    told = ns.schema()
    types = {name: config.type for name, config in told.items()}
    expected = {"id": "uint", "vector": "[2]f32", "name": "string", "tags": "[]string"}
    equal(types, {**expected, "seen": "datetime", "code": "string"})
    equal((told["name"].filterable, told["code"].filterable), (True, False))
    changed = ns.update_schema(schema={"code": {"type": "string", "filterable": True}, "n": "int"})
    equal((changed["code"].filterable, changed["n"].type), (True, "int"))
    equal({name: config.type for name, config in ns.schema().items()}, {**types, "n": "int"})
    raises(turbopuffer.BadRequestError, lambda: ns.update_schema(schema={"n": "string"}), "n")


def metadata_are_told_and_changed(fixture: Fixture) -> None:
    ns = fixture.client.namespace("metadata")
    ns.write(upsert_rows=[{"id": n, "n": n} for n in range(5)])
    told = ns.metadata()
    equal(told.approx_row_count, 5)
    assert told.approx_logical_bytes > 0 and told.created_at <= told.updated_at
    equal(told.encryption.mode, "default")
    equal(ns.update_metadata(pinning={"replicas": 3}).pinning.replicas, 3)
    equal(ns.update_metadata(pinning=None).pinning, None)
    equal(ns.update_metadata(read_only=True).read_only, True)
    error = raises(turbopuffer.BadRequestError, lambda: ns.write(upsert_rows=[{"id": 9}]))
    equal(error.body["type"], "namespace_read_only")
    assert ns.update_metadata(read_only=False).read_only is None
    equal(ns.write(upsert_rows=[{"id": 9}]).rows_upserted, 1)


def hint_is_accepted(fixture: Fixture) -> None:
    reply = fixture.client.namespace("metadata").hint_cache_warm()
    equal(reply.status, "ACCEPTED")
    assert isinstance(reply.message, str)


def plans_are_text(fixture: Fixture) -> None:
    ns = fixture.client.namespace("schema")
    for query in (
        {"rank_by": ("vector", "ANN", [1.0, 0.0]), "limit": 3},
        {"rank_by": BY_ID, "limit": 3, "filters": ("name", "Eq", "a")},
        {"filters": ("name", "Eq", "a"), "limit": 1},
        {"aggregate_by": {"n": ("Count",)}, "group_by": ["name"]},
    ):
        plan = ns.explain_query(**query).plan_text
        assert isinstance(plan, str) and len(plan) > 10, plan
    raises(turbopuffer.BadRequestError, lambda: ns.explain_query(rank_by=BY_ID, limit=0))
    raises(turbopuffer.UnprocessableEntityError, lambda: ns.explain_query(rank_by=BY_ID, top_k=-1))
    none = fixture.client.namespace("none")
    raises(turbopuffer.NotFoundError, lambda: none.explain_query(rank_by=BY_ID, limit=1))


def recall_is_measured(fixture: Fixture) -> None:
    ns = fixture.client.namespace("recall")
    rows = [{"id": n, "vector": [float(n % 7), float(n % 5)], "n": n} for n in range(35)]
    ns.write(upsert_rows=rows, distance_metric="cosine_distance")
    told = ns.recall()
    equal((told.avg_recall, told.avg_ann_count, told.avg_exhaustive_count), (1.0, 10.0, 10.0))
    equal(told.ground_truth, None)
    told = ns.recall(num=3, top_k=4, filters=("n", "Lt", 20), include_ground_truth=True)
    equal((told.avg_recall, len(told.ground_truth)), (1.0, 3))
    for truth in told.ground_truth:
        equal((len(truth.query_vector), len(truth.nearest_neighbors)), (2, 4))
        assert all(row.id < 20 and row["$dist"] >= 0 for row in truth.nearest_neighbors)
    raises(turbopuffer.BadRequestError, lambda: ns.recall(num=0))
    raises(turbopuffer.NotFoundError, fixture.client.namespace("none").recall)


def copies_and_branches_are_refused(fixture: Fixture) -> None:
    fixture.client.namespace("source").write(upsert_rows=[{"id": 1}])
    target = fixture.client.namespace("target")
    for call in (
        lambda: target.copy_from(source_namespace="source"),
        lambda: target.branch_from(source_namespace="source"),
        lambda: target.write(copy_from_namespace="source"),
        lambda: target.write(branch_from_namespace="source"),
        lambda: target.start_copy_from(source_namespace="source"),
        lambda: target.poll_copy_from(token="token"),
    ):
        error = raises(turbopuffer.InternalServerError, call, "not supported")
        equal((error.status_code, error.body["type"]), (501, "not_supported"))
    equal(target.exists(), False)


def asynchronous_client_does_the_same(fixture: Fixture) -> None:
    async def story() -> None:
        options = {"api_key": "any-key", "base_url": fixture.server.url, "max_retries": 0}
        async with turbopuffer.AsyncTurbopuffer(**options) as client:
            ns = client.namespace("asynchronous")
            equal(await ns.exists(), False)
            reply = await ns.write(
                upsert_rows=[{"id": n, "vector": [float(n), 0.0]} for n in range(20)],
                distance_metric="euclidean_squared",
            )
            equal(reply.rows_upserted, 20)
            queries = [ns.query(rank_by=("vector", "ANN", [float(n), 0.0]), limit=1) for n in range(20)]
            equal([ids(answer) for answer in await asyncio.gather(*queries)], [[n] for n in range(20)])
            several = await ns.multi_query(queries=[{"rank_by": BY_ID, "limit": 2}] * 2)
            equal([ids(result) for result in several.results], [[0, 1]] * 2)
            names = [summary.id async for summary in client.namespaces(prefix="asyn", page_size=1)]
            equal(names, ["asynchronous"])
            equal((await ns.metadata()).approx_row_count, 20)
            equal((await ns.delete_all()).status, "OK")
            equal(await ns.exists(), False)

    asyncio.run(story())


def strict_client_accepts_every_answer(fixture: Fixture) -> None:
    """By default this client checks nothing of what it is answered; here it demands every field of its types."""
    client = fixture.server.client(_strict_response_validation=True)
    ns = client.namespace("strict")
    rows = [{"id": n, "vector": [float(n), 1.0], "n": n, "tags": ["a"], "b": "AAA="} for n in range(9)]
    by_vector = {"rank_by": ("vector", "ANN", [1.0, 1.0]), "limit": 5, "include_attributes": True}
    by_id = {"rank_by": BY_ID, "limit": 2}
    count = {"rows": ("Count",)}
    for call in (
        lambda: ns.write(
            upsert_rows=rows,
            distance_metric="cosine_distance",
            schema={"b": "bytes", "r": {"type": "string", "regex": True}},
            return_affected_ids=True,
        ),
        lambda: ns.write(
            delete_by_filter=("n", "Eq", 3),
            patch_by_filter={"filters": ("n", "Eq", 4), "patch": {"n": 5}},
            return_affected_ids=True,
        ),
        lambda: ns.query(**by_vector),
        lambda: ns.query(**by_vector, vector_encoding="base64"),
        lambda: ns.query(aggregate_by=count),
        lambda: ns.query(aggregate_by=count, group_by=["n"]),
        lambda: ns.multi_query(queries=[by_id, by_vector]),
        lambda: ns.multi_query(queries=[by_id, by_vector], rerank_by=("RRF",)),
        lambda: ns.explain_query(**by_id),
        lambda: ns.recall(num=2, include_ground_truth=True),
        ns.schema,
        lambda: ns.update_schema(schema={"n": {"type": "int", "filterable": False}}),
        lambda: ns.update_metadata(pinning=True, read_only=True),
        ns.metadata,
        ns.hint_cache_warm,
        lambda: list(client.namespaces()),
        ns.delete_all,
    ):
        call()


# ---------------------------------------------------------------------------------------- errors


def refusals_are_not_retried(fixture: Fixture) -> None:
    # A client as people make it, with its four retries.
    ns = fixture.server.client(max_retries=4).namespace("source")
    none = fixture.server.client(max_retries=4).namespace("none")
    began = time.monotonic()
    raises(turbopuffer.BadRequestError, lambda: ns.query(rank_by=BY_ID, limit=0))
    raises(turbopuffer.NotFoundError, none.schema)
    raises(turbopuffer.UnprocessableEntityError, lambda: ns.query(rank_by=BY_ID, top_k=-1))
    raises(turbopuffer.InternalServerError, lambda: ns.start_copy_from(source_namespace="x"))
    assert time.monotonic() - began < HASTE_SECONDS, "a refusal was sent again"


def full_tail_is_a_rate_limit(_: Fixture) -> None:
    settings = {"ELACSYM_TAIL__SLOW_BYTES": "20000", "ELACSYM_TAIL__MAX_BYTES": "20000"}
    with tempfile.TemporaryDirectory(prefix="elacsym-full-") as folder:
        server = Server(pathlib.Path(folder), **settings)
        try:
            ns = server.client().namespace("full")
            row = {"text": "x" * 30_000}
            schema = {"text": {"type": "string", "filterable": False}}
            ns.write(upsert_rows=[{"id": 1, **row}], schema=schema)
            error = raises(turbopuffer.RateLimitError, lambda: ns.write(upsert_rows=[{"id": 2, **row}]))
            equal((error.status_code, error.body["type"]), (429, "tail_full"))
            assert int(error.response.headers["retry-after-ms"]) > 0
        finally:
            server.kill()


def dead_server_is_a_connection_error(_: Fixture) -> None:
    with tempfile.TemporaryDirectory(prefix="elacsym-dead-") as folder:
        server = Server(pathlib.Path(folder))
        server.kill()
        try:
            server.client().namespace("x").metadata()
        except turbopuffer.APIConnectionError as error:
            assert type(error) is turbopuffer.APIConnectionError, error
        else:
            raise AssertionError("a dead server answered")


# ------------------------------------------------------------------------------------- LangChain


def vector_store_of_langchain_works(fixture: Fixture) -> None:
    """The requests its integration makes: text ids, metadata of any type, lookups by ids without an order."""
    ns = fixture.client.namespace("langchain")
    rows = [
        {"id": "b", "vector": [1.0, 0.0], "content": "foo", "page": 1, "score": 0.5, "new": True},
        {"id": "a", "vector": [0.0, 1.0], "content": "bar", "page": 2, "score": 2.0, "lang": "en"},
        {"id": "c", "vector": [1.0, 1.0], "content": "baz", "page": 3},
    ]
    ns.write(upsert_rows=rows, distance_metric="cosine_distance")
    equal(ns.schema()["score"].type, "float", "a fraction makes a float")
    # An integer afterwards is a float too.
    ns.write(upsert_rows=[{**rows[2], "score": 3}], distance_metric="cosine_distance")
    by_ids = ns.query(filters=("id", "In", ["c", "a", "missing"]), top_k=3, include_attributes=True)
    equal(plain(by_ids), [rows[1], {**rows[2], "score": 3.0}], "by id, without an order")
    found = ns.query(
        rank_by=("vector", "ANN", [1.0, 0.1]),
        top_k=2,
        filters=("And", [("page", "Lte", 2), ("score", "Lt", 5)]),
        exclude_attributes=["vector"],
    )
    equal(ids(found), ["b", "a"])
    first = found.rows[0].to_dict()
    assert first.pop("$dist") < 0.01
    equal(first, {key: value for key, value in rows[0].items() if key != "vector"})
    equal(ns.write(deletes=["a", "missing"]).rows_deleted, 2)
    equal(ids(ns.query(filters=("id", "In", ["a", "b"]), top_k=2)), ["b"])
    ns.write(upsert_rows=[{**rows[0], "content": "new"}], distance_metric="cosine_distance")
    equal(ns.query(filters=("id", "Eq", "b"), top_k=1, include_attributes=["content"]).rows[0].content, "new")
    ns.delete_all()
    raises(turbopuffer.NotFoundError, lambda: ns.query(filters=("id", "In", ["a"]), top_k=1))


TESTS = [
    listing_takes_prefix_and_pages,
    schema_is_told_and_changed,
    metadata_are_told_and_changed,
    hint_is_accepted,
    plans_are_text,
    recall_is_measured,
    copies_and_branches_are_refused,
    asynchronous_client_does_the_same,
    strict_client_accepts_every_answer,
    refusals_are_not_retried,
    full_tail_is_a_rate_limit,
    dead_server_is_a_connection_error,
    vector_store_of_langchain_works,
]


if __name__ == "__main__":
    main(TESTS, Fixture)
