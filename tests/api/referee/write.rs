//! What a write does to a namespace, and what it answers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::filter;
use super::model::{ABSENT, Doc, Model, Refused, SEMANTICS, SHAPE};
use super::value::Id;

const FIELDS: [&str; 16] = [
    "upsert_rows",
    "upsert_columns",
    "patch_rows",
    "patch_columns",
    "deletes",
    "delete_by_filter",
    "patch_by_filter",
    "delete_by_filter_allow_partial",
    "patch_by_filter_allow_partial",
    "schema",
    "distance_metric",
    "upsert_condition",
    "patch_condition",
    "delete_condition",
    "return_affected_ids",
    "create_namespace",
];

const METRICS: [&str; 3] = ["cosine_distance", "euclidean_squared", "dot_product"];

type Sent = Map<String, Value>;

impl Model {
    /// Writes all of a request or nothing; gives the fields of the answer that the API settles, with lists
    /// of ids sorted.
    pub(super) fn write(&mut self, body: &Value) -> Result<Value, Refused> {
        let mut next = self.clone();
        let answer = next.apply(body)?;
        *self = next;
        Ok(answer)
    }

    /// Changes the schema by a body that is nothing else.
    pub(super) fn update_schema(&mut self, schema: &Value) -> Result<(), Refused> {
        if !self.exists {
            return Err(ABSENT);
        }
        let mut next = self.clone();
        next.settle(Some(schema), None, |_| Ok(()))?;
        *self = next;
        Ok(())
    }

