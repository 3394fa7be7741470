// Every class of errors of the official TypeScript client that this server can raise, and how long it takes.
//
// No answer of this version is 403 (a key that is valid opens everything) or 409 (what could be there already, the
// target of a copy, is not served): PermissionDeniedError and ConflictError do not arise.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { sdk, Server } from "./server.mjs";
import { byId, everything, ids, refused, shared } from "./suite.mjs";

const context = shared();
const HASTE_MS = 2_000;

/** Runs `action` with a server of these settings. */
async function withServer(settings, action) {
  const server = await Server.start(settings);
  try {
    await action(server);
  } finally {
    await server.remove();
  }
}

test("400, 404 and 422 have their classes, and no retries", async () => {
  const { server } = context;
  // A client as people make it: four retries, six for writes.
  const ns = server.namespace("plain", { maxRetries: undefined });
  await ns.write({ upsert_rows: [{ id: 1 }] });
  const began = Date.now();
  const bad = await refused(ns.query({ rank_by: byId, limit: 0 }), sdk.BadRequestError);
  assert.equal(bad.status, 400);
  assert.equal(bad.error.type, "invalid_request");
  assert.ok(bad.headers.get("x-request-id"));
  const none = await refused(server.namespace("none", { maxRetries: undefined }).schema(), sdk.NotFoundError);
  assert.equal(none.status, 404);
  assert.equal(none.error.type, "namespace_not_found");
  const shape = await refused(ns.write({ deletes: 1 }), sdk.UnprocessableEntityError);
  assert.equal(shape.status, 422);
  assert.equal(shape.error.type, "malformed");
  assert.ok(Date.now() - began < HASTE_MS, `took ${Date.now() - began} ms`);
});

test("a body that is no JSON is a bad request", async () => {
  const client = context.server.client();
  const sent = client.post("/v2/namespaces/plain", {
    body: new TextEncoder().encode('{"upsert_rows":'),
    headers: { "content-type": "application/json" },
  });
  const error = await refused(sent, sdk.BadRequestError);
  assert.equal(error.error.type, "not_json");
});

test("what is not served is 501 at once, and no such route is 404", async () => {
  const client = context.server.client({ maxRetries: undefined });
  const began = Date.now();
  for (const path of ["/v1/namespaces/plain/_debug/purge_cache", "/v1/namespaces/plain/operations/token"]) {
    const error = await refused(client.get(path), sdk.InternalServerError, "not supported", path);
    assert.equal(error.status, 501, path);
    assert.equal(error.error.type, "not_supported", path);
  }
  assert.ok(Date.now() - began < HASTE_MS, `took ${Date.now() - began} ms`);
  await refused(client.get("/v9/nothing"), sdk.NotFoundError, "no such route");
});

test("401 without a valid key", async () => {
  const digest = createHash("sha256").update("right").digest("hex");
  await withServer({ ELACSYM_AUTH__KEY_DIGESTS: digest }, async (server) => {
    const right = server.namespace("k", { apiKey: "right" });
    const wrong = server.namespace("k", { apiKey: "wrong", maxRetries: undefined });
    await right.write({ upsert_rows: [{ id: 1 }] });
    for (const call of [
      () => wrong.write({ upsert_rows: [{ id: 2 }] }),
      () => wrong.query({ rank_by: byId, limit: 1 }),
      () => wrong.metadata(),
      () => wrong.deleteAll(),
      () => server.client({ apiKey: " " }).namespaces(),
    ]) {
      const error = await refused(call, sdk.AuthenticationError);
      assert.equal(error.status, 401);
    }
    await assert.rejects(wrong.exists(), sdk.AuthenticationError);
    assert.deepEqual(await everything(right), [{ id: 1 }]);
  });
});

test("413 has no class of its own", async () => {
  await withServer({ ELACSYM_SERVER__MAX_BODY_BYTES: "4096" }, async (server) => {
    const ns = server.namespace("large");
    const error = await refused(ns.write({ upsert_rows: [{ id: 1, text: "x".repeat(5_000) }] }), sdk.APIError);
    assert.equal(error.status, 413);
    assert.equal((await ns.write({ upsert_rows: [{ id: 1, text: "x" }] })).rows_upserted, 1);
  });
});

test("429 where more is written than may wait for a flush, and none after it", async () => {
  const settings = { ELACSYM_TAIL__SLOW_BYTES: "20000", ELACSYM_TAIL__MAX_BYTES: "20000" };
  await withServer(settings, async (server) => {
    const ns = server.namespace("full");
    const schema = { text: { type: "string", filterable: false } };
    const row = (id) => ({ id, text: "x".repeat(30_000) });
    const write = (id) => ns.write({ upsert_rows: [row(id)], schema }, { maxRetries: 0 });
    await write(1);
    const error = await refused(write(2), sdk.RateLimitError);
    assert.equal(error.status, 429);
    assert.equal(error.error.type, "tail_full");
    assert.ok(Number(error.headers.get("retry-after-ms")) > 0);
    assert.equal((await server.send("POST", "/v1/namespaces/full/flush")).status, 200);
    await write(2);
    assert.deepEqual(ids(await ns.query({ rank_by: byId, limit: 9 })), [1, 2]);
  });
});

/** All files below a folder. */
function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );
}

test("500 where stored bytes are damaged, at once", async () => {
  const first = await Server.start();
  let second;
  try {
    const ns = first.namespace("hurt");
    await ns.write({ upsert_rows: [{ id: 1, text: "x".repeat(2_000) }, { id: 2, text: "y" }] });
    assert.equal((await first.send("POST", "/v1/namespaces/hurt/flush")).status, 200);
    await first.kill();
    const stored = files(first.folder).filter((path) => path.endsWith(".parquet"));
    assert.equal(stored.length, 1, files(first.folder).join("\n"));
    const bytes = readFileSync(stored[0]);
    for (let at = 4; at < bytes.length / 2; at += 1) bytes[at] ^= 0xff;
    writeFileSync(stored[0], bytes);
    second = await Server.start({}, first.folder);
    const began = Date.now();
    const query = { rank_by: byId, limit: 9, include_attributes: true };
    const hurt = second.namespace("hurt", { maxRetries: undefined });
    const error = await refused(hurt.query(query), sdk.InternalServerError);
    assert.equal(error.status, 500);
    assert.equal(error.error.type, "data_corrupt");
    assert.ok(Date.now() - began < HASTE_MS, `took ${Date.now() - began} ms`);
    const degraded = await hurt.query({ ...query, allow_degraded: true });
    assert.equal(degraded.degraded.segments.length, 1);
    assert.deepEqual(degraded.rows, []);
  } finally {
    await second?.remove();
    await first.remove();
  }
});

test("no server is a connection error", async () => {
  const server = await Server.start();
  await server.remove();
  await assert.rejects(server.namespace("gone").metadata(), sdk.APIConnectionError);
});
