// Writes in all their forms, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { byId, everything, ids, refused, shared } from "./suite.mjs";

const context = shared();

/** Base64 of little-endian float32. */
function packed(numbers) {
  return Buffer.from(Float32Array.from(numbers).buffer).toString("base64");
}

test("rows and columns are written, replaced and read as they were", async () => {
  const ns = context.server.namespace("rows");
  const first = await ns.write({
    upsert_rows: [
      { id: 1, vector: [0.1, 0.7], title: "one", n: 1, share: 0.25, even: false, tags: ["a", "b"] },
      { id: 2, vector: [0.3, 0.9], title: null },
    ],
    distance_metric: "euclidean_squared",
  });
  assert.equal(first.status, "OK");
  assert.equal(typeof first.message, "string");
  assert.equal(first.rows_affected, 2);
  assert.equal(first.rows_upserted, 2);
  assert.ok(!("rows_deleted" in first) && !("rows_patched" in first) && !("upserted_ids" in first));
  assert.ok(first.billing.billable_logical_bytes_written > 0);
  assert.equal(typeof first.performance.server_total_ms, "number");
  const second = await ns.write({
    upsert_columns: { id: [2, 3], vector: [[0.25, 0.5], [0.25, 4]], n: [20, null] },
  });
  assert.equal(second.rows_upserted, 2);
  assert.deepEqual(await everything(ns), [
    { id: 1, vector: [0.1, 0.7], title: "one", n: 1, share: 0.25, even: false, tags: ["a", "b"] },
    { id: 2, vector: [0.25, 0.5], n: 20 },
    { id: 3, vector: [0.25, 4] },
  ]);
});

test("vectors come and go as numbers and as base64", async () => {
  const ns = context.server.namespace("encodings");
  const values = [0.1, -2.5, 3e-9];
  await ns.write({
    upsert_rows: [{ id: 1, vector: values }, { id: 2, vector: packed(values) }, { id: 3, vector: packed([1, 1, 1]) }],
    distance_metric: "euclidean_squared",
  });
  assert.deepEqual((await everything(ns)).map((row) => row.vector), [values, values, [1, 1, 1]]);
  for (const vector of [values, packed(values)]) {
    const answer = await ns.query({
      rank_by: ["vector", "ANN", vector],
      limit: 2,
      include_attributes: ["vector"],
      vector_encoding: "base64",
    });
    assert.deepEqual(ids(answer), [1, 2]);
    assert.deepEqual(answer.rows.map((row) => [row.$dist, row.vector]), [[0, packed(values)], [0, packed(values)]]);
  }
  await refused(ns.write({ upsert_rows: [{ id: 4, vector: "!" }] }), sdk.BadRequestError);
  await refused(ns.write({ upsert_rows: [{ id: 4, vector: packed([1, 2]) }] }), sdk.BadRequestError);
});

test("ids are numbers, text or UUIDs", async () => {
  const { server } = context;
  const text = server.namespace("ids-text");
  await text.write({ upsert_rows: [{ id: "b" }, { id: "" }, { id: "é".repeat(32) }] });
  assert.deepEqual(ids(await text.query({ rank_by: byId, limit: 9 })), ["", "b", "é".repeat(32)]);
  await refused(text.write({ upsert_rows: [{ id: "x".repeat(65) }] }), sdk.BadRequestError);
  await refused(text.write({ upsert_rows: [{ id: 7 }] }), sdk.BadRequestError);
  const uuids = server.namespace("ids-uuid");
  const id = "0a1b2c3d-4e5f-4000-8000-000000000001";
  await uuids.write({ upsert_rows: [{ id: id.toUpperCase(), n: 1 }], schema: { id: "uuid" } });
  assert.deepEqual(await everything(uuids), [{ id, n: 1 }]);
});

