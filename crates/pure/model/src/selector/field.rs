//! Field selectors: `spec.nodeName=a,status.phase!=Failed`.

use super::{REQUIREMENTS_MAX, SelectorError};

/// A conjunction of field requirements. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Field path such as `metadata.name`.
    pub field: String,
    /// Value to compare with.
    pub value: String,
    /// Whether the field must equal the value; else it must differ.
    pub equal: bool,
}

impl FieldSelector {
    /// Parses the query-string form. Backslash escapes `,`, `=` and itself.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split(text, b',').filter(|it| !it.is_empty()) {
            if requirements.len() == REQUIREMENTS_MAX {
                return Err(SelectorError::TooMany(REQUIREMENTS_MAX));
            }
            requirements.push(parse_term(text, term)?);
        }
        Ok(Self { requirements })
    }

    /// The terms, all of which must hold.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value a field must equal, if the selector demands one: lets a read by name skip the scan.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|it| it.equal && it.field == field).map(|it| it.value.as_str())
    }

    /// Whether every term holds. A field that `get` does not know reads as empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|it| (get(&it.field).unwrap_or("") == it.value) == it.equal)
    }
}

fn parse_term(whole: &str, term: &str) -> Result<FieldRequirement, SelectorError> {
    let misread = || SelectorError::Term(whole.into(), term.into());
    let at = unescaped(term, b'=').ok_or_else(misread)?;
    let (left, right) = (&term[..at], &term[at + 1..]);
    let (field, value, equal) = match (left.strip_suffix('!'), right.strip_prefix('=')) {
        (Some(field), _) => (field, right, false),
        (None, Some(value)) => (left, value, true),
        (None, None) => (left, right, true),
    };
    if field.is_empty() {
        return Err(misread());
    }
    Ok(FieldRequirement { field: field.into(), value: unescape(value)?, equal })
}

/// Splits at a delimiter that no backslash precedes.
fn split(text: &str, delimiter: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = unescaped(text, delimiter);
        rest = at.map(|at| &text[at + 1..]);
        Some(at.map_or(text, |at| &text[..at]))
    })
}

/// Where an ASCII byte first stands without a backslash before it.
fn unescaped(text: &str, byte: u8) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|it| {
        let hit = it == byte && !escaped;
        escaped = it == b'\\' && !escaped;
        hit
    })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                _ => return Err(SelectorError::Escape(value.into())),
            },
            '=' => return Err(SelectorError::Escape(value.into())),
            _ => out.push(char),
        }
    }
    Ok(out)
}

impl std::fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, it) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let value = it.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{}{value}", it.field, if it.equal { "=" } else { "!=" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_compare_for_equality_and_difference() {
        let selector =
            FieldSelector::parse("spec.nodeName==a,status.phase!=Failed,metadata.name=x\\,y").expect("parses");
        assert_eq!(selector.to_string(), "spec.nodeName=a,status.phase!=Failed,metadata.name=x\\,y");
        assert_eq!(selector.required_value("metadata.name"), Some("x,y"));
        let running = |field: &str| match field {
            "spec.nodeName" => Some("a"),
            "status.phase" => Some("Running"),
            "metadata.name" => Some("x,y"),
            _ => None,
        };
        assert!(selector.matches(running));
        assert!(!selector.matches(|field| if field == "status.phase" { Some("Failed") } else { running(field) }));
    }

    #[test]
    fn unknown_fields_read_as_empty() {
        assert!(FieldSelector::parse("spec.nodeName=").expect("parses").matches(|_| None));
        assert!(!FieldSelector::parse("spec.nodeName!=").expect("parses").matches(|_| None));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["a", "=b", "a=b=c", "a=\\x", "a=b,c"] {
            assert!(FieldSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(FieldSelector::parse("").expect("selects all").is_empty());
        assert!(FieldSelector::parse(&"a=b,".repeat(REQUIREMENTS_MAX + 1)).is_err());
    }
}
