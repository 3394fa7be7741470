//! What is written into the bucket and what is asked of it afterwards: requests of the API, nothing else.

use serde_json::{Map, Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Value,
    /// Its `Idempotency-Key`.
    pub(super) key: Option<&'static str>,
}

fn step(method: &'static str, path: impl Into<String>, body: Value) -> Step {
    Step {
        method,
        path: path.into(),
        body,
        key: None,
    }
}

pub(super) fn write(ns: &str, body: Value) -> Step {
    step("POST", format!("/v2/namespaces/{ns}"), body)
}

pub(super) fn flush(ns: &str) -> Step {
    step("POST", format!("/v1/namespaces/{ns}/flush"), Value::Null)
}

pub(super) fn compact(ns: &str) -> Step {
    step("POST", format!("/v1/namespaces/{ns}/compact"), Value::Null)
}

fn drop_of(ns: &str) -> Step {
    step("DELETE", format!("/v2/namespaces/{ns}"), Value::Null)
}

pub(super) fn query(ns: &str, body: Value) -> Step {
    step("POST", format!("/v2/namespaces/{ns}/query"), body)
}

/// Asks for every document.
pub(super) fn everything(ns: &str) -> Step {
    let body = json!({"rank_by": ["id", "asc"], "limit": 10_000, "include_attributes": true});
    query(ns, body)
}

/// A namespace with all types: where it lies and what its ids look like.
pub(super) struct Shelf {
    pub(super) name: &'static str,
    id: fn(u64) -> Value,
    id_type: &'static str,
    metric: &'static str,
}

/// Only a log; segments and a log; dropped once and created again with ids of another kind.
pub(super) const SHELVES: [Shelf; 3] = [
    Shelf {
        name: "tail",
        id: |n| json!(format!("dokument-ü-{n:03}")),
        id_type: "string",
        metric: "cosine_distance",
    },
    Shelf {
        name: "segments",
        id: |n| json!(n * 1_000_000_007),
        id_type: "uint",
        metric: "euclidean_squared",
    },
    Shelf {
        name: "again",
        id: |n| json!(uuid(n)),
        id_type: "uuid",
        metric: "dot_product",
    },
];

fn uuid(n: u64) -> String {
    format!(
        "{:08x}-0000-4000-8000-{n:012x}",
        n * 2_654_435_761 % (1 << 32)
    )
}

impl Shelf {
    fn schema(&self) -> Value {
        json!({
            "id": self.id_type,
            "title": "string", "rank": "int", "size": "uint", "score": "float", "ref": "uuid",
            "seen": "datetime", "open": "bool", "tags": "[]string", "ranks": "[]int",
            "sizes": "[]uint", "scores": "[]float", "refs": "[]uuid", "dates": "[]datetime",
            "flags": "[]bool", "text": {"type": "string", "filterable": false},
            "vector": {"type": "[4]f32", "ann": true}, "small": {"type": "[2]f32", "ann": true},
            "half": "[3]f16", "byte": {"type": "[5]i8", "ann": true}, "raw": "bytes",
            "words": {"type": "{}f16", "sparse_knn": {"distance_metric": "dot_product"}},
        })
    }

