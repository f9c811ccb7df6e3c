//! Nobody grants what they do not hold, unless told that they may. Entry point: [`check`], for roles and bindings.

use eyot_model::{
    kinds, meta,
    rbac::{self, Ask, GROUP, Resource, RoleRef, Rule, cover},
    status::ApiError,
};
use serde_json::Value;

use super::{dangling, forbidden_object, may};
use crate::{Identity, admit::Attempt, server::Shared};

/// Refuses a role or binding that would give more than its writer has. Other kinds pass.
pub(crate) fn check(server: &Shared, attempt: &Attempt<'_>, object: &Value) -> Result<(), ApiError> {
    if attempt.kind.group != GROUP || attempt.identity.is_master() || only_lets_go(attempt.old, object) {
        return Ok(());
    }
    match attempt.kind.kind.as_str() {
        "Role" | "ClusterRole" => role(server, attempt, object),
        _ => binding(server, attempt, object),
    }
}

/// Whether the update takes owners or finalizers away and changes nothing else, as the garbage collector does.
fn only_lets_go(old: Option<&Value>, new: &Value) -> bool {
    let Some(old) = old else { return false };
    let without = |object: &Value| {
        let mut object = object.clone();
        let metadata = meta::metadata_mut(&mut object);
        for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
            metadata.remove(field);
        }
        object
    };
    let (had, has) = (
        meta::finalizers(old).count() + meta::owners(old).len(),
        meta::finalizers(new).count() + meta::owners(new).len(),
    );
    has < had && without(old) == without(new)
}

fn role(server: &Shared, attempt: &Attempt<'_>, role: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (meta::namespace(role).unwrap_or_default(), meta::name(role).unwrap_or_default());
    let resource = &attempt.kind.plural;
    let ask = Resource { verb: "escalate", group: GROUP, resource, namespace, name, ..Resource::default() };
    if may(server, attempt.identity, &Ask::Resource(ask)) {
        return Ok(());
    }
    let refuse = |why: &str| Err(forbidden_object(GROUP, resource, name, why));
    if let Err(why) = holds(server, attempt.identity, namespace, &Rule::of_role(role)) {
        return refuse(&why);
    }
    // It can gather anything, now or later.
    let gathers = rbac::aggregate::is_aggregated(role) || attempt.old.is_some_and(rbac::aggregate::is_aggregated);
    let everything = [rule(&["*"], &["*"], &["*"], &[]), rule(&["*"], &[], &[], &["*"])];
    if gathers && holds(server, attempt.identity, "", &everything).is_err() {
        return refuse("must have cluster-admin privileges to use the aggregationRule");
    }
    Ok(())
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], paths: &[&str]) -> Rule {
    let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
    Rule { verbs: own(verbs), groups: own(groups), resources: own(resources), names: Vec::new(), paths: own(paths) }
}

fn binding(server: &Shared, attempt: &Attempt<'_>, binding: &Value) -> Result<(), ApiError> {
    // A reference that cannot be a role is refused as invalid a moment later.
    let Some(role) = RoleRef::of_binding(binding) else { return Ok(()) };
    let (namespace, name) = (meta::namespace(binding).unwrap_or_default(), meta::name(binding).unwrap_or_default());
    let ask = Resource {
        verb: "bind",
        group: GROUP,
        resource: role.plural(),
        namespace,
        name: &role.name,
        ..Resource::default()
    };
    if may(server, attempt.identity, &Ask::Resource(ask)) {
        return Ok(());
    }
    let rules = server.authority.read(&server.store, |it| it.rules(&role, namespace).map(<[Rule]>::to_vec));
    let rules = rules.ok_or_else(|| match kinds::builtin().by_kind(GROUP, "v1", role.kind()) {
        Some(kind) => ApiError::not_found(kind, &role.name),
        None => ApiError::no_such_path(),
    })?;
    holds(server, attempt.identity, namespace, &rules)
        .map_err(|why| forbidden_object(GROUP, &attempt.kind.plural, name, &why))
}

/// Whether somebody holds all these rules in a namespace; if not, which they lack.
fn holds(server: &Shared, identity: &Identity, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
    server.authority.read(&server.store, |index| {
        let user = identity.as_user();
        let held: Vec<&Rule> = index.held(&user, namespace).filter_map(|it| it.rules).flatten().collect();
        let missing = cover::missing(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let groups = identity.groups.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(" ");
        let mut why = format!(
            "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
            identity.user,
            cover::describe(&missing)
        );
        let unresolved = dangling(index.held(&user, namespace));
        if !unresolved.is_empty() {
            why += &format!("; resolution errors: [{}]", unresolved.trim_start_matches("RBAC: "));
        }
        Err(why)
    })
}
