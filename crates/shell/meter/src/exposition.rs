//! Everything as Prometheus reads it: text format 0.0.4. Entry point: [`Meters::expose`].

use std::{fmt::Write, sync::Arc, sync::atomic::Ordering::Relaxed};

use crate::{Meter, Meters, Reading, Subject};

/// Labels of outcomes, in their order.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Powers of two of microseconds that latencies are told for: a quarter of a millisecond to a minute.
const POWERS: std::ops::RangeInclusive<u32> = 8..=26;

impl Meters {
    /// Appends all that is counted. A subject that nothing was asked of is left out.
    pub fn expose(&self, out: &mut String) {
        for (subject, prefix, label) in [
            (Subject::Service, "eyot_service", "service"),
            (Subject::Route, "eyot_httproute", "httproute"),
            (Subject::Ingress, "eyot_ingress", "ingress"),
        ] {
            let read = |it: Arc<Meter>| (labels(it.name(), label), it.read());
            let all: Vec<_> = self.all(subject).into_iter().map(read).filter(|it| it.1.requests > 0).collect();
            requests(out, prefix, &all);
            if subject == Subject::Service {
                holds(out, &all);
            }
        }
        self.autoscalers(out);
        let mirrored = [("sent", &self.mirrored), ("dropped", &self.mirrors_dropped)];
        family(out, "eyot_mirrored_requests_total", "counter", "Copies of requests, by what became of them.");
        for (result, count) in mirrored {
            line(out, "eyot_mirrored_requests_total", &format!("result=\"{result}\""), count.load(Relaxed));
        }
    }

    fn autoscalers(&self, out: &mut String) {
        let scales: Vec<_> = self.scales.read().into_iter().map(|(name, it)| (revision(&name), it)).collect();
        type Of = fn(&crate::Scale) -> f64;
        let gauges: [(&str, &str, Of); 6] = [
            ("autoscaler_desired_pods", "Instances that the autoscaler wants.", |it| it.desired.into()),
            ("autoscaler_requested_pods", "Instances that were asked for.", |it| it.asked.into()),
            ("autoscaler_actual_pods", "Instances that take requests.", |it| it.ready.into()),
            ("autoscaler_panic_mode", "1 while the autoscaler panics.", |it| u8::from(it.panics).into()),
            ("autoscaler_target_concurrency_per_pod", "What one instance shall have of the metric.", |it| it.target),
            ("autoscaler_requests_in_flight", "Requests under way at the last decision.", |it| it.in_flight.into()),
        ];
        for (name, help, of) in gauges {
            family(out, name, "gauge", help);
            scales.iter().for_each(|(labels, it)| line(out, name, labels, of(it)));
        }
        family(out, "autoscaler_decisions_total", "counter", "Decisions of the autoscaler.");
        line(out, "autoscaler_decisions_total", "", self.scales.decisions());
        family(out, "eyot_rollbacks_total", "counter", "Times that a route went back to an earlier revision.");
        for (name, count) in self.scales.rollbacks() {
            line(out, "eyot_rollbacks_total", &labels(&name, "route"), count);
        }
    }
}

fn requests(out: &mut String, prefix: &str, all: &[(String, Reading)]) {
    let name = format!("{prefix}_requests_total");
    family(out, &name, "counter", "Requests, by class of the response's status; none where there was no response.");
    for (labels, it) in all {
        for (class, count) in CLASSES.iter().zip(it.outcomes).filter(|it| it.1 > 0) {
            line(out, &name, &format!("{labels},code=\"{class}\""), count);
        }
    }
    let name = format!("{prefix}_requests_in_flight");
    family(out, &name, "gauge", "Requests under way, those that wait included.");
    all.iter().for_each(|(labels, it)| line(out, &name, labels, it.in_flight));
    let name = format!("{prefix}_request_duration_seconds");
    family(out, &name, "histogram", "Time to the beginning of the response, waiting included.");
    for (labels, it) in all {
        for power in POWERS {
            let end = f64::from(1_u32 << power) / 1e6;
            line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{end}\""), it.latencies.below(power));
        }
        let count = it.latencies.count();
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), count);
        line(out, &format!("{name}_sum"), labels, it.latencies.total().as_secs_f64());
        line(out, &format!("{name}_count"), labels, count);
    }
}