    /// Document `n` as written in round `turn`. All numbers are short in binary, so that distances are
    /// exact whatever the order of the sums.
    fn document(&self, n: u64, turn: u64) -> Value {
        let x = n * 37 + turn * 11;
        let part = |by: u64| (x * by % 41) as f64 / 4.0 - 5.0;
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
        set("id", (self.id)(n));
        set("vector", json!([part(1), part(3), part(7), part(13)]));
        set("small", json!([part(5), part(17)]));
        set("half", json!([part(2), part(4), part(6)]));
        let byte = |by: u64| (x * by % 256) as f64 - 128.0;
        set("byte", json!([1, 3, 5, 7, 9].map(byte)));
        set("rank", json!(x as i64 % 29 - 14));
        if n % 3 == 2 {
            return Value::Object(document);
        }
        set(
            "title",
            json!(format!("títle {:02} of round {turn}", x % 53)),
        );
        set("size", json!(u64::MAX - x % 7));
        set("score", json!(part(19) * 1.5));
        set("ref", json!(uuid(x % 9)));
        set(
            "seen",
            json!(format!(
                "20{:02}-0{}-17T10:{:02}:00.125000000Z",
                x % 60,
                1 + x % 9,
                x % 60
            )),
        );
        set("open", json!(x.is_multiple_of(2)));
        set("tags", json!([format!("t{}", x % 5), "", "ünd"]));
        set("ranks", json!([x as i64 % 5 - 2, i64::MIN, i64::MAX]));
        set("sizes", json!([x, u64::MAX]));
        set("scores", json!([part(23), 1e300]));
        set("refs", json!([uuid(x), uuid(0)]));
        set(
            "dates",
            json!([format!("19{:02}-02-03T00:00:00.000000000Z", x % 100)]),
        );
        set("flags", json!([true, x.is_multiple_of(3)]));
        set("text", json!(format!("{x} ").repeat((x % 20) as usize)));
        set("raw", json!(["", "AA==", "/wA="][(x % 3) as usize]));
        let words = json!({"": part(29), "sea": 0.5, format!("w{}", x % 11): -2.0});
        set("words", words);
        // Nothing says of what it is a list.
        set("none", json!([]));
        Value::Object(document)
    }

    pub(super) fn upsert(&self, of: impl IntoIterator<Item = u64>, turn: u64) -> Step {
        let rows: Vec<Value> = of.into_iter().map(|n| self.document(n, turn)).collect();
        let body = json!({
            "upsert_rows": rows, "schema": self.schema(), "distance_metric": self.metric,
        });
        write(self.name, body)
    }

    fn delete(&self, of: &[u64]) -> Step {
        let ids: Vec<Value> = of.iter().map(|n| (self.id)(*n)).collect();
        write(self.name, json!({"deletes": ids}))
    }

    /// An insert that takes no document that is there, under a key.
    pub(super) fn keyed(&self) -> Step {
        let body = json!({
            "upsert_rows": [self.document(1, 90), self.document(200, 90)],
            "upsert_condition": ["id", "Eq", null],
        });
        Step {
            key: Some("once"),
            ..write(self.name, body)
        }
    }
}

/// Rows enough for a bitmap of deletions that does not fit into the log.
const MANY: &str = "many";
const MANY_ROWS: u64 = 4_600;

fn many() -> Vec<Step> {
    let ids: Vec<u64> = (0..MANY_ROWS).collect();
    let numbers: Vec<u64> = ids.iter().map(|id| id * 7 % 101).collect();
    let even: Vec<u64> = (0..MANY_ROWS).step_by(2).collect();
    vec![
        write(
            MANY,
            json!({"upsert_columns": {"id": ids, "n": numbers, "old": numbers}}),
        ),
        flush(MANY),
        write(MANY, json!({"deletes": even})),
        flush(MANY),
        write(MANY, json!({"deletes": [1, 4_599]})),
        // Dropped, and another attribute of that name.
        write(
            MANY,
            json!({
                "schema": {"old": {"drop": true}},
                "upsert_rows": [{"id": 3, "n": -1, "old": "new"}, {"id": 9_000, "n": 9}],
            }),
        ),
    ]
}

/// All that is written, in order; each step must be answered with 200.
pub(super) fn steps() -> Vec<Step> {
    let [tail, segments, again] = &SHELVES;
    let mut steps = vec![
        tail.upsert(0..20, 1),
        tail.upsert(5..8, 2),
        tail.delete(&[2, 19, 150]),
        tail.keyed(),
    ];
    // Two segments, the second of which kills rows of the first, and blocks of the log that are full.
    steps.push(segments.upsert(0..120, 1));
    steps.extend((0..6).map(|n| segments.upsert([n * 3], 2)));
    steps.push(flush(segments.name));
    steps.push(segments.upsert(100..160, 3));
    steps.push(segments.delete(&[7, 8, 60, 77]));
    steps.extend((0..6).map(|n| segments.upsert([110 + n], 4)));
    steps.push(flush(segments.name));
    // An attribute that the older segments do not have.
    let late = json!({"year": "int"});
    steps.push(write(segments.name, json!({"schema": late})));
    steps.push(segments.upsert(160..190, 5));
    steps.push(segments.keyed());
    steps.extend((0..6).map(|n| segments.upsert([170 + n], 6)));
    steps.push(flush(segments.name));
    steps.push(segments.upsert([1, 119, 165, 300, 301], 7));
    steps.push(segments.delete(&[10, 130, 180, 301]));
    steps.extend(many());
    // Under the same name, but with other ids, another metric and other types.
    let before = json!({"upsert_rows": [{"id": "a", "rank": "text"}, {"id": "b"}]});
    steps.push(write(again.name, before));
    steps.push(flush(again.name));
    steps.push(drop_of(again.name));
    steps.push(again.upsert(0..30, 1));
    steps.push(flush(again.name));
    steps.push(again.upsert(28..34, 2));
    steps.push(again.delete(&[3]));
    steps.push(write("gone", json!({"upsert_rows": [{"id": 1}]})));
    steps.push(drop_of("gone"));
    steps
}

