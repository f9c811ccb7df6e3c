//! Which addresses of a range are in use.

use std::net::Ipv4Addr;

use crate::Cidr;

/// Gives out addresses in turn, so that a freed one rests as long as possible before it names another pod.
#[derive(Debug)]
pub(super) struct Pool {
    cidr: Cidr,
    used: Vec<u64>,
    next: u32,
}

impl Pool {
    /// A pool of the range but for its first two addresses and its last: the network, the node and broadcast.
    pub(super) fn new(cidr: Cidr) -> Pool {
        let words = (cidr.size() as usize).div_ceil(64);
        let mut pool = Pool { cidr, used: vec![0; words], next: 2 };
        for reserved in [0, 1, cidr.size() - 1] {
            pool.set(reserved, true);
        }
        pool
    }

    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let len = self.cidr.size();
        let offset = (0..len).map(|step| (self.next + step) % len).find(|offset| !self.get(*offset))?;
        self.set(offset, true);
        self.next = (offset + 1) % len;
        Some(Ipv4Addr::from(u32::from(self.cidr.base()) + offset))
    }

    pub(super) fn claim(&mut self, address: Ipv4Addr) -> bool {
        match self.offset(address) {
            Some(offset) if !self.get(offset) => {
                self.set(offset, true);
                true
            }
            _ => false,
        }
    }

    pub(super) fn release(&mut self, address: Ipv4Addr) {
        if let Some(offset) = self.offset(address) {
            self.set(offset, false);
        }
    }

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).wrapping_sub(u32::from(self.cidr.base()));
        (self.cidr.contains(address) && offset > 1 && offset < self.cidr.size() - 1).then_some(offset)
    }

    fn get(&self, offset: u32) -> bool {
        self.used[offset as usize / 64] >> (offset % 64) & 1 == 1
    }

    fn set(&mut self, offset: u32, used: bool) {
        let bit = 1 << (offset % 64);
        let word = &mut self.used[offset as usize / 64];
        *word = if used { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_rest_after_use_and_run_out() {
        let mut pool = Pool::new("10.9.0.0/28".parse().unwrap());
        assert!(pool.claim("10.9.0.3".parse().unwrap()), "a restarted pod keeps its address");
        assert!(!pool.claim("10.9.0.3".parse().unwrap()));
        assert!(!pool.claim("10.9.0.1".parse().unwrap()), "reserved");
        assert!(!pool.claim("10.9.1.3".parse().unwrap()), "not ours");
        let first: Vec<String> = (0..3).map(|_| pool.take().unwrap().to_string()).collect();
        assert_eq!(first, ["10.9.0.2", "10.9.0.4", "10.9.0.5"]);
        pool.release("10.9.0.2".parse().unwrap());
        assert_eq!(pool.take().unwrap().to_string(), "10.9.0.6", "a freed address is not the next one given");
        let rest = std::iter::from_fn(|| pool.take()).count();
        assert_eq!(rest, 9, "13 of 16 can be used");
        pool.release("10.9.0.0".parse().unwrap());
        assert_eq!(pool.take(), None, "reserved addresses are never freed");
    }
}
