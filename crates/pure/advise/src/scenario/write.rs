//! Writes scenarios as YAML. Entry point: [`Scenario::to_yaml`].

use std::fmt::Write;

use super::{FIELDS, Given, Named, Scenario};
use crate::solve::Weight;

impl Scenario {
    /// The scenario as a file that [`Scenario::parse`] reads as the same one; keys in the order of [`FIELDS`].
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        for field in FIELDS {
            let Some(value) = self.values.get(field.key) else { continue };
            let text = match &value.given {
                Given::Text(text) => quoted(text),
                // `<`, `>` and `..` are plain YAML; a leading `>` would start a folded text.
                Given::Range(_) if value.text.starts_with('>') => quoted(&value.text),
                _ => value.text.clone(),
            };
            let _ = writeln!(out, "{}: {text}", field.key);
        }
        if !self.weights.is_empty() {
            out.push_str("weights:\n");
            for (dimension, weight) in &self.weights {
                let _ = writeln!(out, "  {dimension}: {}", exact(Weight(*weight)));
            }
        }
        let hard = [("require", &self.require), ("forbid", &self.forbid), ("match", &self.strict)];
        if hard.iter().any(|it| !it.1.is_empty()) {
            out.push_str("hard:\n");
            for (key, names) in hard.into_iter().filter(|it| !it.1.is_empty()) {
                let _ = writeln!(out, "  {key}: [{}]", list(names));
            }
        }
        out
    }
}

fn list(names: &[Named]) -> String {
    names.iter().map(|it| quoted(it.id.as_str())).collect::<Vec<_>>().join(", ")
}

/// All six digits, without zeros at the end.
fn exact(weight: Weight) -> String {
    let text = format!("{}.{:06}", weight.0 / 1_000_000, weight.0 % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Plain where that is safe, quoted otherwise.
fn quoted(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '+' | '_');
    let is_word = text.starts_with(|it: char| it.is_ascii_alphabetic()) && text.chars().all(plain);
    if is_word && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n") {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            it if it.is_control() => {
                let _ = write!(out, "\\u{:04x}", it as u32);
            }
            it => out.push(it),
        }
    }
    out.push('"');
    out
}
