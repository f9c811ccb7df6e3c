//! Regular expressions as Go reads them, matched in linear time.
//!
//! Entry point: [`Pattern::new`]. The expression is compiled at first use.

use std::sync::OnceLock;

use eyot_pattern::translate;
use regex::{Regex, RegexBuilder};

/// Most bytes of one compiled expression.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// A regular expression.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Clone for Pattern {
    fn clone(&self) -> Self {
        Pattern::new(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// An expression, not yet compiled.
    pub fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), compiled: OnceLock::new() }
    }

    /// Its text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether some part of `subject` matches; `None` when the expression makes no sense.
    pub fn matches(&self, subject: &str) -> Option<bool> {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().map(|it| it.is_match(subject))
    }
}

/// Why an expression makes no sense, in one line.
pub fn check(text: &str) -> Result<(), String> {
    compile(text).map(drop).map_err(|it| {
        let message = it.to_string();
        message.lines().last().unwrap_or("it cannot be compiled").trim_start_matches("error: ").to_owned()
    })
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(text)).size_limit(COMPILED_BYTES_MAX).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, good: &[&str], bad: &[&str]) {
        let pattern = Pattern::new(pattern);
        good.iter().for_each(|it| assert_eq!(pattern.matches(it), Some(true), "{} {it}", pattern.text));
        bad.iter().for_each(|it| assert_eq!(pattern.matches(it), Some(false), "{} {it}", pattern.text));
    }

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        check(r"^\d+$", &["12"], &["", "1a", "١"]);
        check(r"^[\w.-]+$", &["a_b.c-9"], &["é", " "]);
        check(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", &["a.b-c"], &["a..b", "-a"]);
    }

    #[test]
    fn nonsense_is_told() {
        assert!(super::check("(").is_err());
        assert!(super::check("(?=a)").is_err());
        assert!(super::check("a{1000}{1000}{1000}").is_err());
        assert_eq!(Pattern::new("(").matches("x"), None);
    }
}
