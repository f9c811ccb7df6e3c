//! `autoscaling.knative.dev/*`: what a revision asks of its autoscaler. Entry point: [`Scaling::parse`].

use std::{fmt::Display, str::FromStr, time::Duration};

use crate::{Flaw, duration};

const PREFIX: &str = "autoscaling.knative.dev/";
/// Instances that may be asked for.
const COUNT_MAX: i64 = i32::MAX as i64;
const WINDOW_LEAST: Duration = Duration::from_secs(6);
const HOUR: Duration = Duration::from_secs(3600);

/// Who scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The autoscaler here: by requests, to zero and back.
    Kpa,
    /// A HorizontalPodAutoscaler: by cpu or memory, never to zero.
    Hpa,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests under way at once.
    Concurrency,
    /// Requests per second.
    Rps,
    /// Percent of the cpu request; only of [`Class::Hpa`].
    Cpu,
    /// MiB; only of [`Class::Hpa`].
    Memory,
    /// What pods count under [`Scaling::named`]; only of [`Class::Hpa`].
    Named,
}

/// What a revision's annotations ask for, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Who scales.
    pub class: Class,
    /// What is measured.
    pub metric: Metric,
    /// What a metric is called that is none of ours.
    pub named: Option<Box<str>>,
    /// What one instance shall have of it; the metric's default when absent.
    pub target: Option<f64>,
    /// Which part of the target is aimed at, 0 to 1.
    pub utilization: f64,
    /// Never fewer instances while a route leads here.
    pub min: i32,
    /// Never more instances; 0 for no bound.
    pub max: i32,
    /// Instances that must be ready once before the revision counts as ready.
    pub initial: i32,
    /// Fewest instances when it is not zero.
    pub activation: i32,
    /// What the load is averaged over.
    pub window: Duration,
    /// What it is averaged over to tell a rush.
    pub panic_window: Duration,
    /// How many times the capacity makes a rush.
    pub panic_threshold: f64,
    /// How long a smaller number must have been enough.
    pub down_delay: Duration,
    /// How long the last instance stays after the load was last seen in the window.
    pub retention: Duration,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            class: Class::Kpa,
            metric: Metric::Concurrency,
            named: None,
            target: None,
            utilization: 0.7,
            min: 0,
            max: 0,
            initial: 1,
            activation: 1,
            window: Duration::from_secs(60),
            panic_window: Duration::from_secs(6),
            panic_threshold: 2.0,
            down_delay: Duration::ZERO,
            retention: Duration::ZERO,
        }
    }
}

/// Keys as they are written now, and as they were written before.
const KEYS: [(&str, &str); 17] = [
    ("class", ""),
    ("metric", ""),
    ("target", ""),
    ("target-utilization-percentage", "targetUtilizationPercentage"),
    ("min-scale", "minScale"),
    ("max-scale", "maxScale"),
    ("initial-scale", "initialScale"),
    ("activation-scale", "activationScale"),
    ("window", ""),
    ("panic-window-percentage", "panicWindowPercentage"),
    ("panic-threshold-percentage", "panicThresholdPercentage"),
    ("scale-down-delay", "scaleDownDelay"),
    ("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"),
    // Of no meaning where the activator is always in the way; taken, as Knative takes them.
    ("target-burst-capacity", "targetBurstCapacity"),
    ("metric-aggregation-algorithm", "metricAggregationAlgorithm"),
    ("tick-interval", ""),
    ("scale-buffer", ""),
];

/// Whether a key belongs to the autoscaler.
pub(crate) fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Keys that Knative has and this autoscaler cannot honour.
const REFUSED: [&str; 2] = ["tick-interval", "scale-buffer"];

impl Scaling {
    /// Reads the annotations of a revision; others than the autoscaler's are passed over.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn parse<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Scaling, Vec<Flaw>> {
        let mut reader = Reader { found: Vec::new(), flaws: Vec::new() };
        for (key, text) in annotations {
            let Some(short) = key.strip_prefix(PREFIX) else { continue };
            match KEYS.iter().find(|(new, old)| *new == short || (!old.is_empty() && *old == short)) {
                Some((name, _)) if !REFUSED.contains(name) => reader.found.push((name, key, text)),
                _ => reader.flaws.push(Flaw::key(key, "").because("no such annotation of the autoscaler")),
            }
        }
        let scaling = reader.scaling();
        if reader.flaws.is_empty() { Ok(scaling) } else { Err(reader.flaws) }
    }

    /// What one instance shall have of the metric, where it takes `concurrency` requests at once (0 for any number).
    pub fn target(&self, concurrency: u32) -> f64 {
        let limit = f64::from(concurrency);
        let total = match (self.target, self.metric) {
            (Some(target), Metric::Concurrency) if concurrency > 0 => target.min(limit),
            (Some(target), _) => target,
            (None, Metric::Rps) => 200.0,
            (None, _) if concurrency > 0 => limit,
            (None, _) => 100.0,
        };
        (total * self.utilization).max(0.01)
    }
}

