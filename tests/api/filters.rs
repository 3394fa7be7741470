//! The filter language, from request to answer, against a referee that looks at one document at a time: over
//! documents in memory, in segments, and replaced or deleted in between.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{app, request, send};

mod referee;

/// The attributes: name, type, options.
const SCHEMA: [(&str, &str, &str); 17] = [
    ("s", "string", "regex"),
    ("i", "int", ""),
    ("u", "uint", ""),
    ("f", "float", ""),
    ("x", "uuid", ""),
    ("d", "datetime", ""),
    ("b", "bool", ""),
    ("ss", "[]string", "regex"),
    ("is", "[]int", ""),
    ("us", "[]uint", ""),
    ("fs", "[]float", ""),
    ("xs", "[]uuid", ""),
    ("ds", "[]datetime", ""),
    ("bs", "[]bool", ""),
    // Grows from segment to segment, so that some of them are passed over.
    ("part", "string", ""),
    ("globbed", "string", "glob"),
    ("searched", "[]string", "regex only"),
];

/// Small numbers from a seed, the same on every machine.
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end as u64).expect("below a usize")
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Few distinct values, so that equality, order and membership all happen often.
fn scalar(seed: &mut Seed, kind: &str) -> Value {
    match kind {
        "string" => json!(seed.pick(&["", "a", "ab", "B", "a/b", "\u{e9}", "ba\nb"])),
        "int" => json!(seed.pick(&[i64::MIN, -1, 0, 1, i64::MAX])),
        "uint" => json!(seed.pick(&[0, 1, u64::MAX])),
        "float" => json!(seed.pick(&[-1.5, 0.0, 2.0, 1e300])),
        "uuid" => {
            let end = seed.below(3);
            json!(format!("a0000000-0000-4000-8000-00000000000{end}"))
        }
        "datetime" => json!(format!(
            "19{}-01-01T00:00:00.000Z",
            seed.pick(&[69, 70, 71])
        )),
        "bool" => json!(seed.below(2) == 0),
        other => panic!("no such type: {other}"),
    }
}

fn value(seed: &mut Seed, kind: &str) -> Value {
    match kind.strip_prefix("[]") {
        Some(element) => {
            let len = seed.below(3);
            (0..len).map(|_| scalar(seed, element)).collect()
        }
        None => scalar(seed, kind),
    }
}

fn document(seed: &mut Seed, id: usize, part: usize) -> Map<String, Value> {
    let mut document = Map::from_iter([("id".to_owned(), json!(id))]);
    for (name, kind, _) in SCHEMA {
        if seed.below(4) > 0 {
            let value = match name {
                "part" => json!(format!("part-{part}-{}", seed.below(3))),
                _ => value(seed, kind),
            };
            document.insert(name.to_owned(), value);
        }
    }
    document
}

fn leaf(seed: &mut Seed) -> Value {
    let (name, kind, options) = seed.pick(&SCHEMA);
    if name == "part" {
        let glob = seed.pick(&["part-1*", "part-[12]-0", "part-3-?", "*-2-*", "q*"]);
        let value = seed.pick(&["part-0-1", "part-2", "part-3-2", "q"]);
        return match seed.below(3) {
            0 => json!([name, seed.pick(&["Glob", "NotGlob", "IGlob"]), glob]),
            1 => json!([name, seed.pick(&["Eq", "Lt", "Lte", "Gt", "Gte"]), value]),
            _ => json!([name, seed.pick(&["In", "NotIn"]), [value, "part-1-1"]]),
        };
    }
    let element = kind.trim_start_matches("[]");
    let is_list = element != kind;
    let is_text = element == "string";
    let globs = ["Glob", "NotGlob", "IGlob", "NotIGlob"];
    let glob = |seed: &mut Seed| {
        let op = seed.pick(&globs);
        json!([name, op, seed.pick(&referee::GLOBS)])
    };
    if options == "glob" {
        return glob(seed);
    }
    if options.starts_with("regex") && (options == "regex only" || seed.below(4) == 0) {
        let at = seed.below(referee::REGEXES.len());
        return json!([name, "Regex", referee::REGEXES[at].0]);
    }
    if is_text && seed.below(3) == 0 {
        return glob(seed);
    }
    let many = |seed: &mut Seed| -> Value {
        let len = seed.below(4);
        (0..len).map(|_| scalar(seed, element)).collect()
    };
    match (is_list, seed.below(6)) {
        (_, 0) => json!([name, seed.pick(&["In", "NotIn"]), many(seed)]),
        (_, 1) => {
            let op = seed.pick(&["Eq", "NotEq"]);
            json!([name, op, value(seed, kind)])
        }
        (_, 2) => json!([name, seed.pick(&["Eq", "NotEq"]), null]),
        (true, 3) => {
            let op = seed.pick(&["Contains", "NotContains", "In"]);
            json!([name, op, scalar(seed, element)])
        }
        (true, 4) => {
            let op = seed.pick(&["ContainsAny", "NotContainsAny"]);
            json!([name, op, many(seed)])
        }
        (true, _) => {
            let op = seed.pick(&["AnyLt", "AnyLte", "AnyGt", "AnyGte"]);
            json!([name, op, scalar(seed, element)])
        }
        (false, _) => {
            let null = seed.below(6) == 0;
            let value = if null {
                Value::Null
            } else {
                scalar(seed, kind)
            };
            json!([name, seed.pick(&["Lt", "Lte", "Gt", "Gte"]), value])
        }
    }
}

fn filter(seed: &mut Seed, depth: usize) -> Value {
    let many = |seed: &mut Seed| -> Value {
        let len = seed.below(3);
        (0..len).map(|_| filter(seed, depth - 1)).collect()
    };
    match seed.below(if depth == 0 { 3 } else { 6 }) {
        0..=2 => leaf(seed),
        3 => json!(["And", many(seed)]),
        4 => json!(["Or", many(seed)]),
        _ => json!(["Not", filter(seed, depth - 1)]),
    }
}

