// Queries of every kind but filters, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { assertCosts, byId, ids, refused, shared } from "./suite.mjs";

const WIDE = Number.MAX_SAFE_INTEGER;

const ROWS = [
  { id: 1, vector: [0, 0], topic: "sea", year: 1900, pages: 10, u: 4, at: "2024-01-01", tags: ["a", "b"] },
  { id: 2, vector: [1, 0], topic: "sea", year: 1890, pages: 20, u: 1, at: "2024-01-03", tags: ["b"] },
  { id: 3, vector: [0, 2], topic: "sky", year: 1900, pages: 30, u: 9, at: "2024-01-05", tags: [] },
  { id: 4, vector: [3, 3], topic: "sky", year: 1950, u: 0, share: 0.5 },
  { id: 5, vector: [5, 0], year: 1890, pages: 40, share: 0.25, tags: ["c"] },
];

const context = shared(async (server) => {
  await server.namespace("q").write({
    upsert_rows: ROWS,
    distance_metric: "euclidean_squared",
    schema: { u: "uint", at: "datetime", share: "float" },
  });
});

/** `query` on the common rows. */
function ask(query, options) {
  return context.server.namespace("q").query(query, options);
}

test("nearest first, with distances and costs", async () => {
  const answer = await ask({ rank_by: ["vector", "ANN", [0, 0]], limit: 3, include_attributes: ["topic"] });
  assert.deepEqual(answer.rows, [
    { id: 1, $dist: 0, topic: "sea" }, { id: 2, $dist: 1, topic: "sea" }, { id: 3, $dist: 4, topic: "sky" },
  ]);
  assertCosts(answer);
  assert.equal(answer.performance.approx_namespace_size, 5);
  assert.equal(typeof answer.performance.client_total_ms, "number", "the client adds its own times");
  const exact = await ask({ rank_by: ["vector", "kNN", [0, 0]], filters: ["year", "Eq", 1890], top_k: 5 });
  assert.deepEqual(exact.rows, [{ id: 2, $dist: 1 }, { id: 5, $dist: 25 }]);
  assert.deepEqual(ids(await ask({ rank_by: ["vector", "ANN", [0, 0]], limit: 2, offset: 3 })), [4, 5]);
  const metric = { rank_by: ["vector", "ANN", [0, 0]], limit: 1 };
  assert.deepEqual(ids(await ask({ ...metric, distance_metric: "euclidean_squared" })), [1]);
  await refused(ask({ ...metric, distance_metric: "cosine_distance" }), sdk.BadRequestError);
});

test("orders put missing values first ascending and last descending", async () => {
  for (const [rank_by, expected] of [
    [["id", "desc"], [5, 4, 3, 2, 1]],
    [["pages", "asc"], [4, 1, 2, 3, 5]],
    [["pages", "desc"], [5, 3, 2, 1, 4]],
    [["topic", "asc"], [5, 1, 2, 3, 4]],
    [["at", "desc"], [3, 2, 1, 4, 5]],
    [[["year", "desc"], ["pages", "desc"]], [4, 3, 1, 5, 2]],
    [[["topic", "desc"], ["year", "asc"], ["id", "desc"]], [3, 4, 2, 1, 5]],
  ]) {
    const answer = await ask({ rank_by, limit: 10 });
    assert.deepEqual(ids(answer), expected, JSON.stringify(rank_by));
    assert.ok(answer.rows.every((row) => !("$dist" in row)));
  }
  await refused(ask({ rank_by: [], limit: 1 }), sdk.BadRequestError);
  await refused(ask({ rank_by: ["tags", "asc"], limit: 1 }), sdk.BadRequestError);
  await refused(ask({ rank_by: Array(9).fill(byId), limit: 1 }), sdk.BadRequestError);
});

