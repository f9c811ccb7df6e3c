//! Hashes and message authentication.

use ring::{digest, hmac};

use super::{Cx, Made, Row, text};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("crypto.md5", 1, |cx, a| hexed(cx, &md5(text(a, 0)?.as_bytes()))),
    ("crypto.sha1", 1, |cx, a| {
        hexed(cx, digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text(a, 0)?.as_bytes()).as_ref())
    }),
    ("crypto.sha256", 1, |cx, a| hexed(cx, digest::digest(&digest::SHA256, text(a, 0)?.as_bytes()).as_ref())),
    ("crypto.hmac.md5", 2, |cx, a| hexed(cx, &hmac_md5(text(a, 1)?.as_bytes(), text(a, 0)?.as_bytes()))),
    ("crypto.hmac.sha1", 2, |cx, a| authenticate(cx, a, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
    ("crypto.hmac.sha256", 2, |cx, a| authenticate(cx, a, hmac::HMAC_SHA256)),
    ("crypto.hmac.sha512", 2, |cx, a| authenticate(cx, a, hmac::HMAC_SHA512)),
    ("crypto.hmac.equal", 2, |_, a| {
        let (one, other) = (text(a, 0)?.as_bytes(), text(a, 1)?.as_bytes());
        // The time it takes tells nothing about where they differ.
        let differ = one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b));
        Ok((one.len() == other.len() && differ == 0).into())
    }),
];

fn hexed(cx: &mut Cx, bytes: &[u8]) -> Made {
    cx.text(&hex::encode(bytes))
}

fn authenticate(cx: &mut Cx, args: &[Value], algorithm: hmac::Algorithm) -> Made {
    let (message, key): (&str, &str) = (text(args, 0)?, text(args, 1)?);
    cx.step(message.len() as u64 / 64)?;
    hexed(cx, hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), message.as_bytes()).as_ref())
}

fn hmac_md5(key: &[u8], message: &[u8]) -> [u8; 16] {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..16].copy_from_slice(&md5(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner: Vec<u8> = block.iter().map(|it| it ^ 0x36).chain(message.iter().copied()).collect();
    let outer: Vec<u8> = block.iter().map(|it| it ^ 0x5c).chain(md5(&inner)).collect();
    md5(&outer)
}

/// MD5 as in RFC 1321: not for security, but policies compare old checksums with it.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64).wrapping_mul(8).to_le_bytes());
    for block in padded.chunks_exact(64) {
        let word =
            |at: usize| u32::from_le_bytes([block[at * 4], block[at * 4 + 1], block[at * 4 + 2], block[at * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for at in 0..64_usize {
            let (mixed, from) = match at / 16 {
                0 => ((b & c) | (!b & d), at),
                1 => ((d & b) | (!d & c), (5 * at + 1) % 16),
                2 => (b ^ c ^ d, (3 * at + 5) % 16),
                _ => (c ^ (b | !d), (7 * at) % 16),
            };
            // The constants are the whole part of 2^32 times the sine of each step.
            let constant = (((at + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(from));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[at / 16][at % 4]));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0; 16];
    for (at, word) in state.iter().enumerate() {
        out[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfcs() {
        assert_eq!(hex::encode(md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex::encode(md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex::encode(hmac_md5(b"Jefe", b"what do ya want for nothing?")), "750c783e6ab0b503eaa86e310a5db738");
    }
}