    fn apply(&mut self, body: &Value) -> Result<Value, Refused> {
        let sent = body.as_object().ok_or(SHAPE)?;
        if sent.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            return Err(SEMANTICS);
        }
        let field = |name: &str| sent.get(name).filter(|value| !value.is_null());
        let upserts = documents(field("upsert_rows"), field("upsert_columns"))?;
        let patches = documents(field("patch_rows"), field("patch_columns"))?;
        let deletes = match field("deletes") {
            Some(ids) => Some(ids.as_array().ok_or(SHAPE)?),
            None => None,
        };
        let delete_filter = field("delete_by_filter");
        let patch_filter = match field("patch_by_filter") {
            Some(sent) => Some(patch_by_filter(sent)?),
            None => None,
        };
        let is_empty = upserts.is_none() && patches.is_none() && deletes.is_none();
        if is_empty
            && delete_filter.is_none()
            && patch_filter.is_none()
            && field("schema").is_none()
        {
            return Err(SEMANTICS);
        }
        for (condition, there) in [
            ("upsert_condition", upserts.is_some()),
            ("patch_condition", patches.is_some()),
            ("delete_condition", deletes.is_some()),
        ] {
            if field(condition).is_some() && !there {
                return Err(SEMANTICS);
            }
        }
        if !self.exists && upserts.is_none() {
            return Err(ABSENT);
        }
        self.exists = true;
        if let Some(kind) = field("schema").and_then(|schema| schema.get("id")) {
            self.declare(&json!({"id": kind}))?;
        }
        let upserts = upserts.map(|rows| self.with_ids(rows)).transpose()?;
        let patches = patches.map(|rows| self.with_ids(rows)).transpose()?;
        let deletes = deletes.map(|ids| self.ids(ids)).transpose()?;
        distinct(&upserts, &patches, &deletes)?;
        let upsert_rows = upserts.as_deref().unwrap_or_default();
        let patch_rows = patches.as_deref().unwrap_or_default();
        self.settle(field("schema"), field("distance_metric"), |next| {
            let patches = patch_rows.iter().map(|(_, patch)| patch);
            let patches: Vec<&Sent> = patches
                .chain(patch_filter.map(|(_, patch)| patch))
                .collect();
            for document in upsert_rows
                .iter()
                .map(|(_, row)| row)
                .chain(patches.clone())
            {
                next.infer(document)?;
            }
            let vectors = next.vectors();
            let names_one = |patch: &&Sent| vectors.iter().any(|name| patch.contains_key(name));
            if patches.iter().any(names_one) {
                return Err(SEMANTICS);
            }
            for document in upsert_rows.iter().map(|(_, row)| row).chain(patches) {
                next.typed(document)?;
            }
            Ok(())
        })?;
        let vectors = self.vectors();
        for (_, row) in upsert_rows {
            let missing = |name: &String| row.get(name).is_none_or(Value::is_null);
            if vectors.iter().any(missing) {
                return Err(SEMANTICS);
            }
        }
        if let Some(filter) = delete_filter {
            filter::check(self, filter)?;
        }
        if let Some((filter, _)) = patch_filter {
            filter::check(self, filter)?;
        }
        for (condition, rows) in [
            ("upsert_condition", upsert_rows),
            ("patch_condition", patch_rows),
            ("delete_condition", &[]),
        ] {
            if let Some(condition) = field(condition) {
                let nothing = Sent::new();
                let first = rows.first().map_or(&nothing, |(_, row)| row);
                filter::check(self, &filled(condition, first))?;
            }
        }
        self.run(sent, upserts, patches, deletes, patch_filter)
    }

    fn run(
        &mut self,
        sent: &Sent,
        upserts: Option<Vec<(Id, Sent)>>,
        patches: Option<Vec<(Id, Sent)>>,
        deletes: Option<Vec<Id>>,
        patch_filter: Option<(&Value, &Sent)>,
    ) -> Result<Value, Refused> {
        let condition = |name: &str| sent.get(name).filter(|value| !value.is_null());
        let mut deleted: Vec<Id> = Vec::new();
        let mut patched: Vec<Id> = Vec::new();
        let mut upserted: Vec<Id> = Vec::new();
        let delete_filter = condition("delete_by_filter");
        if let Some(filter) = delete_filter {
            deleted = self.matching(filter);
            for id in &deleted {
                self.docs.remove(id);
            }
        }
        if let Some((filter, patch)) = patch_filter {
            patched = self.matching(filter);
            for id in patched.clone() {
                self.patch(&id, patch)?;
            }
        }
        let asked = (upserts.is_some(), patches.is_some(), deletes.is_some());
        for (id, row) in upserts.into_iter().flatten() {
            let applies = match self.docs.get(&id) {
                None => true,
                Some(doc) => self.allows(condition("upsert_condition"), &id, doc, &row)?,
            };
            if applies {
                let typed = self.typed(&row)?.into_iter();
                let doc = typed
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect();
                self.docs.insert(id.clone(), doc);
                upserted.push(id);
            }
        }
        for (id, patch) in patches.into_iter().flatten() {
            if let Some(doc) = self.docs.get(&id)
                && self.allows(condition("patch_condition"), &id, doc, &patch)?
            {
                self.patch(&id, &patch)?;
                patched.push(id);
            }
        }
        for id in deletes.into_iter().flatten() {
            let applies = match (self.docs.get(&id), condition("delete_condition")) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(doc), condition) => self.allows(condition, &id, doc, &Sent::new())?,
            };
            if applies {
                self.docs.remove(&id);
                deleted.push(id);
            }
        }
        let with_ids = sent.get("return_affected_ids") == Some(&Value::Bool(true));
        let affected = upserted.len() + patched.len() + deleted.len();
        let mut answer = json!({"status": "OK", "rows_affected": affected});
        for (verb, asked, mut ids) in [
            ("upserted", asked.0, upserted),
            ("patched", asked.1 || patch_filter.is_some(), patched),
            ("deleted", asked.2 || delete_filter.is_some(), deleted),
        ] {
            if asked {
                answer[format!("rows_{verb}")] = json!(ids.len());
            }
            if with_ids && !ids.is_empty() {
                ids.sort();
                answer[format!("{verb}_ids")] = ids.iter().map(Id::shown).collect();
            }
        }
        Ok(answer)
    }

    fn matching(&self, filter: &Value) -> Vec<Id> {
        let docs = self.docs.iter();
        let matching = docs.filter(|(id, doc)| filter::holds(self, id, doc, filter));
        matching.map(|(id, _)| id.clone()).collect()
    }

    fn patch(&mut self, id: &Id, patch: &Sent) -> Result<(), Refused> {
        let typed = self.typed(patch)?;
        let Some(doc) = self.docs.get_mut(id) else {
            return Ok(());
        };
        for (name, value) in typed {
            match value {
                Some(value) => doc.insert(name, value),
                None => doc.remove(&name),
            };
        }
        Ok(())
    }

    /// Whether a condition holds for a document, with the values of the new one where it asks for them.
    fn allows(
        &self,
        condition: Option<&Value>,
        id: &Id,
        doc: &Doc,
        new: &Sent,
    ) -> Result<bool, Refused> {
        let Some(condition) = condition else {
            return Ok(true);
        };
        let condition = filled(condition, new);
        filter::check(self, &condition)?;
        Ok(filter::holds(self, id, doc, &condition))
    }

    fn with_ids(&mut self, rows: Vec<Sent>) -> Result<Vec<(Id, Sent)>, Refused> {
        rows.into_iter()
            .map(|row| Ok((self.read_id(row.get("id").ok_or(SEMANTICS)?)?, row)))
            .collect()
    }

    fn ids(&mut self, ids: &[Value]) -> Result<Vec<Id>, Refused> {
        ids.iter().map(|id| self.read_id(id)).collect()
    }

    /// Lets the schema grow by what is declared, then by what `bring` adds, and settles vectors and metric.
    fn settle(
        &mut self,
        schema: Option<&Value>,
        metric: Option<&Value>,
        bring: impl FnOnce(&mut Self) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let before = self.vectors();
        let mut metrics = match schema {
            Some(schema) => self.declare(schema)?,
            None => BTreeSet::new(),
        };
        if let Some(metric) = metric {
            let metric = metric.as_str().ok_or(SHAPE)?;
            if !METRICS.contains(&metric) {
                return Err(SHAPE);
            }
            metrics.insert(metric.to_owned());
        }
        bring(self)?;
        let after = self.vectors();
        let grew = !before.is_empty() && after.len() > before.len();
        if grew || metrics.len() > 1 || after.is_empty() && !metrics.is_empty() {
            return Err(SEMANTICS);
        }
        match (&self.metric, metrics.pop_first()) {
            (Some(fixed), Some(metric)) if *fixed != metric => return Err(SEMANTICS),
            (None, None) if !after.is_empty() => return Err(SEMANTICS),
            (None, metric) => self.metric = metric,
            (Some(_), _) => {}
        }
        Ok(())
    }
}

