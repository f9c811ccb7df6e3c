//! What a guest that looks a name up is to be told, as far as no server need be asked.

use std::net::{IpAddr, Ipv6Addr};

use url::Host;

/// The longest name, as a guest writes it. In the form in which servers are asked names have 253 characters at most.
const NAME_BYTES_MAX: usize = 1024;

/// Why a guest gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// That is no name.
    Invalid,
    /// Nobody knows it, or the guest is not to.
    Unknown,
}

/// What a guest looks up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// There is nothing to look up.
    Known(Vec<IpAddr>),
    /// Servers must be asked for it.
    Name(String),
}

/// Checks what a guest wants to look up, which may be an address.
pub(crate) fn sought(name: &str) -> Result<Sought, NotFound> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NotFound::Invalid);
    }
    match Host::parse(name) {
        Ok(Host::Domain(name)) => Ok(Sought::Name(name)),
        Ok(Host::Ipv4(address)) => Ok(Sought::Known(vec![address.into()])),
        Ok(Host::Ipv6(address)) => Ok(Sought::Known(vec![address.into()])),
        // Without brackets.
        Err(_) => match name.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Sought::Known(vec![address.into()])),
            Err(_) => Err(NotFound::Invalid),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_asked_for_and_no_name_is_refused() {
        let known = |address: &str| Ok(Sought::Known(vec![address.parse().unwrap()]));
        assert_eq!(sought("10.0.0.7"), known("10.0.0.7"));
        assert_eq!(sought("::1"), known("::1"));
        assert_eq!(sought("[::1]"), known("::1"));
        assert_eq!(sought("Bücher.example"), Ok(Sought::Name("xn--bcher-kva.example".into())));
        assert_eq!(sought("no name"), Err(NotFound::Invalid));
        assert_eq!(sought(&"a".repeat(NAME_BYTES_MAX + 1)), Err(NotFound::Invalid));
    }
}
