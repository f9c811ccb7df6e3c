//! Which endpoints of a Service take requests.

use std::net::{IpAddr, SocketAddr};

/// One EndpointSlice, as far as routing needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Ports that every endpoint of the slice listens on, by name; an unnamed port has an empty name.
    pub ports: Vec<(Box<str>, u16)>,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Addresses; all of them name the same pod.
    pub addresses: Vec<IpAddr>,
    /// Takes new requests.
    pub ready: bool,
    /// Can answer, ready or terminating.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
}

/// The addresses behind the Service port named `port`: those of ready endpoints, or, where there is none, of those that
/// still serve while they terminate. Sorted, without duplicates.
pub fn addresses<'a>(port: &str, slices: impl Iterator<Item = &'a Slice> + Clone) -> Vec<SocketAddr> {
    let ready = collect(port, slices.clone(), |it| it.ready && !it.terminating);
    if ready.is_empty() { collect(port, slices, |it| it.serving && it.terminating) } else { ready }
}

fn collect<'a>(
    port: &str,
    slices: impl Iterator<Item = &'a Slice>,
    wanted: impl Fn(&SliceEndpoint) -> bool,
) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for slice in slices {
        for (_, number) in slice.ports.iter().filter(|(name, _)| &**name == port) {
            let endpoints = slice.endpoints.iter().filter(|it| wanted(it));
            found.extend(endpoints.filter_map(|it| it.addresses.first()).map(|ip| SocketAddr::new(*ip, *number)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8, ready: bool, serving: bool, terminating: bool) -> SliceEndpoint {
        SliceEndpoint { addresses: vec![IpAddr::from([10, 42, 0, last])], ready, serving, terminating }
    }

    fn check(slices: &[Slice], port: &str, expected: &[&str]) {
        let found: Vec<String> = addresses(port, slices.iter()).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn ready_endpoints_of_all_slices_are_used_once() {
        let one = Slice {
            ports: vec![("http".into(), 8080), ("metrics".into(), 9090)],
            endpoints: vec![
                endpoint(2, true, true, false),
                endpoint(1, true, true, false),
                endpoint(3, false, false, false),
            ],
        };
        let two = Slice { ports: vec![("http".into(), 8080)], endpoints: vec![endpoint(2, true, true, false)] };
        check(&[one.clone(), two], "http", &["10.42.0.1:8080", "10.42.0.2:8080"]);
        check(&[one], "absent", &[]);
    }

    #[test]
    fn terminating_endpoints_serve_only_where_nothing_is_ready() {
        let leaving = endpoint(1, false, true, true);
        let ports = vec![("".into(), 80)];
        let slice = Slice { ports: ports.clone(), endpoints: vec![leaving.clone(), endpoint(2, true, true, false)] };
        check(&[slice], "", &["10.42.0.2:80"]);
        check(&[Slice { ports, endpoints: vec![leaving, endpoint(3, false, false, true)] }], "", &["10.42.0.1:80"]);
    }
}
