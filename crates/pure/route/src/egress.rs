//! What a pod may connect to: the egress half of Kubernetes' NetworkPolicy.
//!
//! Start at [`permits`]. A pod that no policy selects may connect to anything; one that is selected may connect to what at least
//! one rule of at least one of its policies names.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Labels of a pod or a namespace.
pub type Labels = BTreeMap<String, String>;

/// The egress rules of one NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, for messages.
    pub name: String,
    /// Which pods of its namespace it holds.
    pub pods: Selector,
    /// What these may connect to; nothing when there is no rule.
    pub rules: Vec<Rule>,
}

/// Something that may be connected to: one of the ports of one of the peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// All ports when empty.
    pub ports: Vec<Ports>,
    /// Everybody when empty.
    pub peers: Vec<Peer>,
}

/// Some ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The protocol.
    pub protocol: Protocol,
    /// Which of its ports.
    pub range: PortRange,
}

/// Which ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRange {
    /// All.
    All,
    /// From the first to the last, both included.
    Numbers(u16, u16),
    /// The one that the destination's containers give this name.
    Named(String),
}

/// Transport protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, which guests cannot speak.
    Sctp,
}

/// Who may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Addresses in a block and in none of the others.
    Block(Block, Vec<Block>),
    /// Pods, of the policy's namespace unless namespaces are selected.
    Pods {
        /// Of which namespaces; `None` is the policy's own.
        namespaces: Option<Selector>,
        /// Which of them.
        pods: Selector,
    },
}

/// A range of addresses in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    base: IpAddr,
    prefix: u8,
}

/// Which labels an object must have; every term holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Term>);

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// It is not.
    Absent(String),
}

/// A pod that is connected to.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// That namespace's labels.
    pub namespace_labels: &'a Labels,
    /// Its own labels.
    pub labels: &'a Labels,
    /// Names of its containers' ports.
    pub ports: &'a [(String, Protocol, u16)],
}

/// Why a pod may not connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no egress rule of NetworkPolicy {policies} permits {address}")]
pub struct Refusal {
    /// Where it wanted to.
    pub address: SocketAddr,
    /// The policies that hold it.
    pub policies: String,
}

/// Whether a pod in `namespace` with `labels` may connect to `address`, where `destination` is if it is a pod. `policies` are
/// those of the namespace. With `labels` unknown every policy may be meant for it, and is taken to be.
///
/// # Errors
///
/// When a policy holds the pod and no rule permits the connection.
pub fn permits(
    policies: &[Policy],
    namespace: &str,
    labels: Option<&Labels>,
    protocol: Protocol,
    address: SocketAddr,
    destination: Option<Destination<'_>>,
) -> Result<(), Refusal> {
    let holds = |policy: &&Policy| labels.is_none_or(|it| policy.pods.matches(it));
    let mut held = policies.iter().filter(holds).peekable();
    if held.peek().is_none() {
        return Ok(());
    }
    let mut names = Vec::new();
    for policy in held {
        if policy.rules.iter().any(|it| it.permits(namespace, protocol, address, destination)) {
            return Ok(());
        }
        names.push(policy.name.as_str());
    }
    Err(Refusal { address, policies: names.join(", ") })
}

impl Rule {
    fn permits(
        &self,
        namespace: &str,
        protocol: Protocol,
        address: SocketAddr,
        destination: Option<Destination<'_>>,
    ) -> bool {
        let port = |it: &Ports| it.contains(protocol, address.port(), destination);
        let peer = |it: &Peer| it.contains(namespace, address.ip(), destination);
        (self.ports.is_empty() || self.ports.iter().any(port)) && (self.peers.is_empty() || self.peers.iter().any(peer))
    }
}

impl Ports {
    fn contains(&self, protocol: Protocol, port: u16, destination: Option<Destination<'_>>) -> bool {
        self.protocol == protocol
            && match &self.range {
                PortRange::All => true,
                PortRange::Numbers(first, last) => (*first..=*last).contains(&port),
                PortRange::Named(name) => destination
                    .is_some_and(|it| it.ports.iter().any(|it| it.0 == *name && it.1 == protocol && it.2 == port)),
            }
    }
}

