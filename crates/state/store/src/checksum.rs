//! Checksum of a row.
//!
//! Finds what a failing disk does to a page; no defence against an attacker. Each step is a bijection of the running
//! value, so damage confined to one 8-byte word is found with certainty.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Checksum over `parts`, boundaries included.
pub(crate) fn of(parts: &[&[u8]]) -> i64 {
    let mut sum = 0x243f_6a88_85a3_08d3;
    for part in parts {
        sum = step(sum, part.len() as u64);
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            sum = step(sum, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            sum = step(sum, u64::from_le_bytes(word));
        }
    }
    sum.cast_signed()
}

fn step(sum: u64, word: u64) -> u64 {
    let mixed = (sum ^ word).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_moved_boundary_shows() {
        let row: Vec<u8> = (0..37).collect();
        let sum = of(&[b"a", &row]);
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&[b"a", &bad]), sum, "bit {bit}");
        }
        assert_ne!(of(&[b"ab", b""]), of(&[b"a", b"b"]));
    }
}
