//! An IPv4 address range, as `--cluster-cidr` and `--service-cidr` give it. IPv6 ranges are deliberately absent.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 range such as `10.42.0.0/16`: between 8 and 16 million addresses, no bit set beyond the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no usable range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an aligned IPv4 range with a prefix from /8 to /29, such as 10.42.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// The first address.
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// How many leading bits its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many addresses it holds.
    pub fn size(&self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// The address `offset` places into the range, if it has one.
    pub fn nth(&self, offset: u32) -> Option<Ipv4Addr> {
        (offset < self.size()).then(|| Ipv4Addr::from_bits(self.base.to_bits() + offset))
    }

    /// How far into the range `address` lies.
    pub fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        let offset = address.to_bits().checked_sub(self.base.to_bits())?;
        (offset < self.size()).then_some(offset)
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.offset(address).is_some()
    }

    /// Whether the two share an address. Aligned ranges do when one holds the other's base.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parsed = text.split_once('/').and_then(|(base, prefix)| {
            let (base, prefix): (Ipv4Addr, u8) = (base.parse().ok()?, prefix.parse().ok()?);
            let cidr = (8..=29).contains(&prefix).then_some(Cidr { base, prefix })?;
            (base.to_bits() % cidr.size() == 0).then_some(cidr)
        });
        parsed.ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_be_aligned_and_of_sensible_size() {
        for bad in ["10.42.0.0", "10.42.0.1/16", "10.42.0.0/33", "10.0.0.0/4", "fd00::/64", "x/16", "0.0.0.0/0"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        let cidr: Cidr = "10.42.0.0/16".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.42.0.0/16");
        assert_eq!(cidr.nth(65_535), Some("10.42.255.255".parse().unwrap()));
        assert_eq!(cidr.nth(65_536), None);
        assert_eq!(cidr.offset("10.42.1.2".parse().unwrap()), Some(258));
        assert!(!cidr.contains("10.43.0.0".parse().unwrap()) && !cidr.contains("10.41.255.255".parse().unwrap()));
    }

    #[test]
    fn ranges_overlap_when_one_holds_the_other() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        assert!(
            cidr("10.0.0.0/8").overlaps(&cidr("10.43.0.0/16")) && cidr("10.43.0.0/16").overlaps(&cidr("10.0.0.0/8"))
        );
        assert!(!cidr("10.42.0.0/16").overlaps(&cidr("10.43.0.0/16")));
    }
}
