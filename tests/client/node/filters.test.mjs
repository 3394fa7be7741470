// Every operator of filters, on every kind of value, through the official TypeScript client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sdk } from "./server.mjs";
import { byId, ids, refused, shared } from "./suite.mjs";

const uuid = (digit) => `00000000-0000-4000-8000-00000000000${digit}`;

// Row 4 has nothing but its id: what operators say of missing values is half of their meaning.
const ROWS = [
  {
    id: 1, name: "ant", n: 1, u: 10, score: 0.5, ok: true, day: "2024-01-01", uid: uuid(1),
    tags: ["red", "small"], sizes: [1, 2], note: "the Quick ant",
  },
  {
    id: 2, name: "bee", n: 2, u: 20, score: 1.5, ok: false, day: "2024-02-01", uid: uuid(2),
    tags: ["yellow"], sizes: [], note: "a bee/hive",
  },
  {
    id: 3, name: "cat", n: 3, u: 30, score: -1, ok: true, day: "2024-03-01T12:00:00Z", uid: uuid(3),
    tags: ["red", "big"], sizes: [5], note: "quick cat",
  },
  { id: 4 },
];
const SCHEMA = {
  u: "uint",
  score: "float",
  day: "datetime",
  uid: "uuid",
  sizes: "[]int",
  note: { type: "string", regex: true, glob: true, filterable: true },
};

const CASES = [
  [["n", "Eq", 2], [2]],
  [["n", "Eq", null], [4]],
  [["n", "NotEq", 2], [1, 3, 4]],
  [["n", "NotEq", null], [1, 2, 3]],
  [["n", "In", [1, 3]], [1, 3]],
  [["n", "In", []], []],
  [["n", "NotIn", [1, 3]], [2, 4]],
  [["n", "NotIn", []], [1, 2, 3, 4]],
  [["n", "Lt", 2], [1, 4]],
  [["n", "Lt", null], []],
  [["n", "Lte", 2], [1, 2, 4]],
  [["n", "Lte", null], [4]],
  [["n", "Gt", 1], [2, 3]],
  [["n", "Gt", null], [1, 2, 3]],
  [["n", "Gte", 2], [2, 3]],
  [["n", "Gte", null], [1, 2, 3, 4]],
  [["u", "Gt", 10], [2, 3]],
  [["score", "Gt", 0], [1, 2]],
  [["score", "Eq", -1], [3]],
  [["name", "Lt", "bee"], [1, 4]],
  [["name", "In", ["cat", "dog"]], [3]],
  [["ok", "Eq", true], [1, 3]],
  [["ok", "NotEq", true], [2, 4]],
  [["day", "Gte", "2024-02-01"], [2, 3]],
  [["day", "Eq", "2024-03-01T13:00:00+01:00"], [3]],
  [["uid", "Eq", uuid(2).toUpperCase()], [2]],
  [["uid", "In", [uuid(1), uuid(3)]], [1, 3]],
  [["id", "In", [1, 4, 9]], [1, 4]],
  [["id", "Gt", 2], [3, 4]],
  [["tags", "Contains", "red"], [1, 3]],
  [["tags", "NotContains", "red"], [2, 4]],
  [["tags", "ContainsAny", ["big", "yellow"]], [2, 3]],
  [["tags", "NotContainsAny", ["big", "yellow"]], [1, 4]],
  [["tags", "In", ["big"]], [3]],
  [["tags", "NotIn", ["red"]], [2, 4]],
  [["tags", "Eq", ["yellow"]], [2]],
  [["sizes", "AnyLt", 2], [1]],
  [["sizes", "AnyLte", 1], [1]],
  [["sizes", "AnyGt", 2], [3]],
  [["sizes", "AnyGte", 2], [1, 3]],
  [["note", "Glob", "*quick*"], [3]],
  [["note", "NotGlob", "*quick*"], [1, 2, 4]],
  [["note", "IGlob", "*quick*"], [1, 3]],
  [["note", "NotIGlob", "*quick*"], [2, 4]],
  [["note", "Glob", "a*hive"], [2]],
  [["name", "Glob", "?[ae]?"], [2, 3]],
  [["tags", "Glob", "{re,yel}*"], [1, 2, 3]],
  [["note", "Regex", "[Qq]uick (ant|cat)$"], [1, 3]],
  [["Not", ["n", "Eq", 2]], [1, 3, 4]],
  [["And", [["ok", "Eq", true], ["n", "Gt", 1]]], [3]],
  [["Or", [["n", "Eq", 1], ["tags", "Contains", "yellow"]]], [1, 2]],
  [["And", []], [1, 2, 3, 4]],
  [["Or", []], []],
  [["And", [["Or", [["n", "Eq", 1], ["n", "Eq", 2]]], ["Not", ["ok", "Eq", true]]]], [2]],
];

