//! Who a request is from, and whether it may do what it asks. Entry points: [`identify`], [`authorize`].
//!
//! A request is first given an identity: that of its connection, of its bearer token, or none. Then it may take on
//! another one by impersonation. Then roles decide, and of nodes first what they have to do with the object. Members of
//! `system:masters` are never asked about; somebody without an identity gets 401 wherever anonymous users are not allowed
//! by a role.

mod aggregate;
mod authority;
mod bearer;
mod escalation;
mod impersonate;
mod node;
pub(crate) mod roles;

use std::sync::Arc;

pub(crate) use authority::Authority;
pub(crate) use escalation::check as check_escalation;
use eyot_model::{
    rbac::{Ask, GROUP, Resource as Objects},
    status::{ApiError, Reason},
};
use http::HeaderMap;
pub(crate) use node::{judge as judge_node, judge_token as judge_token_of_node};

use crate::{
    Identity,
    call::Call,
    csr,
    request::{path::Resource, query::Query},
    server::Shared,
    token,
};

/// Who makes the request; somebody who does not say is anonymous.
///
/// # Errors
/// 401 for a token that is not valid, 403 for an impersonation that is not allowed.
pub(crate) fn identify(
    server: &Shared,
    connection: Option<Arc<Identity>>,
    headers: &mut HeaderMap,
) -> Result<Arc<Identity>, ApiError> {
    let identity = match connection {
        Some(identity) => identity,
        None => match bearer::token(headers) {
            Some(token) => Arc::new(token::authenticate(server, &token).map_err(|refusal| {
                tracing::debug!(%refusal, "bearer token");
                ApiError::unauthorized()
            })?),
            None => Arc::new(Identity::anonymous()),
        },
    };
    // Handed on to webhooks or nodes it would be somebody else's to use.
    headers.remove(http::header::AUTHORIZATION);
    impersonate::impersonate(server, identity, headers)
}

/// Lets the request pass, or says why not.
pub(crate) fn authorize(server: &Shared, identity: &Identity, ask: &Ask<'_>) -> Result<(), ApiError> {
    if identity.is_master() {
        return Ok(());
    }
    match decide(server, identity, ask) {
        Verdict { allowed: true, .. } => Ok(()),
        _ if identity.user == crate::identity::ANONYMOUS => Err(ApiError::unauthorized()),
        Verdict { reason, .. } => Err(forbidden(identity, ask, &reason)),
    }
}

/// Whether somebody may do something, without doing it.
pub(crate) fn may(server: &Shared, identity: &Identity, ask: &Ask<'_>) -> bool {
    decide(server, identity, ask).allowed
}

/// A decision and what it rests on; the reason of a refusal is empty unless a binding names a role that is not there.
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
}

/// Decides by what a node has to do with the object, then by roles.
pub(crate) fn decide(server: &Shared, identity: &Identity, ask: &Ask<'_>) -> Verdict {
    if identity.is_master() {
        return Verdict { allowed: true, reason: String::new() };
    }
    let unrelated = match node::decide(server, identity, ask) {
        Some(Ok(())) => return Verdict { allowed: true, reason: String::new() },
        Some(Err(why)) => why,
        None => String::new(),
    };
    server.authority.read(&server.store, |index| {
        let user = identity.as_user();
        if let Some((grant, _)) = index.find(&user, ask) {
            return Verdict { allowed: true, reason: format!("RBAC: allowed by {grant}") };
        }
        let namespace = match ask {
            Ask::Resource(it) => it.namespace,
            Ask::Path { .. } => "",
        };
        let reasons = [unrelated, dangling(index.held(&user, namespace))];
        let reasons: Vec<String> = reasons.into_iter().filter(|it| !it.is_empty()).collect();
        Verdict { allowed: false, reason: reasons.join(", ") }
    })
}

