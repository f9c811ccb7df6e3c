//! What a Route's annotations ask of a rollout. Entry point: [`Policy::parse`].

use std::time::Duration;

use serde_json::Value;

use crate::{Flaw, duration};

/// Over which time requests move to the newest revision, in both spellings that Knative has.
const DURATION: [&str; 2] = ["serving.knative.dev/rollout-duration", "serving.knative.dev/rolloutDuration"];
const ANALYSIS: &str = "analysis.eyot.io/";
const SUCCESS: &str = "request-success-rate";
const LATENCY: &str = "request-duration";
const INTERVAL: &str = "interval";
/// Longest rollout: nobody looks at one for longer than a week.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const INTERVAL_BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// How the newest revision takes over, and what it must keep to meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Over which time requests move to it; zero for at once.
    pub duration: Duration,
    /// Least part of its requests that must succeed, in percent.
    pub success_percent: Option<f64>,
    /// Longest that 99 % of its requests may take until the response begins.
    pub p99: Option<Duration>,
    /// How far back requests are judged.
    pub interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { duration: Duration::ZERO, success_percent: None, p99: None, interval: Duration::from_secs(10) }
    }
}

impl Policy {
    /// Whether there is anything to do but to move on at once.
    pub fn is_plain(&self) -> bool {
        self.duration.is_zero() && !self.judges()
    }

    /// Whether the newest revision is judged.
    pub fn judges(&self) -> bool {
        self.success_percent.is_some() || self.p99.is_some()
    }

    /// Reads the annotations of a Route or Service.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn parse(object: &Value) -> Result<Policy, Vec<Flaw>> {
        let (mut policy, mut flaws) = (Policy::default(), Vec::new());
        for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            if DURATION.contains(&key.as_str()) {
                match span(text, [Duration::ZERO, DURATION_MAX], key) {
                    Ok(span) if span.subsec_nanos() != 0 => {
                        flaws.push(Flaw::new(format!("rollout-duration={text} is not at second precision"), key));
                    }
                    Ok(span) => policy.duration = span,
                    Err(flaw) => flaws.push(flaw),
                }
                continue;
            }
            let read = match key.strip_prefix(ANALYSIS) {
                None => continue,
                Some(SUCCESS) => percent(text, key).map(|it| policy.success_percent = Some(it)),
                Some(LATENCY) => {
                    span(text, [Duration::from_millis(1), LATENCY_MAX], key).map(|it| policy.p99 = Some(it))
                }
                Some(INTERVAL) => span(text, INTERVAL_BOUNDS, key).map(|it| policy.interval = it),
                Some(_) => Err(Flaw::key(key, "").because("no such annotation of the analysis")),
            };
            flaws.extend(read.err());
        }
        if flaws.is_empty() { Ok(policy) } else { Err(flaws) }
    }
}

fn span(text: &str, [least, most]: [Duration; 2], key: &str) -> Result<Duration, Flaw> {
    match duration::parse(text) {
        Some(span) if (least..=most).contains(&span) => Ok(span),
        Some(_) => Err(Flaw::bounds(text, duration::show(least), duration::show(most), key)),
        None => Err(Flaw::value(text, key)),
    }
}

fn percent(text: &str, key: &str) -> Result<f64, Flaw> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(percent) => Err(Flaw::bounds(percent, 0, 100, key)),
        Err(_) => Err(Flaw::value(text, key)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(annotations: Value, want: Expect) {
        want.assert_eq(&match Policy::parse(&json!({"metadata": {"annotations": annotations}})) {
            Ok(it) => format!("{it:?}"),
            Err(flaws) => crate::flaw::tell(&flaws),
        });
    }

    #[test]
    fn annotations_say_how_a_revision_takes_over() {
        assert!(Policy::parse(&json!({"metadata": {}})).unwrap().is_plain());
        check(
            json!({
                "serving.knative.dev/rollout-duration": "2m", "analysis.eyot.io/request-success-rate": "99.5",
                "analysis.eyot.io/request-duration": "500ms", "other": "x",
            }),
            expect!["Policy { duration: 120s, success_percent: Some(99.5), p99: Some(500ms), interval: 10s }"],
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_by_key() {
        check(
            json!({
                "serving.knative.dev/rolloutDuration": "1500ms", "analysis.eyot.io/request-success-rate": "101",
                "analysis.eyot.io/request-duration": "soon", "analysis.eyot.io/interval": "0s",
                "analysis.eyot.io/colour": "red",
            }),
            expect![[r#"
                invalid key name "analysis.eyot.io/colour": 
                no such annotation of the analysis
                expected 1s <= 0s <= 1h0m0s: analysis.eyot.io/interval
                invalid value: soon: analysis.eyot.io/request-duration
                expected 0 <= 101 <= 100: analysis.eyot.io/request-success-rate
                rollout-duration=1500ms is not at second precision: serving.knative.dev/rolloutDuration"#]],
        );
    }
}
