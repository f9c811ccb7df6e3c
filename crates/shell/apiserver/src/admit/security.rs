//! The Pod Security Standards, by the labels of namespaces. What they ask is decided in [`eyot_model::podsecurity`].

use eyot_model::{
    meta,
    podsecurity::{self, Level, Policy, Standard, Violation},
    status::ApiError,
};
use eyot_store::{Key, Page, Scope};
use serde_json::Value;

use super::{Admitted, Attempt, Operation};
use crate::{object, server::Shared};

/// Pods looked at when a namespace becomes stricter: Kubernetes' own bound.
const PODS_MAX: usize = 3_000;

/// Refuses pods that their namespace does not take, and warns of workloads whose pods it would not take.
pub(super) fn judge(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &Value,
    admitted: &mut Admitted,
) -> Result<(), ApiError> {
    if !matches!(attempt.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let kind = attempt.kind;
    if kind.is("", "Namespace") && attempt.subresource.is_empty() {
        return namespace(server, attempt, object, admitted);
    }
    let is_pod = kind.is("", "Pod");
    let concerns = attempt.subresource.is_empty() || (is_pod && matches!(attempt.subresource, "ephemeralcontainers"));
    let Some(pod) = podsecurity::template(&kind.group, &kind.kind, object).filter(|_| concerns) else { return Ok(()) };
    let Some(policy) = policy(server, attempt.namespace) else { return Ok(()) };
    if is_pod {
        if attempt.old.is_some_and(|old| !podsecurity::is_significant(object, old)) {
            return Ok(());
        }
        let found = podsecurity::violations(policy.enforce, pod);
        if !found.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, podsecurity::describe(&found));
            return Err(ApiError::forbidden(kind, attempt.name, &why));
        }
    }
    let found = podsecurity::violations(policy.warn, pod);
    if !found.is_empty() {
        let what = podsecurity::describe(&found);
        admitted.warnings.push(format!("would violate PodSecurity \"{}\": {what}", policy.warn));
    }
    note(attempt, policy.audit, &podsecurity::violations(policy.audit, pod));
    Ok(())
}

/// There is no audit log; what it would hold goes to the server's.
fn note(attempt: &Attempt<'_>, standard: Standard, found: &[Violation]) {
    if !found.is_empty() {
        let (kind, namespace, name) = (&attempt.kind.kind, attempt.namespace, attempt.name);
        let what = podsecurity::describe(found);
        tracing::info!(kind, namespace, name, %standard, "would violate PodSecurity: {what}");
    }
}

/// What a namespace asks of pods; `None` when nothing.
fn policy(server: &Shared, namespace: &str) -> Option<Policy> {
    let entry = server.store.get(&Key::new("/namespaces", "", namespace))?;
    let attributes = entry.attributes();
    // Most namespaces ask nothing, and every pod comes along here.
    attributes.labels().find(|(key, _)| key.starts_with("pod-security.kubernetes.io/"))?;
    Some(Policy::of(|key| attributes.label(key))).filter(|it| !it.is_idle())
}

/// Refuses labels that say nothing, and warns when pods are there that a stricter namespace would not take.
fn namespace(server: &Shared, attempt: &Attempt<'_>, object: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    let of = |object: &Value| {
        let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
        Policy::of(|key| labels.get(key)?.as_str())
    };
    let causes = podsecurity::check_labels(object);
    let Some(old) = attempt.old else {
        return if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(attempt.kind, attempt.name, causes)) };
    };
    let known = podsecurity::check_labels(old);
    if causes.iter().any(|it| !known.contains(it)) {
        return Err(ApiError::invalid(attempt.kind, attempt.name, causes));
    }
    let (now, before) = (of(object).enforce, of(old).enforce);
    if now == before || now.level == Level::Privileged || now.level < before.level {
        return Ok(());
    }
    let found = violators(server, attempt.name, now)?;
    if !found.is_empty() {
        let name = attempt.name;
        let lead = format!("existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{now}\"");
        admitted.warnings.push(lead);
        admitted.warnings.extend(found);
    }
    Ok(())
}

/// Pods that break a standard, by the rules they break: `a (and 2 other pods): hostPort, privileged`.
fn violators(server: &Shared, namespace: &str, standard: Standard) -> Result<Vec<String>, ApiError> {
    let page = Page { limit: Some(PODS_MAX), ..Page::default() };
    let list = server.store.list(&Scope::namespaced("/pods", namespace), &page).map_err(ApiError::internal)?;
    let mut groups: Vec<(String, String, usize)> = Vec::new();
    for entry in &list.entries {
        let pod = object::parse(entry)?;
        let found = podsecurity::violations(standard, &pod);
        if found.is_empty() {
            continue;
        }
        let reasons = found.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>().join(", ");
        match groups.iter_mut().find(|it| it.1 == reasons) {
            Some(group) => group.2 += 1,
            None => groups.push((meta::name(&pod).unwrap_or_default().to_owned(), reasons, 0)),
        }
    }
    let shown = groups.into_iter().map(|(name, reasons, others)| match others {
        0 => format!("{name}: {reasons}"),
        1 => format!("{name} (and 1 other pod): {reasons}"),
        others => format!("{name} (and {others} other pods): {reasons}"),
    });
    let rest = (list.remaining > 0).then(|| {
        format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {} existing pods",
            PODS_MAX + list.remaining
        )
    });
    Ok(shown.chain(rest).collect())
}