/// All that is asked.
pub(super) fn questions() -> Vec<Step> {
    let get = |path: String| step("GET", path, Value::Null);
    let mut steps = vec![get("/v1/namespaces".to_owned())];
    for ns in ["tail", "segments", "again", MANY, "gone"] {
        steps.push(get(format!("/v1/namespaces/{ns}/schema")));
        steps.push(get(format!("/v1/namespaces/{ns}/metadata")));
        steps.push(get(format!("/v2/namespaces/{ns}/metadata")));
        steps.push(everything(ns));
    }
    for shelf in &SHELVES {
        steps.extend(about(shelf));
    }
    let few = json!({"rank_by": [["n", "desc"], ["id", "asc"]], "limit": 12, "offset": 3});
    steps.push(query(MANY, few));
    let some = json!({"filters": ["And", [["n", "Lte", 3], ["id", "Gt", 4_000]]], "limit": 100});
    steps.push(query(MANY, some));
    steps
}

fn about(shelf: &Shelf) -> Vec<Step> {
    let mut bodies = vec![json!({"rank_by": ["id", "desc"], "limit": 5, "offset": 2})];
    for order in [
        json!(["rank", "asc"]),
        json!(["title", "desc"]),
        json!(["seen", "asc"]),
        json!(["size", "desc"]),
        json!([["open", "desc"], ["score", "asc"], ["id", "desc"]]),
    ] {
        bodies.push(json!({"rank_by": order, "limit": 25, "include_attributes": ["rank", "seen"]}));
    }
    let nearest = json!(["vector", "ANN", [1.0, -2.5, 0.25, 4.0]]);
    bodies.push(json!({"rank_by": nearest, "limit": 15, "include_attributes": ["small"]}));
    let base64 = json!({
        "rank_by": ["small", "ANN", [0.5, 2.0]], "limit": 3,
        "include_attributes": ["vector"], "vector_encoding": "base64",
    });
    bodies.push(base64);
    for (name, vector) in [
        ("half", json!([0.5, 1.0, -3.0])),
        ("byte", json!([1, 2, 3, 4, 5])),
    ] {
        bodies.push(
            json!({"rank_by": [name, "ANN", vector], "limit": 9, "include_attributes": [name]}),
        );
    }
    let filters = [
        json!(["title", "Gte", "títle 3"]),
        json!(["rank", "Lt", -3]),
        json!(["size", "Eq", u64::MAX]),
        json!(["score", "In", [-7.5, 0.0, 1.5, 7.5]]),
        json!(["ref", "NotEq", uuid(4)]),
        json!(["seen", "Gt", "2030-01-01T00:00:00Z"]),
        json!(["open", "Eq", true]),
        json!(["tags", "Eq", null]),
        json!(["id", "In", [(shelf.id)(1), (shelf.id)(29), (shelf.id)(131)]]),
        json!([
            "Or",
            [
                ["Not", ["rank", "Gte", 2]],
                ["And", [["open", "Eq", false], ["size", "NotEq", null]]]
            ]
        ]),
    ];
    for filter in filters {
        bodies.push(json!({"rank_by": nearest, "filters": filter, "limit": 8}));
        bodies.push(json!({"filters": filter, "limit": 300}));
    }
    bodies
        .into_iter()
        .map(|body| query(shelf.name, body))
        .collect()
}
