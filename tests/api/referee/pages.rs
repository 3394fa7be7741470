//! Answers read page by page, while what they are about changes: together they are the answer of the first page's state.

use serde_json::{Value, json};

use super::make;
use super::query::{Expected, Rows};
use super::totals::Totals;
use super::{History, Namespace, Tally, verdict};

/// Pages after which a walk ends.
const PAGES_MAX: usize = 12;
/// Tries to find a question that has pages.
const TRIES: usize = 6;

impl History {
    /// Asks for all pages of a random question; the namespace changes and the server restarts between them.
    pub(super) async fn walk(&mut self, namespace: &mut Namespace, tally: &mut Tally) {
        let Some((question, expected)) = self.question(namespace) else {
            return;
        };
        let path = format!("/v2/namespaces/{}/query", namespace.name);
        let page_rows = 1 + self.seed.below(7);
        let mut query = question;
        query["limit"] = json!(page_rows);
        query["cursor"] = json!(true);
        let mut begin = 0;
        for page in 0..PAGES_MAX {
            if page > 0 {
                match self.seed.below(6) {
                    0 => self.server.restart(),
                    1 | 2 => self.change(namespace, tally).await,
                    _ => {}
                }
            }
            let (status, answer) = self.server.ask("POST", &path, &query).await;
            let verdict = match status {
                404 if page > 0 && !namespace.model.exists => return,
                // Another namespace has the name by now.
                410 if page > 0 => return self.dropped(&expected, &answer),
                200 => of_page(&expected, begin, page_rows, &answer),
                _ => Err("expected a page".to_owned()),
            };
            self.settle((status, &answer), &path, &query, verdict, tally);
            tally.pages += 1;
            begin += page_rows;
            match &answer["next_cursor"] {
                Value::Null => return,
                next => query["cursor"] = next.clone(),
            }
        }
    }

    fn dropped(&self, expected: &Expected, answer: &Value) {
        let gone = answer["type"] == json!("state_not_retained");
        assert!(gone, "history {}: {answer}, {expected:?}", self.number);
    }

    /// A question that has pages, and its whole answer now.
    fn question(&mut self, namespace: &Namespace) -> Option<(Value, Expected)> {
        let Namespace { model, plan, .. } = namespace;
        for _ in 0..TRIES {
            let mut query = make::query(&mut self.seed, plan, model);
            if !has_pages(&query) {
                continue;
            }
            let fields = query.as_object_mut()?;
            fields.remove("top_k");
            fields.remove("offset");
            fields.insert("limit".to_owned(), json!(10_000));
            match model.query(&query) {
                Ok(expected @ (Expected::Rows(_) | Expected::Totals(_))) => {
                    return Some((query, expected));
                }
                _ => continue,
            }
        }
        None
    }
}

fn has_pages(query: &Value) -> bool {
    let is_order = |order: &Value| order[1] == json!("asc") || order[1] == json!("desc");
    let groups = &query["group_by"];
    if !query["aggregate_by"].is_null() {
        let names = groups.as_array();
        return names.is_some_and(|names| !names.is_empty() && names.iter().all(Value::is_string));
    }
    let rank = &query["rank_by"];
    let is_ordered = rank.is_null()
        || is_order(rank)
        || rank
            .as_array()
            .is_some_and(|orders| !orders.is_empty() && orders.iter().all(is_order));
    query["queries"].is_null() && query["limit"]["per"].is_null() && is_ordered
}

/// Compares one page: what it holds, and whether more follow.
fn of_page(
    expected: &Expected,
    begin: usize,
    page_rows: usize,
    answer: &Value,
) -> Result<(), String> {
    let (of_page, n_all) = match expected {
        Expected::Rows(rows) => (
            Expected::Rows(Rows {
                found: rows.found.clone(),
                offset: begin,
                limit: page_rows,
                descending: rows.descending,
            }),
            rows.found.len(),
        ),
        Expected::Totals(totals) => {
            let page = totals.groups.iter().skip(begin).take(page_rows);
            let groups = page.cloned().collect();
            let totals_of_page = Totals {
                grouped: true,
                groups,
            };
            (Expected::Totals(totals_of_page), totals.groups.len())
        }
        Expected::Several(_) => return Err("expected one question".to_owned()),
    };
    let more_follow = begin + page_rows < n_all;
    if answer["next_cursor"].is_string() != more_follow {
        return Err(format!("expected a next page: {more_follow}"));
    }
    verdict::of_ask(&of_page, answer)
}
