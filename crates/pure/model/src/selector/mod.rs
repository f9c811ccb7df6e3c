//! Label and field selectors: parsed from query strings and objects, matched against attributes.
//!
//! Start at [`LabelSelector::parse`], [`LabelSelector::from_value`] and [`FieldSelector::parse`].

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Operator, Requirement};

/// Why a selector does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text breaks off or continues where it should not.
    #[error("unable to parse requirement: found '{found}', expected: {expected}")]
    Syntax {
        /// What stands there; empty at the end.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A key is no qualified name.
    #[error("unable to parse requirement: key: Invalid value: {0:?}: {1}")]
    Key(String, String),
    /// A value is no label value.
    #[error("unable to parse requirement: values[{0}][{1}]: Invalid value: {2:?}: {3}")]
    Value(usize, String, String, String),
    /// An operator has the wrong number or sort of values.
    #[error("unable to parse requirement: values: Invalid value: {0}")]
    Values(String),
    /// A LabelSelector object names an unknown operator.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// A LabelSelector object has the wrong shape.
    #[error("invalid label selector: {0}")]
    Shape(&'static str),
    /// A term of a field selector is none of `=`, `==`, `!=`.
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Term(String, String),
    /// A backslash in a field selector escapes nothing.
    #[error("invalid field selector: invalid escape in {0:?}")]
    Escape(String),
    /// The selector is longer than anything sensible.
    #[error("selector has more than {0} requirements")]
    TooMany(usize),
}

/// Most requirements in one selector: a bound on the work that one request can ask of every object.
pub const REQUIREMENTS_MAX: usize = 1000;
