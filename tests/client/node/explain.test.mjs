// Plans and recall, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { byId, refused, shared } from "./suite.mjs";

const context = shared(async (server) => {
  const rows = Array.from({ length: 60 }, (_, n) => ({ id: n, vector: [Math.cos(n), Math.sin(n)], n }));
  await server.namespace("told").write({ upsert_rows: rows, distance_metric: "euclidean_squared" });
});

test("a plan is text, whatever the query", async () => {
  const ns = context.server.namespace("told");
  for (const query of [
    { rank_by: ["vector", "ANN", [1, 0]], limit: 3 },
    { rank_by: byId, limit: 3, filters: ["n", "Gt", 5] },
    { filters: ["n", "Lt", 5], limit: 3 },
    { aggregate_by: { all: ["Count"] }, group_by: ["n"] },
  ]) {
    const told = await ns.explainQuery(query);
    assert.equal(typeof told.plan_text, "string", JSON.stringify(query));
    assert.ok(told.plan_text.length > 10, told.plan_text);
  }
});

test("what is no query has no plan", async () => {
  const ns = context.server.namespace("told");
  await refused(ns.explainQuery({ rank_by: byId, limit: 0 }), sdk.BadRequestError);
  await refused(ns.explainQuery({ rank_by: ["nope", "asc"], limit: 1 }), sdk.BadRequestError, "nope");
  await refused(ns.explainQuery({ rank_by: byId, limit: -1 }), sdk.UnprocessableEntityError);
  const none = context.server.namespace("none");
  await refused(none.explainQuery({ rank_by: byId, limit: 1 }), sdk.NotFoundError);
});

test("recall is measured", async () => {
  const ns = context.server.namespace("told");
  const measured = await ns.recall();
  assert.equal(measured.avg_recall, 1, "every search of this version is exact");
  assert.equal(measured.avg_ann_count, 10);
  assert.equal(measured.avg_exhaustive_count, 10);
  assert.ok(!("ground_truth" in measured));
  const asked = await ns.recall({ num: 3, top_k: 4, filters: ["n", "Lt", 30], include_ground_truth: true });
  assert.equal(asked.avg_recall, 1);
  assert.equal(asked.ground_truth.length, 3);
  for (const truth of asked.ground_truth) {
    assert.equal(truth.query_vector.length, 2);
    assert.equal(truth.nearest_neighbors.length, 4);
    for (const row of truth.nearest_neighbors) {
      assert.ok(row.id < 30);
      assert.equal(typeof row.$dist, "number");
    }
  }
  await refused(context.server.namespace("none").recall(), sdk.NotFoundError);
});
