//! Quantities with units: [`Unit`], [`Quantity`], and the sets [`Range`] that specifications and requirements are.
//!
//! Everything is counted in whole base units (nanoseconds, bytes, thousandths of a core), so that comparisons are exact.

use std::{cmp::Ordering, fmt};

use serde::{Serialize, Serializer};

use crate::words::words;

words! {
    /// What a quantity counts.
    Unit {
        /// Things; the base is one.
        Count = "count", "a number", "数量";
        /// Time; the base is a nanosecond.
        Duration = "duration", "a duration such as 10ms, 30s or 30d", "时长（如 10ms、30s、30d）";
        /// Memory; the base is a byte.
        Bytes = "bytes", "a size such as 512MB or 4GB", "容量（如 512MB、4GB）";
        /// Processors; the base is a thousandth.
        Cores = "cores", "processors such as 4 or 500m", "核数（如 4 或 500m）";
    }
}

/// The suffixes of a unit with what they stand for, largest first; those after the first of a size are only read.
const DURATIONS: &[(&str, i64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];
const BYTES: &[(&str, i64)] = &[
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("B", 1),
];
const COUNTS: &[(&str, i64)] = &[("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000)];
const CORES: &[(&str, i64)] = &[("", 1_000), ("m", 1)];

impl Unit {
    fn suffixes(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Count => COUNTS,
            Self::Duration => DURATIONS,
            Self::Bytes => BYTES,
            Self::Cores => CORES,
        }
    }

    /// The suffix that somebody who forgot it most likely meant.
    pub fn usual_suffix(self) -> &'static str {
        match self {
            Self::Count | Self::Cores => "",
            Self::Duration => "ms",
            Self::Bytes => "GB",
        }
    }

    /// The unit that `suffix` belongs to, if any.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        let all = [Self::Duration, Self::Bytes, Self::Count, Self::Cores];
        all.into_iter().find(|unit| !suffix.is_empty() && unit.suffixes().iter().any(|it| it.0 == suffix))
    }
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotQuantity {
    /// There is no number in front.
    NoNumber,
    /// A number without the suffix that the unit needs.
    NoUnit,
    /// The suffix belongs to another unit, or to none.
    WrongUnit(String),
    /// Too large, or finer than the base unit.
    OutOfRange,
}

/// An amount of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// In base units.
    pub value: i64,
    /// What is counted.
    pub unit: Unit,
}

impl Quantity {
    /// Reads `10ms`, `0.1ms`, `4GB`, `3000`, `500m`.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, NotQuantity> {
        let text = text.trim();
        let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
        let (number, suffix) = (&text[..end], text[end..].trim());
        if number.is_empty() {
            return Err(NotQuantity::NoNumber);
        }
        let Some(&(_, scale)) = unit.suffixes().iter().find(|it| it.0 == suffix) else {
            return Err(if suffix.is_empty() {
                NotQuantity::NoUnit
            } else {
                NotQuantity::WrongUnit(suffix.to_owned())
            });
        };
        decimal(number, scale).map(|value| Self { value, unit })
    }
}

/// `number × scale` without rounding.
fn decimal(number: &str, scale: i64) -> Result<i64, NotQuantity> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return Err(NotQuantity::NoNumber);
    }
    let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| NotQuantity::OutOfRange)?;
    let product = digits.checked_mul(i128::from(scale)).ok_or(NotQuantity::OutOfRange)?;
    let parts = 10_i128.pow(fraction.len() as u32);
    if product % parts != 0 {
        return Err(NotQuantity::OutOfRange);
    }
    i64::try_from(product / parts).map_err(|_| NotQuantity::OutOfRange)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Count => write!(f, "{}", self.value),
            Unit::Cores => write!(f, "{}", thousandths(self.value)),
            Unit::Duration | Unit::Bytes => scaled(self.value, self.unit, f),
        }
    }
}

/// In the largest decimal suffix that leaves at least one, with three digits after the point at most.
fn scaled(value: i64, unit: Unit, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let decimal = if unit == Unit::Bytes { &unit.suffixes()[..4] } else { unit.suffixes() };
    let smallest = (if unit == Unit::Bytes { "B" } else { "ns" }, 1);
    let (suffix, scale) = decimal.iter().copied().find(|it| value.abs() >= it.1).unwrap_or(smallest);
    write!(f, "{}{suffix}", thousandths((i128::from(value) * 1000 / i128::from(scale)) as i64))
}

/// A number given in thousandths, without zeros at its end.
pub(crate) fn thousandths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, rest) = (value.abs() / 1000, value.abs() % 1000);
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// All amounts from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least, in base units.
    pub low: i64,
    /// The most; none is without limit.
    pub high: Option<i64>,
    /// Whether `high` itself is left out.
    pub open: bool,
    /// What is counted.
    pub unit: Unit,
}

impl Range {
    /// One amount.
    pub fn point(value: i64, unit: Unit) -> Self {
        Self { low: value, high: Some(value), open: false, unit }
    }

    /// Reads `6ms..10ms`, `2ms`, `<10ms`, `<=6ms`, `..6ms`, `>1000`, `>=500`, `10000..`.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, NotQuantity> {
        let text = text.trim();
        let amount = |text: &str| Quantity::parse(text, unit).map(|it| it.value);
        let range = |low, high, open| Ok(Self { low, high, open, unit });
        if let Some(rest) = text.strip_prefix("<=").or_else(|| text.strip_prefix('≤')) {
            range(0, Some(amount(rest)?), false)
        } else if let Some(rest) = text.strip_prefix('<') {
            range(0, Some(amount(rest)?), true)
        } else if let Some(rest) = text.strip_prefix(">=").or_else(|| text.strip_prefix('≥')) {
            range(amount(rest)?, None, false)
        } else if let Some(rest) = text.strip_prefix('>') {
            range(amount(rest)?.saturating_add(1), None, false)
        } else if let Some((low, high)) = text.split_once("..") {
            let low = if low.trim().is_empty() { 0 } else { amount(low)? };
            let high = if high.trim().is_empty() { None } else { Some(amount(high)?) };
            if high.is_some_and(|high| high < low) { Err(NotQuantity::OutOfRange) } else { range(low, high, false) }
        } else {
            amount(text).map(|value| Self::point(value, unit))
        }
    }

    /// Whether every amount of this one lies in `other`.
    pub fn within(&self, other: &Self) -> bool {
        self.low >= other.low && self.upper(other) != Ordering::Greater
    }

    /// Whether some amount lies in both.
    pub fn meets(&self, other: &Self) -> bool {
        let reaches = |from: &Self, to: &Self| match from.high {
            None => true,
            Some(high) if from.open => to.low < high,
            Some(high) => to.low <= high,
        };
        reaches(self, other) && reaches(other, self)
    }

    /// Compares the upper ends.
    fn upper(&self, other: &Self) -> Ordering {
        match (self.high, other.high) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(mine), Some(theirs)) => mine.cmp(&theirs).then(other.open.cmp(&self.open)),
        }
    }

    /// The largest amount that counts, where there is one.
    pub fn most(&self) -> Option<i64> {
        self.high.map(|high| if self.open { high - 1 } else { high })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        let low = Quantity { value: self.low, unit };
        match self.high.map(|value| Quantity { value, unit }) {
            None => write!(f, ">={low}"),
            Some(high) if self.open && self.low == 0 => write!(f, "<{high}"),
            Some(high) if self.low == 0 => write!(f, "<={high}"),
            Some(high) if high == low => write!(f, "{low}"),
            Some(high) => write!(f, "{low}..{high}"),
        }
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
