//! Which hosts a guest may connect to, as a list of names and addresses: narrower than what policies about addresses let pass.
//!
//! Start at [`AllowedHosts`]'s `FromStr`. Pure; [`crate::outgoing`] and [`crate::net`] ask it.

use std::{net::IpAddr, str::FromStr};

/// A list of hosts. Empty, it allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    /// Any, when it names none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The very name, as a guest writes it.
    Name(String),
    /// All names that end with this, which begins with a dot.
    Under(String),
    /// Addresses that have these first bits.
    Net(IpAddr, u8),
}

/// An entry that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is none of host, *.domain, address and address/bits, each with :port or without: {why}")]
pub struct HostsError {
    entry: String,
    why: &'static str,
}

impl FromStr for AllowedHosts {
    type Err = HostsError;

    /// Entries are separated by commas or blanks.
    fn from_str(text: &str) -> Result<Self, HostsError> {
        let entries = text.split([',', ' ', '\n', '\t']).filter(|it| !it.is_empty()).map(entry);
        Ok(AllowedHosts { entries: entries.collect::<Result<_, _>>()? })
    }
}

impl AllowedHosts {
    /// Whether a guest may connect to `host`, a name or an address, at `port`.
    pub fn permits(&self, host: &str, port: u16) -> bool {
        let host = plain(host);
        match host.parse() {
            Ok(address) => self.permits_address(address, port),
            Err(_) => self.at(port).any(|it| it.place.holds(&host)),
        }
    }

    /// Whether an address is in the list itself.
    pub(crate) fn permits_address(&self, address: IpAddr, port: u16) -> bool {
        self.at(port).any(|it| matches!(&it.place, Place::Net(net, bits) if contains(*net, *bits, address)))
    }

    /// Whether a guest may look `name` up: it may connect there at some port.
    pub(crate) fn permits_lookup(&self, name: &str) -> bool {
        let name = plain(name);
        name.parse::<IpAddr>().is_ok() || self.entries.iter().any(|it| it.place.holds(&name))
    }

    /// Names in full that a guest may connect to at `port`.
    pub(crate) fn names(&self, port: u16) -> impl Iterator<Item = &str> {
        self.at(port).filter_map(|it| match &it.place {
            Place::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn at(&self, port: u16) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |it| it.port.is_none_or(|it| it == port))
    }
}

impl Place {
    fn holds(&self, name: &str) -> bool {
        match self {
            Place::Name(it) => it == name,
            Place::Under(end) => name.len() > end.len() && name.ends_with(end.as_str()),
            Place::Net(..) => false,
        }
    }
}

/// A host as it is compared: without brackets, in lower case, without the dot at its end.
fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

fn entry(text: &str) -> Result<Entry, HostsError> {
    let failed = |why| HostsError { entry: text.to_owned(), why };
    if text.contains("://") {
        return Err(failed("it has a scheme"));
    }
    // A colon that is not the only one belongs to an address, unless brackets are around that.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => {
            (host, Some(port.parse().map_err(|_| failed("its port is no number from 0 to 65535"))?))
        }
        _ => (text, None),
    };
    let host = plain(host);
    let place = if let Some((address, bits)) = host.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| failed("what is before the slash is no address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|it| *it <= most).ok_or_else(|| failed("it has no such bits"))?;
        Place::Net(address, bits)
    } else if let Ok(address) = host.parse::<IpAddr>() {
        Place::Net(address, if address.is_ipv4() { 32 } else { 128 })
    } else {
        let (name, is_under) = host.strip_prefix('*').map_or((host.as_str(), false), |it| (it, true));
        let letters = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
        if name.is_empty() || !name.bytes().all(letters) || (is_under && !name.starts_with('.')) {
            return Err(failed("it is no name"));
        }
        if is_under { Place::Under(name.to_owned()) } else { Place::Name(name.to_owned()) }
    };
    Ok(Entry { place, port })
}

fn contains(net: IpAddr, bits: u8, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let dropped = width - u32::from(bits).min(width);
        a.checked_shr(dropped).unwrap_or(0) == b.checked_shr(dropped).unwrap_or(0)
    };
    match (net, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(list: &str, asked: &[(&str, u16)], want: Expect) {
        let got = match list.parse::<AllowedHosts>() {
            Ok(hosts) => asked
                .iter()
                .map(|(host, port)| {
                    format!("{host}:{port} {}\n", if hosts.permits(host, *port) { "yes" } else { "no" })
                })
                .collect(),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn names_domains_and_ports() {
        check(
            "api.example.com, *.example.org:443 stock",
            &[
                ("API.example.com.", 80),
                ("www.api.example.com", 80),
                ("a.b.example.org", 443),
                ("a.example.org", 80),
                ("example.org", 443),
                ("evilexample.org", 443),
                ("stock", 80),
                ("10.0.0.1", 80),
            ],
            expect![[r#"
                API.example.com.:80 yes
                www.api.example.com:80 no
                a.b.example.org:443 yes
                a.example.org:80 no
                example.org:443 no
                evilexample.org:443 no
                stock:80 yes
                10.0.0.1:80 no
            "#]],
        );
        check("", &[("a", 80)], expect![["a:80 no\n"]]);
    }

    #[test]
    fn addresses_and_networks() {
        check(
            "10.1.0.0/16, 192.0.2.7:8080, [2001:db8::]:443, fd00::/8",
            &[
                ("10.1.255.3", 1),
                ("10.2.0.1", 1),
                ("192.0.2.7", 8080),
                ("192.0.2.7", 80),
                ("[2001:db8::]", 443),
                ("fd12::1", 5),
                ("::1", 5),
            ],
            expect![[r#"
                10.1.255.3:1 yes
                10.2.0.1:1 no
                192.0.2.7:8080 yes
                192.0.2.7:80 no
                [2001:db8::]:443 yes
                fd12::1:5 yes
                ::1:5 no
            "#]],
        );
    }

    #[test]
    fn what_is_no_host_is_named() {
        for (list, want) in [
            ("https://a.test", "it has a scheme"),
            ("a.test:many", "its port is no number from 0 to 65535"),
            ("10.0.0.0/33", "it has no such bits"),
            ("*", "it is no name"),
            ("*a.test", "it is no name"),
            ("a,b c/d", "what is before the slash is no address"),
        ] {
            let error = list.parse::<AllowedHosts>().unwrap_err().to_string();
            assert!(error.ends_with(want), "{list}: {error}");
        }
    }
}
