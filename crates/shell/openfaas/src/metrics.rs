//! `/metrics`: calls of functions, under the names that OpenFaaS' gateway has, as Prometheus reads them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use eyot_serving::label;
use parking_lot::Mutex;

use crate::{Failure, Inner};

/// Functions that are counted; calls of names beyond that, which may not even be functions, are counted together.
const ROWS_MAX: usize = 20_000;
/// What those are counted under.
const OTHERS: &str = "";
/// Upper bounds of the histogram, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<Box<str>, Row>>);

#[derive(Default)]
struct Row {
    started: u64,
    by_code: BTreeMap<u16, Times>,
}

#[derive(Default)]
struct Times {
    count: u64,
    seconds: f64,
    within: [u64; BUCKETS.len()],
}

impl Metrics {
    fn with(&self, function: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.0.lock();
        if let Some(row) = rows.get_mut(function) {
            return change(row);
        }
        let name = if rows.len() < ROWS_MAX { function } else { OTHERS };
        change(rows.entry(name.into()).or_default());
    }

    /// A call of `NAME.NAMESPACE` has begun.
    pub(crate) fn began(&self, function: &str) {
        self.with(function, |row| row.started += 1);
    }

    /// It was answered, or at least begun to be.
    pub(crate) fn ended(&self, function: &str, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        self.with(function, |row| {
            let times = row.by_code.entry(code).or_default();
            times.count += 1;
            times.seconds += seconds;
            for (bound, count) in BUCKETS.iter().zip(&mut times.within) {
                *count += u64::from(seconds <= *bound);
            }
        });
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let rows = self.0.lock();
        let mut family = |name: &str, kind: &str, help: &str, each: &dyn Fn(&mut String)| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            each(&mut out);
        };
        family(
            "gateway_function_invocation_started",
            "counter",
            "The total number of function HTTP requests started.",
            &|out| {
                for (name, row) in rows.iter() {
                    let _ = writeln!(
                        out,
                        "gateway_function_invocation_started{{function_name=\"{name}\"}} {}",
                        row.started
                    );
                }
            },
        );
        family("gateway_function_invocation_total", "counter", "Function metrics", &|out| {
            for (name, code, times) in by_code(&rows) {
                let _ = writeln!(
                    out,
                    "gateway_function_invocation_total{{code=\"{code}\",function_name=\"{name}\"}} {}",
                    times.count
                );
            }
        });
        family("gateway_functions_seconds", "histogram", "Function time taken", &|out| {
            for (name, code, times) in by_code(&rows) {
                let labels = format!("code=\"{code}\",function_name=\"{name}\"");
                let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(times.within.iter().chain([&times.count])) {
                    let _ = writeln!(out, "gateway_functions_seconds_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                let _ = writeln!(out, "gateway_functions_seconds_sum{{{labels}}} {}", times.seconds);
                let _ = writeln!(out, "gateway_functions_seconds_count{{{labels}}} {}", times.count);
            }
        });
        out
    }
}

fn by_code(rows: &BTreeMap<Box<str>, Row>) -> impl Iterator<Item = (&str, u16, &Times)> {
    rows.iter().flat_map(|(name, row)| row.by_code.iter().map(move |(code, times)| (&**name, *code, times)))
}

/// Everything, in Prometheus' text.
pub(crate) async fn metrics(State(inner): State<Arc<Inner>>) -> Result<Response, Failure> {
    let mut text = inner.metrics.text();
    let mut instances: BTreeMap<String, i64> = BTreeMap::new();
    for revision in inner.api.list(&format!("/apis/{}/revisions", eyot_serving::API_VERSION)).await? {
        let metadata = &revision["metadata"];
        let (service, namespace) = (metadata["labels"][label::SERVICE].as_str(), metadata["namespace"].as_str());
        let (Some(service), Some(namespace)) = (service, namespace) else { continue };
        *instances.entry(format!("{service}.{namespace}")).or_default() +=
            revision["status"]["actualReplicas"].as_i64().unwrap_or(0);
    }
    let _ = writeln!(
        text,
        "# HELP gateway_service_count Current count of replicas for function\n# TYPE gateway_service_count gauge"
    );
    for (name, count) in instances {
        let _ = writeln!(text, "gateway_service_count{{function_name=\"{name}\"}} {count}");
    }
    let queue = &inner.queue.counts;
    for (name, kind, help, value) in [
        ("eyot_async_calls_waiting", "gauge", "Calls that wait to be answered later.", inner.queue.waiting() as u64),
        (
            "eyot_async_calls_accepted_total",
            "counter",
            "Calls taken to be answered later.",
            queue.accepted.load(Relaxed),
        ),
        ("eyot_async_calls_refused_total", "counter", "Calls refused for want of room.", queue.refused.load(Relaxed)),
        (
            "eyot_async_callbacks_failed_total",
            "counter",
            "Answers that could not be delivered.",
            queue.undelivered.load(Relaxed),
        ),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_function_and_code() {
        let metrics = Metrics::default();
        for (code, millis) in [(200, 4), (200, 30), (500, 20_000)] {
            metrics.began("hello.default");
            metrics.ended("hello.default", code, Duration::from_millis(millis));
        }
        let text = metrics.text();
        for line in [
            "# TYPE gateway_function_invocation_total counter",
            r#"gateway_function_invocation_started{function_name="hello.default"} 3"#,
            r#"gateway_function_invocation_total{code="200",function_name="hello.default"} 2"#,
            r#"gateway_function_invocation_total{code="500",function_name="hello.default"} 1"#,
            r#"gateway_functions_seconds_bucket{code="200",function_name="hello.default",le="0.005"} 1"#,
            r#"gateway_functions_seconds_bucket{code="200",function_name="hello.default",le="0.05"} 2"#,
            r#"gateway_functions_seconds_bucket{code="500",function_name="hello.default",le="10"} 0"#,
            r#"gateway_functions_seconds_bucket{code="500",function_name="hello.default",le="+Inf"} 1"#,
            r#"gateway_functions_seconds_count{code="200",function_name="hello.default"} 2"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[test]
    fn names_that_are_made_up_do_not_fill_the_memory() {
        let metrics = Metrics::default();
        for number in 0..ROWS_MAX + 10 {
            metrics.began(&format!("f{number}.default"));
        }
        assert_eq!(metrics.0.lock().len(), ROWS_MAX + 1);
        assert_eq!(metrics.0.lock()[OTHERS].started, 10);
    }
}
