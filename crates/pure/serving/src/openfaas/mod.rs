//! OpenFaaS' functions as Knative Services: what a deployment of its API asks for, and how a Service is told in its words.
//!
//! Entry points: [`Deployment::read`], [`Deployment::service`], [`status`], [`LogQuery::parse`]. Field names and the meaning of
//! labels follow OpenFaaS' API and documentation; what cannot be honoured is refused, what has no meaning here is warned of.

mod deployment;
mod logs;
mod scale;
mod status;

pub use deployment::{Deployment, Resources};
pub use logs::LogQuery;
pub use status::{Counted, status};

/// Of everything that belongs to a function: its name.
pub const FUNCTION: &str = "faas_function";
/// Of a namespace: functions may be deployed there.
pub const NAMESPACE: &str = "openfaas";
/// The namespace that OpenFaaS' clients name where their users name none.
pub const USUAL_NAMESPACE: &str = "openfaas-fn";
/// Label of secrets that functions may use, with [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Who manages those.
pub const MANAGER: &str = "openfaas";
/// Where a function finds its secrets, a file each.
pub const SECRETS: &str = "/var/openfaas/secrets";
/// The variable that names the command which is run for each request.
pub const PROCESS: &str = "fprocess";
/// Annotation of a template that changes with every update, so that the same image is looked for anew.
pub const UPDATED: &str = "client.knative.dev/updateTimestamp";

/// Whether `name` can be a function's.
pub fn is_name(name: &str) -> bool {
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    name.len() <= 63
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|it| it.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// The name and, where there is one, the namespace of `NAME` or `NAME.NAMESPACE`.
pub fn name_parts(text: &str) -> Option<(&str, Option<&str>)> {
    let (name, namespace) = match text.rsplit_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (text, None),
    };
    (is_name(name) && namespace.is_none_or(is_namespace)).then_some((name, namespace))
}

/// Whether `name` can be a namespace's.
pub fn is_namespace(name: &str) -> bool {
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(fits) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_a_namespace() {
        assert_eq!(name_parts("hello"), Some(("hello", None)));
        assert_eq!(name_parts("hello.shop"), Some(("hello", Some("shop"))));
        for odd in ["", "Hello", "a.b.c", "a.", ".b", "-a", "a/b", "1a"] {
            assert_eq!(name_parts(odd), None, "{odd}");
        }
    }
}