const context = shared(async (server) => {
  const reply = await server.namespace("filters").write({ upsert_rows: ROWS, schema: SCHEMA });
  assert.equal(reply.rows_upserted, ROWS.length);
});

test("every operator selects what its definition says", async () => {
  const ns = context.server.namespace("filters");
  for (const [filters, expected] of CASES) {
    const answer = await ns.query({ rank_by: byId, limit: 10, filters });
    assert.deepEqual(ids(answer), expected, JSON.stringify(filters));
  }
});

test("operators say the same of rows in segments", async () => {
  const { status } = await context.server.send("POST", "/v1/namespaces/filters/flush");
  assert.equal(status, 200);
  const ns = context.server.namespace("filters");
  for (const [filters, expected] of CASES) {
    const answer = await ns.query({ rank_by: byId, limit: 10, filters });
    assert.deepEqual(ids(answer), expected, JSON.stringify(filters));
  }
});

test("a filter alone orders by id", async () => {
  const answer = await context.server.namespace("filters").query({ filters: ["ok", "Eq", true], limit: 10 });
  assert.deepEqual(answer.rows, [{ id: 1 }, { id: 3 }]);
});

test("a filter may be text", async () => {
  const ns = context.server.namespace("filters");
  for (const [filters, expected] of [
    ["n >= 2 AND name = 'cat'", [3]],
    ["tags CONTAINS 'red' OR n IS NULL", [1, 3, 4]],
    ["NOT (n IN (1, 2)) AND ANY sizes > 4", [3]],
    ["note REGEX '^the' OR note IGLOB 'A *'", [1, 2]],
  ]) {
    const answer = await ns.query({ rank_by: byId, limit: 10, filters });
    assert.deepEqual(ids(answer), expected, filters);
  }
});

test("senseless filters are bad requests", async () => {
  const ns = context.server.namespace("filters");
  for (const [filters, text] of [
    [["nope", "Eq", 1], "nope"],
    [["n", "Eq", "1"], ""],
    [["id", "Gt", "1"], ""],
    [["n", "Contains", 1], ""],
    [["tags", "Contains", null], ""],
    [["tags", "Lt", "red"], ""],
    [["tags", "ContainsAny", "red"], "ContainsAny"],
    [["name", "Regex", "a"], "regex"],
    [["note", "Regex", "("], ""],
    [["note", "Glob", "["], ""],
    [["day", "Gt", "yesterday"], ""],
    [["uid", "Eq", "no uuid"], ""],
  ]) {
    const query = ns.query({ rank_by: byId, limit: 1, filters });
    await refused(query, sdk.BadRequestError, text, JSON.stringify(filters));
  }
});

test("misshapen filters are unprocessable", async () => {
  const ns = context.server.namespace("filters");
  for (const filters of [
    ["n", "Resembles", 1],
    ["n", "In", [1, null]],
    ["id", "In", [1, "2"]],
    ["And", ["n", "Eq", 1]],
    ["n"],
    [],
    { n: 1 },
    7,
    "n >= ",
  ]) {
    const query = ns.query({ rank_by: byId, limit: 1, filters });
    await refused(query, sdk.UnprocessableEntityError, "", JSON.stringify(filters));
  }
});

test("operators that are not served say so", async () => {
  const ns = context.server.namespace("filters");
  for (const filters of [
    ["name", "ContainsAllTokens", "ant"],
    ["name", "ContainsAnyToken", ["ant"]],
    ["name", "ContainsTokenSequence", "ant"],
    ["name", "Fuzzy", "ant", { max_edit_distance: [{ min_query_chars: 6, distance: 1 }] }],
  ]) {
    const query = ns.query({ rank_by: byId, limit: 1, filters });
    const error = await refused(query, sdk.BadRequestError, filters[1], JSON.stringify(filters));
    assert.equal(error.error.type, "unsupported");
  }
});