/// The documents of an operation, sent as rows or as columns.
fn documents(rows: Option<&Value>, columns: Option<&Value>) -> Result<Option<Vec<Sent>>, Refused> {
    let of_row = |row: &Value| row.as_object().cloned().ok_or(SHAPE);
    match (rows, columns) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(SEMANTICS),
        (Some(rows), None) => {
            let rows = rows.as_array().ok_or(SHAPE)?.iter();
            rows.map(of_row).collect::<Result<_, _>>().map(Some)
        }
        (None, Some(columns)) => {
            let columns = columns.as_object().ok_or(SHAPE)?;
            let n_rows = columns.get("id").ok_or(SEMANTICS)?;
            let n_rows = n_rows.as_array().ok_or(SHAPE)?.len();
            let mut rows = vec![Sent::new(); n_rows];
            for (name, cells) in columns {
                let cells = cells.as_array().ok_or(SHAPE)?;
                if cells.len() != n_rows {
                    return Err(SEMANTICS);
                }
                for (row, cell) in rows.iter_mut().zip(cells) {
                    row.insert(name.clone(), cell.clone());
                }
            }
            Ok(Some(rows))
        }
    }
}

fn patch_by_filter(sent: &Value) -> Result<(&Value, &Sent), Refused> {
    let sent = sent.as_object().ok_or(SHAPE)?;
    let filter = sent.get("filters").ok_or(SHAPE)?;
    let patch = sent.get("patch").ok_or(SHAPE)?;
    let patch = patch.as_object().ok_or(SHAPE)?;
    if patch.contains_key("id") {
        return Err(SEMANTICS);
    }
    Ok((filter, patch))
}

fn distinct(
    upserts: &Option<Vec<(Id, Sent)>>,
    patches: &Option<Vec<(Id, Sent)>>,
    deletes: &Option<Vec<Id>>,
) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    let rows = upserts.iter().chain(patches).flatten().map(|(id, _)| id);
    match rows
        .chain(deletes.iter().flatten())
        .all(|id| seen.insert(id))
    {
        true => Ok(()),
        false => Err(SEMANTICS),
    }
}

fn filled(condition: &Value, new: &Sent) -> Value {
    match condition {
        Value::Array(items) => items.iter().map(|item| filled(item, new)).collect(),
        Value::Object(reference) => match reference.get("$ref_new").and_then(Value::as_str) {
            Some(name) => new.get(name).cloned().unwrap_or(Value::Null),
            None => condition.clone(),
        },
        other => other.clone(),
    }
}
