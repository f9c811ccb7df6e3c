//! Damages bytes as a fuzzer says: three bytes a step, where and how in the first two, with what in the third.

pub(crate) fn damage(bytes: &mut Vec<u8>, steps: &[u8]) {
    for step in steps.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([step[0], step[1] & 0x3f])) % bytes.len().max(1);
        match step[1] >> 6 {
            0 | 1 if at < bytes.len() => bytes[at] = step[2],
            2 => bytes.insert(at, step[2]),
            _ => bytes.truncate(at),
        }
    }
}
