//! A container's environment and arguments. Pure: the objects it refers to are fetched before.
//!
//! Start at [`environment`] and [`arguments`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use k8s_openapi::api::core::v1::{Container, EnvVar, EphemeralContainer, Pod};

use crate::{
    fields::{self, Facts},
    sources::{Fetched, SourceKind},
};

/// Why a container's environment cannot be made. Worded as the kubelet words it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("{kind} {name:?} not found")]
    Missing { kind: SourceKind, name: String },
    #[error("couldn't find key {key} in {kind} {name}")]
    NoKey { kind: SourceKind, name: String, key: String },
    #[error("variable {name}: {source}")]
    Field {
        name: String,
        #[source]
        source: fields::FieldError,
    },
    #[error("variable {name}: the value is not UTF-8")]
    Text { name: String },
}

/// The variables of `container`, in order, with references expanded. Later ones win over earlier ones of the same name:
/// those of the image, then `links`, which announce Services, then the container's own.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    fetched: &Fetched,
    image: &[(String, String)],
    links: &[(String, String)],
) -> Result<Vec<(String, String)>, EnvError> {
    let mut out = Variables::default();
    for (name, value) in image.iter().chain(links) {
        out.set(name, value.clone());
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(it), _) => (SourceKind::ConfigMap, &it.name, it.optional),
            (None, Some(it)) => (SourceKind::Secret, &it.name, it.optional),
            (None, None) => continue,
        };
        match fetched.get(kind, name) {
            Some(data) => from_all(&mut out, prefix, data)?,
            None if optional == Some(true) => {}
            None => return Err(EnvError::Missing { kind, name: name.clone() }),
        }
    }
    let containers: Vec<&Container> = all_containers(pod).collect();
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, pod, &containers, container, facts, fetched, &out)? {
            out.set(&variable.name, value);
        }
    }
    Ok(out.list)
}

fn from_all(out: &mut Variables, prefix: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<(), EnvError> {
    for (key, value) in data {
        let name = format!("{prefix}{key}");
        // As the kubelet: a key that is no variable name is left out.
        if name.is_empty() || name.contains('=') || name.contains('\0') {
            continue;
        }
        let value = String::from_utf8(value.clone()).map_err(|_| EnvError::Text { name: name.clone() })?;
        out.set(&name, value);
    }
    Ok(())
}

fn value_of(
    variable: &EnvVar,
    pod: &Pod,
    containers: &[&Container],
    own: &Container,
    facts: &Facts,
    fetched: &Fetched,
    known: &Variables,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    let field = |source| EnvError::Field { name: variable.name.clone(), source };
    if let Some(it) = &from.field_ref {
        return fields::field(pod, facts, &it.field_path).map(Some).map_err(field);
    }
    if let Some(it) = &from.resource_field_ref {
        return fields::resource(containers, own, facts, it).map(Some).map_err(field);
    }
    let (kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(it), _) => (SourceKind::ConfigMap, &it.name, &it.key, it.optional),
        (None, Some(it)) => (SourceKind::Secret, &it.name, &it.key, it.optional),
        (None, None) => return Ok(None),
    };
    let optional = optional == Some(true);
    match fetched.get(kind, name) {
        None if optional => Ok(None),
        None => Err(EnvError::Missing { kind, name: name.clone() }),
        Some(data) => match data.get(key) {
            None if optional => Ok(None),
            None => Err(EnvError::NoKey { kind, name: name.clone(), key: key.clone() }),
            Some(value) => {
                let text = String::from_utf8(value.clone());
                text.map(Some).map_err(|_| EnvError::Text { name: variable.name.clone() })
            }
        },
    }
}

/// The program's name and arguments: `command` and `args` over the image's entry point and arguments.
pub(crate) fn arguments(
    container: &Container,
    entrypoint: &[String],
    cmd: &[String],
    env: &[(String, String)],
) -> Vec<String> {
    let command = container.command.as_deref().filter(|it| !it.is_empty());
    let args = container.args.as_deref().filter(|it| !it.is_empty());
    let known = Variables::from_list(env);
    let expanded = |list: &[String]| list.iter().map(|it| expand(it, &known)).collect::<Vec<_>>();
    let mut out = match command {
        Some(command) => expanded(command),
        None => entrypoint.to_vec(),
    };
    if out.is_empty() {
        // A bare module has no name for itself.
        out.push(container.name.clone());
    }
    match (args, command) {
        (Some(args), _) => out.extend(expanded(args)),
        (None, None) => out.extend_from_slice(cmd),
        (None, Some(_)) => {}
    }
    out
}

/// The container of this name, be it one that joined later.
pub(crate) fn container_named<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    let regular = all_containers(pod).find(|it| it.name == name).map(Cow::Borrowed);
    regular.or_else(|| ephemeral(pod).find(|it| it.name == name).map(Cow::Owned))
}

/// The containers that joined the pod later, as ordinary ones.
pub(crate) fn ephemeral(pod: &Pod) -> impl Iterator<Item = Container> {
    pod.spec.iter().flat_map(|it| it.ephemeral_containers.iter().flatten()).map(ordinary)
}

