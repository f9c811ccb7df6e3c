//! From a NetworkPolicy as users write it to rules. What cannot be read permits nothing: the API server refuses most of that, and
//! of the rest a policy that is too strict is noticed while one that is too wide is not.

use eyot_route::egress::{Peer, Policy, PortRange, Ports, Protocol, Rule, Selector, Term};
use serde_json::Value;

/// Whether a policy says anything about egress: it names the type, or names none and has rules of it.
pub(crate) fn has_egress(spec: &Value) -> bool {
    match spec["policyTypes"].as_array() {
        Some(types) if !types.is_empty() => types.iter().any(|it| it == "Egress"),
        _ => spec["egress"].is_array(),
    }
}

/// The egress rules of a policy.
pub(super) fn policy(name: &str, spec: &Value) -> Policy {
    Policy {
        name: name.to_owned(),
        pods: selector(&spec["podSelector"]),
        rules: list(&spec["egress"]).iter().filter_map(rule).collect(),
    }
}

fn rule(of: &Value) -> Option<Rule> {
    let (ports, peers) = (list(&of["ports"]), list(&of["to"]));
    let rule =
        Rule { ports: ports.iter().filter_map(self::ports).collect(), peers: peers.iter().filter_map(peer).collect() };
    // An empty list permits all: one that is empty only because nothing of it can be read must not.
    let lost = (rule.ports.is_empty() && !ports.is_empty()) || (rule.peers.is_empty() && !peers.is_empty());
    (!lost).then_some(rule)
}

fn ports(of: &Value) -> Option<Ports> {
    let range = match &of["port"] {
        Value::Null => PortRange::All,
        Value::String(name) => PortRange::Named(name.clone()),
        number => {
            let first = u16::try_from(number.as_u64()?).ok()?;
            let last = of["endPort"].as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(first);
            PortRange::Numbers(first, last)
        }
    };
    Some(Ports { protocol: protocol(of["protocol"].as_str())?, range })
}

/// The protocol of that name; TCP where none is named.
pub(super) fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn peer(of: &Value) -> Option<Peer> {
    if of["ipBlock"].is_object() {
        let block = of["ipBlock"]["cidr"].as_str()?.parse().ok()?;
        // An exception that cannot be read is the whole block.
        let except =
            list(&of["ipBlock"]["except"]).iter().map(|it| it.as_str()?.parse().ok()).collect::<Option<_>>()?;
        return Some(Peer::Block(block, except));
    }
    let namespaces = of["namespaceSelector"].is_object().then(|| selector(&of["namespaceSelector"]));
    if namespaces.is_none() && !of["podSelector"].is_object() {
        return None;
    }
    Some(Peer::Pods { namespaces, pods: selector(&of["podSelector"]) })
}

fn selector(of: &Value) -> Selector {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let labels = of["matchLabels"].as_object().into_iter().flatten();
    let equal = labels.map(|(key, value)| Term::In(key.clone(), vec![text(value)]));
    let expressions = list(&of["matchExpressions"]).iter().map(|it| {
        let (key, values) = (text(&it["key"]), list(&it["values"]).iter().map(text).collect());
        match it["operator"].as_str() {
            Some("NotIn") => Term::NotIn(key, values),
            Some("Exists") => Term::Exists(key),
            Some("DoesNotExist") => Term::Absent(key),
            _ => Term::In(key, values),
        }
    });
    Selector(equal.chain(expressions).collect())
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let spec = json!({
            "podSelector": { "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["db"] }] },
            "egress": [
                { "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 8000, "endPort": 8080 }] },
                { "to": [
                    { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } },
                    { "namespaceSelector": {} },
                    { "podSelector": { "matchLabels": { "app": "db" } } },
                ] },
            ],
        });
        assert!(has_egress(&spec));
        expect![[r#"
            Policy { name: "p", pods: Selector([NotIn("tier", ["db"])]), rules: [Rule { ports: [Ports { protocol: Udp, range: Numbers(53, 53) }, Ports { protocol: Tcp, range: Numbers(8000, 8080) }], peers: [] }, Rule { ports: [], peers: [Block(Block { base: 10.0.0.0, prefix: 8 }, [Block { base: 10.1.0.0, prefix: 16 }]), Pods { namespaces: Some(Selector([])), pods: Selector([]) }, Pods { namespaces: None, pods: Selector([In("app", ["db"])]) }] }] }"#]]
        .assert_eq(&format!("{:?}", policy("p", &spec)));
    }

    #[test]
    fn what_cannot_be_read_permits_nothing() {
        let rules = |egress: Value| policy("p", &json!({ "egress": egress })).rules.len();
        assert_eq!(rules(json!([{}])), 1);
        assert_eq!(rules(json!([{ "to": [{ "ipBlock": { "cidr": "all" } }] }])), 0);
        assert_eq!(rules(json!([{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["x"] } }] }])), 0);
        assert_eq!(rules(json!([{ "to": [{}] }])), 0);
        assert_eq!(rules(json!([{ "ports": [{ "port": 70000 }] }])), 0);
        assert_eq!(rules(json!([{ "ports": [{ "protocol": "QUIC" }] }])), 0);
    }

    #[test]
    fn the_type_decides_whether_a_policy_is_about_egress() {
        assert!(!has_egress(&json!({ "podSelector": {} })));
        assert!(!has_egress(&json!({ "policyTypes": ["Ingress"], "egress": [] })));
        assert!(has_egress(&json!({ "policyTypes": ["Ingress", "Egress"] })));
        assert!(has_egress(&json!({ "egress": [] })));
    }
}