test("attributes are included or excluded", async () => {
  const two = { filters: ["id", "Eq", 2], limit: 1 };
  assert.deepEqual((await ask(two)).rows, [{ id: 2 }]);
  assert.deepEqual((await ask({ ...two, include_attributes: false })).rows, [{ id: 2 }]);
  const all = (await ask({ ...two, include_attributes: true })).rows[0];
  assert.deepEqual(all, { ...ROWS[1], at: "2024-01-03T00:00:00.000000000Z" });
  const { vector, at, ...rest } = ROWS[1];
  assert.deepEqual((await ask({ ...two, exclude_attributes: ["vector", "at", "never"] })).rows, [rest]);
  assert.deepEqual((await ask({ ...two, include_attributes: ["year", "share"] })).rows, [{ id: 2, year: 1890 }]);
  await refused(ask({ ...two, include_attributes: ["nope"] }), sdk.BadRequestError, "nope");
  await refused(
    ask({ ...two, include_attributes: ["year"], exclude_attributes: ["topic"] }),
    sdk.BadRequestError,
  );
  await refused(ask({ ...two, include_attributes: "year" }), sdk.UnprocessableEntityError);
});

test("numbers over rows", async () => {
  const answer = await ask({
    aggregate_by: { rows: ["Count"], pages: ["Sum", "pages"], share: ["Sum", "share"], old: ["Count", "id"] },
  });
  assert.deepEqual(answer.aggregations, { rows: 5, pages: 100, share: 0.75, old: 5 });
  assert.ok(!("rows" in answer));
  assertCosts(answer);
  const some = await ask({ aggregate_by: { n: ["Count"], s: ["Sum", "pages"] }, filters: ["year", "Gt", 2000] });
  assert.deepEqual(some.aggregations, { n: 0, s: 0 });
  const wide = context.server.namespace("wide");
  await wide.write({ upsert_rows: [{ id: 1, n: WIDE }, { id: 2, n: WIDE }, { id: 3, n: 1 }] });
  const reply = await wide.query({ aggregate_by: { s: ["Sum", "n"] } }).asResponse();
  assert.ok((await reply.text()).includes(String(2n * BigInt(WIDE) + 1n)), "a sum beyond 2^53 is exact");
  await refused(ask({ aggregate_by: { s: ["Sum", "topic"] } }), sdk.BadRequestError);
  await refused(ask({ aggregate_by: { s: ["Median", "pages"] } }), sdk.UnprocessableEntityError);
});

test("numbers over groups", async () => {
  const answer = await ask({ aggregate_by: { n: ["Count"], pages: ["Sum", "pages"] }, group_by: ["topic"] });
  assert.deepEqual(answer.aggregation_groups, [
    { topic: null, n: 1, pages: 40 }, { topic: "sea", n: 2, pages: 30 }, { topic: "sky", n: 2, pages: 30 },
  ]);
  const pairs = await ask({ aggregate_by: { n: ["Count"] }, group_by: ["year", "topic"], limit: 3 });
  assert.deepEqual(pairs.aggregation_groups, [
    { year: 1890, topic: null, n: 1 }, { year: 1890, topic: "sea", n: 1 }, { year: 1900, topic: "sea", n: 1 },
  ]);
  const each = await ask({ aggregate_by: { n: ["Count"] }, group_by: [{ tag: ["ForEachUnique", "tags"] }] });
  assert.deepEqual(each.aggregation_groups, [
    { tag: null, n: 1 }, { tag: "a", n: 1 }, { tag: "b", n: 2 }, { tag: "c", n: 1 },
  ]);
  const none = await ask({ aggregate_by: { n: ["Count"] }, group_by: [] });
  assert.deepEqual(none.aggregations, { n: 5 });
  await refused(ask({ aggregate_by: { n: ["Count"] }, group_by: ["id"] }), sdk.BadRequestError);
  await refused(ask({ aggregate_by: { n: ["Count"] }, top_k: 3 }), sdk.BadRequestError);
});

