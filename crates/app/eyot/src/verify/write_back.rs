//! Measured figures as a file of a catalogue, where they outrank what is claimed. Entry points: [`prepare`], [`write`].

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use eyot_advise::{Lang, render::Promised, unit::Quantity};

use super::report::{Line, Verdict, Verification};
use crate::advise;

/// The file that figures are added to; it is read after the others, so that its last line counts.
const FILE: &str = "verified.yaml";

/// Makes the folder a catalogue, unless it is one already.
pub(super) fn prepare(dir: &Path, lang: Lang) -> Result<()> {
    let is_empty = fs::read_dir(dir).map_or(true, |mut it| it.next().is_none());
    if is_empty {
        advise::write_catalog(dir)?;
    }
    advise::catalog(Some(dir), lang).map(drop)
}

/// Adds a line for each figure that the catalogue has a metric for, and reads the whole again.
pub(super) fn write(dir: &Path, told: &Verification, lang: Lang) -> Result<Vec<String>> {
    let entries: Vec<String> = told.lines.iter().filter_map(|line| entry(line, told)).collect();
    let path = dir.join(FILE);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut text = String::new();
    if before.is_empty() {
        text += "# Figures that `eyot verify --write-back` measured; the last one of a metric counts.\nmeasured:\n";
    }
    text.extend(entries.iter().map(|it| format!("  - {it}\n")));
    if entries.is_empty() {
        return Ok(vec![
            say(lang, "nothing was measured that the catalogue has a place for", "没有可写回目录的测量值").to_owned(),
        ]);
    }
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut it| it.write_all(text.as_bytes())).with_context(|| format!("writing {}", path.display()))?;
    if let Err(error) = advise::catalog(Some(dir), lang) {
        // A catalogue that cannot be read serves nobody: what was there comes back.
        let undone = if before.is_empty() { fs::remove_file(&path) } else { fs::write(&path, before) };
        undone.with_context(|| format!("undoing {}", path.display()))?;
        return Err(error.context("the catalogue does not take the figures"));
    }
    Ok(entries.into_iter().map(|it| format!("{}: {it}", path.display())).collect())
}

fn entry(line: &Line, told: &Verification) -> Option<String> {
    let (what, figure) = (line.promise.promised()?, line.figure.as_ref()?);
    // Days that were not waited for are no figure.
    if line.promise.metric.is_empty() || what == Promised::Offline {
        return None;
    }
    let shown = |value: i64| Quantity { value, unit: what.unit() }.to_string();
    let value = match figure.usual {
        // As many pods as were asked for became ready: that many there may be at least.
        _ if what == Promised::Density && line.verdict != Verdict::Broken => format!(">={}", shown(figure.value)),
        Some(usual) if usual < figure.value => format!("{}..{}", shown(usual), shown(figure.value)),
        _ => shown(figure.value),
    };
    let quote = |text: &str| format!("\"{}\"", text.replace(['"', '\\'], "'"));
    Some(format!(
        "{{technology: {}, metric: {}, value: {}, with: {}, on: {}, date: {}, source: {}}}",
        quote(&line.promise.technology),
        line.promise.metric,
        quote(&value),
        quote(&told.version),
        quote(&told.machine),
        quote(&told.date),
        quote(&format!("eyot verify: {}", figure.how.en))
    ))
}

fn say(lang: Lang, en: &'static str, zh: &'static str) -> &'static str {
    if lang == Lang::Zh { zh } else { en }
}
