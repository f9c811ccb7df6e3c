//! Hands out cluster IPs, each to one Service at a time. Entry point: [`Addresses`].
//!
//! What is taken is read from the store at the first use and then kept in memory; the Services themselves are the
//! record.

use std::{collections::HashSet, net::Ipv4Addr, sync::Arc};

use eyot_model::cidr::Cidr;
use parking_lot::Mutex;

/// The cluster IPs that are taken.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Inner>);

struct Inner {
    range: Cidr,
    taken: Mutex<Option<Taken>>,
}

struct Taken {
    all: HashSet<Ipv4Addr>,
    /// Offset into the range at which the search goes on.
    next: u32,
}

/// A cluster IP taken for a Service that is about to be written; dropping it returns the address.
pub(crate) struct Claim {
    addresses: Addresses,
    ip: Option<Ipv4Addr>,
}

/// Why an address cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    OutOfRange,
    Taken,
    Exhausted,
}

impl Addresses {
    pub(crate) fn new(range: Cidr) -> Self {
        Addresses(Arc::new(Inner { range, taken: Mutex::new(None) }))
    }

    pub(crate) fn range(&self) -> Cidr {
        self.0.range
    }

    /// The address of `default/kubernetes`: the first of the range.
    pub(crate) fn first(&self) -> Option<Ipv4Addr> {
        self.0.range.nth(1)
    }

    /// Takes a given address. `known` tells the addresses in use and is called at the first use only.
    pub(crate) fn take(&self, ip: Ipv4Addr, known: impl FnOnce() -> Vec<Ipv4Addr>) -> Result<Claim, Refusal> {
        if !self.0.range.contains(ip) {
            return Err(Refusal::OutOfRange);
        }
        let mut taken = self.0.taken.lock();
        let taken = taken.get_or_insert_with(|| Taken::new(known()));
        if !taken.all.insert(ip) {
            return Err(Refusal::Taken);
        }
        Ok(Claim { addresses: self.clone(), ip: Some(ip) })
    }

    /// Takes any free address but the network's, the broadcast's and the one kept for `default/kubernetes`.
    pub(crate) fn take_any(&self, known: impl FnOnce() -> Vec<Ipv4Addr>) -> Result<(Ipv4Addr, Claim), Refusal> {
        const RESERVED: u32 = 2;
        let range = self.0.range;
        let usable = range.size().saturating_sub(RESERVED + 1);
        let mut taken = self.0.taken.lock();
        let taken = taken.get_or_insert_with(|| Taken::new(known()));
        for _ in 0..usable {
            let offset = RESERVED + taken.next % usable;
            taken.next = taken.next.wrapping_add(1);
            if let Some(ip) = range.nth(offset)
                && taken.all.insert(ip)
            {
                return Ok((ip, Claim { addresses: self.clone(), ip: Some(ip) }));
            }
        }
        Err(Refusal::Exhausted)
    }

    /// Returns an address.
    pub(crate) fn release(&self, ip: Ipv4Addr) {
        if let Some(taken) = self.0.taken.lock().as_mut() {
            taken.all.remove(&ip);
        }
    }
}

impl Taken {
    fn new(known: Vec<Ipv4Addr>) -> Taken {
        // Where to begin does not matter for truth; behind the known ones there is likely room.
        Taken { next: u32::try_from(known.len()).unwrap_or(0), all: known.into_iter().collect() }
    }
}

impl Claim {
    /// The write happened: the address stays taken until the Service goes.
    pub(crate) fn keep(mut self) {
        self.ip = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(ip) = self.ip {
            self.addresses.release(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_address_once_and_takes_them_back() {
        let addresses = Addresses::new("10.0.0.0/28".parse().unwrap());
        let known = || vec![Ipv4Addr::new(10, 0, 0, 3)];
        let claims: Vec<_> = (0..12).map(|_| addresses.take_any(known).unwrap()).collect();
        let mut last: Vec<u8> = claims.iter().map(|it| it.0.octets()[3]).collect();
        last.sort();
        assert_eq!(last, [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(addresses.take_any(known).err(), Some(Refusal::Exhausted));
        assert_eq!(addresses.take(Ipv4Addr::new(10, 0, 0, 2), known).err(), Some(Refusal::Taken));
        drop(claims);
        let claim = addresses.take(Ipv4Addr::new(10, 0, 0, 2), known).unwrap();
        claim.keep();
        assert_eq!(addresses.take(Ipv4Addr::new(10, 0, 0, 2), known).err(), Some(Refusal::Taken));
        addresses.release(Ipv4Addr::new(10, 0, 0, 2));
        assert!(addresses.take(Ipv4Addr::new(10, 0, 0, 2), known).is_ok());
        assert_eq!(addresses.take(Ipv4Addr::new(10, 0, 1, 2), known).err(), Some(Refusal::OutOfRange));
    }
}
