//! The body and the answer of a measurement of recall.

use serde::Serialize;

use super::fields::{Field, Shape, field, is_known, names};
use super::json::{invalid, parse_object, unknown_field};
use super::query::{VectorEncoding, given, parse_filters, parse_flag, unsigned};
use super::rank::parse_rank;
use super::reply::{Rows, encode};
use crate::error::{Error, Result};
use crate::query::reply::{Answers, Found, RecallReport};
use crate::query::request::{Ask, Consistency, Questions, RankBy, Recall};
use crate::runtime::Meter;

/// The fields of a measurement of recall.
pub(in crate::http) const FIELDS: [Field; 5] = [
    field("num", Shape::Count, "How many searches; 25 if absent."),
    field("top_k", Shape::Count, "Rows of each; 10 if absent."),
    field(
        "filters",
        Shape::Either(&[Shape::Named("Filter"), Shape::Text]),
        "Which rows are searched.",
    ),
    field(
        "include_ground_truth",
        Shape::Flag,
        "Whether the true nearest rows come back.",
    ),
    field(
        "rank_by",
        Shape::Named("RankBy"),
        "One search by a vector instead.",
    ),
];

/// Searches, and rows of each, where the request names none.
const SEARCHES: usize = 25;
const TOP_K: usize = 10;

/// Parses the body; `seed` picks the vectors.
///
/// Errors: `InvalidRequest` if it is not JSON or makes no sense, `Malformed` if its shape is wrong, what `meter` says.
pub(in crate::http) fn parse_recall(body: &[u8], seed: u64, meter: &Meter) -> Result<Questions> {
    let fields = parse_object(body, meter)?;
    if let Some(name) = fields.keys().find(|name| !is_known(&FIELDS, name)) {
        return Err(unknown_field(name, &names(&FIELDS)));
    }
    let count = |name: &str, default: usize| match given(&fields, name) {
        None => Ok::<_, Error>(default),
        Some(value) => {
            let count = unsigned(name, value)?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX))
        }
    };
    let rank_by = match given(&fields, "rank_by") {
        None => None,
        Some(value) => match parse_rank(value)? {
            RankBy::Vector {
                attribute, vector, ..
            } => Some((attribute, vector)),
            _ => return Err(invalid("rank_by", "expected a ranking by a vector")),
        },
    };
    let searches = match rank_by {
        None => count("num", SEARCHES)?,
        Some(_) => count("num", 1)?,
    };
    if rank_by.is_some() && searches != 1 {
        return Err(invalid("num", "expected 1 or nothing beside `rank_by`"));
    }
    let ask = Ask::Recall(Recall {
        searches,
        rank_by,
        top_k: count("top_k", TOP_K)?,
        filter: given(&fields, "filters").map(parse_filters).transpose()?,
        with_truth: parse_flag(&fields, "include_ground_truth")?,
        seed,
    });
    Ok(Questions {
        asks: vec![ask],
        fuse: None,
        explain: false,
        plan: None,
        consistency: Consistency::Strong,
        as_of: None,
        allow_degraded: false,
    })
}

#[derive(Serialize)]
struct RecallView<'a> {
    avg_recall: f64,
    avg_exhaustive_count: f64,
    avg_ann_count: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ground_truth: Option<Vec<TruthView<'a>>>,
}

#[derive(Serialize)]
struct TruthView<'a> {
    query_vector: &'a [f32],
    nearest_neighbors: Rows<'a>,
}

/// Encodes the answer. Errors: `Internal` if there is none in the answers, which asking for one excludes.
pub(in crate::http) fn encode_recall(answers: &Answers) -> Result<Vec<u8>> {
    let Some(Found::Recall(report)) = answers.found.first() else {
        return Err(Error::internal(
            "a measurement of recall found something else",
        ));
    };
    encode(&view(report))
}

fn view(report: &RecallReport) -> RecallView<'_> {
    let encoding = VectorEncoding::Float;
    let truth = report.truth.as_ref().map(|truth| {
        let searches = truth.iter().map(|search| TruthView {
            query_vector: &search.vector,
            nearest_neighbors: Rows {
                rows: &search.nearest,
                encoding,
            },
        });
        searches.collect()
    });
    RecallView {
        avg_recall: report.recall,
        avg_exhaustive_count: report.exhaustive_count,
        avg_ann_count: report.ann_count,
        ground_truth: truth,
    }
}
