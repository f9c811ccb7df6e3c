//! Addresses and ranges of addresses. Names are not looked up: an evaluation reaches no network.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Cx, Failure, Made, Row, text, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("net.cidr_contains", 2, |_, a| Ok(operand(a, 0)?.contains(&operand(a, 1)?).into())),
    ("net.cidr_contains_matches", 2, contains_matches),
    ("net.cidr_expand", 1, expand),
    ("net.cidr_intersects", 2, |_, a| {
        let (one, other) = (block(text(a, 0)?)?, block(text(a, 1)?)?);
        Ok((one.contains(&other) || other.contains(&one)).into())
    }),
    ("net.cidr_is_valid", 1, |_, a| Ok(a[0].as_str().is_some_and(|it| block(it).is_ok()).into())),
    ("net.cidr_merge", 1, merge),
    // Policies name it, tests replace it; asking the network itself would make an answer depend on the moment.
    ("http.send", 1, |_, a| {
        if !matches!(a[0], Value::Object(_)) {
            return Err(wrong_type(a, 0, "object"));
        }
        Err(Failure::Refused("http.send is not available: policies here reach no network".to_owned()))
    }),
    ("net.lookup_ip_addr", 1, |_, a| {
        let name = text(a, 0)?;
        match name.parse::<IpAddr>() {
            Ok(address) => Ok(Value::set([Value::string(&address.to_string())])),
            Err(_) => Err(Failure::Refused(
                "net.lookup_ip_addr is not available for names: policies here reach no network".to_owned(),
            )),
        }
    }),
    ("net.cidr_overlap", 2, |_, a| Ok(block(text(a, 0)?)?.contains(&operand(a, 1)?).into())),
];

/// A range of addresses. Those of version 4 use the first 32 of the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    four: bool,
    bits: u128,
    length: u32,
}