/// Names the roles that bindings refer to and that do not exist.
pub(crate) fn dangling<'a>(held: impl Iterator<Item = eyot_model::rbac::Scoped<'a>>) -> String {
    let missing = held.filter(|it| it.rules.is_none()).map(|it| {
        let role = &it.grant.role;
        format!("{}.rbac.authorization.k8s.io {:?} not found", role.kind().to_lowercase(), role.name)
    });
    let missing: Vec<String> = missing.collect();
    match missing.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

/// The refusal, in the words of Kubernetes, which clients and people look for.
pub(crate) fn forbidden(identity: &Identity, ask: &Ask<'_>, reason: &str) -> ApiError {
    let why = format!("User {:?} cannot {}", identity.user, wish(ask));
    let why = if reason.is_empty() { why } else { format!("{why}: {reason}") };
    match ask {
        Ask::Path { .. } => ApiError::new(403, Reason::Forbidden, format!("forbidden: {why}")),
        Ask::Resource(it) => forbidden_object(it.group, it.resource, it.name, &why),
    }
}

/// A refusal about an object that need not be of a kind that is served.
pub(crate) fn forbidden_object(group: &str, resource: &str, name: &str, why: &str) -> ApiError {
    let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let about = if name.is_empty() { qualified } else { format!("{qualified} {name:?}") };
    let mut error = ApiError::new(403, Reason::Forbidden, format!("{about} is forbidden: {why}"));
    error.details.group = group.to_owned();
    error.details.kind = resource.to_owned();
    error.details.name = name.to_owned();
    error
}

fn wish(ask: &Ask<'_>) -> String {
    match ask {
        Ask::Path { verb, path } => format!("{verb} path {path:?}"),
        Ask::Resource(Objects { verb, group, resource, subresource, namespace, .. }) => {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let place = match namespace.is_empty() {
                true => "at the cluster scope".to_owned(),
                false => format!("in the namespace {namespace:?}"),
            };
            format!("{verb} resource \"{resource}{slash}{subresource}\" in API group {group:?} {place}")
        }
    }
}

/// Whether more than the write itself follows from a write of this kind.
pub(crate) fn settles(call: &Call) -> bool {
    let writes = !matches!(call.verb, "get" | "list" | "watch") && !call.query.dry_run;
    let (kind, sub) = (&call.kind, call.subresource.as_str());
    writes
        && ((kind.is(GROUP, "ClusterRole") || kind.is("", "ServiceAccount")) && sub.is_empty()
            || csr::is_request(kind) && sub == "approval")
}

/// Does what follows from a write that was made: aggregated roles gather their rules, Secrets of accounts get their
/// tokens, approved requests their certificates. Whoever reads after the write was answered sees it done.
pub(crate) async fn settle(call: &Call, name: &str) {
    let (server, name) = (call.server.clone(), name.to_owned());
    let (kind, namespace) = (call.kind.clone(), call.namespace.clone().unwrap_or_default());
    // A client that goes away does not stop it half-way.
    let task = tokio::spawn(async move {
        match kind.kind.as_str() {
            "ClusterRole" => aggregate::settle(&server.0).await,
            "ServiceAccount" => token::legacy::settle(&server.0, &namespace).await,
            _ => csr::settle(&server.0, &name).await,
        }
    });
    if let Err(error) = task.await {
        tracing::error!(%error, "what follows from a write");
    }
}

/// What a request for objects asks for, as roles see it.
pub(crate) fn ask<'a>(path: &'a Resource, verb: &'a str, query: &'a Query) -> Ask<'a> {
    let name = match path.name.as_deref() {
        Some(name) => name,
        // A list or watch of one name is about that object: roles limited to names allow it.
        None => selected_name(&query.field_selector).unwrap_or_default(),
    };
    let namespace = match path.namespace.as_deref() {
        Some(namespace) => namespace,
        // A namespace lies in itself, so that a role inside it can speak of it.
        None if path.group.is_empty() && path.plural == "namespaces" => path.name.as_deref().unwrap_or_default(),
        None => "",
    };
    Ask::Resource(Objects {
        verb,
        group: &path.group,
        resource: &path.plural,
        subresource: path.subresource.as_deref().unwrap_or_default(),
        namespace,
        name,
        node: selected_node(&query.field_selector),
    })
}

/// The node to which a field selector limits pods or ResourceSlices; empty for all.
fn selected_node(selector: &str) -> &str {
    let mut terms = selector.split(',').filter_map(|it| it.trim().strip_prefix("spec.nodeName="));
    terms.next().map_or("", |it| it.trim_start_matches('='))
}

/// The name that a field selector asks for.
fn selected_name(selector: &str) -> Option<&str> {
    let term = selector.split(',').find_map(|it| it.trim().strip_prefix("metadata.name="))?;
    let name = term.trim_start_matches('=');
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Lets a request for objects pass. Sessions in a pod change it, whatever method opens them: those that begin with a GET
/// need the right to create one as well.
pub(crate) fn authorize_objects(
    server: &Shared,
    identity: &Identity,
    path: &Resource,
    verb: &str,
    query: &Query,
) -> Result<(), ApiError> {
    authorize(server, identity, &ask(path, verb, query))?;
    let session = matches!(path.subresource.as_deref(), Some("exec" | "attach" | "portforward"));
    if session && verb == "get" && path.group.is_empty() && path.plural == "pods" {
        authorize(server, identity, &ask(path, "create", query))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_one_name_is_about_that_name() {
        for (selector, name) in [
            ("metadata.name=a", Some("a")),
            ("metadata.namespace=n,metadata.name==b", Some("b")),
            ("metadata.name!=a", None),
            ("spec.nodeName=a", None),
            ("metadata.name=", None),
            ("", None),
        ] {
            assert_eq!(selected_name(selector), name, "{selector}");
        }
    }

    #[test]
    fn refusals_are_worded_as_kubernetes_words_them() {
        let eve = Identity::new("eve", []);
        let pods = Objects { verb: "list", resource: "pods", namespace: "y", ..Objects::default() };
        let error = forbidden(&eve, &Ask::Resource(pods), "");
        assert_eq!(
            error.message,
            r#"pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace "y""#
        );
        let scale =
            Objects { verb: "get", group: "apps", resource: "deployments", subresource: "scale", name: "d", ..pods };
        let scale = Objects { namespace: "", ..scale };
        assert_eq!(
            forbidden(&eve, &Ask::Resource(scale), "").message,
            r#"deployments.apps "d" is forbidden: User "eve" cannot get resource "deployments/scale" in API group "apps" at the cluster scope"#
        );
        let path = Ask::Path { verb: "get", path: "/metrics" };
        assert_eq!(forbidden(&eve, &path, "").message, r#"forbidden: User "eve" cannot get path "/metrics""#);
    }
}
