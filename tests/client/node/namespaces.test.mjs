// The calls about namespaces as a whole, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { byId, everything, ids, refused, shared } from "./suite.mjs";

const context = shared();

async function collect(pages) {
  const names = [];
  for await (const summary of pages) names.push(summary.id);
  return names;
}

test("namespaces are listed by prefix, over pages, in order", async () => {
  const { server } = context;
  const names = Array.from({ length: 12 }, (_, n) => `list-${String(n).padStart(2, "0")}`);
  for (const name of [...names].reverse()) {
    await server.namespace(name).write({ upsert_rows: [{ id: 1 }] });
  }
  await server.namespace("other.list_X-9").write({ upsert_rows: [{ id: 1 }] });
  const client = server.client();
  assert.deepEqual(await collect(client.namespaces({ prefix: "list-", page_size: 5 })), names);
  assert.deepEqual(await collect(client.namespaces({ prefix: "list-", page_size: 12 })), names);
  assert.deepEqual(await collect(client.namespaces({ prefix: "list-0", page_size: 1000 })), names.slice(0, 10));
  assert.deepEqual(await collect(client.namespaces({ prefix: "nothing" })), []);
  assert.ok((await collect(client.namespaces())).includes("other.list_X-9"));
  const first = await client.namespaces({ prefix: "list-", page_size: 5 });
  assert.deepEqual(first.namespaces.map((summary) => summary.id), names.slice(0, 5));
  assert.ok(first.hasNextPage());
  const second = await first.getNextPage();
  assert.deepEqual(second.namespaces.map((summary) => summary.id), names.slice(5, 10));
  const last = await second.getNextPage();
  assert.ok(!last.hasNextPage());
  for (const query of [{ page_size: 0 }, { page_size: 1001 }, { cursor: "no cursor" }]) {
    await refused(client.namespaces(query), sdk.BadRequestError, "", JSON.stringify(query));
  }
});

test("a namespace exists from its first write to its deletion", async () => {
  const ns = context.server.namespace("life");
  assert.equal(await ns.exists(), false);
  await refused(ns.deleteAll(), sdk.NotFoundError);
  await ns.write({ upsert_rows: [{ id: 1, n: 1 }] });
  assert.equal(await ns.exists(), true);
  assert.equal((await ns.deleteAll()).status, "OK");
  assert.equal(await ns.exists(), false);
  await refused(ns.query({ rank_by: byId, limit: 1 }), sdk.NotFoundError);
  await ns.write({ upsert_rows: [{ id: "text now" }] });
  assert.deepEqual(ids(await ns.query({ rank_by: byId, limit: 10 })), ["text now"]);
});

test("the schema is told and changed", async () => {
  const ns = context.server.namespace("schema");
  await ns.write({
    upsert_rows: [{ id: 1, vector: [1, 0], name: "a", n: 1, tags: ["x"] }],
    distance_metric: "cosine_distance",
    schema: { seen: { type: "datetime" }, code: { type: "string", filterable: false } },
  });
  const told = await ns.schema();
  assert.equal(told.id.type, "uint");
  assert.equal(told.vector.type, "[2]f32");
  assert.ok(told.vector.ann);
  const types = Object.fromEntries(Object.entries(told).map(([name, config]) => [name, config.type]));
  assert.deepEqual(types, {
    id: "uint", vector: "[2]f32", name: "string", n: "int", tags: "[]string", seen: "datetime", code: "string",
  });
  assert.equal(told.name.filterable, true);
  assert.equal(told.code.filterable, false);
  assert.deepEqual(await ns.query({ rank_by: byId, limit: 1, filters: ["name", "Glob", "a"] }).then(ids), [1]);

  const changed = await ns.updateSchema({
    schema: { code: { type: "string", filterable: true }, name: { type: "string", regex: true, filterable: true }, new: "bool" },
  });
  assert.equal(changed.code.filterable, true);
  assert.equal(changed.name.regex, true);
  assert.equal(changed.new.type, "bool");
  assert.deepEqual(changed, await ns.schema());
  const found = await ns.query({ rank_by: byId, limit: 1, filters: ["name", "Regex", "^a$"] });
  assert.deepEqual(ids(found), [1]);

  await refused(ns.updateSchema({ schema: { n: "string" } }), sdk.BadRequestError, "n");
  await refused(ns.updateSchema({ schema: { n: { filterable: true } } }), sdk.UnprocessableEntityError);
  await refused(context.server.namespace("none").updateSchema({ schema: { n: "int" } }), sdk.NotFoundError);
  await refused(context.server.namespace("none").schema(), sdk.NotFoundError);
});

