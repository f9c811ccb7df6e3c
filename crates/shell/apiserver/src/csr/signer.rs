//! Decides what an approved request for a certificate gets. Entry point: [`decide`].

use eyot_model::meta;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::wish;
use crate::pki::{ClientAuthority, Usages, Wish};

/// Signs certificates of users of the API.
pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Signs certificates of nodes, as users of the API.
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs certificates of nodes, as servers.
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Every usage that a request may name.
pub(super) const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// How long a certificate lives at most, and when nothing is asked for.
const SECONDS_MAX: i64 = 365 * 24 * 3600;
/// Valid from a little before now, for clients whose clock lags.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// The certificate for a request, or why there will be none; `None` when there is nothing to do: not approved, denied,
/// done, failed, or another signer's.
pub(super) fn decide(request: &Value, authority: &ClientAuthority, now: Timestamp) -> Option<Result<String, String>> {
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let has = |of_type: &str| {
        let conditions = meta::list(request.pointer("/status/conditions"));
        conditions.iter().any(|it| it["type"] == of_type && it["status"] != "False")
    };
    let signer = text("/spec/signerName");
    let known = [CLIENT, KUBELET_CLIENT, KUBELET_SERVING].contains(&signer);
    if !known || !has("Approved") || has("Denied") || has("Failed") || !text("/status/certificate").is_empty() {
        return None;
    }
    Some(sign(request, signer, authority, now))
}

fn sign(request: &Value, signer: &str, authority: &ClientAuthority, now: Timestamp) -> Result<String, String> {
    let wish = wish(request)?;
    let named = meta::list(request.pointer("/spec/usages")).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let usages = check(signer, &wish, &named)?;
    let asked = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(SECONDS_MAX);
    let length = SignedDuration::from_secs(asked.clamp(0, SECONDS_MAX));
    let from = now.checked_sub(BACKDATED).map_err(|it| it.to_string())?;
    let until = now.checked_add(length).map_err(|it| it.to_string())?;
    authority.sign(&wish, usages, from, until)
}

/// Whether a signer gives out what is asked for, and for which usages.
fn check(signer: &str, wish: &Wish, named: &[&str]) -> Result<Usages, String> {
    let serves = signer == KUBELET_SERVING;
    let purpose = if serves { "server auth" } else { "client auth" };
    if !named.contains(&purpose) {
        return Err(format!("usages did not contain {purpose:?}"));
    }
    if let Some(other) = named.iter().find(|it| !["digital signature", "key encipherment", purpose].contains(it)) {
        return Err(format!("usage {other:?} is not allowed by signer {signer}"));
    }
    if signer != CLIENT {
        if wish.organizations != ["system:nodes"] {
            return Err("the only organization must be system:nodes".to_owned());
        }
        if !wish.common_name.starts_with("system:node:") {
            return Err("the common name must begin with system:node:".to_owned());
        }
        if wish.has_names() != serves {
            let why = if serves {
                "names or addresses of the node are needed"
            } else {
                "subject alternative names are not allowed"
            };
            return Err(why.to_owned());
        }
    }
    Ok(Usages {
        digital_signature: named.contains(&"digital signature"),
        key_encipherment: named.contains(&"key encipherment"),
        client: !serves,
        server: serves,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signers_give_out_only_what_is_theirs() {
        let user = || Wish::named("eve", "staff");
        let node = || Wish::named("system:node:n", "system:nodes");
        let usual = ["digital signature", "key encipherment", "client auth"];
        assert!(check(CLIENT, &user(), &usual).is_ok_and(|it| it.client && it.digital_signature && !it.server));
        assert!(check(CLIENT, &user(), &["digital signature"]).unwrap_err().contains("client auth"));
        assert!(check(CLIENT, &user(), &["client auth", "cert sign"]).unwrap_err().contains("cert sign"));
        assert!(check(KUBELET_CLIENT, &node(), &usual).is_ok());
        assert!(check(KUBELET_CLIENT, &user(), &usual).unwrap_err().contains("system:nodes"));
        assert!(check(KUBELET_SERVING, &node(), &["server auth"]).unwrap_err().contains("addresses"));
    }
}
