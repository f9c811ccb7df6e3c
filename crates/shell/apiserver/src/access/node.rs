//! What nodes may do: see themselves, the pods bound to them, and what those refer to. Entry points: [`decide`] for any
//! wish, [`judge`] for what a node writes, [`judge_token`] for the tokens it asks for.
//!
//! Nothing is kept for this: the pods of the namespace in question are looked through, those alone that are on the node
//! and hold the name. The node of this process is trusted and comes by here never.

use std::sync::{Arc, LazyLock};

use eyot_model::{
    kinds::Kind,
    meta,
    nodes::{self, Change, Opinion, Related, Write},
    rbac::{Ask, Resource, Rule, builtin},
    status::ApiError,
};
use eyot_store::{Entry, Key, Page, Scope};
use serde_json::Value;

use crate::{
    Identity,
    admit::{Admitted, Attempt, Operation},
    object,
    server::Shared,
};

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(builtin::node_rules);

/// What a node may do as a node; `None` for anybody else.
///
/// # Errors
/// Why it may not, perhaps empty. Roles may still let it.
pub(super) fn decide(server: &Shared, identity: &Identity, ask: &Ask<'_>) -> Option<Result<(), String>> {
    let node = nodes::of(&identity.as_user())?;
    if node.is_empty() {
        return Some(Err(format!("unknown node for user {:?}", identity.user)));
    }
    let by_rules = || if RULES.iter().any(|it| it.allows(ask)) { Ok(()) } else { Err(String::new()) };
    let Ask::Resource(objects) = ask else { return Some(by_rules()) };
    Some(match nodes::opinion(node, objects) {
        Opinion::Allowed => Ok(()),
        Opinion::ByRules => by_rules(),
        Opinion::Refused(why) => Err(why),
        Opinion::Related(related) if is_related(server, node, related, objects) => Ok(()),
        Opinion::Related(_) => Err(format!("no relationship found between node '{node}' and this object")),
    })
}

fn is_related(server: &Shared, node: &str, related: Related, ask: &Resource<'_>) -> bool {
    let stored = |resource: &str| {
        let entry = server.store.get(&Key::new(resource, "", ask.name))?;
        object::parse(&entry).ok()
    };
    match related {
        Related::Pod => {
            server.store.get(&Key::new("/pods", ask.namespace, ask.name)).is_some_and(|it| is_on(node, &it))
        }
        Related::Volume => stored("/persistentvolumes").is_some_and(|volume| {
            let claim = |field: &str| volume["spec"]["claimRef"][field].as_str().unwrap_or_default();
            uses(server, node, Related::Claim, claim("namespace"), claim("name"))
        }),
        Related::Attachment => {
            stored("storage.k8s.io/volumeattachments").is_some_and(|it| it["spec"]["nodeName"] == node)
        }
        Related::Slice => stored("resource.k8s.io/resourceslices").is_some_and(|it| it["spec"]["nodeName"] == node),
        _ => uses(server, node, related, ask.namespace, ask.name),
    }
}

/// Whether a pod of the node refers to that object.
fn uses(server: &Shared, node: &str, related: Related, namespace: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let Ok(pods) = server.store.list(&Scope::namespaced("/pods", namespace), &Page::default()) else { return false };
    // The claim of a generic ephemeral volume is called after pod and volume: its name stands nowhere whole.
    let may_hold = |it: &Arc<Entry>| related == Related::Claim || holds(&it.value, name.as_bytes());
    let mut pods = pods.entries.iter().filter(|it| is_on(node, it) && may_hold(it));
    // A node makes mirror pods itself: what one names would be open to it for the asking.
    let is_mirror = |pod: &Value| meta::annotation(pod, nodes::MIRROR).is_some();
    pods.any(|it| object::parse(it).is_ok_and(|pod| !is_mirror(&pod) && nodes::uses(&pod, related, name)))
}

fn is_on(node: &str, pod: &Entry) -> bool {
    pod.attributes().field("spec.nodeName") == Some(node)
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}

/// Admits of a node's writes those about itself and its pods.
pub(crate) fn judge(server: &Shared, attempt: &Attempt<'_>, object: &Value, _: &mut Admitted) -> Result<(), ApiError> {
    let Some(node) = nodes::of(&attempt.identity.as_user()).filter(|_| !attempt.identity.is_master()) else {
        return Ok(());
    };
    let refused = |why: String| ApiError::forbidden(attempt.kind, attempt.name, &why);
    if node.is_empty() {
        return Err(refused(format!("could not determine node from user {:?}", attempt.identity.user)));
    }
    let change = match attempt.operation {
        Operation::Create => Change::Create,
        Operation::Update => Change::Update,
        Operation::Delete => Change::Delete,
        Operation::Connect => return Ok(()),
    };
    let is_pod = attempt.kind.is("", "Pod");
    let evicted = (is_pod && attempt.subresource == "eviction").then(|| evicted(server, attempt)).transpose()?;
    let own = (is_pod && attempt.subresource.is_empty() && change == Change::Create)
        .then(|| server.store.get(&Key::new("/nodes", "", node)).and_then(|it| object::parse(&it).ok()))
        .flatten();
    let write = Write {
        change,
        kind: attempt.kind,
        subresource: attempt.subresource,
        namespace: attempt.namespace,
        name: attempt.name,
        object,
        old: evicted.as_ref().or(attempt.old).unwrap_or(&Value::Null),
        uid: own.as_ref().and_then(meta::uid),
    };
    nodes::restrict(node, &write).map_err(refused)
}

fn evicted(server: &Shared, attempt: &Attempt<'_>) -> Result<Value, ApiError> {
    let entry = server.store.get(&Key::new("/pods", attempt.namespace, attempt.name));
    object::parse(&*entry.ok_or_else(|| ApiError::not_found(attempt.kind, attempt.name))?)
}

/// Lets a node have tokens of its pods only. `accounts` is the kind of what the token is of, `name` which one.
///
/// # Errors
/// 403 in Kubernetes' words.
pub(crate) fn judge_token(
    server: &Shared,
    identity: &Identity,
    accounts: &Kind,
    (namespace, name): (&str, &str),
    reference: &Value,
) -> Result<(), ApiError> {
    let Some(node) = nodes::of(&identity.as_user()).filter(|_| !identity.is_master()) else { return Ok(()) };
    let pod = reference["name"].as_str().and_then(|it| server.store.get(&Key::new("/pods", namespace, it)));
    let pod = pod.map_or(Ok(Value::Null), |it| object::parse(&it))?;
    nodes::check_token(node, reference, &pod).map_err(|why| ApiError::forbidden(accounts, name, &why))
}
