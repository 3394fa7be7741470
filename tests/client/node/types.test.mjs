// Values of every type there and back, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { byId, everything, ids, refused, shared } from "./suite.mjs";

const context = shared();

test("scalars and lists of them come back as they were", async () => {
  const ns = context.server.namespace("scalars");
  const uuid = "0a1b2c3d-4e5f-4000-8000-000000000001";
  const values = {
    text: "Grüße, 🌊",
    int: -5,
    uint: 7,
    share: 0.1,
    yes: true,
    at: "2024-03-02T01:02:03.004000000Z",
    uid: uuid,
    blob: Buffer.from([0, 255, 7]).toString("base64"),
    texts: ["a", ""],
    ints: [-1, 2],
    shares: [0.5, -0.25],
    flags: [true, false],
    times: ["1969-12-31T23:59:59.999000000Z"],
    uids: [uuid],
    empty: [],
  };
  const schema = {
    uint: "uint", share: "float", at: "datetime", uid: "uuid", blob: "bytes", shares: "[]float",
    times: "[]datetime", uids: "[]uuid", empty: "[]string", unused: "bool",
  };
  await ns.write({ upsert_rows: [{ id: 1, ...values, unused: null }], schema });
  for (const flush of [false, true]) {
    if (flush) await context.server.send("POST", "/v1/namespaces/scalars/flush");
    assert.deepEqual(await everything(ns), [{ id: 1, ...values }], `after a flush: ${flush}`);
  }
  const date = new Date("2024-03-02T01:02:03.004Z");
  const found = await ns.query({ rank_by: byId, limit: 1, filters: ["at", "Eq", date] });
  assert.deepEqual(ids(found), [1], "the client sends a Date as text");
  for (const row of [
    { id: 2, text: 7 }, { id: 2, int: "7" }, { id: 2, int: 1.5 }, { id: 2, uint: -1 }, { id: 2, yes: 1 },
    { id: 2, at: "soon" }, { id: 2, uid: "x" }, { id: 2, blob: "?" }, { id: 2, ints: [1, "2"] }, { id: 2, ints: 1 },
  ]) {
    await refused(ns.write({ upsert_rows: [row] }), sdk.BadRequestError, "", JSON.stringify(row));
  }
});

test("vectors of every width are searched and come back", async () => {
  const ns = context.server.namespace("widths");
  await ns.write({
    upsert_rows: [
      { id: 1, vector: [1, 0], half: [0.5, 2], small: [1, -128] },
      { id: 2, vector: [0, 1], half: [0.25, 1], small: [127, 0] },
    ],
    distance_metric: "euclidean_squared",
    schema: { half: { type: "[2]f16", ann: true }, small: { type: "[2]i8", ann: true } },
  });
  assert.equal((await ns.schema()).half.type, "[2]f16");
  const [first] = await everything(ns);
  assert.deepEqual(first, { id: 1, vector: [1, 0], half: [0.5, 2], small: [1, -128] });
  for (const [rank_by, expected] of [
    [["vector", "ANN", [0, 1]], [{ id: 2, $dist: 0 }, { id: 1, $dist: 2 }]],
    [["half", "ANN", [0.5, 2]], [{ id: 1, $dist: 0 }, { id: 2, $dist: 1.0625 }]],
    [["small", "ANN", [127, 0]], [{ id: 2, $dist: 0 }, { id: 1, $dist: 126 ** 2 + 128 ** 2 }]],
  ]) {
    assert.deepEqual((await ns.query({ rank_by, limit: 2 })).rows, expected, rank_by[0]);
  }
  await refused(ns.write({ upsert_rows: [{ id: 3, vector: [1, 1], half: [1, 1] }] }), sdk.BadRequestError, "small");
});

test("sparse vectors rank by their dot products", async () => {
  const ns = context.server.namespace("sparse");
  await ns.write({
    upsert_rows: [{ id: 1, terms: { sea: 1, sky: 0.5 } }, { id: 2, terms: { sea: 2 } }, { id: 3, terms: { land: 1 } }, { id: 4 }],
    schema: { terms: { type: "{}f16", sparse_knn: { distance_metric: "dot_product" } } },
  });
  const answer = await ns.query({ rank_by: ["terms", "SparseKNN", { sea: 1, sky: 4 }], limit: 10 });
  assert.deepEqual(answer.rows, [{ id: 1, $dist: 3 }, { id: 2, $dist: 2 }]);
  assert.deepEqual((await everything(ns))[0], { id: 1, terms: { sea: 1, sky: 0.5 } });
});

test("an attribute is dropped", async () => {
  const ns = context.server.namespace("dropped");
  await ns.write({ upsert_rows: [{ id: 1, old: "x", n: 1 }] });
  // The type of this client does not know `drop`, but the client passes it on.
  const schema = await ns.updateSchema({ schema: { old: { drop: true } } });
  assert.ok(!("old" in schema));
  assert.deepEqual(await everything(ns), [{ id: 1, n: 1 }]);
  await refused(ns.query({ rank_by: byId, limit: 1, filters: ["old", "Eq", "x"] }), sdk.BadRequestError, "old");
});
