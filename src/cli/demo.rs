//! The bundled sample: 2,000 records of the Tate collection with vectors hashed from their titles.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use flate2::read::GzDecoder;
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result};
use crate::filter;
use crate::namespace::Engine;
use crate::types::document::{AttributeSpec, Document, RawValue, SchemaSpec, WriteBatch};
use crate::types::{AttributeType, DistanceMetric, NamespaceName, ScalarType};

/// Where the sample goes.
const NAMESPACE: &str = "tate";
/// Dimensions of its vectors.
const DIMS: usize = 64;
/// Gzipped NDJSON; origin and licence in `demo/README.md`.
const SAMPLE: &[u8] = include_bytes!("demo/tate.ndjson.gz");

/// Loads the sample, unless the namespace exists.
pub(super) async fn load(engine: &Engine) -> Result<()> {
    let name = NamespaceName::parse(NAMESPACE)?;
    match engine.describe(&name).await {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let upserts = documents()?;
    let batch = WriteBatch {
        bytes: SAMPLE.len() * 8,
        upserts,
        has_upserts: true,
        schema: Some(schema()),
        distance_metric: Some(DistanceMetric::Cosine),
        ..WriteBatch::default()
    };
    engine.write(&name, batch, None).await?;
    Ok(())
}

fn schema() -> SchemaSpec {
    let attributes = BTreeMap::from([
        (
            "width_mm".to_owned(),
            AttributeSpec::plain(AttributeType::Scalar(ScalarType::Float)),
        ),
        (
            "subject_groups".to_owned(),
            AttributeSpec::plain(AttributeType::Array(ScalarType::String)),
        ),
    ]);
    SchemaSpec {
        attributes,
        ..SchemaSpec::default()
    }
}

fn documents() -> Result<Vec<Document>> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::internal(format!("the bundled sample is damaged: {error}"))
    };
    BufReader::new(GzDecoder::new(SAMPLE))
        .lines()
        .map(|line| {
            let line = line.map_err(|error| damaged(&error))?;
            let record: BTreeMap<String, Json> =
                serde_json::from_str(&line).map_err(|error| damaged(&error))?;
            let title = record.get("title").and_then(Json::as_str).unwrap_or("");
            let vector = RawValue::Numbers {
                values: hashed(title).iter().map(|x| f64::from(*x)).collect(),
                integers: false,
            };
            let mut document = Document {
                id: RawValue::Null,
                attributes: vec![(Arc::from("vector"), vector)],
            };
            for (key, value) in &record {
                let value = filter::raw(value);
                if key == "id" {
                    document.id = value;
                } else {
                    document.attributes.push((Arc::from(key.as_str()), value));
                }
            }
            Ok(document)
        })
        .collect()
}

/// A bag of words hashed into `DIMS` signed buckets, of unit length: no model, and similar titles are near.
fn hashed(text: &str) -> [f32; DIMS] {
    let mut vector = [0.0_f32; DIMS];
    let words = text.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        let hash = xxh3_64(word.to_lowercase().as_bytes());
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        vector[(hash % DIMS as u64) as usize] += sign;
    }
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        for x in &mut vector {
            *x /= norm;
        }
    }
    vector
}

/// Three queries to try, as shell lines that work.
pub(super) fn queries(address: &str) -> String {
    let curl = |comment: &str, body: &str| {
        format!(
            "\n# {comment}\ncurl -s http://{address}/v2/namespaces/{NAMESPACE}/query -H 'Content-Type: application/json' -d '{body}'\n"
        )
    };
    let vector = hashed("A Pink Sky above a Grey Sea")
        .map(|x| format!("{x}"))
        .join(",");
    let nearest = format!(
        r#"{{"rank_by":["vector","ANN",[{vector}]],"limit":3,"include_attributes":["title","artist"]}}"#
    );
    let filtered = format!(
        r#"{{"rank_by":["vector","ANN",[{vector}]],"filters":["And",[["classification","Eq","on paper, print"],["acquisition_year","Gte",1900]]],"limit":3,"include_attributes":["title","acquisition_year"]}}"#
    );
    let ordered = r#"{"rank_by":["year_start","desc"],"limit":3,"include_attributes":["title","artist","year_start"]}"#;
    [
        curl(
            "titles nearest to \"A Pink Sky above a Grey Sea\"",
            &nearest,
        ),
        curl("the same among prints acquired since 1900", &filtered),
        curl("the newest works", ordered),
    ]
    .concat()
}
