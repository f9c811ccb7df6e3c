//! The metrics of requests: what they are called, and what they say. Entry point: [`Measure::named`].

use eyot_meter::Reading;

/// What is told of requests to a Service or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Requests each second.
    PerSecond,
    /// Requests that failed each second.
    ErrorsPerSecond,
    /// Requests under way, those that wait included.
    InFlight,
    /// Requests that wait for an instance.
    Waiting,
    /// Requests so far.
    Total,
}

/// Names, the one that is shown first before others that people use for the same.
const NAMES: [(&str, Measure); 9] = [
    ("http_requests_per_second", Measure::PerSecond),
    ("http_errors_per_second", Measure::ErrorsPerSecond),
    ("http_requests_in_flight", Measure::InFlight),
    ("http_requests_waiting", Measure::Waiting),
    ("http_requests_total", Measure::Total),
    ("requests-per-second", Measure::PerSecond),
    ("requests_per_second", Measure::PerSecond),
    ("concurrency", Measure::InFlight),
    ("queue_depth", Measure::Waiting),
];

impl Measure {
    /// The measure of a name.
    pub(super) fn named(name: &str) -> Option<Measure> {
        NAMES.iter().find(|it| it.0 == name).map(|it| it.1)
    }

    /// What pods count themselves under this measure; not all of it.
    fn of_pods(self) -> Option<&'static str> {
        match self {
            Measure::PerSecond => Some("http_requests_per_second"),
            Measure::InFlight => Some("http_requests_in_flight"),
            Measure::Total => Some("http_requests"),
            Measure::ErrorsPerSecond | Measure::Waiting => None,
        }
    }

    /// What it is in a reading.
    pub(super) fn of(self, reading: &Reading) -> f64 {
        match self {
            Measure::PerSecond => reading.per_second,
            Measure::ErrorsPerSecond => reading.errors_per_second,
            Measure::InFlight => reading.in_flight.into(),
            Measure::Waiting => reading.waiting.into(),
            Measure::Total => reading.requests as f64,
        }
    }

    /// Seconds that it is an average over; 0 for what is so at a moment.
    pub(super) fn window(self) -> u32 {
        match self {
            Measure::PerSecond | Measure::ErrorsPerSecond => eyot_meter::WINDOW_SECONDS,
            Measure::InFlight | Measure::Waiting | Measure::Total => 0,
        }
    }
}

/// What pods count besides, under the names that they are asked for by.
const OF_PODS: [(&str, &str); 4] = [
    ("http_received_bytes_per_second", "http_received_bytes_per_second"),
    ("http_received_bytes_total", "http_received_bytes"),
    ("http_sent_bytes_per_second", "http_sent_bytes_per_second"),
    ("http_sent_bytes_total", "http_sent_bytes"),
];

/// What pods count themselves under the name of a metric.
pub(super) fn of_pods(name: &str) -> Option<&'static str> {
    let own = || OF_PODS.iter().find(|it| it.0 == name).map(|it| it.1);
    Measure::named(name).map_or_else(own, Measure::of_pods)
}

/// A number as a quantity in thousandths.
pub(super) fn milli(value: f64) -> String {
    format!("{}m", (value * 1000.0).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_count_requests_and_bytes_but_not_what_the_gateway_alone_sees() {
        let names =
            ["requests_per_second", "http_requests_total", "http_sent_bytes_total", "http_received_bytes_per_second"];
        let counted =
            ["http_requests_per_second", "http_requests", "http_sent_bytes", "http_received_bytes_per_second"];
        assert_eq!(names.map(of_pods), counted.map(Some));
        assert_eq!(["http_errors_per_second", "http_requests_waiting", "anything"].map(of_pods), [None; 3]);
        assert_eq!(Measure::named("http_sent_bytes_total"), None, "nobody counts bytes of Services");
    }
}