impl Range {
    /// Reads an address or a range.
    fn parse(text: &str) -> Option<Range> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let (bits, width, four) = match address.parse().ok()? {
            IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, 32, true),
            IpAddr::V6(a) => (a.to_bits(), 128, false),
        };
        let length: u32 = prefix.map_or(Some(width), |prefix| prefix.parse().ok())?;
        (length <= width).then_some(Range { four, bits, length })
    }

    fn mask(&self) -> u128 {
        if self.length == 0 { 0 } else { u128::MAX << (128 - self.length) }
    }

    fn contains(&self, other: &Range) -> bool {
        self.four == other.four && other.length >= self.length && (self.bits ^ other.bits) & self.mask() == 0
    }

    fn first(&self) -> u128 {
        self.bits & self.mask()
    }

    fn last(&self) -> u128 {
        let host = if self.four { u128::MAX << 96 } else { u128::MAX };
        self.first() | (!self.mask() & host)
    }

    fn address(four: bool, bits: u128) -> IpAddr {
        match four {
            true => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            false => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

fn wrong(text: &str) -> Failure {
    Failure::Error(format!("invalid CIDR address: {text}"))
}

fn operand(args: &[Value], at: usize) -> Result<Range, Failure> {
    let text = text(args, at)?;
    Range::parse(text).ok_or_else(|| wrong(text))
}

/// A range that says how long its prefix is.
fn block(text: &str) -> Result<Range, Failure> {
    Range::parse(text).filter(|_| text.contains('/')).ok_or_else(|| wrong(text))
}

/// What `net.cidr_contains_matches` looks through: each range with what stands for it in the answer.
fn named(args: &[Value], at: usize) -> Result<Vec<(Value, Range)>, Failure> {
    let one = |value: &Value| -> Result<Range, Failure> {
        let text = match value {
            Value::String(text) => Some(&**text),
            Value::Array(items) => items.first().and_then(Value::as_str),
            _ => None,
        };
        let text = text
            .ok_or_else(|| Failure::Error(format!("operand {}: element must be string or non-empty array", at + 1)))?;
        Range::parse(text).ok_or_else(|| wrong(text))
    };
    match &args[at] {
        Value::String(_) => Ok(vec![(args[at].clone(), one(&args[at])?)]),
        Value::Array(items) => items.iter().enumerate().map(|(n, it)| Ok((Value::int(n as i128), one(it)?))).collect(),
        Value::Set(items) => items.iter().map(|it| Ok((it.clone(), one(it)?))).collect(),
        Value::Object(fields) => fields.iter().map(|(key, it)| Ok((key.clone(), one(it)?))).collect(),
        _ => Err(wrong_type(args, at, "one of {string, array, object, set}")),
    }
}

fn contains_matches(cx: &mut Cx, args: &[Value]) -> Made {
    let (outer, inner) = (named(args, 0)?, named(args, 1)?);
    let mut pairs = BTreeSet::new();
    for (key, range) in &outer {
        for (other_key, other) in &inner {
            cx.step(1)?;
            if range.contains(other) {
                cx.charge_bytes(4 * size_of::<Value>())?;
                pairs.insert(Value::array(vec![key.clone(), other_key.clone()]));
            }
        }
    }
    Ok(Value::set(pairs))
}

fn expand(cx: &mut Cx, args: &[Value]) -> Made {
    let range = block(text(args, 0)?)?;
    let unit = if range.four { 1 << 96 } else { 1 };
    let mut addresses = BTreeSet::new();
    let (mut at, last) = (range.first(), range.last());
    loop {
        cx.step(1)?;
        cx.charge_bytes(64)?;
        addresses.insert(Value::string(&Range::address(range.four, at).to_string()));
        if at >= last {
            return Ok(Value::set(addresses));
        }
        at += unit;
    }
}

/// The fewest ranges with the same addresses.
fn merge(cx: &mut Cx, args: &[Value]) -> Made {
    let items: Vec<&Value> = match &args[0] {
        Value::Array(items) => items.iter().collect(),
        Value::Set(items) => items.iter().collect(),
        _ => return Err(wrong_type(args, 0, "one of {set, array}")),
    };
    cx.step(items.len() as u64)?;
    let ranges = items.into_iter().map(|it| {
        let text = it.as_str().ok_or_else(|| Failure::Type("operand must be a collection of strings".to_owned()))?;
        match Range::parse(text) {
            Some(range) if text.contains('/') => Ok(range),
            Some(range) if range.four => Ok(class(range)),
            Some(_) => Err("IPv6 invalid: needs prefix length".into()),
            None => Err(wrong(text)),
        }
    });
    let mut ranges: Vec<Range> = ranges.collect::<Result<_, _>>()?;
    ranges.sort_by_key(|it| (!it.four, it.first(), it.length));
    // Stretches without gaps.
    let mut stretches: Vec<(bool, u128, u128)> = Vec::new();
    for range in ranges {
        let unit = if range.four { 1 << 96 } else { 1 };
        match stretches.last_mut() {
            Some((four, _, last)) if *four == range.four && range.first() <= last.saturating_add(unit) => {
                *last = (*last).max(range.last());
            }
            _ => stretches.push((range.four, range.first(), range.last())),
        }
    }
    let mut merged = BTreeSet::new();
    for (four, first, last) in stretches {
        cover(cx, four, first, last, &mut merged)?;
    }
    Ok(Value::set(merged))
}

/// An address of version 4 without a length has that of its class.
fn class(range: Range) -> Range {
    let length = match range.bits >> 120 {
        0..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => 32,
    };
    Range { length, ..range }
}

/// The ranges that a stretch is made of, largest first at each place.
fn cover(cx: &mut Cx, four: bool, mut first: u128, last: u128, into: &mut BTreeSet<Value>) -> Result<(), Failure> {
    let width = if four { 32 } else { 128 };
    loop {
        cx.step(1)?;
        let fitting = (0..=width).find(|length| {
            let range = Range { four, bits: first, length: *length };
            range.first() == first && range.last() <= last
        });
        let range = Range { four, bits: first, length: fitting.unwrap_or(width) };
        let text = format!("{}/{}", Range::address(four, first), range.length);
        into.insert(Value::string(&text));
        if range.last() >= last {
            return Ok(());
        }
        first = range.last() + if four { 1 << 96 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_overlaps_become_one_range() {
        let merged = |texts: &[&str]| {
            let texts = Value::array(texts.iter().map(|it| Value::string(it)).collect());
            merge(&mut Cx::new(crate::Bounds::default(), 0), &[texts]).map(|it| it.to_string()).map_err(|_| ())
        };
        assert_eq!(merged(&["10.0.0.0/25", "10.0.0.128/25"]).unwrap(), r#"{"10.0.0.0/24"}"#);
        assert_eq!(merged(&["10.0.1.0/24", "10.0.2.0/24"]).unwrap(), r#"{"10.0.1.0/24", "10.0.2.0/24"}"#);
        assert_eq!(merged(&["::/1", "8000::/1"]).unwrap(), r#"{"::/0"}"#);
        assert!(merged(&["10.0.0.0/33"]).is_err());
    }
}