test("metadata describe a namespace, in both forms", async () => {
  const { server } = context;
  const ns = server.namespace("metadata");
  await ns.write({
    upsert_rows: [{ id: 1, vector: [1, 0], n: 1 }, { id: 2, vector: [0, 1], n: 2 }],
    distance_metric: "euclidean_squared",
  });
  const told = await ns.metadata();
  assert.equal(told.approx_row_count, 2);
  assert.ok(told.approx_logical_bytes > 0);
  assert.deepEqual(told.encryption, { mode: "default" });
  assert.ok(["up-to-date", "updating"].includes(told.index.status));
  assert.equal(told.schema.n.type, "int");
  assert.deepEqual(told.schema.id, { type: "uint" });
  assert.deepEqual(told.schema.vector, { type: "[2]f32", ann: { distance_metric: "euclidean_squared" } });
  for (const name of ["created_at", "updated_at", "last_write_at"]) {
    assert.ok(!Number.isNaN(Date.parse(told[name])), `${name}: ${told[name]}`);
  }
  assert.ok(!("pinning" in told) && !("read_only" in told));
  const older = JSON.parse((await server.send("GET", "/v1/namespaces/metadata/metadata")).text);
  assert.equal(older.approx_row_count, 2);
  assert.deepEqual(older.encryption, { sse: true });
  await refused(server.namespace("none").metadata(), sdk.NotFoundError);
});

test("metadata are changed", async () => {
  const ns = context.server.namespace("settings");
  await ns.write({ upsert_rows: [{ id: 1 }] });
  assert.equal((await ns.updateMetadata({ pinning: { replicas: 2 } })).pinning.replicas, 2);
  assert.equal((await ns.updateMetadata({ pinning: true })).pinning.replicas, 1);
  assert.ok(!("pinning" in (await ns.updateMetadata({ pinning: null }))));
  // The type of this client does not know `read_only`, but the client passes it on.
  assert.equal((await ns.updateMetadata({ read_only: true })).read_only, true);
  const error = await refused(ns.write({ upsert_rows: [{ id: 2 }] }), sdk.BadRequestError);
  assert.equal(error.error.type, "namespace_read_only");
  assert.deepEqual(ids(await ns.query({ rank_by: byId, limit: 10 })), [1]);
  assert.ok(!("read_only" in (await ns.updateMetadata({ read_only: false }))));
  await ns.write({ upsert_rows: [{ id: 2 }] });
  await refused(ns.updateMetadata({ read_only: "yes" }), sdk.UnprocessableEntityError);
  await refused(context.server.namespace("none").updateMetadata({ pinning: true }), sdk.NotFoundError);
});

test("a hint to warm is accepted", async () => {
  const ns = context.server.namespace("warm");
  await ns.write({ upsert_rows: [{ id: 1 }] });
  const { data, response } = await ns.hintCacheWarm().withResponse();
  assert.equal(response.status, 202);
  assert.equal(data.status, "ACCEPTED");
  assert.equal(typeof data.message, "string");
  assert.equal(response.headers.get("preference-applied"), null, "or the client would poll");
  await refused(context.server.namespace("none").hintCacheWarm(), sdk.NotFoundError);
});

test("a name is checked where it names something", async () => {
  const longest = "n".repeat(128);
  await context.server.namespace(longest).write({ upsert_rows: [{ id: 1 }] });
  assert.equal((await everything(context.server.namespace(longest))).length, 1);
  for (const name of ["no spaces", "ä", "n".repeat(129), "a/b"]) {
    await refused(context.server.namespace(name).metadata(), sdk.BadRequestError, "", name);
  }
});

test("copies and branches are refused before anything is made", async () => {
  const { server } = context;
  await server.namespace("source").write({ upsert_rows: [{ id: 1 }] });
  const target = server.namespace("target");
  const once = { maxRetries: 0 };
  for (const [what, call] of [
    ["copyFrom", () => target.copyFrom({ source_namespace: "source" })],
    ["branchFrom", () => target.branchFrom({ source_namespace: "source" })],
    ["copy in a write", () => target.write({ copy_from_namespace: "source" }, once)],
    ["branch in a write", () => target.write({ branch_from_namespace: "source" }, once)],
  ]) {
    const error = await refused(call, sdk.InternalServerError, "from_namespace", what);
    assert.deepEqual([error.status, error.error.type], [501, "not_supported"], what);
  }
  // No call of this client: the Python client's `start_copy_from` and `poll_copy_from`.
  const client = server.client();
  const started = client.post("/v2/namespaces/target/async?stainless_overload=startCopyFrom", {
    body: { copy_from_namespace: { source_namespace: "source" } },
  });
  await refused(started, sdk.InternalServerError, "not supported", "startCopyFrom");
  const polled = client.get("/v1/namespaces/target/operations/token?stainless_overload=pollCopyFrom");
  await refused(polled, sdk.InternalServerError, "not supported", "pollCopyFrom");
  assert.equal(await target.exists(), false);
});