test("ids beyond 2^53 are kept exactly, although this client rounds them", async () => {
  const { server } = context;
  const body = '{"upsert_rows":[{"id":9007199254740993,"n":1},{"id":18446744073709551615,"n":2}]}';
  // The client cannot send a BigInt (JSON.stringify refuses it); it passes bytes on as they are.
  const reply = await server.client().post("/v2/namespaces/wide", {
    body: new TextEncoder().encode(body),
    headers: { "content-type": "application/json" },
  });
  assert.equal(reply.rows_upserted, 2);
  const ns = server.namespace("wide");
  const text = await (await ns.query({ rank_by: byId, limit: 9 }).asResponse()).text();
  assert.ok(text.includes('"id":9007199254740993') && text.includes('"id":18446744073709551615'), text);
  const rounded = ids(await ns.query({ rank_by: byId, limit: 9 }));
  assert.deepEqual(rounded, [9007199254740992, 18446744073709552000]);
  await refused(ns.write({ deletes: [-1] }), sdk.BadRequestError);
});

test("compressed bodies and answers are the same rows", async () => {
  const { server } = context;
  const ns = server.namespace("packed", { compression: true });
  const rows = Array.from({ length: 300 }, (_, id) => ({ id, text: `row ${id} `.repeat(20) }));
  assert.equal((await ns.write({ upsert_rows: rows })).rows_upserted, 300);
  const answer = await ns.query({ rank_by: byId, limit: 1000, include_attributes: true }).withResponse();
  assert.deepEqual(answer.data.rows, rows);
  const plain = await server.namespace("packed").query({ rank_by: byId, limit: 1 }).asResponse();
  assert.equal(plain.headers.get("content-encoding"), null, "never compressed to `identity`");
});

test("patches change what they name, of documents that are there", async () => {
  const ns = context.server.namespace("patches");
  await ns.write({
    upsert_rows: [{ id: 1, vector: [1], a: 1, b: "x" }, { id: 2, vector: [2], a: 2 }],
    distance_metric: "euclidean_squared",
  });
  const rows = await ns.write({ patch_rows: [{ id: 1, b: null, c: true }, { id: 9, a: 9 }] });
  assert.equal(rows.rows_patched, 1);
  const columns = await ns.write({ patch_columns: { id: [1, 2], a: [10, 20] } });
  assert.equal(columns.rows_patched, 2);
  assert.deepEqual(await everything(ns), [{ id: 1, vector: [1], a: 10, c: true }, { id: 2, vector: [2], a: 20 }]);
  await refused(ns.write({ patch_rows: [{ id: 1, vector: [3] }] }), sdk.BadRequestError);
});

test("deletes by id and by filter, patches by filter", async () => {
  const ns = context.server.namespace("filtered");
  await ns.write({ upsert_rows: Array.from({ length: 10 }, (_, id) => ({ id, n: id % 3 })) });
  const byIds = await ns.write({ deletes: [0, 777] });
  assert.equal(byIds.rows_deleted, 2, "absent ids are counted");
  const both = await ns.write({
    delete_by_filter: ["n", "Eq", 0],
    patch_by_filter: { filters: ["n", "Eq", 1], patch: { mark: "seen" } },
    upsert_rows: [{ id: 3, n: 5 }],
    return_affected_ids: true,
  });
  assert.equal(both.rows_deleted, 3);
  assert.deepEqual(both.deleted_ids, [3, 6, 9]);
  assert.deepEqual(both.patched_ids, [1, 4, 7]);
  assert.deepEqual(both.upserted_ids, [3]);
  assert.ok(both.billing.query.billable_logical_bytes_queried >= 0);
  assert.ok(!both.rows_remaining);
  assert.deepEqual(await everything(ns), [
    { id: 1, n: 1, mark: "seen" }, { id: 2, n: 2 }, { id: 3, n: 5 }, { id: 4, n: 1, mark: "seen" },
    { id: 5, n: 2 }, { id: 7, n: 1, mark: "seen" }, { id: 8, n: 2 },
  ]);
  const partial = await ns.write({
    delete_by_filter: ["n", "Eq", 2],
    delete_by_filter_allow_partial: true,
    patch_by_filter: { filters: ["n", "Eq", 5], patch: { mark: "last" } },
    patch_by_filter_allow_partial: true,
  });
  assert.equal(partial.rows_deleted, 3);
  assert.equal(partial.rows_patched, 1);
  await refused(
    ns.write({ patch_by_filter: { filters: ["n", "Eq", 1], patch: { id: 5 } } }),
    sdk.BadRequestError,
  );
});