fn holds(out: &mut String, all: &[(String, Reading)]) {
    type Of = fn(&Reading) -> u64;
    let families: [(&str, &str, &str, Of); 3] = [
        ("eyot_service_requests_waiting", "gauge", "Requests that wait for an instance.", |it| it.waiting.into()),
        ("eyot_service_requests_refused_total", "counter", "Requests that found no endpoint or place.", |it| {
            it.refused
        }),
        ("eyot_service_retries_total", "counter", "Further endpoints tried after one took nothing.", |it| it.retries),
    ];
    for (name, kind, help, of) in families {
        family(out, name, kind, help);
        all.iter().for_each(|(labels, it)| line(out, name, labels, of(it)));
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// Names of Kubernetes need no escapes.
fn labels(name: &str, label: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    format!("namespace=\"{namespace}\",{label}=\"{name}\"")
}

/// As Knative's autoscaler labels it.
fn revision(name: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    format!("namespace_name=\"{namespace}\",revision_name=\"{name}\"")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::Scale;

    #[test]
    fn what_was_counted_is_told_as_prometheus_reads_it() {
        let meters = Meters::default();
        let meter = meters.of(Subject::Service, "ns/web-00001");
        meters.of(Subject::Service, "ns/never");
        meter.begin().answered(200);
        meter.begin().answered(503);
        meter.refuse();
        let _under_way = meters.of(Subject::Route, "ns/web").begin();
        let scale = Scale { desired: 3, asked: 1, ready: 1, panics: true, target: 70.0, in_flight: 9 };
        meters.scales.note("ns/web-00001", scale);
        meters.scales.rolled_back("ns/web");
        let mut text = String::new();
        meters.expose(&mut text);
        let lines: Vec<&str> =
            text.lines().filter(|it| !it.starts_with('#') && !it.contains("_bucket") && !it.contains("_sum")).collect();
        expect![[r#"
            eyot_service_requests_total{namespace="ns",service="web-00001",code="2xx"} 1
            eyot_service_requests_total{namespace="ns",service="web-00001",code="5xx"} 1
            eyot_service_requests_in_flight{namespace="ns",service="web-00001"} 0
            eyot_service_request_duration_seconds_count{namespace="ns",service="web-00001"} 2
            eyot_service_requests_waiting{namespace="ns",service="web-00001"} 0
            eyot_service_requests_refused_total{namespace="ns",service="web-00001"} 1
            eyot_service_retries_total{namespace="ns",service="web-00001"} 0
            eyot_httproute_requests_in_flight{namespace="ns",httproute="web"} 1
            eyot_httproute_request_duration_seconds_count{namespace="ns",httproute="web"} 0
            autoscaler_desired_pods{namespace_name="ns",revision_name="web-00001"} 3
            autoscaler_requested_pods{namespace_name="ns",revision_name="web-00001"} 1
            autoscaler_actual_pods{namespace_name="ns",revision_name="web-00001"} 1
            autoscaler_panic_mode{namespace_name="ns",revision_name="web-00001"} 1
            autoscaler_target_concurrency_per_pod{namespace_name="ns",revision_name="web-00001"} 70
            autoscaler_requests_in_flight{namespace_name="ns",revision_name="web-00001"} 9
            autoscaler_decisions_total 1
            eyot_rollbacks_total{namespace="ns",route="web"} 1
            eyot_mirrored_requests_total{result="sent"} 0
            eyot_mirrored_requests_total{result="dropped"} 0"#]]
        .assert_eq(&lines.join("\n"));
        assert!(text.contains("le=\"0.000256\"} "), "{text}");
        assert!(text.contains("le=\"+Inf\"} 2"), "{text}");
        for name in text.lines().filter_map(|it| it.strip_prefix("# TYPE ")) {
            assert_eq!(text.matches(&format!("# TYPE {name}\n")).count(), 1, "each family once: {name}");
        }
    }
}
