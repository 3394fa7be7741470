//! A referee of the HTTP data plane: what requests mean, written from the page on the API with nothing of the
//! engine, on JSON and plain maps. Random histories of writes, flushes and restarts are played to both, and
//! every answer of the engine must be the referee's.
//!
//! Read `model.rs` first, then `write.rs`, `filter.rs` and `query.rs`; `make/` invents the requests. A
//! failing history prints its seed.

mod filter;
mod make;
mod model;
mod multi;
mod pages;
mod pattern;
mod query;
mod score;
mod seed;
mod server;
mod text;
mod totals;
mod value;
mod verdict;
mod write;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use make::Plan;
use model::Model;
use query::Expected;
use seed::Seed;
use server::Server;

/// Comparisons of a plain run.
const COMPARISONS: u64 = 20_000;
/// Writes, flushes and the like of a history.
const STEPS: usize = 40;
/// Queries after each of them.
const QUERIES: usize = 10;

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    comparisons: u64,
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    /// Queries that find some of the documents and not all.
    telling: u64,
    /// Queries whose documents lie in memory and in several segments.
    spread: u64,
    /// Segments that queries left out by their smallest and largest values.
    pruned: u64,
    flushes: u64,
    restarts: u64,
    /// Pages of longer answers.
    pages: u64,
}

/// A namespace: what the referee thinks of it, and what it will be filled with.
struct Namespace {
    name: &'static str,
    model: Model,
    plan: Plan,
}

struct History {
    number: u64,
    seed: Seed,
    server: Server,
    step: usize,
}

impl History {
    async fn play(number: u64, prints: bool, tally: &mut Tally) {
        let mut seed = Seed::new(number);
        let mut namespaces = ["one", "two"].map(|name| Namespace {
            name,
            model: Model::default(),
            plan: Plan::new(&mut seed),
        });
        let mut history = Self {
            number,
            seed,
            server: Server::new(prints),
            step: 0,
        };
        while history.step < STEPS {
            let at = usize::from(history.seed.once_in(4));
            history.change(&mut namespaces[at], tally).await;
            for namespace in &namespaces {
                history.look(namespace, tally).await;
            }
            for _ in 0..QUERIES {
                let Namespace { name, model, plan } = &namespaces[at];
                let query = make::query(&mut history.seed, plan, model);
                history.query(name, model, &query, tally).await;
            }
            if history.seed.once_in(4) {
                history.walk(&mut namespaces[at], tally).await;
            }
            history.step += 1;
        }
    }

    /// Changes a namespace, or only where its documents are.
    async fn change(&mut self, namespace: &mut Namespace, tally: &mut Tally) {
        let Namespace { name, model, plan } = namespace;
        match self.seed.below(24) {
            0..=6 if model.exists => {
                let verb = match self.seed.once_in(8) {
                    true => "compact",
                    false => "flush",
                };
                let path = format!("/v1/namespaces/{name}/{verb}");
                let (status, answer) = self.server.ask("POST", &path, &json!({})).await;
                tally.flushes += 1;
                self.settle(
                    (status, &answer),
                    &path,
                    &json!({}),
                    expect_200(status),
                    tally,
                );
            }
            7 | 8 => {
                self.server.restart();
                tally.restarts += 1;
            }
            9 if model.exists && self.seed.once_in(3) => {
                *model = Model::default();
                let path = format!("/v2/namespaces/{name}");
                let (status, answer) = self.server.ask("DELETE", &path, &json!({})).await;
                self.settle(
                    (status, &answer),
                    &path,
                    &json!({}),
                    expect_200(status),
                    tally,
                );
            }
            10 | 11 if model.exists => {
                let change = make::schema_change(&mut self.seed, model);
                let path = format!("/v1/namespaces/{name}/schema");
                let (status, answer) = self.server.ask("POST", &path, &change).await;
                let verdict = match model.update_schema(&change) {
                    Ok(()) => same_schema(model, &answer),
                    Err(refused) => verdict::refusal(refused, status, &answer),
                };
                self.settle((status, &answer), &path, &change, verdict, tally);
            }
            _ => {
                let body = make::write(&mut self.seed, plan, model, self.step);
                let path = format!("/v2/namespaces/{name}");
                let (status, answer) = self.server.ask("POST", &path, &body).await;
                let expected = model.write(&body);
                let verdict = verdict::of_write(&expected, status, &answer);
                self.settle((status, &answer), &path, &body, verdict, tally);
            }
        }
    }

