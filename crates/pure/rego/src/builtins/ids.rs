//! Identifiers and chance. An evaluation has no randomness of its own: what looks random follows from the arguments and the
//! time of the request, so that one request always sees one answer.

use sha2::{Digest, Sha256};

use super::{Cx, Failure, Made, Row, text, whole};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("uuid.rfc4122", 1, |cx, a| {
        let bytes = seeded(cx, text(a, 0)?);
        cx.text(&version_4(&bytes))
    }),
    ("uuid.parse", 1, |_, a| parse(text(a, 0)?)),
    ("rand.intn", 2, |cx, a| {
        let bound = whole(a, 1)?.unsigned_abs();
        if bound == 0 {
            return Ok(Value::int(0));
        }
        let bytes = seeded(cx, text(a, 0)?);
        let number = u128::from_be_bytes(bytes[..16].try_into().unwrap_or_default());
        Ok(Value::int(i128::try_from(number % bound).unwrap_or(0)))
    }),
];

fn seeded(cx: &Cx, seed: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(cx.now_ns().to_be_bytes());
    hash.update(seed.as_bytes());
    hash.finalize().into()
}

fn version_4(bytes: &[u8; 32]) -> String {
    let mut id: [u8; 16] = bytes[..16].try_into().unwrap_or_default();
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let text = hex::encode(id);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// What a UUID says of itself.
fn parse(text: &str) -> Made {
    let wrong = || Failure::from("not a UUID");
    let bare = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let bare = bare.strip_prefix('{').and_then(|it| it.strip_suffix('}')).unwrap_or(bare);
    let dashed = bare.len() == 36 && [8, 13, 18, 23].iter().all(|at| bare.as_bytes()[*at] == b'-');
    if !dashed && bare.len() != 32 {
        return Err(wrong());
    }
    let bytes = hex::decode(bare.replace('-', "")).map_err(|_| wrong())?;
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| wrong())?;
    let version = bytes[6] >> 4;
    let variant = match bytes[8] {
        it if it & 0xc0 == 0x80 => "RFC4122",
        it if it & 0xe0 == 0xc0 => "Microsoft",
        it if it & 0xe0 == 0xe0 => "Future",
        _ => "Reserved",
    };
    let mut fields = vec![("version", Value::int(version)), ("variant", Value::string(variant))];
    if version == 1 || version == 2 {
        let node = bytes[10..].iter().map(|it| format!("{it:02x}")).collect::<Vec<_>>().join("-");
        fields.push(("nodeid", Value::string(&node)));
        fields.push(("macvariables", Value::string(mac_variables(bytes[10]))));
        let low = u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let middle = u64::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        let high = u64::from(u16::from_be_bytes([bytes[6] & 0x0f, bytes[7]]));
        let ticks = (high << 48) | (middle << 32) | low;
        const SINCE_1582: i128 = 122_192_928_000_000_000;
        fields.push(("time", Value::int((i128::from(ticks) - SINCE_1582) * 100)));
        fields.push(("clocksequence", Value::int(u16::from_be_bytes([bytes[8] & 0x3f, bytes[9]]))));
    }
    if version == 2 {
        fields.push(("id", Value::int(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))));
        let domain = match bytes[9] {
            0 => "Person",
            1 => "Group",
            2 => "Org",
            _ => "Unknown",
        };
        fields.push(("domain", Value::string(domain)));
    }
    Ok(Value::record(fields))
}

fn mac_variables(first: u8) -> &'static str {
    match (first & 2 != 0, first & 1 != 0) {
        (true, true) => "local:multicast",
        (true, false) => "local:unicast",
        (false, true) => "global:multicast",
        (false, false) => "global:unicast",
    }
}