test("conditions decide for each document", async () => {
  const ns = context.server.namespace("conditions");
  await ns.write({ upsert_rows: [{ id: "a", version: 3 }, { id: "b", version: 9 }] });
  const newer = await ns.write({
    upsert_rows: [{ id: "a", version: 5 }, { id: "b", version: 5 }, { id: "c", version: 5 }],
    upsert_condition: ["version", "Lt", { $ref_new: "version" }],
    return_affected_ids: true,
  });
  assert.equal(newer.rows_upserted, 2);
  assert.deepEqual([...newer.upserted_ids].sort(), ["a", "c"]);
  const inserted = await ns.write({
    upsert_rows: [{ id: "a", version: 0 }, { id: "d", version: 0 }],
    upsert_condition: ["id", "Eq", null],
  });
  assert.equal(inserted.rows_upserted, 1);
  const patched = await ns.write({
    patch_rows: [{ id: "a", version: 7 }, { id: "b", version: 7 }],
    patch_condition: ["version", "Lt", { $ref_new: "version" }],
  });
  assert.equal(patched.rows_patched, 1);
  const deleted = await ns.write({ deletes: ["a", "b", "zz"], delete_condition: ["version", "Gt", 8] });
  assert.equal(deleted.rows_deleted, 1);
  assert.deepEqual((await everything(ns)).map((row) => [row.id, row.version]), [["a", 7], ["c", 5], ["d", 0]]);
  await refused(ns.write({ deletes: ["a"], upsert_condition: ["id", "Eq", null] }), sdk.BadRequestError);
});

test("a namespace may be made empty, or must be there", async () => {
  const { server } = context;
  // The type of this client does not know `create_namespace`, but the client passes it on.
  const absent = server.namespace("absent");
  await refused(absent.write({ upsert_rows: [{ id: 1 }], create_namespace: false }), sdk.NotFoundError);
  await refused(absent.write({ deletes: [1] }), sdk.NotFoundError);
  await refused(absent.write({ schema: { n: "int" } }), sdk.NotFoundError);
  assert.equal(await absent.exists(), false);
  await absent.write({ create_namespace: true, schema: { id: "string", n: "int" } });
  assert.equal((await absent.schema()).id.type, "string");
  await absent.write({ schema: { m: "float" } });
  assert.equal((await absent.schema()).m.type, "float");
});

test("options that change nothing here are taken", async () => {
  const ns = context.server.namespace("options");
  const reply = await ns.write({
    upsert_rows: [{ id: 1 }],
    disable_backpressure: true,
    encryption: { mode: "default" },
  });
  assert.equal(reply.rows_upserted, 1);
  for (const params of [
    { encryption: { mode: "customer-managed", key_name: "k" } },
    { sharding: { num_shards: 2 } },
  ]) {
    const error = await refused(ns.write({ upsert_rows: [{ id: 2 }], ...params }), sdk.BadRequestError);
    assert.equal(error.error.type, "unsupported");
  }
});

test("a refused write changes nothing", async () => {
  const ns = context.server.namespace("atomic");
  await ns.write({ upsert_rows: [{ id: 1, n: 1 }] });
  for (const [params, kind] of [
    [{ upsert_rows: [{ id: 2, n: 2 }, { id: 3, n: "x" }] }, sdk.BadRequestError],
    [{ upsert_rows: [{ id: 2, n: 1.5 }] }, sdk.BadRequestError],
    [{ upsert_rows: [{ id: 2 }], deletes: [2] }, sdk.BadRequestError],
    [{ upsert_rows: [{ id: 2 }], upsert_columns: { id: [3] } }, sdk.BadRequestError],
    [{ upsert_columns: { id: [2, 3], n: [1] } }, sdk.BadRequestError],
    [{ upsert_rows: [{ id: 2, $dist: 1 }] }, sdk.BadRequestError],
    [{ upsert_rows: [{ id: 2, vector: [1] }] }, sdk.BadRequestError],
    [{}, sdk.BadRequestError],
    [{ upsert_rows: { id: 2 } }, sdk.UnprocessableEntityError],
    [{ upsert_rows: [{ id: 2 }], distance_metric: "taxi" }, sdk.UnprocessableEntityError],
    [{ upsert_rows: [{ id: 2 }], return_affected_ids: "yes" }, sdk.UnprocessableEntityError],
  ]) {
    await refused(ns.write(params), kind, "", JSON.stringify(params));
  }
  assert.deepEqual(await everything(ns), [{ id: 1, n: 1 }]);
});
