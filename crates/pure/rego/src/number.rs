//! Numbers of Rego: whole numbers kept exactly as far as 128 bits reach, all others as doubles.
//!
//! OPA calculates with arbitrary precision. What policies calculate with — quantities of memory, nanoseconds — fits
//! into 128 bits; what does not becomes a double. A double without a fraction is always kept as a whole number, so that
//! equal numbers are equal values.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A number.
#[derive(Clone, Debug)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A whole number that needs more than 64 bits.
    Big(Arc<i128>),
    /// Any other.
    Float(f64),
}

impl Number {
    /// The whole number `n`.
    pub fn whole(n: i128) -> Number {
        i64::try_from(n).map_or_else(|_| Number::Big(Arc::new(n)), Number::Int)
    }

    /// The number nearest to `f`; nothing for infinities and NaN, which Rego does not have.
    pub fn float(f: f64) -> Option<Number> {
        if !f.is_finite() {
            return None;
        }
        // 2^100 lies well within i128, and a double of that size has no fraction to lose.
        if f.fract() == 0.0 && f.abs() < 1.267_650_600_228_229_4e30 {
            return Some(Number::whole(f as i128));
        }
        Some(Number::Float(f))
    }

    /// The number that `text` spells in JSON's form.
    pub fn parse(text: &str) -> Option<Number> {
        match text.parse::<i128>() {
            Ok(n) if !text.starts_with('+') => Some(Number::whole(n)),
            _ => text.parse::<f64>().ok().and_then(Number::float),
        }
    }

    /// Its value, if it is a whole number.
    pub fn as_whole(&self) -> Option<i128> {
        match self {
            Number::Int(n) => Some(i128::from(*n)),
            Number::Big(n) => Some(**n),
            Number::Float(_) => None,
        }
    }

    /// Its value as a double.
    pub fn as_f64(&self) -> f64 {
        match self {
            Number::Int(n) => *n as f64,
            Number::Big(n) => **n as f64,
            Number::Float(f) => *f,
        }
    }

    /// `self` and `other` put through `whole` if both are whole and it succeeds, else through `float`.
    pub(crate) fn combine(
        &self,
        other: &Number,
        whole: impl Fn(i128, i128) -> Option<i128>,
        float: impl Fn(f64, f64) -> f64,
    ) -> Option<Number> {
        if let (Some(a), Some(b)) = (self.as_whole(), other.as_whole())
            && let Some(n) = whole(a, b)
        {
            return Some(Number::whole(n));
        }
        Number::float(settled(float(self.as_f64(), other.as_f64())))
    }

    /// In JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Number::Int(n) => serde_json::Value::from(*n),
            Number::Big(n) => u64::try_from(**n).map_or_else(|_| (**n as f64).into(), serde_json::Value::from),
            Number::Float(f) => serde_json::Value::from(*f),
        }
    }
}

/// A result without the noise of doubles where it has a short decimal form: OPA, which calculates with more digits, makes
/// `0.3` of `0.1 + 0.2`.
fn settled(result: f64) -> f64 {
    let short: f64 = format!("{result:.14e}").parse().unwrap_or(result);
    if (short - result).abs() <= 2.0 * f64::EPSILON * result.abs() { short } else { result }
}

impl From<&serde_json::Number> for Number {
    fn from(n: &serde_json::Number) -> Number {
        match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), _, _) => Number::Int(n),
            (_, Some(n), _) => Number::whole(i128::from(n)),
            (_, _, f) => f.and_then(Number::float).unwrap_or(Number::Int(0)),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            _ => match (self.as_whole(), other.as_whole()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.as_f64().total_cmp(&other.as_f64()),
            },
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(n) => n.fmt(f),
            Number::Big(n) => n.fmt(f),
            Number::Float(x) if x.abs() >= 1e21 || (x.abs() < 1e-6) => write!(f, "{x:e}"),
            Number::Float(x) => x.fmt(f),
        }
    }
}
