//! Namespaces, documents, writes and queries from a seed. Few distinct values of each type, so that
//! equality, order and membership all happen often; those at the ends of each type among them.

mod faults;
mod filters;
mod queries;
mod scores;
mod sentence;
mod writes;

use serde_json::{Map, Value, json};

use super::model::Model;
use super::seed::Seed;
use super::value::{Kind, Scalar, Width};

pub(super) use queries::query;
pub(super) use sentence::sentence;
pub(super) use writes::{schema_change, write};

/// An attribute that documents of a namespace may have.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
    /// What the schema says of it, where it says anything.
    declared: Option<Value>,
    /// The step from which documents have it.
    from: usize,
}

/// What a namespace will be filled with.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    id_kind: Scalar,
    ids: Vec<Value>,
    columns: Vec<Column>,
    vectors: Vec<Column>,
    metric: &'static str,
    /// Vectors of small whole numbers, of which many are equally far.
    whole: bool,
}

const NAMES: [&str; 14] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "x y",
    "\u{e9}t\u{e9}",
    "And",
    "q.r",
    "Max",
    "z_1",
];

const METRICS: [&str; 3] = ["cosine_distance", "euclidean_squared", "dot_product"];

impl Plan {
    pub(super) fn new(seed: &mut Seed) -> Self {
        let id_kind = seed.pick(&[Scalar::Uint, Scalar::Uint, Scalar::Text, Scalar::Uuid]);
        let n_columns = 5 + seed.below(NAMES.len() - 5);
        let columns = NAMES[..n_columns].iter();
        let columns = columns.map(|name| column(seed, name)).collect();
        let n_vectors = seed.pick(&[0, 1, 1, 1, 2]);
        let from = seed.pick(&[0, 0, 0, 3]);
        let vectors = (0..n_vectors).map(|at| {
            let dims = 1 + seed.below(6);
            let width = seed.pick(&[Width::F32, Width::F32, Width::F16, Width::I8]);
            let kind = Kind::Vector(dims, width);
            let declared = json!({"type": kind.name(), "ann": true});
            let is_vector = at == 0 && seed.below(2) == 0;
            Column {
                name: if is_vector {
                    "vector"
                } else {
                    ["v1", "v2"][at]
                }
                .to_owned(),
                kind,
                declared: (!is_vector || width != Width::F32 || seed.below(2) == 0)
                    .then_some(declared),
                from,
            }
        });
        Self {
            vectors: vectors.collect(),
            id_kind,
            ids: ids(id_kind),
            columns,
            metric: seed.pick(&METRICS),
            whole: seed.below(2) == 0,
        }
    }

    /// The declarations that a write must bring for what it is about to use.
    fn declarations(&self, model: &Model, step: usize, with_vectors: bool) -> Map<String, Value> {
        let vectors = self.vectors.iter().filter(|_| with_vectors);
        let columns = self.columns.iter().filter(|column| column.from <= step);
        let unknown = columns
            .chain(vectors)
            .filter(|column| !model.attributes.contains_key(&column.name));
        let declared = unknown.filter_map(|column| {
            let config = column.declared.clone()?;
            Some((column.name.clone(), config))
        });
        let mut schema: Map<String, Value> = declared.collect();
        if self.id_kind == Scalar::Uuid && model.id_kind.is_none() {
            schema.insert("id".to_owned(), json!("uuid"));
        }
        schema
    }

    fn document(&self, seed: &mut Seed, id: Value, step: usize, with_vectors: bool) -> Value {
        let mut document = Map::from_iter([("id".to_owned(), id)]);
        for column in self.columns.iter().filter(|column| column.from <= step) {
            match seed.below(10) {
                0..=6 => document.insert(column.name.clone(), self.value(seed, column)),
                7 => document.insert(column.name.clone(), Value::Null),
                _ => None,
            };
        }
        for vector in self.vectors.iter().filter(|_| with_vectors) {
            let value = self.vector(seed, vector.kind);
            document.insert(vector.name.clone(), value);
        }
        Value::Object(document)
    }

    /// A value for a column: of an undeclared one, one whose type can be seen.
    fn value(&self, seed: &mut Seed, column: &Column) -> Value {
        let one = |seed: &mut Seed, scalar| match (scalar, &column.declared) {
            (Scalar::Float, None) => json!(scalar_value(seed, scalar).as_f64().expect("a number")),
            _ => scalar_value(seed, scalar),
        };
        match column.kind {
            Kind::List(scalar) => {
                let len = seed.below(4);
                (0..len).map(|_| one(seed, scalar)).collect()
            }
            Kind::One(scalar) => one(seed, scalar),
            Kind::ListOfUnknown => json!([]),
            Kind::Vector(..) => self.vector(seed, column.kind),
            Kind::Sparse => weights(seed),
            Kind::Bytes => json!(seed.pick(&["", "AA==", "AAEC", "/+8="])),
        }
    }

    fn vector(&self, seed: &mut Seed, kind: Kind) -> Value {
        let Kind::Vector(dims, width) = kind else {
            panic!("a vector");
        };
        let whole = self.whole || width == Width::I8;
        let numbers: Vec<f32> = (0..dims)
            .map(|_| match whole {
                true => seed.below(5) as f32 - 2.0,
                false if seed.once_in(12) && width == Width::F32 => {
                    seed.pick(&[0.0, 1e15, -1e-15, 0.7])
                }
                false if seed.once_in(12) => seed.pick(&[0.0, 65_504.0, 6e-8, 1e-6, 2_049.0]),
                false => (seed.below(2_001) as f32 - 1_000.0) / 1_000.0,
            })
            .collect();
        match seed.below(4) {
            0 => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
                json!(super::text::to_base64(&bytes))
            }
            1 if whole => numbers.iter().map(|one| json!(*one as i64)).collect(),
            _ => json!(numbers),
        }
    }
}

