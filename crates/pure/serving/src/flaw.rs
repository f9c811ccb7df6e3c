//! What is wrong with an object, in the words that Knative uses. Entry point: [`Flaw`].

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    message: String,
    paths: Vec<String>,
    details: String,
}

impl Flaw {
    /// A message of its own.
    pub fn new(message: impl Into<String>, path: impl Into<String>) -> Self {
        Self { message: message.into(), paths: vec![path.into()], details: String::new() }
    }

    /// A value that makes no sense there.
    pub fn value(value: impl fmt::Display, path: impl Into<String>) -> Self {
        Self::new(format!("invalid value: {value}"), path)
    }

    /// A key that does not belong into a map.
    pub fn key(key: &str, path: impl Into<String>) -> Self {
        Self::new(format!("invalid key name {key:?}"), path)
    }

    /// A field that must be there.
    pub fn missing(path: impl Into<String>) -> Self {
        Self::new("missing field(s)", path)
    }

    /// A field that must not be there.
    pub fn disallowed(path: impl Into<String>) -> Self {
        Self::new("must not set the field(s)", path)
    }

    /// A value outside its bounds.
    pub fn bounds(
        value: impl fmt::Display,
        low: impl fmt::Display,
        high: impl fmt::Display,
        path: impl Into<String>,
    ) -> Self {
        Self::new(format!("expected {low} <= {value} <= {high}"), path)
    }

    /// Adds what explains it.
    pub fn because(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// Adds a second place.
    pub fn and(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// The same flaw seen from an object that holds the one it was found in, at `field`.
    pub fn within(mut self, field: &str) -> Self {
        for path in &mut self.paths {
            *path = match path.as_str() {
                "" => field.to_owned(),
                rest if rest.starts_with('[') => format!("{field}{rest}"),
                rest => format!("{field}.{rest}"),
            };
        }
        self
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.message, self.paths.join(", "))?;
        if self.details.is_empty() { Ok(()) } else { write!(out, "\n{}", self.details) }
    }
}

/// All of them, as a refusal tells them.
pub(crate) fn tell(flaws: &[Flaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
