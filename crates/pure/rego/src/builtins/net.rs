//! Addresses.

use std::net::IpAddr;

use super::{Failure, Made, Row, text};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("net.cidr_contains", 2, contains),
    ("net.cidr_is_valid", 1, |_, a| Ok(a[0].as_str().is_some_and(|s| range(s).is_some() && s.contains('/')).into())),
];

/// An address as a number of 128 bits, how many of them count, and whether it is one of version 4.
fn range(text: &str) -> Option<(u128, u32, bool)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let (bits, width, four) = match address {
        IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, 32, true),
        IpAddr::V6(a) => (a.to_bits(), 128, false),
    };
    let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok())?;
    (prefix <= width).then_some((bits, prefix, four))
}

fn contains(_: &mut super::Cx, args: &[Value]) -> Made {
    let parse = |at: usize| -> Result<(u128, u32, bool), Failure> {
        range(text(args, at)?).ok_or_else(|| Failure::from("not an address or a range"))
    };
    let ((outer, length, four), (inner, inner_length, inner_four)) = (parse(0)?, parse(1)?);
    let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
    Ok((four == inner_four && inner_length >= length && (outer ^ inner) & mask == 0).into())
}