fn column(seed: &mut Seed, name: &str) -> Column {
    let scalar = seed.pick(&Scalar::ALL);
    let kind = match seed.below(7) {
        0..=3 => Kind::One(scalar),
        4 => Kind::List(scalar),
        5 => seed.pick(&[Kind::List(scalar), Kind::Sparse, Kind::Bytes]),
        _ => seed.pick(&[
            Kind::One(Scalar::Text),
            Kind::List(Scalar::Text),
            Kind::One(Scalar::Int),
        ]),
    };
    let must = matches!(
        kind,
        Kind::Sparse
            | Kind::Bytes
            | Kind::One(Scalar::Uint | Scalar::Uuid | Scalar::Time)
            | Kind::List(Scalar::Uint | Scalar::Uuid | Scalar::Time)
    );
    let is_text = matches!(kind, Kind::One(Scalar::Text) | Kind::List(Scalar::Text));
    let mut options = json!({"type": kind.name()});
    if is_text {
        for option in ["regex", "glob"] {
            if seed.once_in(3) {
                options[option] = json!(seed.below(4) > 0);
            }
        }
    }
    if kind == Kind::Sparse {
        options["sparse_knn"] = json!({"distance_metric": "dot_product"});
    }
    if kind.is_comparable() && seed.once_in(4) {
        options["filterable"] = json!(seed.below(4) > 0);
    }
    let plain = options
        .as_object()
        .is_some_and(|options| options.len() == 1);
    let declared = match plain {
        true if !must && seed.below(3) > 0 => None,
        true if seed.below(2) == 0 => Some(json!(kind.name())),
        _ => Some(options),
    };
    Column {
        name: name.to_owned(),
        kind,
        declared,
        from: if seed.once_in(4) { seed.below(8) } else { 0 },
    }
}

fn ids(kind: Scalar) -> Vec<Value> {
    let ends = match kind {
        Scalar::Uint => vec![json!(0), json!(u64::MAX), json!((1_u64 << 53) + 1)],
        Scalar::Text => vec![
            json!(""),
            json!("\u{e9}"),
            json!("x".repeat(64)),
            json!("1"),
        ],
        _ => Vec::new(),
    };
    let plain = (1..40).map(|at| match kind {
        Scalar::Uint => json!(at),
        Scalar::Text => json!(format!("id-{at}")),
        _ => json!(format!("{at:08x}-0000-4000-8000-0000000000{at:02x}")),
    });
    ends.into_iter().chain(plain).collect()
}

/// A sparse vector, whose products are exact.
fn weights(seed: &mut Seed) -> Value {
    let names = seed.some(&["a", "b", "\u{e9}", "long name", "0"], 4);
    let weights = names.into_iter().chain(["c"]).map(|name| {
        let weight = seed.pick(&[0.5, 1.0, 2.0, -1.0, 0.25]);
        (name.to_owned(), json!(weight))
    });
    Value::Object(weights.collect())
}

/// A value of a type.
fn scalar_value(seed: &mut Seed, scalar: Scalar) -> Value {
    match scalar {
        Scalar::Text => match seed.below(16) {
            0 => json!("l".repeat(4_096)),
            1 => json!(format!(
                "{}{}",
                seed.pick(&["a", "b", "k"]),
                seed.below(100)
            )),
            _ => json!(seed.pick(&[
                "",
                "a",
                "ab",
                "B",
                "a/b",
                "\u{e9}",
                "\u{c9}",
                "ba\nb",
                "\u{65e5}\u{672c}",
                "a\0b",
                "\u{1f600}",
                "\"\\",
            ])),
        },
        Scalar::Int => match seed.below(8) {
            0 => json!(seed.below(1_000) as i64 - 500),
            _ => json!(seed.pick(&[i64::MIN, -1, 0, 1, 2, (1 << 53) + 1, i64::MAX])),
        },
        Scalar::Uint => json!(seed.pick(&[0, 1, 2, (1 << 53) + 1, u64::MAX - 1, u64::MAX])),
        Scalar::Float => match seed.below(10) {
            0 => json!(2),
            1 => json!(seed.below(1_000) as f64 / 7.0),
            _ => json!(seed.pick(&[-1.5, 0.0, -0.0, 2.0, 0.1, 1e300, -1e300, 5e-324])),
        },
        Scalar::Uuid => {
            let text = format!("A0000000-0000-4000-8000-00000000000{}", seed.below(4));
            match seed.below(2) {
                0 => json!(text),
                _ => json!(text.to_lowercase()),
            }
        }
        Scalar::Time => json!(seed.pick(&[
            "1969-12-31T23:59:59.999Z",
            "1970-01-01",
            "1970-01-01T00:00:00.001",
            "2024-03-02",
            "2024-03-02T02:00:00+02:00",
            "2024-03-02T01:02",
            "2024-03-02 01:02:03.123456Z",
            "0001-01-01",
            "9999-12-31T23:59:59Z",
        ])),
        Scalar::Bool => json!(seed.below(2) == 0),
    }
}