/// A container that joined its pod later as an ordinary one: it has no more than these fields.
pub(crate) fn ordinary(it: &EphemeralContainer) -> Container {
    Container {
        name: it.name.clone(),
        image: it.image.clone(),
        image_pull_policy: it.image_pull_policy.clone(),
        command: it.command.clone(),
        args: it.args.clone(),
        working_dir: it.working_dir.clone(),
        env: it.env.clone(),
        env_from: it.env_from.clone(),
        volume_mounts: it.volume_mounts.clone(),
        volume_devices: it.volume_devices.clone(),
        security_context: it.security_context.clone(),
        stdin: it.stdin,
        stdin_once: it.stdin_once,
        tty: it.tty,
        termination_message_path: it.termination_message_path.clone(),
        termination_message_policy: it.termination_message_policy.clone(),
        ..Container::default()
    }
}

/// Every container that a pod was made with, init containers first.
pub(crate) fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    spec.into_iter().flat_map(|it| it.init_containers.iter().flatten().chain(&it.containers))
}

#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

/// Replaces references in `text` by the values in `env`; the error is the first name that has none.
pub(crate) fn expand_all(text: &str, env: &[(String, String)]) -> Result<String, String> {
    let mut missing = None;
    let known = Variables::from_list(env);
    let out = expand_by(text, |name| {
        let value = known.get(name);
        if value.is_none() {
            missing.get_or_insert_with(|| name.to_owned());
        }
        value
    });
    missing.map_or(Ok(out), Err)
}

impl Variables {
    fn from_list(env: &[(String, String)]) -> Variables {
        let mut out = Variables::default();
        for (name, value) in env {
            out.set(name, value.clone());
        }
        out
    }

    fn set(&mut self, name: &str, value: String) {
        match self.index.get(name) {
            Some(at) => self.list[*at].1 = value,
            None => {
                self.index.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|at| self.list[*at].1.as_str())
    }
}

/// Replaces `$(NAME)` with the variable's value and `$$` with `$`. An unknown name stays as it is.
fn expand(text: &str, known: &Variables) -> String {
    expand_by(text, |name| known.get(name))
}

fn expand_by<'a>(text: &str, mut value_of: impl FnMut(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|it| it.split_once(')')) {
            match value_of(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::fields::tests::{facts, pod};

    fn fetched() -> Fetched {
        let mut fetched = Fetched::default();
        let data = |pairs: &[(&str, &[u8])]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect();
        fetched.put(SourceKind::ConfigMap, "settings", data(&[("colour", b"green"), ("a=b", b"x")]));
        fetched.put(SourceKind::Secret, "token", data(&[("key", b"s3cret"), ("raw", b"\xff")]));
        fetched
    }

    #[track_caller]
    fn check(container: serde_json::Value, want: Expect) {
        let container: Container = serde_json::from_value(container).unwrap();
        let image = [("PATH".to_owned(), "/".to_owned()), ("MODE".to_owned(), "image".to_owned())];
        let got = match environment(&pod(), &container, &facts(), &fetched(), &image, &[]) {
            Ok(list) => list.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn variables_come_from_everywhere_and_refer_to_earlier_ones() {
        check(
            serde_json::json!({ "name": "one",
                "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "settings" } }, { "secretRef": { "name": "no", "optional": true } }],
                "env": [
                    { "name": "MODE", "value": "pod" },
                    { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "token", "key": "key" } } },
                    { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "no", "optional": true } } },
                    { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                    { "name": "ALL", "value": "$(NAME)-$(P_colour)-$(LATER)-$$(NAME)-$x-$(" },
                    { "name": "LATER", "value": "x" },
                ] }),
            expect![[r#"
                PATH=/
                MODE=pod
                P_colour=green
                NAME=web
                KEY=s3cret
                CPU=2
                ALL=web-green-$(LATER)-$(NAME)-$x-$(
                LATER=x
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let secret = |name: &str, key: &str| {
            serde_json::json!({ "name": "one", "env": [
                { "name": "V", "valueFrom": { "secretKeyRef": { "name": name, "key": key } } }] })
        };
        check(secret("none", "key"), expect!["secret \"none\" not found\n"]);
        check(secret("token", "none"), expect!["couldn't find key none in secret token\n"]);
        check(secret("token", "raw"), expect!["variable V: the value is not UTF-8\n"]);
        check(
            serde_json::json!({ "name": "one", "envFrom": [{ "configMapRef": { "name": "none" } }] }),
            expect!["configmap \"none\" not found\n"],
        );
    }

    #[test]
    fn a_path_needs_a_value_for_every_name() {
        let env = [("A".to_owned(), "x".to_owned())];
        assert_eq!(expand_all("$(A)/$$(B)/c", &env), Ok("x/$(B)/c".to_owned()));
        assert_eq!(expand_all("$(A)/$(B)", &env), Err("B".to_owned()));
    }

    #[test]
    fn command_replaces_entry_point_and_arguments_and_args_replace_arguments() {
        let list = |items: &[&str]| items.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let env = [("WHO".to_owned(), "world".to_owned())];
        let run = |container: serde_json::Value, entrypoint: &[&str]| {
            let container: Container = serde_json::from_value(container).unwrap();
            arguments(&container, &list(entrypoint), &list(&["default"]), &env).join(" ")
        };
        assert_eq!(run(serde_json::json!({ "name": "c" }), &["/app"]), "/app default");
        assert_eq!(run(serde_json::json!({ "name": "c", "args": ["hi", "$(WHO)"] }), &["/app"]), "/app hi world");
        assert_eq!(run(serde_json::json!({ "name": "c", "command": ["x"] }), &["/app"]), "x");
        assert_eq!(run(serde_json::json!({ "name": "c" }), &[]), "c default");
    }
}
