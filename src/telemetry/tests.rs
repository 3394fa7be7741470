use super::Metrics;
use super::metrics::AppendOutcome;

fn metrics() -> Metrics {
    Metrics::new().expect("names are unique")
}

/// Asserts that the text format holds the line `line`.
fn shows(metrics: &Metrics, line: &str) {
    let text = metrics.render();
    assert!(
        text.lines().any(|found| found == line),
        "no `{line}` in:\n{text}"
    );
}

/// One value for every metric, so that families with labels appear.
fn record_everything(metrics: &Metrics) {
    metrics
        .http
        .observe("/v2/namespaces/{namespace}", "POST", 200, 0.003);
    metrics.wal.observe_append(AppendOutcome::Committed, 0.1, 3);
    metrics.query.observe("vector", 0.02, 1_000);
}

#[test]
fn every_metric_name_ends_in_its_unit() {
    let units = [
        "_total",
        "_seconds",
        "_bytes",
        "_rows",
        "_requests",
        "_namespaces",
        "_segments",
    ];
    let metrics = metrics();
    assert!(metrics.names().len() > 10, "found {:?}", metrics.names());
    for name in metrics.names() {
        assert!(name.starts_with("elacsym_"), "{name}");
        assert!(units.iter().any(|unit| name.ends_with(unit)), "{name}");
    }
}

#[test]
fn every_counter_and_only_a_counter_ends_in_total() {
    let metrics = metrics();
    record_everything(&metrics);
    let text = metrics.render();
    for name in metrics.names() {
        let is_counter = text
            .lines()
            .any(|line| line == format!("# TYPE {name} counter"));
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
    }
}

#[test]
fn render_shows_every_metric_and_the_process() {
    let metrics = metrics();
    record_everything(&metrics);
    let text = metrics.render();
    for name in metrics.names() {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    #[cfg(target_os = "linux")]
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}

#[test]
fn recorded_values_are_rendered() {
    let metrics = metrics();
    record_everything(&metrics);
    metrics.namespace.tail_bytes.add(42);
    shows(
        &metrics,
        r#"elacsym_http_requests_total{method="POST",route="/v2/namespaces/{namespace}",status="200"} 1"#,
    );
    shows(&metrics, r#"elacsym_query_seconds_count{kind="vector"} 1"#);
    shows(&metrics, "elacsym_query_scanned_rows_total 1000");
    shows(&metrics, "elacsym_wal_group_requests_sum 3");
    shows(&metrics, "elacsym_tail_bytes 42");
}

#[test]
fn outcomes_are_rendered_before_they_happen() {
    let metrics = metrics();
    for outcome in ["committed", "failed", "unknown"] {
        shows(
            &metrics,
            &format!("elacsym_wal_appends_total{{outcome=\"{outcome}\"}} 0"),
        );
    }
}

#[test]
fn method_made_up_by_caller_is_other() {
    let metrics = metrics();
    metrics.http.observe("/", "BREW", 405, 0.0);
    shows(
        &metrics,
        r#"elacsym_http_requests_total{method="other",route="/",status="405"} 1"#,
    );
}

#[test]
fn no_label_is_a_namespace() {
    let metrics = metrics();
    record_everything(&metrics);
    let allowed = ["route", "method", "status", "outcome", "kind", "le"];
    for line in metrics
        .render()
        .lines()
        .filter(|line| line.starts_with("elacsym_"))
    {
        // A value may hold braces and commas of its own: names stand right before `="`.
        for before in line.rsplit("=\"").skip(1) {
            let name = before.rsplit(['{', ',']).next().unwrap_or(before);
            assert!(allowed.contains(&name), "label `{name}` in `{line}`");
        }
    }
}