struct Reader<'a> {
    /// Name, key as written, value.
    found: Vec<(&'static str, &'a str, &'a str)>,
    flaws: Vec<Flaw>,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<(&'a str, &'a str)> {
        self.found.iter().find(|it| it.0 == name).map(|it| (it.1, it.2))
    }

    fn scaling(&mut self) -> Scaling {
        let usual = Scaling::default();
        let class = self.class();
        let metric = self.metric(class);
        let named = self.get("metric").filter(|_| metric == Metric::Named).map(|it| it.1.into());
        let min = self.count("min-scale", 0, usual.min);
        let max = self.count("max-scale", 0, usual.max);
        if let (Some((min_key, _)), Some((max_key, _))) = (self.get("min-scale"), self.get("max-scale"))
            && max != 0
            && max < min
        {
            self.flaws.push(Flaw::new(format!("max-scale={max} is less than min-scale={min}"), max_key).and(min_key));
        }
        let window = self.span("window", WINDOW_LEAST, usual.window);
        let whole = window.subsec_nanos() == 0;
        if let (Some((key, text)), false) = (self.get("window"), whole) {
            self.flaws.push(Flaw::value(text, key).because("must be specified with at most second precision"));
        }
        let panic_percent = self.number("panic-window-percentage", 1.0, 100.0, 10.0);
        Scaling {
            class,
            metric,
            named,
            target: self.target(),
            utilization: self.number("target-utilization-percentage", 1.0, 100.0, 70.0) / 100.0,
            min,
            max,
            initial: self.count("initial-scale", 0, usual.initial),
            activation: self.count("activation-scale", 1, usual.activation),
            window,
            panic_window: window.mul_f64(panic_percent / 100.0).max(Duration::from_secs(1)),
            panic_threshold: self.number("panic-threshold-percentage", 110.0, 1000.0, 200.0) / 100.0,
            down_delay: self.span("scale-down-delay", Duration::ZERO, usual.down_delay),
            retention: self.span("scale-to-zero-pod-retention-period", Duration::ZERO, usual.retention),
        }
    }

    fn class(&mut self) -> Class {
        match self.get("class") {
            None | Some((_, "kpa.autoscaling.knative.dev")) => Class::Kpa,
            Some((_, "hpa.autoscaling.knative.dev")) => Class::Hpa,
            Some((key, other)) => {
                self.flaws.push(Flaw::value(other, key));
                Class::Kpa
            }
        }
    }

    fn metric(&mut self, class: Class) -> Metric {
        match (class, self.get("metric")) {
            (Class::Kpa, None | Some((_, "concurrency"))) => Metric::Concurrency,
            (Class::Kpa, Some((_, "rps"))) => Metric::Rps,
            (Class::Hpa, None | Some((_, "cpu"))) => Metric::Cpu,
            (Class::Hpa, Some((_, "memory"))) => Metric::Memory,
            // The same as Knative has it: by its name among the pods' metrics.
            (Class::Hpa, Some((_, name))) if !name.is_empty() => Metric::Named,
            (_, Some((key, other))) => {
                self.flaws.push(Flaw::value(other, key));
                Metric::Concurrency
            }
        }
    }

    fn target(&mut self) -> Option<f64> {
        let (key, text) = self.get("target")?;
        match text.parse::<f64>() {
            Ok(target) if target >= 0.01 && target.is_finite() => Some(target),
            Ok(target) if target < 0.01 => {
                self.flaws.push(Flaw::new(format!("target {text} should be at least 0.01"), key));
                None
            }
            _ => {
                self.flaws.push(Flaw::value(text, key));
                None
            }
        }
    }

    fn count(&mut self, name: &str, least: i64, usual: i32) -> i32 {
        let found = self.bounded::<i64>(name, least, COUNT_MAX);
        found.and_then(|it| i32::try_from(it).ok()).unwrap_or(usual)
    }

    fn number(&mut self, name: &str, least: f64, most: f64, usual: f64) -> f64 {
        self.bounded(name, least, most).unwrap_or(usual)
    }

    fn bounded<N: FromStr + PartialOrd + Display + Copy>(&mut self, name: &str, least: N, most: N) -> Option<N> {
        let (key, text) = self.get(name)?;
        let Ok(number) = text.parse::<N>() else {
            self.flaws.push(Flaw::value(text, key));
            return None;
        };
        if number >= least && number <= most {
            return Some(number);
        }
        self.flaws.push(Flaw::bounds(number, least, most, key));
        None
    }

    fn span(&mut self, name: &str, least: Duration, usual: Duration) -> Duration {
        let Some((key, text)) = self.get(name) else { return usual };
        match duration::parse(text) {
            None => self.flaws.push(Flaw::value(text, key)),
            Some(span) if span < least || span > HOUR => {
                self.flaws.push(Flaw::bounds(text, duration::show(least), duration::show(HOUR), key));
            }
            Some(span) => return span,
        }
        usual
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(annotations: &[(&str, &str)], want: Expect) {
        let keys: Vec<(String, &str)> = annotations.iter().map(|(key, it)| (format!("{PREFIX}{key}"), *it)).collect();
        let got = match Scaling::parse(keys.iter().map(|(key, it)| (key.as_str(), *it))) {
            Ok(it) => format!("{it:?}\n"),
            Err(flaws) => flaws.iter().map(|it| format!("{it}\n")).collect(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn annotations_are_read_in_both_spellings() {
        check(
            &[
                ("metric", "rps"),
                ("target", "150"),
                ("minScale", "1"),
                ("max-scale", "5"),
                ("window", "40s"),
                ("panic-window-percentage", "20"),
                ("scale-to-zero-pod-retention-period", "1m"),
            ],
            expect![[r#"
                Scaling { class: Kpa, metric: Rps, named: None, target: Some(150.0), utilization: 0.7, min: 1, max: 5, initial: 1, activation: 1, window: 40s, panic_window: 8s, panic_threshold: 2.0, down_delay: 0ns, retention: 60s }
            "#]],
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_by_key() {
        check(
            &[
                ("class", "mine.autoscaling.knative.dev"),
                ("metric", "cpu"),
                ("target", "0"),
                ("min-scale", "5"),
                ("max-scale", "2"),
                ("initial-scale", "-1"),
                ("activation-scale", "0"),
                ("window", "5s"),
                ("panic-threshold-percentage", "100"),
                ("scale-down-delay", "soon"),
                ("tick-interval", "1s"),
                ("colour", "red"),
            ],
            expect![[r#"
                invalid key name "autoscaling.knative.dev/tick-interval": 
                no such annotation of the autoscaler
                invalid key name "autoscaling.knative.dev/colour": 
                no such annotation of the autoscaler
                invalid value: mine.autoscaling.knative.dev: autoscaling.knative.dev/class
                invalid value: cpu: autoscaling.knative.dev/metric
                max-scale=2 is less than min-scale=5: autoscaling.knative.dev/max-scale, autoscaling.knative.dev/min-scale
                expected 6s <= 5s <= 1h0m0s: autoscaling.knative.dev/window
                target 0 should be at least 0.01: autoscaling.knative.dev/target
                expected 0 <= -1 <= 2147483647: autoscaling.knative.dev/initial-scale
                expected 1 <= 0 <= 2147483647: autoscaling.knative.dev/activation-scale
                expected 110 <= 100 <= 1000: autoscaling.knative.dev/panic-threshold-percentage
                invalid value: soon: autoscaling.knative.dev/scale-down-delay
            "#]],
        );
    }

    #[test]
    fn the_target_follows_from_annotation_limit_and_metric() {
        let with = |target, metric| Scaling { target, metric, utilization: 1.0, ..Scaling::default() };
        assert_eq!(with(None, Metric::Concurrency).target(0), 100.0);
        assert_eq!(with(None, Metric::Concurrency).target(4), 4.0);
        assert_eq!(with(Some(8.0), Metric::Concurrency).target(4), 4.0, "never more than an instance takes");
        assert_eq!(with(Some(2.0), Metric::Concurrency).target(4), 2.0);
        assert_eq!(with(None, Metric::Rps).target(4), 200.0);
        assert_eq!(Scaling::default().target(10), 7.0);
    }
}