test("scores rank, highest first", async () => {
  const midpoint = 5;
  for (const [rank_by, expected] of [
    [["topic", "Eq", "sea"], [[1, 1], [2, 1]]],
    [["Attribute", "u"], [[3, 9], [1, 4], [2, 1], [4, 0], [5, 0]]],
    [["Sum", [["topic", "Eq", "sea"], ["year", "Eq", 1900]]], [[1, 2], [2, 1], [3, 1]]],
    [["Sum", [["topic", "Eq", "sea"], ["Product", 0.5, ["Attribute", "u"]]]], [[3, 4.5], [1, 3], [2, 1.5], [4, 0], [5, 0]]],
    [["Product", ["Attribute", "u"], 2], [[3, 18], [1, 8], [2, 2], [4, 0], [5, 0]]],
    [["Max", [0, ["Attribute", "share"]]], [[4, 0.5], [5, 0.25], [1, 0], [2, 0], [3, 0]]],
    [["Saturate", ["Attribute", "pages"], { midpoint: 30 }], [[5, 4 / 7], [3, 0.5], [2, 0.4], [1, 0.25], [4, 0]]],
    [["Decay", ["Dist", ["Attribute", "u"], 4], { midpoint, exponent: 1 }], [[1, 1], [2, 0.625], [4, 5 / 9], [3, 0.5], [5, 0]]],
    [["Decay", ["Dist", ["Attribute", "at"], "2024-01-01"], { midpoint: "2d" }], [[1, 1], [2, 0.5], [3, 1 / 3], [4, 0], [5, 0]]],
  ]) {
    const answer = await ask({ rank_by, limit: 10 });
    assert.deepEqual(ids(answer), expected.map(([id]) => id), JSON.stringify(rank_by));
    answer.rows.forEach((row, place) => {
      assert.ok(Math.abs(row.$dist - expected[place][1]) < 1e-6, `${JSON.stringify(rank_by)}: ${JSON.stringify(row)}`);
    });
  }
  await refused(ask({ rank_by: ["Attribute", "pages"], limit: 1 }), sdk.BadRequestError);
  await refused(ask({ rank_by: ["Attribute", "topic"], limit: 1 }), sdk.BadRequestError);
  await refused(
    ask({ rank_by: ["Saturate", ["Attribute", "u"], { midpoint: 0 }], limit: 1 }),
    sdk.BadRequestError,
  );
});

test("attributes are computed", async () => {
  const answer = await ask({
    rank_by: byId,
    limit: 2,
    include_attributes: ["u"],
    compute_attributes: {
      far: ["vector", "VectorDist", [0, 3]],
      twice: ["Product", 2, ["Attribute", "u"]],
      sea: ["topic", "Eq", "sea"],
    },
  });
  assert.deepEqual(answer.rows, [
    { id: 1, u: 4, far: 9, twice: 8, sea: 1 }, { id: 2, u: 1, far: 10, twice: 2, sea: 1 },
  ]);
  const taken = { rank_by: byId, limit: 1, compute_attributes: { u: ["topic", "Eq", "sea"] } };
  await refused(ask(taken), sdk.BadRequestError);
});

test("rows that are alike are limited", async () => {
  const limit = { total: 10, per: { attributes: ["year"], limit: 1 } };
  const ordered = await ask({ rank_by: ["pages", "desc"], limit, include_attributes: ["year"] });
  assert.deepEqual(ids(ordered), [5, 3, 4]);
  const scored = await ask({ rank_by: ["Attribute", "u"], limit: { ...limit, total: 2 }, include_attributes: ["year"] });
  assert.deepEqual(ids(scored), [3, 2]);
  assert.deepEqual(ids(await ask({ rank_by: byId, limit: { total: 2 } })), [1, 2]);
  await refused(ask({ rank_by: byId, limit }), sdk.BadRequestError, "year");
});

test("several queries are answered together", async () => {
  const ns = context.server.namespace("q");
  const answer = await ns.multiQuery({
    queries: [
      { rank_by: ["vector", "ANN", [0, 0]], limit: 2, include_attributes: ["vector"] },
      { rank_by: ["year", "desc"], top_k: 1, filters: ["topic", "Eq", "sea"] },
      { aggregate_by: { n: ["Count"] } },
      { aggregate_by: { n: ["Count"] }, group_by: ["topic"], limit: 1 },
    ],
    vector_encoding: "base64",
    consistency: { level: "eventual" },
  });
  assert.equal(answer.results.length, 4);
  assert.deepEqual(ids(answer.results[0]), [1, 2]);
  assert.equal(answer.results[0].rows[0].vector, "AAAAAAAAAAA=");
  assert.deepEqual(answer.results[1].rows, [{ id: 1 }]);
  assert.deepEqual(answer.results[2].aggregations, { n: 5 });
  assert.deepEqual(answer.results[3].aggregation_groups, [{ topic: null, n: 1 }]);
  assertCosts(answer);
  await refused(ns.multiQuery({ queries: [] }), sdk.BadRequestError);
  await refused(ns.multiQuery({ queries: Array(17).fill({ rank_by: byId, limit: 1 }) }), sdk.BadRequestError);
});

