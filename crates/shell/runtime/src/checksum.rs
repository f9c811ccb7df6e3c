//! A checksum fast enough to run over compiled code on every load from disk (several GB/s).
//!
//! Four 64-bit lanes, each a chain of xor, multiplication by an odd number and rotation. Every step is a bijection of the
//! lane, so damage confined to one 8-byte word always changes the result; wider damage does with a chance of 1 − 2⁻⁶⁴ or
//! so. It is not cryptographic and need not be: see [`crate::cache`].

const LANES: usize = 4;
const BLOCK: usize = LANES * 8;
const ODD: [u64; LANES] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0xff51_afd7_ed55_8ccd, 0xd6e8_feb8_6659_fd93];

/// A running checksum. Equal bytes give equal results however they are cut into updates.
#[derive(Clone)]
pub(crate) struct Checksum {
    lanes: [u64; LANES],
    pending: [u8; BLOCK],
    pending_bytes: usize,
    total_bytes: u64,
}

impl Checksum {
    pub(crate) fn new() -> Self {
        Self { lanes: ODD, pending: [0; BLOCK], pending_bytes: 0, total_bytes: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        if self.pending_bytes > 0 {
            let take = bytes.len().min(BLOCK - self.pending_bytes);
            self.pending[self.pending_bytes..self.pending_bytes + take].copy_from_slice(&bytes[..take]);
            self.pending_bytes += take;
            bytes = &bytes[take..];
            if self.pending_bytes < BLOCK {
                return;
            }
            let block = self.pending;
            self.block(&block);
            self.pending_bytes = 0;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            self.block(block);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.pending_bytes = rest.len();
    }

    pub(crate) fn finish(mut self) -> [u8; BLOCK] {
        self.pending[self.pending_bytes..].fill(0);
        let block = self.pending;
        self.block(&block);
        let mut sum = [0; BLOCK];
        for (index, lane) in self.lanes.iter().enumerate() {
            let mixed = (lane ^ self.total_bytes.rotate_left(index as u32 * 16)).wrapping_mul(ODD[index]);
            sum[index * 8..][..8].copy_from_slice(&(mixed ^ (mixed >> 32)).to_le_bytes());
        }
        sum
    }

    fn block(&mut self, block: &[u8; BLOCK]) {
        let (words, _) = block.as_chunks::<8>();
        for index in 0..LANES {
            let word = u64::from_le_bytes(words[index]);
            self.lanes[index] = (self.lanes[index] ^ word).wrapping_mul(ODD[index]).rotate_left(31);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pieces: &[&[u8]]) -> [u8; BLOCK] {
        let mut checksum = Checksum::new();
        pieces.iter().for_each(|it| checksum.update(it));
        checksum.finish()
    }

    #[test]
    fn cuts_do_not_matter_but_bytes_and_lengths_do() {
        let bytes: Vec<u8> = (0..1000u32).map(|it| it as u8).collect();
        let whole = sum(&[&bytes]);
        for cut in [0, 1, 31, 32, 33, 500, 999, 1000] {
            assert_eq!(sum(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        assert_ne!(sum(&[&bytes[..999]]), whole);
        assert_ne!(sum(&[b"a"]), sum(&[b"a\0"]));
        let mut swapped = bytes.clone();
        swapped.swap(0, 32);
        assert_ne!(sum(&[&swapped]), whole);
    }
}