async fn post(app: &axum::Router, path: &str, body: &Value) -> Value {
    let sent = request("POST", path, Body::from(body.to_string()));
    let (status, _, answer) = send(app, sent).await;
    assert_eq!(status, StatusCode::OK, "{path} {body}: {answer}");
    answer
}

fn schema() -> Value {
    let attributes = SCHEMA.iter().map(|(name, kind, options)| {
        let config = match *options {
            "regex" => json!({"type": kind, "regex": true, "filterable": true}),
            "regex only" => json!({"type": kind, "regex": true}),
            "glob" => json!({"type": kind, "glob": true}),
            _ => json!(kind),
        };
        ((*name).to_owned(), config)
    });
    Value::Object(attributes.collect())
}

#[tokio::test]
async fn filter_of_any_kind_finds_what_the_referee_finds_in_memory_and_segments() {
    let app = app(&[]).await;
    let mut seed = Seed(11);
    let mut documents = std::collections::BTreeMap::new();
    for part in 0..4 {
        let n_ids = 60;
        let rows: Vec<_> = (0..n_ids)
            // Half of each part is new, half replaces documents of the part before.
            .map(|at| document(&mut seed, part * n_ids / 2 + at, part))
            .collect();
        // An id occurs once in a request: what is deleted is not written as well.
        let gone = [part * n_ids / 2 + 7, part * 13];
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| gone.iter().all(|id| row["id"] != json!(id)))
            .collect();
        let write = json!({"upsert_rows": rows, "schema": schema(), "deletes": gone});
        post(&app, "/v2/namespaces/f", &write).await;
        for row in rows {
            documents.insert(row["id"].as_u64().expect("an id"), row);
        }
        for id in gone {
            documents.remove(&(id as u64));
        }
        if part < 3 {
            let answer = post(&app, "/v1/namespaces/f/flush", &json!({})).await;
            assert_eq!(answer["triggered"], true);
        }
    }
    let types = SCHEMA.map(|(name, kind, _)| (name, kind));
    let (mut pruned, mut some) = (0, 0);
    for round in 0..1_500 {
        let filter = filter(&mut seed, 2);
        let query = json!({"filters": filter, "limit": 1_000});
        let answer = post(&app, "/v2/namespaces/f/query", &query).await;
        let rows = answer["rows"].as_array().expect("rows");
        let found: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
        let expected: Vec<_> = documents
            .values()
            .filter(|document| referee::matches(&types, document, &filter))
            .map(|document| document["id"].clone())
            .collect();
        assert_eq!(found, expected, "round {round}: {filter}");
        pruned += answer["performance"]["segments_pruned"]
            .as_u64()
            .unwrap_or(0);
        some += usize::from(!found.is_empty() && found.len() < documents.len());
    }
    // Most filters tell documents apart, and some do without whole segments.
    assert!(some > 800 && pruned > 100, "{some} {pruned}");
}

#[tokio::test]
async fn filter_that_cannot_be_answered_is_refused_with_status_and_words() {
    let app = app(&[]).await;
    let write = json!({"upsert_rows": [{"id": 1, "s": "a", "i": 1, "ss": ["a"], "is": [1]}], "schema": schema()});
    post(&app, "/v2/namespaces/g", &write).await;
    for (filter, status, expected) in [
        (json!(["nope", "Eq", 1]), 400, "attribute `nope` not found"),
        (json!(["s", "Equals", "a"]), 422, "the name of an operator"),
        (
            json!(["i", "Eq", "1"]),
            400,
            "type mismatch, Eq expects int, but got string `1`",
        ),
        (json!(["id", "Gt", "1"]), 400, "Gt expects uint"),
        (json!(["id", "In", [1, "2"]]), 422, "values of one type"),
        (json!(["i", "In", [1, null]]), 422, "none of them null"),
        (json!(["is", "Lt", 1]), 400, "Lt does not work on arrays"),
        (
            json!(["s", "Contains", "a"]),
            400,
            "Contains works on an array attribute",
        ),
        (
            json!(["ss", "Contains", null]),
            400,
            "Contains expects string, but got null",
        ),
        (
            json!(["ss", "ContainsAny", "a"]),
            400,
            "filter error in key `ss`: type mismatch, ContainsAny expects []string, but got string `a`",
        ),
        (json!(["i", "Glob", "1"]), 400, "Glob works on text"),
        (
            json!(["part", "Regex", "a"]),
            400,
            "Regex needs `regex: true`",
        ),
        (json!(["s", "Regex", "["]), 400, "invalid pattern of Regex"),
        (json!(["globbed", "Eq", "a"]), 400, "not filterable"),
        (
            json!(["s", "Fuzzy", "a", {}]),
            400,
            "`Fuzzy` is not supported",
        ),
        (json!("i = 'x'"), 400, "type mismatch, Eq expects int"),
        (json!("i ="), 422, "at byte 3: expected a value"),
    ] {
        let query = json!({"filters": filter, "limit": 1}).to_string();
        let sent = request("POST", "/v2/namespaces/g/query", Body::from(query));
        let (found, _, answer) = send(&app, sent).await;
        assert_eq!(found.as_u16(), status, "{filter}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(expected), "{filter}: {answer}");
    }
    let query = json!({"filters": "s = 'a' AND (i > 0 OR NOT ss CONTAINS 'a')", "limit": 1});
    let answer = post(&app, "/v2/namespaces/g/query", &query).await;
    assert_eq!(answer["rows"], json!([{"id": 1}]));
}
