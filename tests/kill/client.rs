//! Requests to one server, and what came back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than the server ever takes: a request that reaches it was lost.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Of the header.
    pub(crate) request_id: String,
    pub(crate) retry_after: bool,
}

/// One server, one namespace. The connections are its own.
#[derive(Debug)]
pub(crate) struct Client {
    http: ureq::Agent,
    server: String,
    namespace: String,
}

/// Value of attribute `v` by id.
pub(crate) type Values = BTreeMap<u64, u64>;

impl Client {
    pub(crate) fn new(server: &str, namespace: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .build();
        Self {
            http: config.new_agent(),
            server: server.to_owned(),
            namespace: format!("{server}/v2/namespaces/{namespace}"),
        }
    }

    /// Sends a write; an error means that whether it was applied is unknown.
    pub(crate) fn try_write(&self, body: &Value) -> Result<Answer, ureq::Error> {
        self.post(&self.namespace, body)
    }

    /// As `try_write`, with an `Idempotency-Key`.
    pub(crate) fn try_write_keyed(&self, body: &Value, key: &str) -> Result<Answer, ureq::Error> {
        let request = self.http.post(&self.namespace);
        send(request.header("idempotency-key", key), body)
    }

    /// Sends a write that must succeed; returns the answer's body.
    pub(crate) fn write(&self, body: &Value) -> Value {
        let answer = self.try_write(body);
        let answer = answer.unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.body
    }

    pub(crate) fn upsert(&self, rows: &[(u64, u64)]) -> Value {
        self.write(&upsert_body(rows))
    }

    /// Asks for a flush; an error means that no answer came.
    pub(crate) fn try_flush(&self) -> Result<Answer, ureq::Error> {
        self.operate("flush")
    }

    /// Asks for an operation on the namespace; an error means that no answer came.
    pub(crate) fn operate(&self, operation: &str) -> Result<Answer, ureq::Error> {
        let namespace = self.namespace.replace("/v2/", "/v1/");
        self.post(&format!("{namespace}/{operation}"), &json!({}))
    }

    /// Sends a strong read of some ids.
    pub(crate) fn try_read(&self, ids: &[u64]) -> Answer {
        let answer = self.ask_read(ids);
        answer.unwrap_or_else(|error| panic!("read of {ids:?}: {error}"))
    }

    /// As `try_read`; an error means that no answer came.
    pub(crate) fn ask_read(&self, ids: &[u64]) -> Result<Answer, ureq::Error> {
        let body = json!({
            "filters": ["id", "In", ids],
            "limit": 10_000,
            "include_attributes": ["v"],
            "consistency": {"level": "strong"},
        });
        self.post(&format!("{}/query", self.namespace), &body)
    }

    /// Reads some ids, strongly; `None` if there is no such namespace.
    pub(crate) fn read(&self, ids: &[u64]) -> Option<Values> {
        values_of(&self.try_read(ids))
    }

    /// As `read`; an error means that no answer came.
    pub(crate) fn read_if_answered(&self, ids: &[u64]) -> Result<Option<Values>, ureq::Error> {
        Ok(values_of(&self.ask_read(ids)?))
    }

    /// Drops the namespace; the status, or no answer.
    pub(crate) fn try_delete_namespace(&self) -> Result<u16, ureq::Error> {
        let answer = self.http.delete(&self.namespace).call()?;
        Ok(answer.status().as_u16())
    }

    pub(crate) fn delete_namespace(&self) {
        let status = self.try_delete_namespace().expect("an answer");
        assert_eq!(status, 200, "DELETE {}", self.namespace);
    }

    fn post(&self, url: &str, body: &Value) -> Result<Answer, ureq::Error> {
        send(self.http.post(url), body)
    }

    /// Asks an endpoint of the process.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let answer = self.http.get(format!("{}{path}", self.server)).call();
        read(answer.expect("an answer")).expect("a whole answer")
    }
}

/// What a read gave; `None` if there is no such namespace.
fn values_of(answer: &Answer) -> Option<Values> {
    if answer.status == 404 {
        return None;
    }
    // A namespace that was made and never written to.
    if answer.body["error"] == "attribute `v` not found" {
        return Some(Values::new());
    }
    assert_eq!(answer.status, 200, "a read: {}", answer.body);
    let rows = answer.body["rows"].as_array().expect("rows");
    let read: Values = rows.iter().map(id_and_value).collect();
    assert_eq!(read.len(), rows.len(), "an id twice: {}", answer.body);
    Some(read)
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let text = answer.body_mut().read_to_string()?;
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    Ok(Answer {
        status: answer.status().as_u16(),
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        request_id: header("x-request-id").unwrap_or_default().to_owned(),
        retry_after: header("retry-after").is_some(),
    })
}

fn send(
    request: ureq::RequestBuilder<ureq::typestate::WithBody>,
    body: &Value,
) -> Result<Answer, ureq::Error> {
    let request = request.header("content-type", "application/json");
    read(request.send(body.to_string())?)
}

/// The body that upserts rows of an id and its value.
pub(crate) fn upsert_body(rows: &[(u64, u64)]) -> Value {
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({"upsert_rows": rows, "distance_metric": "euclidean_squared"})
}

fn row(&(id, value): &(u64, u64)) -> Value {
    json!({"id": id, "v": value, "vector": [id, value % 1_000, 0.5, -1.0]})
}

fn id_and_value(row: &Value) -> (u64, u64) {
    let number = |name: &str| {
        row[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} of {row}"))
    };
    (number("id"), number("v"))
}
