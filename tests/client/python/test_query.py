"""Queries through the official Python client: every operator, numbers, scores, fusions, and what comes back,
each compared with the slow and obvious evaluation of the same rows.

Run through `tests/client/run`.
"""

import base64
import json
import pathlib
import struct
import urllib.request

import turbopuffer

import samples
from server import Server
from suite import equal, main, raises

COUNT = 240
BY_ID = ("id", "asc")


class Fixture:
    """A server with one namespace: a part of its rows in segments, some replaced or deleted there, the rest in the log."""

    def __init__(self, folder: pathlib.Path):
        self.server = Server(folder)
        self.client = self.server.client()
        self.ns = self.client.namespace("samples")
        old = samples.rows(COUNT // 2, seed=1)
        write = {"distance_metric": "euclidean_squared", "schema": samples.SCHEMA}
        self.ns.write(upsert_rows=[*old, {"id": 100_000, "vector": [0.0, 0.0, 0.0]}], **write)
        request = urllib.request.Request(
            f"{self.server.url}/v1/namespaces/samples/flush", method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            equal(reply.status, 200, "flush")
        rows = samples.rows(COUNT, seed=2)
        # Every fourth of the flushed rows stays as it is in the segment.
        rows = [old[n] if n % 4 == 0 and n < len(old) else row for n, row in enumerate(rows)]
        changed = [row for n, row in enumerate(rows) if not (n % 4 == 0 and n < len(old))]
        self.ns.write(upsert_rows=changed, deletes=[100_000], **write)
        self.rows = rows


def ids(answer) -> list:
    return [row.id for row in answer.rows]


def plain(answer) -> list[dict]:
    return [row.to_dict() for row in answer.rows]


def close(found: float, expected: float, what) -> None:
    assert abs(found - expected) <= 1e-6 * max(1.0, abs(expected)), (what, found, expected)


# --------------------------------------------------------------------------------------- filters


def every_operator_equals_python(fixture: Fixture) -> None:
    for condition in samples.operator_filters() + samples.random_filters(seed=3, count=120):
        answer = fixture.ns.query(rank_by=BY_ID, limit=10_000, filters=condition)
        expected = [row["id"] for row in fixture.rows if samples.selects(condition, row)]
        equal(ids(answer), expected, f"filter {condition}")


def filters_alone_order_by_id(fixture: Fixture) -> None:
    answer = fixture.ns.query(filters=["open", "Eq", True], limit=7)
    expected = [row["id"] for row in fixture.rows if row.get("open") is True]
    equal(plain(answer), [{"id": number} for number in expected[:7]])


def filters_may_be_text(fixture: Fixture) -> None:
    for text, condition in (
        ("year >= 1895", ["year", "Gte", 1895]),
        ("topic = 'Sky and sea' OR year IS NULL", ["Or", [["topic", "Eq", "Sky and sea"], ["year", "Eq", None]]]),
        ("NOT (u < 5 AND open = true)", ["Not", ["And", [["u", "Lt", 5], ["open", "Eq", True]]]]),
        ("tags CONTAINS 'red' AND tags NOT CONTAINS 'blue'", ["And", [["tags", "Contains", "red"], ["tags", "NotContains", "blue"]]]),
        ("tags CONTAINS ANY ('red', 'grey')", ["tags", "ContainsAny", ["red", "grey"]]),
        ("year NOT IN (1890, 1891)", ["year", "NotIn", [1890, 1891]]),
        ("ANY scores >= 8", ["scores", "AnyGte", 8]),
        ("topic IGLOB 'SKY*' OR tags REGEX '^g'", ["Or", [["topic", "IGlob", "SKY*"], ["tags", "Regex", "^g"]]]),
        ("big = 9007199254740993", ["big", "Eq", 2**53 + 1]),
    ):
        expected = [row["id"] for row in fixture.rows if samples.selects(condition, row)]
        answer = fixture.ns.query(rank_by=BY_ID, limit=10_000, extra_body={"filters": text})
        equal(ids(answer), expected, text)


def operators_not_served_say_so(fixture: Fixture) -> None:
    for condition in (
        ("topic", "ContainsAllTokens", "sea"),
        ("topic", "ContainsAnyToken", ["sea"]),
        ("topic", "ContainsTokenSequence", "sea"),
    ):
        error = raises(
            turbopuffer.BadRequestError,
            lambda condition=condition: fixture.ns.query(rank_by=BY_ID, limit=1, filters=condition),
            condition[1],
        )
        equal(error.body["type"], "unsupported", condition)


# --------------------------------------------------------------------------------- what comes back


def attributes_are_included_or_excluded(fixture: Fixture) -> None:
    rows = {row["id"]: row for row in fixture.rows}
    answer = fixture.ns.query(rank_by=BY_ID, limit=10_000, include_attributes=True)
    equal(plain(answer), fixture.rows, "everything")
    answer = fixture.ns.query(rank_by=BY_ID, limit=20, exclude_attributes=["vector", "tags", "never"])
    for row in plain(answer):
        expected = {k: v for k, v in rows[row["id"]].items() if k not in ("vector", "tags")}
        equal(row, expected)
    answer = fixture.ns.query(rank_by=BY_ID, limit=20, include_attributes=["year", "tags"])
    for row in plain(answer):
        expected = {k: v for k, v in rows[row["id"]].items() if k in ("id", "year", "tags")}
        equal(row, expected)


def vectors_come_back_as_asked(fixture: Fixture) -> None:
    for encoding in ("float", "base64"):
        answer = fixture.ns.query(
            rank_by=BY_ID, limit=20, include_attributes=["vector"], vector_encoding=encoding
        )
        for row, expected in zip(answer.rows, fixture.rows, strict=False):
            found = row.vector
            if encoding == "base64":
                found = list(struct.unpack("<3f", base64.b64decode(found)))
            equal(found, expected["vector"], encoding)


def offsets_page_through_an_order(fixture: Fixture) -> None:
    whole = ids(fixture.ns.query(rank_by=("share", "desc"), limit=10_000))
    equal(len(whole), COUNT)
    paged = []
    for offset in range(0, COUNT, 50):
        paged += ids(fixture.ns.query(rank_by=("share", "desc"), limit=50, extra_body={"offset": offset}))
    equal(paged, whole)


# --------------------------------------------------------------------------------------- numbers


def pages_are_of_the_state_that_the_first_one_saw(fixture: Fixture) -> None:
    ns = fixture.client.namespace("pages")
    written = ns.write(upsert_rows=[{"id": n, "year": 1900 + n % 7} for n in range(100)])
    order = {"rank_by": ("year", "desc"), "filters": ("year", "Gt", 1901), "include_attributes": True}
    whole = plain(ns.query(**order, limit=1_000))
    assert len(whole) > 50, len(whole)
    paged, cursor = [], True
    while cursor is not None:
        answer = ns.query(**order, limit=17, extra_body={"cursor": cursor})
        paged += plain(answer)
        cursor = answer.next_cursor
        ns.write(upsert_rows=[{"id": len(paged), "year": 2000}], deletes=[len(paged) + 40])
    equal(paged, whole, "all pages")
    now = ns.query(rank_by=BY_ID, limit=1_000)
    assert len(now.rows) < 100, len(now.rows)
    seq = written.seq
    past = ns.query(**order, limit=1_000, extra_body={"as_of": {"seq": seq}})
    equal(plain(past), whole, f"the state at {seq}")
    groups = {"aggregate_by": {"n": ("Count",)}, "group_by": ["year"]}
    first = ns.query(**groups, limit=3, extra_body={"cursor": True})
    second = ns.query(**groups, limit=100, extra_body={"cursor": first.next_cursor})
    both = first.aggregation_groups + second.aggregation_groups
    equal(both, ns.query(**groups).aggregation_groups, "all groups")
    equal(second.next_cursor, None, "the cursor of the last page")
    for wrong in ({"cursor": first.next_cursor}, {"cursor": "x"}, {"as_of": {"seq": 10**9}}):
        raises(turbopuffer.BadRequestError, lambda wrong=wrong: ns.query(**order, limit=1, extra_body=wrong))
    ns.delete_all()


def sums_and_counts_equal_python(fixture: Fixture) -> None:
    for condition in (None, ["year", "Gt", 1895], ["id", "Gt", 10**6]):
        extra = {} if condition is None else {"filters": condition}
        # The bytes themselves: what the client reads JSON with rounds integers of more than 64 bits.
        reply = fixture.ns.with_raw_response.query(
            aggregate_by={
                "n": ("Count",),
                "big": ("Sum", "big"),
                "u": ("Sum", "u"),
                "share": ("Sum", "share"),
            },
            **extra,
        )
        answer = json.loads(reply.read())
        rows = [row for row in fixture.rows if condition is None or samples.selects(condition, row)]
        expected = {"n": len(rows)}
        for name in ("big", "u", "share"):
            expected[name] = sum(row.get(name, 0) for row in rows)
        equal(answer["aggregations"], expected, condition)
        equal(reply.parse().aggregations["n"], expected["n"])
        assert reply.parse().rows is None, "numbers instead of rows"


def groups_equal_python(fixture: Fixture) -> None:
    for keys in (["topic"], ["open", "year"], ["u", "topic", "open"], ["share"]):
        expected = [
            {
                **dict(zip(keys, key, strict=True)),
                "n": len(rows),
                "u_sum": sum(row.get("u", 0) for row in rows),
            }
            for key, rows in samples.groups(fixture.rows, keys).items()
        ]
        for limit in (None, 3):
            answer = fixture.ns.query(
                aggregate_by={"n": ("Count",), "u_sum": ("Sum", "u")},
                group_by=keys,
                **({} if limit is None else {"limit": limit}),
            )
            found = [dict(group) for group in answer.aggregation_groups]
            equal(found, expected[:limit], (keys, limit))


def elements_of_lists_are_groups(fixture: Fixture) -> None:
    answer = fixture.ns.query(
        aggregate_by={"n": ("Count",)}, group_by=[{"tag": ("ForEachUnique", "tags")}, "open"]
    )
    spread = [
        {"tag": tag, "open": row.get("open")}
        for row in fixture.rows
        for tag in ([None] if row.get("tags") is None else sorted(set(row["tags"])))
    ]
    expected = [
        {"tag": key[0], "open": key[1], "n": len(rows)}
        for key, rows in samples.groups(spread, ["tag", "open"]).items()
    ]
    equal([dict(group) for group in answer.aggregation_groups], expected)


# ---------------------------------------------------------------------------------------- scores


def decay(distance: float, midpoint: float, exponent: float) -> float:
    return midpoint**exponent / (distance**exponent + midpoint**exponent)


def scores_equal_python(fixture: Fixture) -> None:
    def get(row: dict, name: str) -> float:
        return row.get(name, 0) or 0

    def near(row: dict) -> float:
        return decay(abs(row["share"] - 0.5), 2.0, 2) if "share" in row else 0.0

    def full(row: dict) -> float:
        return get(row, "u") ** 2 / (get(row, "u") ** 2 + 9) if "u" in row else 0.0

    sea = ("topic", "Eq", "sea")
    for rank_by, score, keeps_zeros in (
        (sea, lambda row: float(row.get("topic") == "sea"), False),
        (
            ("Sum", [sea, ("Product", 3, ("open", "Eq", True))]),
            lambda row: (row.get("topic") == "sea") + 3 * (row.get("open") is True),
            False,
        ),
        (("Attribute", "u"), lambda row: get(row, "u"), True),
        (
            ("Max", [0.5, ("Product", ("Attribute", "u"), 0.25)]),
            lambda row: max(0.5, get(row, "u") / 4),
            True,
        ),
        (("Saturate", ("Attribute", "u"), {"midpoint": 3, "exponent": 2}), full, True),
        (
            ("Decay", ("Dist", ("Attribute", "share"), 0.5), {"midpoint": 2.0, "exponent": 2}),
            near,
            True,
        ),
        (
            ("Sum", [sea, ("Max", [0, ("Attribute", "share")])]),
            lambda row: (row.get("topic") == "sea") + max(0, get(row, "share")),
            True,
        ),
    ):
        answer = fixture.ns.query(rank_by=rank_by, limit=10_000)
        scored = [(score(row), row["id"]) for row in fixture.rows]
        if not keeps_zeros:
            scored = [pair for pair in scored if pair[0] > 0]
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        equal(len(answer.rows), len(scored), rank_by)
        truth = {number: value for value, number in scored}
        for row, (expected, _) in zip(answer.rows, scored, strict=True):
            close(row["$dist"], expected, (rank_by, row.id))
            close(row["$dist"], truth[row.id], (rank_by, row.id))


def values_are_computed(fixture: Fixture) -> None:
    answer = fixture.ns.query(
        rank_by=("vector", "ANN", [0.0, 0.0, 0.0]),
        limit=30,
        compute_attributes={
            "far": ("vector", "VectorDist", [1.0, 2.0, 3.0]),
            "double": ("Product", 2, ("Attribute", "u")),
        },
    )
    rows = {row["id"]: row for row in fixture.rows}
    for row in answer.rows:
        vector = rows[row.id]["vector"]
        close(row.far, sum((a - b) ** 2 for a, b in zip(vector, (1, 2, 3), strict=True)), row.id)
        close(row.double, 2 * rows[row.id].get("u", 0), row.id)
        close(row["$dist"], sum(a * a for a in vector), row.id)


def rows_that_are_alike_are_limited(fixture: Fixture) -> None:
    answer = fixture.ns.query(
        rank_by=("share", "desc"),
        limit={"total": 30, "per": {"attributes": ["topic", "open"], "limit": 2}},
        include_attributes=["topic", "open"],
    )
    order = sorted(fixture.rows, key=lambda row: row["id"])
    order.sort(key=lambda row: row.get("share", float("-inf")), reverse=True)
    taken: dict[tuple, int] = {}
    expected = []
    for row in order:
        key = (row.get("topic"), row.get("open"))
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= 2:
            expected.append(row["id"])
    equal(ids(answer), expected[:30])


# ------------------------------------------------------------------------------- several queries


def several_queries_are_answered_together(fixture: Fixture) -> None:
    answer = fixture.ns.multi_query(
        queries=[
            {"rank_by": BY_ID, "limit": 3},
            {"rank_by": ("vector", "kNN", [1.0, 0.0, 0.0]), "limit": 4, "filters": ("open", "Eq", True)},
            {"aggregate_by": {"n": ("Count",)}},
            {"aggregate_by": {"n": ("Count",)}, "group_by": ["open"]},
        ],
        consistency={"level": "eventual"},
    )
    equal(len(answer.results), 4)
    alone = fixture.ns.query(
        rank_by=("vector", "kNN", [1.0, 0.0, 0.0]), limit=4, filters=("open", "Eq", True)
    )
    equal(ids(answer.results[0]), [1, 2, 3])
    equal(plain(answer.results[1]), plain(alone))
    equal(answer.results[2].aggregations, {"n": COUNT})
    equal(sum(group["n"] for group in answer.results[3].aggregation_groups), COUNT)
    assert answer.performance.server_total_ms >= 0 and answer.billing is not None


def fused_queries_equal_python(fixture: Fixture) -> None:
    queries = [
        {"rank_by": ("vector", "ANN", [1.0, 2.0, 3.0]), "limit": 40, "include_attributes": ["u"]},
        {"rank_by": ("Attribute", "u"), "limit": 25, "include_attributes": ["topic"]},
        {"rank_by": ("share", "desc"), "limit": 30},
    ]
    lists = [ids(result) for result in fixture.ns.multi_query(queries=queries).results]
    rows = {row["id"]: row for row in fixture.rows}
    for params, k, weights, extra in (
        (("RRF",), 60, [1, 1, 1], {"limit": 20}),
        (("RRF", {"rank_constant": 5, "weights": [1, 3, 0.5]}), 5, [1, 3, 0.5], {"limit": 15, "offset": 4}),
    ):
        answer = fixture.ns.multi_query(queries=queries, rerank_by=params, extra_body=extra)
        equal(len(answer.results), 1)
        scores: dict[int, float] = {}
        for weight, found in zip(weights, lists, strict=True):
            for rank, number in enumerate(found, start=1):
                scores[number] = scores.get(number, 0.0) + weight / (k + rank)
        order = sorted(scores, key=lambda number: (-scores[number], number))
        start = extra.get("offset", 0)
        equal(ids(answer.results[0]), order[start : start + extra["limit"]], params)
        for row in answer.results[0].rows:
            close(row["$dist"], scores[row.id], row.id)
            if row.id in lists[0]:
                equal(row.to_dict().get("u"), rows[row.id].get("u"), "attributes of all queries")
            if row.id in lists[1]:
                equal(row.to_dict().get("topic"), rows[row.id].get("topic"))


def senseless_queries_are_refused(fixture: Fixture) -> None:
    ns = fixture.ns
    for query in (
        {"rank_by": BY_ID, "limit": 1, "include_attributes": ["u"], "exclude_attributes": ["u"]},
        {"rank_by": BY_ID, "limit": {"total": 5, "per": {"attributes": ["year"], "limit": 1}}},
        {"rank_by": ("Attribute", "share"), "limit": 1},
        {"rank_by": ("Attribute", "topic"), "limit": 1},
        {"rank_by": ("Saturate", ("Attribute", "u"), {"midpoint": -1}), "limit": 1},
        {"rank_by": ("tags", "asc"), "limit": 1},
        {"aggregate_by": {"s": ("Sum", "topic")}},
        {"aggregate_by": {"n": ("Count",)}, "group_by": ["id"]},
        {"aggregate_by": {"n": ("Count",)}, "group_by": ["nope"]},
        {"rank_by": BY_ID, "limit": 1, "compute_attributes": {"u": ("topic", "Eq", "sea")}},
        {"rank_by": BY_ID, "limit": 1, "filters": ("topic", "Regex", "(")},
        {"rank_by": BY_ID, "limit": 1, "filters": ("year", "Contains", 1)},
    ):
        raises(turbopuffer.BadRequestError, lambda query=query: ns.query(**query))
    two = [{"rank_by": BY_ID, "limit": 1}] * 2
    for query in (
        {"queries": []},
        {"queries": two * 9},
        {"queries": two[:1], "rerank_by": ("RRF",)},
        {"queries": two, "rerank_by": ("RRF", {"weights": [1]})},
        {"queries": two, "rerank_by": ("RRF", {"weights": [1, -1]})},
    ):
        raises(turbopuffer.BadRequestError, lambda query=query: ns.multi_query(**query))


TESTS = [
    every_operator_equals_python,
    filters_alone_order_by_id,
    filters_may_be_text,
    operators_not_served_say_so,
    attributes_are_included_or_excluded,
    vectors_come_back_as_asked,
    offsets_page_through_an_order,
    pages_are_of_the_state_that_the_first_one_saw,
    sums_and_counts_equal_python,
    groups_equal_python,
    elements_of_lists_are_groups,
    scores_equal_python,
    values_are_computed,
    rows_that_are_alike_are_limited,
    several_queries_are_answered_together,
    fused_queries_equal_python,
    senseless_queries_are_refused,
]


if __name__ == "__main__":
    main(TESTS, Fixture)
