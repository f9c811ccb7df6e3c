//! Quantities and versions.

use std::cmp::Ordering;

use super::{Cx, Failure, Made, Row, text};
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("units.parse", 1, parse),
    ("units.parse_bytes", 1, parse_bytes),
    ("semver.is_valid", 1, |_, a| Ok(a[0].as_str().is_some_and(|s| Version::parse(s).is_some()).into())),
    ("semver.compare", 2, |_, a| {
        let version = |at: usize| -> Result<Version<'_>, Failure> {
            Version::parse(text(a, at)?).ok_or_else(|| Failure::from("not a semantic version"))
        };
        Ok(Value::int(version(0)?.compare(&version(1)?) as i128))
    }),
];

/// Splits a quantity into its number and its unit, without quotes.
fn split(quantity: &str) -> Result<(Number, &str), Failure> {
    let quantity = quantity.trim_matches('"');
    if quantity.contains(' ') {
        return Err("spaces not allowed in resource strings".into());
    }
    let sign = usize::from(quantity.starts_with(['+', '-']));
    let end = quantity[sign..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(quantity.len(), |it| sign + it);
    // An exponent, but not the unit "E" or "Ei".
    let end = match quantity[end..].strip_prefix(['e', 'E']) {
        Some(rest) => {
            let digits = rest.trim_start_matches(['+', '-']);
            let power = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            if power > 0 { end + 1 + (rest.len() - digits.len()) + power } else { end }
        }
        None => end,
    };
    if quantity[sign..end].is_empty() {
        return Err("no amount provided".into());
    }
    let number = Number::parse(&quantity[..end]).ok_or("could not parse amount to a number")?;
    Ok((number, &quantity[end..]))
}

fn times(cx: &mut Cx, number: &Number, factor: f64, whole: Option<i128>) -> Result<Number, Failure> {
    cx.step(1)?;
    let by = whole.map_or(Number::Float(factor), Number::whole);
    number.combine(&by, i128::checked_mul, |a, b| a * b).ok_or_else(|| "quantity is too large".into())
}

fn power(base: i128, exponent: u32) -> Option<i128> {
    base.checked_pow(exponent)
}

fn parse(cx: &mut Cx, args: &[Value]) -> Made {
    let (number, unit) = split(text(args, 0)?)?;
    let whole = match unit {
        "" => Some(1),
        // `m` is a thousandth, `M` a million: the only units whose case matters.
        "m" => return Ok(Value::Number(times(cx, &number, 0.001, None)?)),
        "M" => power(1000, 2),
        _ => match unit.to_lowercase().as_str() {
            "k" => power(1000, 1),
            "g" => power(1000, 3),
            "t" => power(1000, 4),
            "p" => power(1000, 5),
            "e" => power(1000, 6),
            "ki" => power(1024, 1),
            "mi" => power(1024, 2),
            "gi" => power(1024, 3),
            "ti" => power(1024, 4),
            "pi" => power(1024, 5),
            "ei" => power(1024, 6),
            _ => return Err(format!("unit {unit} not recognized").into()),
        },
    };
    Ok(Value::Number(times(cx, &number, 1.0, whole)?))
}

fn parse_bytes(cx: &mut Cx, args: &[Value]) -> Made {
    let (number, unit) = split(text(args, 0)?)?;
    let unit = unit.to_lowercase();
    let whole = match unit.as_str() {
        "" => Some(1),
        "k" | "kb" => power(1000, 1),
        "m" | "mb" => power(1000, 2),
        "g" | "gb" => power(1000, 3),
        "t" | "tb" => power(1000, 4),
        "p" | "pb" => power(1000, 5),
        "e" | "eb" => power(1000, 6),
        "ki" | "kib" => power(1024, 1),
        "mi" | "mib" => power(1024, 2),
        "gi" | "gib" => power(1024, 3),
        "ti" | "tib" => power(1024, 4),
        "pi" | "pib" => power(1024, 5),
        "ei" | "eib" => power(1024, 6),
        _ => return Err(format!("unit {unit} not recognized").into()),
    };
    let bytes = times(cx, &number, 1.0, whole)?;
    // Bytes are whole.
    let bytes = bytes.as_whole().unwrap_or_else(|| bytes.as_f64().trunc() as i128);
    Ok(Value::int(bytes))
}

/// A semantic version.
struct Version<'a> {
    numbers: [u64; 3],
    pre: Vec<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Version<'a>> {
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let numeric = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let pre: Vec<&str> = pre.map(|pre| pre.split('.').collect()).unwrap_or_default();
        let padded = |part: &str| numeric(part) && part.len() > 1 && part.starts_with('0');
        if !pre.iter().all(word) || pre.iter().any(|part| padded(part)) {
            return None;
        }
        if !build.is_none_or(|build| build.split('.').all(|part| word(&part))) {
            return None;
        }
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() != 3 {
            return None;
        }
        for (slot, part) in numbers.iter_mut().zip(parts) {
            if part.is_empty() || !numeric(part) || padded(part) {
                return None;
            }
            *slot = part.parse().ok()?;
        }
        Some(Version { numbers, pre })
    }

    fn compare(&self, other: &Version<'_>) -> Ordering {
        let core = self.numbers.cmp(&other.numbers);
        // A version with a pre-release is before the one without.
        let released = self.pre.is_empty().cmp(&other.pre.is_empty());
        core.then(released).then_with(|| {
            let number = |part: &str| part.parse::<u64>().ok();
            for (a, b) in self.pre.iter().zip(&other.pre) {
                let order = match (number(a), number(b)) {
                    (Some(a), Some(b)) => a.cmp(&b),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => a.cmp(b),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
            self.pre.len().cmp(&other.pre.len())
        })
    }
}
