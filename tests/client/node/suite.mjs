// What the Node suites share: one server a file, refusals with their class, rows without noise.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Server } from "./server.mjs";

export const byId = ["id", "asc"];

/** A server for all tests of a file, made and filled before the first and removed after the last. */
export function shared(fill = async () => {}) {
  const context = {};
  before(async () => {
    context.server = await Server.start();
    await fill(context.server);
  });
  after(async () => {
    await context.server?.remove();
  });
  return context;
}

/** Asserts that `call` is refused with exactly this class and the error body of the API; gives the error. */
export async function refused(call, kind, text = "", what = "") {
  let error;
  try {
    // A function where several calls stand in a list: each is made when its turn comes.
    const answer = await (typeof call === "function" ? call() : call);
    assert.fail(`${what} was answered: ${JSON.stringify(answer).slice(0, 300)}`);
  } catch (found) {
    if (found instanceof assert.AssertionError) throw found;
    error = found;
  }
  assert.equal(error.constructor.name, kind.name, `${what} raised ${error}`);
  assert.equal(error.error?.status, "error", `${what}: body ${JSON.stringify(error.error)}`);
  assert.ok(error.error.error, `${what}: no message`);
  assert.ok(error.error.error.includes(text), `${what}: '${text}' is not in '${error.error.error}'`);
  return error;
}

export function ids(answer) {
  return answer.rows.map((row) => row.id);
}

/** Every row of a namespace, by id, with all attributes. */
export async function everything(ns) {
  return (await ns.query({ rank_by: byId, limit: 10_000, include_attributes: true })).rows;
}

/** Asserts the shape of what every query reply carries beside its rows. */
export function assertCosts(answer) {
  for (const name of [
    "approx_namespace_size",
    "cache_hit_ratio",
    "exhaustive_search_count",
    "query_execution_ms",
    "server_total_ms",
  ]) {
    assert.equal(typeof answer.performance[name], "number", name);
  }
  assert.ok(["hot", "warm", "cold"].includes(answer.performance.cache_temperature));
  assert.ok(answer.billing.billable_logical_bytes_queried >= 0);
  assert.ok(answer.billing.billable_logical_bytes_returned >= 0);
}
