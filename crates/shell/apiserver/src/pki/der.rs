//! The little of DER that a certificate needs to be written.

use jiff::Timestamp;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// A tag, the length and the pieces.
pub(super) fn tlv(tag: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let length: usize = pieces.iter().map(|it| it.len()).sum();
    let mut bytes = Vec::with_capacity(length + 6);
    bytes.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits = length.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|it| **it == 0).count()..];
            // Eight bytes of length at most.
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    pieces.iter().for_each(|it| bytes.extend_from_slice(it));
    bytes
}

/// A context tag around something, `[number]`.
pub(super) fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, &[content])
}

/// A time of a certificate: two-digit years until 2049, then four.
pub(super) fn time(at: Timestamp) -> Vec<u8> {
    let utc = at.to_zoned(jiff::tz::TimeZone::UTC);
    match utc.year() {
        1950..=2049 => tlv(0x17, &[utc.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()]),
        _ => tlv(0x18, &[utc.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_grow_with_their_content() {
        let head = |length: usize| tlv(OCTET_STRING, &[&vec![0; length]])[..4].to_vec();
        assert_eq!(head(5)[..2], [4, 5]);
        assert_eq!(head(200)[..3], [4, 0x81, 200]);
        assert_eq!(head(1000), [4, 0x82, 3, 0xe8]);
    }

    #[test]
    fn times_change_form_in_2050() {
        let written = |text: &str| String::from_utf8(time(text.parse().unwrap())[2..].to_vec()).unwrap();
        assert_eq!(written("2026-01-02T03:04:05Z"), "260102030405Z");
        assert_eq!(written("2050-01-02T03:04:05Z"), "20500102030405Z");
    }
}
