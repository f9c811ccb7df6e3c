//! What is wrong with a text, and where: [`Flaw`].

use std::fmt;

use serde::Serialize;

use crate::{reason::Reason, text::Lang, tree::Position, words::words};

words! {
    /// How much a flaw or finding matters.
    Severity {
        /// Worth knowing.
        Note = "note", "note", "提示";
        /// Probably not meant.
        Warning = "warning", "warning", "警告";
        /// Cannot be used.
        Error = "error", "error", "错误";
    }
}

/// Something wrong at a place of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// The name under which the text was given.
    pub file: String,
    /// Where in it.
    pub at: Position,
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub reason: Reason,
}

impl Flaw {
    /// An error.
    pub fn new(file: &str, at: Position, reason: Reason) -> Self {
        Self { file: file.to_owned(), at, severity: Severity::Error, reason }
    }

    /// One line, with the place in front.
    pub fn line(&self, lang: Lang) -> String {
        let text = self.reason.text();
        if self.at == Position::default() {
            return format!("{}: {}", self.file, text.get(lang));
        }
        format!("{}:{}: {}", self.file, self.at, text.get(lang))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Lang::En))
    }
}

/// Most flaws reported of one reading.
const FLAWS_MAX: usize = 50;

/// Flaws as they are found.
#[derive(Debug, Default)]
pub(crate) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(crate) fn add(&mut self, file: &str, at: Position, reason: Reason) {
        self.push(Flaw::new(file, at, reason));
    }

    pub(crate) fn push(&mut self, flaw: Flaw) {
        if self.0.len() < FLAWS_MAX {
            self.0.push(flaw);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Flaw> {
        self.0.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        self.0
    }
}
