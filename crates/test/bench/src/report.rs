//! Figures for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

/// Prints nested figures as a table of two columns.
pub(crate) fn print(title: &str, value: &Value) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([title, ""]);
    rows("", value, &mut |name, value| {
        table.add_row([name, value]);
    });
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

fn rows(path: &str, value: &Value, row: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                rows(&path, value, row);
            }
        }
        Value::String(text) => row(path.to_owned(), text.clone()),
        other => row(path.to_owned(), other.to_string()),
    }
}

/// Median, p99 and extremes of durations, in milliseconds.
pub(crate) fn summary(samples: &[Duration]) -> Value {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let at = |quantile: f64| {
        let index = (sorted.len() as f64 * quantile).ceil() as usize;
        sorted.get(index.saturating_sub(1)).copied().map(millis)
    };
    json!({ "samples": sorted.len(), "min_ms": at(0.0), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) })
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// It is met up to here.
    AtMost(f64),
    /// It is met from here on.
    AtLeast(f64),
}

/// A figure, its aim, and whether it was met.
pub(crate) fn verdict(came_to: f64, aim: Aim) -> Value {
    let (aim, met) = match aim {
        Aim::AtMost(most) => (format!("at most {most}"), came_to <= most),
        Aim::AtLeast(least) => (format!("at least {least}"), came_to >= least),
    };
    json!({ "came_to": (came_to * 100.0).round() / 100.0, "aim": aim, "met": met })
}

/// Milliseconds with three decimals.
pub(crate) fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_taken() {
        let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let got = summary(&samples);
        assert_eq!(got, json!({ "samples": 200, "min_ms": 1.0, "p50_ms": 100.0, "p99_ms": 198.0, "max_ms": 200.0 }));
        assert_eq!(summary(&[])["p50_ms"], Value::Null);
    }

    #[test]
    fn a_figure_meets_its_aim_or_does_not() {
        assert!(verdict(1.5, Aim::AtMost(1.5))["met"] == true && verdict(1.51, Aim::AtMost(1.5))["met"] == false);
        let expected = json!({ "came_to": 3.25, "aim": "at least 4", "met": false });
        assert_eq!(verdict(3.25, Aim::AtLeast(4.0)), expected);
    }

    #[test]
    fn nested_figures_become_paths() {
        let mut got = Vec::new();
        rows("", &json!({ "a": { "b": 1, "c": "x" }, "d": true }), &mut |name, value| {
            got.push(format!("{name}={value}"))
        });
        assert_eq!(got, ["a.b=1", "a.c=x", "d=true"]);
    }
}
