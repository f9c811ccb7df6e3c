//! Checks of address ranges and the addresses taken from them.

use std::net::IpAddr;

use super::{
    at::At,
    names::{self, Check},
};
use crate::{cidr::Cidr, status::Cause};

const CIDR_MESSAGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range as `address/bits`, of either family.
pub(super) fn cidr(text: &str) -> Check {
    let fits = |(address, bits): (&str, &str)| match (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?) {
        (IpAddr::V4(_), 0..=32) | (IpAddr::V6(_), 0..=128) => Some(()),
        _ => None,
    };
    text.split_once('/').and_then(fits).ok_or_else(|| CIDR_MESSAGE.to_owned())
}

pub(super) fn service_cidr(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let ranges = spec.get("cidrs");
    if ranges.is_empty() {
        causes.push(ranges.required("at least one CIDR required"));
    }
    if ranges.items().count() > 2 {
        causes.push(ranges.invalid("may only hold up to 2 values"));
    }
    ranges.items().for_each(|it| it.grammar(cidr, causes));
}

/// An address's name is the address, in its shortest form.
pub(super) fn ip_address(object: &At<'_>, causes: &mut Vec<Cause>) {
    let name = object.at("metadata.name");
    match name.text().parse::<IpAddr>() {
        Ok(address) if address.to_string() == name.text() => {}
        Ok(address) => causes.push(name.invalid(&format!("must be in canonical form (\"{address}\")"))),
        Err(_) => causes.push(name.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")),
    }
    let parent = object.at("spec.parentRef");
    if parent.is_absent() {
        causes.push(parent.required(""));
        return;
    }
    parent.get("group").grammar(names::dns1123_subdomain, causes);
    for field in ["resource", "name"] {
        if parent.get(field).is_empty() {
            causes.push(parent.get(field).required(""));
        }
        parent.get(field).grammar(names::path_segment, causes);
    }
    parent.get("namespace").grammar(names::path_segment, causes);
}

/// A range from which pieces are cut out: each must lie in it, and be smaller.
pub(super) fn block(block: &At<'_>, causes: &mut Vec<Cause>) {
    let whole = block.get("cidr");
    if whole.is_empty() {
        causes.push(whole.required(""));
        return;
    }
    whole.grammar(cidr, causes);
    for piece in block.get("except").items() {
        piece.grammar(cidr, causes);
        let parsed = (whole.text().parse::<Cidr>(), piece.text().parse::<Cidr>());
        // Only ranges of version 4 are compared; the others are taken at their word.
        if let (Ok(outer), Ok(inner)) = parsed
            && !(outer.contains(inner.base()) && inner.prefix() > outer.prefix())
        {
            causes.push(piece.invalid(&format!("must be a strict subset of `cidr` ({:?})", whole.text())));
        }
    }
}
