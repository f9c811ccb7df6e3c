//! The parameters of a binding, read from the store at that moment. Entry point: [`collect`].

use std::sync::{Arc, LazyLock};

use eyot_model::kinds::split_api_version;
use eyot_policy::{Data, Review};
use serde_json::Value;

use crate::{binding::Binding, policy::Policy};

static NOTHING: LazyLock<Arc<Value>> = LazyLock::new(Arc::default);

/// The objects with which a binding's policy is evaluated, one after another; a single null where there are none to
/// look for. None at all when what it looks for is not there and need not be.
pub(crate) fn collect(
    policy: &Policy,
    binding: &Binding,
    review: &Review<'_>,
    data: &dyn Data,
) -> Result<Vec<Arc<Value>>, String> {
    let (Some((api_version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params) else {
        return Ok(vec![NOTHING.clone()]);
    };
    let (group, version) = split_api_version(api_version);
    let kind = data.kind(group, version, kind);
    let kind = kind.map_err(|_| format!("paramKind kind `{api_version}, Kind={}` not known", policy_kind(policy)))?;
    // A Namespace is not in itself here.
    let own = if review.resource.namespaced { review.namespace } else { "" };
    let namespace = match (kind.namespaced, wanted.namespace.as_str()) {
        (true, "") if own.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => own,
        (true, named) => named,
        (false, "") => "",
        (false, _) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()),
    };
    let found: Vec<Arc<Value>> = match &wanted.selector {
        None => data.object(&kind, namespace, &wanted.name).map_err(|it| it.to_string())?.into_iter().collect(),
        Some(selector) => {
            let all = data.objects(&kind, kind.namespaced.then_some(namespace)).map_err(|it| it.to_string())?;
            all.into_iter().filter(|it| selector.matches_object(it)).collect()
        }
    };
    if found.is_empty() && wanted.must_exist {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

fn policy_kind(policy: &Policy) -> &str {
    policy.param_kind.as_ref().map_or("", |it| &it.1)
}