impl Peer {
    fn contains(&self, namespace: &str, address: IpAddr, destination: Option<Destination<'_>>) -> bool {
        match self {
            Peer::Block(block, except) => block.contains(address) && !except.iter().any(|it| it.contains(address)),
            Peer::Pods { namespaces, pods } => destination.is_some_and(|it| {
                let of_namespace = match namespaces {
                    None => it.namespace == namespace,
                    Some(selector) => selector.matches(it.namespace_labels),
                };
                of_namespace && pods.matches(it.labels)
            }),
        }
    }
}

impl Block {
    /// Whether `address` lies in it. An IPv4 address that is written as an IPv6 one is what it stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |differ: u32, bits: u32| differ >= u32::from(self.prefix).min(bits);
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same((a.to_bits() ^ b.to_bits()).leading_zeros(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same((a.to_bits() ^ b.to_bits()).leading_zeros(), 128),
            _ => false,
        }
    }
}

impl std::str::FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Block, String> {
        let malformed = || format!("{text:?} is no CIDR block");
        let (base, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let base: IpAddr = base.parse().map_err(|_| malformed())?;
        let prefix = prefix.parse().ok().filter(|it| *it <= if base.is_ipv4() { 32 } else { 128 });
        Ok(Block { base, prefix: prefix.ok_or_else(malformed)? })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Selector {
    /// Whether an object with `labels` is selected; the empty selector selects all.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| match term {
            Term::In(key, values) => labels.get(key).is_some_and(|it| values.contains(it)),
            Term::NotIn(key, values) => labels.get(key).is_none_or(|it| !values.contains(it)),
            Term::Exists(key) => labels.contains_key(key),
            Term::Absent(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split_whitespace().filter_map(|it| it.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn selector(text: &str) -> Selector {
        Selector(labels(text).into_iter().map(|(key, value)| Term::In(key, vec![value])).collect())
    }

    fn policy(name: &str, pods: &str, rules: Vec<Rule>) -> Policy {
        Policy { name: name.to_owned(), pods: selector(pods), rules }
    }

    fn to(peers: Vec<Peer>) -> Rule {
        Rule { ports: Vec::new(), peers }
    }

    fn block(text: &str, except: &[&str]) -> Peer {
        Peer::Block(text.parse().unwrap(), except.iter().map(|it| it.parse().unwrap()).collect())
    }

    fn tcp(range: PortRange) -> Ports {
        Ports { protocol: Protocol::Tcp, range }
    }

    /// An address, the namespace and the labels of the pod there, and whether it is reached.
    type Case<'a> = (&'a str, Option<(&'a str, &'a str)>, bool);

    /// What becomes of a connection of the pod `app=web` in namespace `shop`; a second address part tells a pod's labels.
    #[track_caller]
    fn check(policies: &[Policy], cases: &[Case<'_>]) {
        let team = labels("team=a");
        let web = labels("app=web");
        for (address, pod, wanted) in cases {
            let pod = pod.map(|(namespace, text)| (namespace, labels(text)));
            let ports = [("db".to_owned(), Protocol::Tcp, 5432)];
            let destination = pod.as_ref().map(|(namespace, labels)| Destination {
                namespace,
                namespace_labels: &team,
                labels,
                ports: &ports,
            });
            let address = address.parse().unwrap();
            let got = permits(policies, "shop", Some(&web), Protocol::Tcp, address, destination);
            assert_eq!(got.is_ok(), *wanted, "{address} {pod:?}: {got:?}");
        }
    }

    #[test]
    fn who_is_not_selected_is_free_and_who_is_needs_a_rule() {
        check(&[], &[("1.2.3.4:80", None, true)]);
        check(&[policy("other", "app=db", vec![])], &[("1.2.3.4:80", None, true)]);
        check(&[policy("deny", "", vec![])], &[("1.2.3.4:80", None, false)]);
        check(
            &[policy("deny", "", vec![]), policy("open", "app=web", vec![Rule::default()])],
            &[("1.2.3.4:80", None, true)],
        );
    }

    #[test]
    fn blocks_have_exceptions() {
        let rules = vec![to(vec![block("10.0.0.0/8", &["10.1.0.0/16"]), block("2001:db8::/32", &[])])];
        check(
            &[policy("p", "", rules)],
            &[
                ("10.2.0.1:80", None, true),
                ("10.1.0.1:80", None, false),
                ("11.0.0.1:80", None, false),
                ("[2001:db8::1]:80", None, true),
                ("[::ffff:10.2.0.1]:80", None, true),
            ],
        );
    }

    #[test]
    fn pods_are_of_the_same_namespace_unless_namespaces_are_selected() {
        let pods = |namespaces: Option<&str>, pods: &str| Peer::Pods {
            namespaces: namespaces.map(selector),
            pods: selector(pods),
        };
        check(
            &[policy("p", "", vec![to(vec![pods(None, "app=db")])])],
            &[
                ("10.42.0.1:80", Some(("shop", "app=db")), true),
                ("10.42.0.1:80", Some(("shop", "app=x")), false),
                ("10.42.0.1:80", Some(("bank", "app=db")), false),
                ("10.42.0.1:80", None, false),
            ],
        );
        check(
            &[policy("p", "", vec![to(vec![pods(Some("team=a"), "app=db")])])],
            &[("10.42.0.1:80", Some(("bank", "app=db")), true), ("10.42.0.1:80", Some(("bank", "")), false)],
        );
        check(
            &[policy("p", "", vec![to(vec![pods(Some("team=b"), "")])])],
            &[("10.42.0.1:80", Some(("bank", "app=db")), false)],
        );
    }

    #[test]
    fn ports_are_numbers_ranges_or_names() {
        let with = |range| policy("p", "", vec![Rule { ports: vec![tcp(range)], peers: vec![] }]);
        let db = Some(("shop", "app=db"));
        check(&[with(PortRange::All)], &[("1.2.3.4:1", None, true)]);
        check(&[with(PortRange::Numbers(80, 90))], &[("1.2.3.4:90", None, true), ("1.2.3.4:91", None, false)]);
        check(
            &[with(PortRange::Named("db".into()))],
            &[("10.42.0.1:5432", db, true), ("10.42.0.1:80", db, false), ("1.2.3.4:5432", None, false)],
        );
        let udp = Ports { protocol: Protocol::Udp, range: PortRange::All };
        check(&[policy("p", "", vec![Rule { ports: vec![udp], peers: vec![] }])], &[("1.2.3.4:53", None, false)]);
    }

    #[test]
    fn a_pod_that_is_not_known_yet_is_held_by_every_policy() {
        let address = "1.2.3.4:80".parse().unwrap();
        let policies = [policy("a", "app=a", vec![]), policy("b", "app=b", vec![])];
        let got = permits(&policies, "shop", None, Protocol::Tcp, address, None).unwrap_err();
        assert_eq!(got.to_string(), "no egress rule of NetworkPolicy a, b permits 1.2.3.4:80");
    }

    #[test]
    fn terms_are_those_of_label_selectors() {
        let has = labels("a=1 b=2");
        let s = |it: &str| it.to_owned();
        for (term, wanted) in [
            (Term::In(s("a"), vec![s("0"), s("1")]), true),
            (Term::In(s("c"), vec![s("1")]), false),
            (Term::NotIn(s("c"), vec![s("1")]), true),
            (Term::NotIn(s("a"), vec![s("1")]), false),
            (Term::Exists(s("b")), true),
            (Term::Absent(s("b")), false),
        ] {
            assert_eq!(Selector(vec![term.clone()]).matches(&has), wanted, "{term:?}");
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(text.parse::<Block>().is_err(), "{text}");
        }
    }
}
