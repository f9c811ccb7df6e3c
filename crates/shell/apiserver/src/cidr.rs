//! An IPv4 address range, as given by `--service-cidr`. IPv6 ranges are deliberately absent.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 range such as `10.43.0.0/16`; the host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// The text is not an IPv4 range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an IPv4 range such as 10.43.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// How many addresses the range holds.
    pub fn size(&self) -> u64 {
        1u64 << (32 - u32::from(self.prefix))
    }

    /// The address `offset` places into the range, if it has one.
    pub fn nth(&self, offset: u64) -> Option<Ipv4Addr> {
        let offset = u32::try_from(offset).ok().filter(|it| u64::from(*it) < self.size())?;
        Some(Ipv4Addr::from_bits(self.network.to_bits() + offset))
    }

    /// Whether `ip` lies in the range.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        self.offset(ip).is_some()
    }

    /// How far into the range `ip` lies.
    pub fn offset(&self, ip: Ipv4Addr) -> Option<u64> {
        let offset = u64::from(ip.to_bits().checked_sub(self.network.to_bits())?);
        (offset < self.size()).then_some(offset)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (ip, prefix) = text.split_once('/').ok_or_else(error)?;
        let ip: Ipv4Addr = ip.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().ok().filter(|it| *it <= 32).ok_or_else(error)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        if ip.to_bits() & !mask != 0 {
            return Err(error());
        }
        Ok(Cidr { network: ip, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_counts_into_them() {
        let cidr: Cidr = "10.43.0.0/16".parse().unwrap();
        assert_eq!(cidr.size(), 65536);
        assert_eq!(cidr.nth(1), Some(Ipv4Addr::new(10, 43, 0, 1)));
        assert_eq!(cidr.nth(65536), None);
        assert_eq!(cidr.offset(Ipv4Addr::new(10, 43, 1, 0)), Some(256));
        assert!(!cidr.contains(Ipv4Addr::new(10, 44, 0, 0)));
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().size(), 1 << 32);
    }

    #[test]
    fn refuses_what_is_no_range() {
        for bad in ["", "10.43.0.0", "10.43.0.1/16", "10.43.0.0/33", "::/0", "10.43.0/16"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