    /// Looks at all of a namespace.
    async fn look(&mut self, namespace: &Namespace, tally: &mut Tally) {
        let Namespace { name, model, .. } = namespace;
        let query = json!({"rank_by": ["id", "asc"], "limit": 10_000, "include_attributes": true});
        self.query(name, model, &query, tally).await;
        if !self.seed.once_in(4) {
            return;
        }
        let path = format!("/v2/namespaces/{name}/metadata");
        let (status, answer) = self.server.ask("GET", &path, &json!(null)).await;
        let verdict = match model.exists {
            true if answer["approx_row_count"] != json!(model.docs.len()) => {
                Err(format!("expected {} documents", model.docs.len()))
            }
            true => same_schema(model, &answer["schema"]),
            false => verdict::refusal(model::ABSENT, status, &answer),
        };
        self.settle((status, &answer), &path, &json!(null), verdict, tally);
    }

    async fn query(&mut self, name: &str, model: &Model, query: &Value, tally: &mut Tally) {
        let path = format!("/v2/namespaces/{name}/query");
        let expected = model.query(query);
        let mut query = query.clone();
        // A filter may be text as well. What is wrong with it may have another status there.
        let text = make::sentence(&query["filters"]).filter(|_| expected.is_ok());
        if let Some(text) = text.filter(|_| self.seed.once_in(6)) {
            query["filters"] = json!(text);
        }
        let (status, answer) = self.server.ask("POST", &path, &query).await;
        let count = |name: &str| answer["performance"][name].as_u64().unwrap_or(0);
        let n_segments = count("segments_searched") + count("segments_pruned");
        tally.pruned += count("segments_pruned");
        tally.spread += u64::from(n_segments > 1 && count("unindexed_rows") > 0);
        if let Ok(Expected::Rows(expected)) = &expected {
            let n_found = expected.found.len();
            tally.telling += u64::from(n_found > 0 && n_found < model.docs.len());
        }
        let verdict = verdict::of_query(&expected, status, &answer);
        self.settle((status, &answer), &path, &query, verdict, tally);
    }

    fn settle(
        &self,
        (status, answer): (u16, &Value),
        path: &str,
        body: &Value,
        verdict: Result<(), String>,
        tally: &mut Tally,
    ) {
        tally.comparisons += 1;
        *tally.statuses.entry(status).or_default() += 1;
        if let Err(difference) = verdict {
            let text = format!(
                "ELACSYM_TEST_REFEREE_SEED={} cargo test --test api referee -- --nocapture\n\
                 step {}: {path} {body}\nthe referee: {difference}\nthe engine: {status} {answer}",
                self.number, self.step
            );
            // The longest text, of which only the length matters.
            panic!("{}", text.replace(&"l".repeat(4_096), "(long)"));
        }
    }
}

fn expect_200(status: u16) -> Result<(), String> {
    match status {
        200 => Ok(()),
        _ => Err("expected status 200".to_owned()),
    }
}

/// Compares the types and the options of all attributes.
fn same_schema(model: &Model, answer: &Value) -> Result<(), String> {
    let mut names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
    names.extend(model.id_kind.map(|_| "id"));
    names.sort_unstable();
    let found = answer.as_object().ok_or("no schema")?;
    if !found.keys().map(String::as_str).eq(names.iter().copied()) {
        return Err(format!("expected attributes {names:?}"));
    }
    for (name, attribute) in &model.attributes {
        let found = &found[name];
        let on = |option: &str| found[option] == json!(true);
        let options = (on("filterable"), on("regex"), on("glob"));
        let wanted = (attribute.filterable, attribute.regex, attribute.glob);
        if found["type"] != json!(attribute.kind.name()) || options != wanted {
            return Err(format!("`{name}`: expected {attribute:?}"));
        }
    }
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "how much of the test runs; nothing of the program depends on it"
)]
fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

#[tokio::test]
async fn engine_answers_what_the_referee_answers_over_random_histories() {
    let mut tally = Tally::default();
    if let Some(number) = setting("ELACSYM_TEST_REFEREE_SEED") {
        History::play(number, true, &mut tally).await;
        println!("{tally:?}");
        return;
    }
    let wanted = setting("ELACSYM_TEST_REFEREE").unwrap_or(COMPARISONS);
    let mut number = 0;
    while tally.comparisons < wanted {
        History::play(number, false, &mut tally).await;
        number += 1;
    }
    println!("{number} histories, {tally:?}");
    let refused = tally.comparisons - tally.statuses[&200];
    assert!(tally.telling * 4 > tally.comparisons, "{tally:?}");
    assert!(tally.spread * 8 > tally.comparisons, "{tally:?}");
    assert!(tally.pruned * 8 > tally.comparisons, "{tally:?}");
    assert!(refused * 50 > tally.comparisons, "{tally:?}");
    assert!(tally.pages * 50 > tally.comparisons, "{tally:?}");
}