test("several queries are fused", async () => {
  const ns = context.server.namespace("q");
  const queries = [
    { rank_by: ["vector", "ANN", [0, 0]], limit: 3, include_attributes: ["topic"] },
    { rank_by: ["pages", "desc"], limit: 2, include_attributes: ["pages"] },
  ];
  const plain = await ns.multiQuery({ queries, rerank_by: ["RRF"], limit: 2 });
  assert.equal(plain.results.length, 1);
  // Row 3 is third of the first query and second of the second one.
  assert.deepEqual(plain.results[0].rows[0].id, 3);
  assert.ok(Math.abs(plain.results[0].rows[0].$dist - (1 / 63 + 1 / 62)) < 1e-9);
  assert.deepEqual([plain.results[0].rows[0].topic, plain.results[0].rows[0].pages], ["sky", 30]);
  assert.deepEqual(ids(plain.results[0]), [3, 1]);
  const weighted = await ns.multiQuery({
    queries, rerank_by: ["RRF", { rank_constant: 1, weights: [1, 4] }], limit: 10, offset: 1,
  });
  assert.deepEqual(ids(weighted.results[0]), [3, 1, 2]);
  const without = await ns.multiQuery({ queries, rerank_by: ["RRF"] });
  assert.equal(without.results[0].rows.length, 3, "the largest limit of the queries");
  await refused(ns.multiQuery({ queries: [queries[0]], rerank_by: ["RRF"], limit: 1 }), sdk.BadRequestError);
  await refused(
    ns.multiQuery({ queries, rerank_by: ["RRF", { weights: [1] }], limit: 1 }),
    sdk.BadRequestError,
  );
});

test("every level of consistency is answered", async () => {
  for (const consistency of [
    { level: "strong" },
    { level: "eventual" },
    { level: "eventual", max_staleness_seconds: 5 },
    { level: "session", min_seq: 1 },
  ]) {
    const answer = await ask({ rank_by: byId, limit: 10, consistency });
    assert.deepEqual(ids(answer), [1, 2, 3, 4, 5], JSON.stringify(consistency));
  }
  await refused(ask({ rank_by: byId, limit: 1, consistency: "eventual" }), sdk.UnprocessableEntityError, "eventual");
  await refused(
    ask({ rank_by: byId, limit: 1, consistency: { level: "psychic" } }),
    sdk.UnprocessableEntityError,
    "psychic",
  );
});

test("limits are limits", async () => {
  for (const [query, kind] of [
    [{ rank_by: byId, limit: 0 }, sdk.BadRequestError],
    [{ rank_by: byId, limit: 10_001 }, sdk.BadRequestError],
    [{ rank_by: byId, limit: 10_000, offset: 1 }, sdk.BadRequestError],
    [{ rank_by: byId, limit: 1, top_k: 1 }, sdk.BadRequestError],
    [{ rank_by: byId }, sdk.BadRequestError],
    [{ rank_by: ["vector", "kNN", [0, 0]], limit: 1 }, sdk.BadRequestError],
    [{ rank_by: ["vector", "ANN", [0]], limit: 1 }, sdk.BadRequestError],
    [{ rank_by: byId, top_k: -1 }, sdk.UnprocessableEntityError],
    [{ rank_by: byId, limit: 1.5 }, sdk.UnprocessableEntityError],
    [{ rank_by: byId, limit: "1" }, sdk.UnprocessableEntityError],
    [{ rank_by: byId, limit: 1, never_heard_of: 1 }, sdk.BadRequestError],
  ]) {
    await refused(ask(query), kind, "", JSON.stringify(query));
  }
});

test("ranks that are not served say so", async () => {
  for (const query of [
    { rank_by: ["topic", "BM25", "sea"], limit: 1 },
    { rank_by: ["Sum", [["topic", "BM25", "sea"], ["topic", "BM25", "sky"]]], limit: 1 },
    { rank_by: byId, limit: 1, compute_attributes: { h: ["Highlight", "topic"] } },
    { rank_by: ["vector", "ANN", ["Embed", "sea"]], limit: 1 },
  ]) {
    const error = await refused(ask(query), sdk.BadRequestError, "", JSON.stringify(query));
    assert.equal(error.error.type, "unsupported", JSON.stringify(query));
  }
});
