//! The Knative Service that `eyot deploy` makes, from its flags. Pure.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::{
    flags::{DeployFlags, PerRequest},
    function,
};

/// How many requests an instance answers.
const REUSE: &str = "eyot.io/instance-reuse";

/// The Service. `existing` is the one of that name, if there is one; `is_command` tells that the program answers no requests
/// by itself.
pub(super) fn service(
    flags: &DeployFlags,
    name: &str,
    image: &str,
    is_command: bool,
    existing: Option<&Value>,
) -> Result<Value> {
    let mut template = json!({ "spec": { "containers": [container(flags, name, image, is_command)?] } });
    let annotations = annotations(flags, is_command)?;
    if !annotations.is_empty() {
        template["metadata"] = json!({ "annotations": annotations });
    }
    let spec = &mut template["spec"];
    if let Some(concurrency) = flags.concurrency {
        spec["containerConcurrency"] = concurrency.into();
    }
    if let Some(seconds) = flags.timeout {
        spec["timeoutSeconds"] = seconds.into();
    }
    let (volumes, mounts) = volumes(&flags.mounts)?;
    if !mounts.is_empty() {
        spec["volumes"] = volumes.into();
        spec["containers"][0]["volumeMounts"] = mounts.into();
    }
    let traffic = function::on_deploy(existing, flags.no_traffic, flags.tag.as_deref())?;
    Ok(json!({
        "apiVersion": eyot_serving::API_VERSION, "kind": "Service",
        "metadata": { "name": name, "namespace": flags.namespace },
        "spec": { "template": template, "traffic": traffic },
    }))
}

fn annotations(flags: &DeployFlags, is_command: bool) -> Result<Map<String, Value>> {
    let mut out = reuse(flags, is_command)?;
    for (key, value) in [
        ("min-scale", flags.min_scale.map(|it| it.to_string())),
        ("max-scale", flags.max_scale.map(|it| it.to_string())),
        ("target", flags.target.map(|it| it.to_string())),
        ("window", flags.window.clone()),
    ] {
        out.extend(value.map(|it| (format!("autoscaling.knative.dev/{key}"), it.into())));
    }
    for pair in &flags.annotations {
        let (key, value) = pair.split_once('=').with_context(|| format!("--annotation {pair}: expected KEY=VALUE"))?;
        out.insert(key.to_owned(), value.into());
    }
    Ok(out)
}

/// What has instances reused, as both ways of deploying say it.
pub(super) fn reuse(flags: &DeployFlags, is_command: bool) -> Result<Map<String, Value>> {
    ensure!(
        flags.reuse.is_none() || !is_command,
        "--reuse: the program is a command, each run of which has an instance of its own"
    );
    Ok(flags.reuse.map(|it| (REUSE.to_owned(), it.to_string().into())).into_iter().collect())
}

/// The container as both ways of deploying have it.
pub(super) fn container(flags: &DeployFlags, name: &str, image: &str, is_command: bool) -> Result<Value> {
    let mut env = Vec::new();
    let mut given = Vec::new();
    for pair in &flags.env {
        let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: expected NAME=VALUE"))?;
        given.push(name);
        env.push(json!({ "name": name, "value": value }));
    }
    if !given.contains(&"fprocess") {
        env.extend(per_request(flags, name, is_command, &given)?);
    }
    let mut container = json!({ "image": image, "env": env });
    let limits: Map<String, Value> = [("memory", &flags.memory), ("cpu", &flags.cpu)]
        .into_iter()
        .filter_map(|(key, it)| Some((key.to_owned(), it.clone()?.into())))
        .collect();
    if !limits.is_empty() {
        container["resources"] = json!({ "limits": limits });
    }
    let sources = flags.env_from.iter().map(|text| {
        let (kind, name) = source(text, "--env-from")?;
        Ok(json!({ format!("{kind}Ref"): { "name": name } }))
    });
    let sources = sources.collect::<Result<Vec<_>>>()?;
    if !sources.is_empty() {
        container["envFrom"] = sources.into();
    }
    Ok(container)
}

/// The variables that have a command run for each request.
fn per_request(flags: &DeployFlags, name: &str, is_command: bool, given: &[&str]) -> Result<Vec<Value>> {
    let mode = match flags.per_request {
        PerRequest::Never => return Ok(Vec::new()),
        PerRequest::Auto if !is_command => return Ok(Vec::new()),
        PerRequest::Auto | PerRequest::Body => None,
        PerRequest::Stream => Some("streaming"),
        PerRequest::Cgi => Some("cgi"),
    };
    ensure!(is_command, "--per-request: the program answers requests itself");
    let words = [name].into_iter().chain(flags.args.iter().map(String::as_str));
    if let Some(odd) = flags.args.iter().find(|it| it.is_empty() || it.contains(char::is_whitespace)) {
        bail!("--arg {odd:?}: arguments of a command that is run for each request have no spaces");
    }
    let mut env = vec![json!({ "name": "fprocess", "value": words.collect::<Vec<_>>().join(" ") })];
    if let Some(mode) = mode.filter(|_| !given.contains(&"mode")) {
        env.push(json!({ "name": "mode", "value": mode }));
    }
    Ok(env)
}

/// `secret:NAME` or `config-map:NAME`, as `kn` writes them.
fn source<'a>(text: &'a str, flag: &str) -> Result<(&'static str, &'a str)> {
    match text.split_once(':') {
        Some(("secret" | "sc", name)) if !name.is_empty() => Ok(("secret", name)),
        Some(("config-map" | "cm", name)) if !name.is_empty() => Ok(("configMap", name)),
        _ => bail!("{flag} {text}: expected secret:NAME or config-map:NAME"),
    }
}

/// Volumes and mounts of flags such as `/etc/app=secret:NAME`.
fn volumes(flags: &[String]) -> Result<(Vec<Value>, Vec<Value>)> {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (at, text) in flags.iter().enumerate() {
        let (path, of) = text.split_once('=').with_context(|| format!("--mount {text}: expected PATH=secret:NAME"))?;
        let (kind, name) = source(of, "--mount")?;
        let volume = format!("mount-{at}");
        volumes.push(match kind {
            "secret" => json!({ "name": volume, "secret": { "secretName": name } }),
            _ => json!({ "name": volume, "configMap": { "name": name } }),
        });
        mounts.push(json!({ "name": volume, "mountPath": path, "readOnly": true }));
    }
    Ok((volumes, mounts))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::flags::{Cli, Command};

    #[track_caller]
    fn check(args: &str, is_command: bool, want: Expect) {
        let words = ["eyot", "deploy", "app.wasm"].into_iter().chain(args.split_whitespace());
        let Command::Deploy(flags) = Cli::try_parse_from(words).unwrap().command else { unreachable!("it deploys") };
        let got = service(&flags, "app", "r/app:1", is_command, None).map(|it| it["spec"].to_string());
        want.assert_eq(&got.unwrap_or_else(|error| format!("{error:#}")));
    }

    #[test]
    fn flags_become_a_template() {
        check(
            "--env A=b=c --env-from secret:s --mount /etc/c=cm:c --memory 64Mi --cpu 500m --min-scale 1 --max-scale 9 \
             --concurrency 3 --target 2 --window 30s --timeout 20 --annotation k=v --reuse 1000",
            false,
            expect![[
                r#"{"template":{"metadata":{"annotations":{"autoscaling.knative.dev/max-scale":"9","autoscaling.knative.dev/min-scale":"1","autoscaling.knative.dev/target":"2","autoscaling.knative.dev/window":"30s","eyot.io/instance-reuse":"1000","k":"v"}},"spec":{"containerConcurrency":3,"containers":[{"env":[{"name":"A","value":"b=c"}],"envFrom":[{"secretRef":{"name":"s"}}],"image":"r/app:1","resources":{"limits":{"cpu":"500m","memory":"64Mi"}},"volumeMounts":[{"mountPath":"/etc/c","name":"mount-0","readOnly":true}]}],"timeoutSeconds":20,"volumes":[{"configMap":{"name":"c"},"name":"mount-0"}]}},"traffic":[{"latestRevision":true,"percent":100}]}"#
            ]],
        );
    }

    #[test]
    fn a_command_is_run_for_each_request_unless_it_is_not_wanted() {
        let env = |want| want;
        check(
            "--arg -l",
            true,
            env(expect![[
                r#"{"template":{"spec":{"containers":[{"env":[{"name":"fprocess","value":"app -l"}],"image":"r/app:1"}]}},"traffic":[{"latestRevision":true,"percent":100}]}"#
            ]]),
        );
        check(
            "--per-request cgi",
            true,
            env(expect![[
                r#"{"template":{"spec":{"containers":[{"env":[{"name":"fprocess","value":"app"},{"name":"mode","value":"cgi"}],"image":"r/app:1"}]}},"traffic":[{"latestRevision":true,"percent":100}]}"#
            ]]),
        );
        check(
            "--per-request never",
            true,
            env(expect![[
                r#"{"template":{"spec":{"containers":[{"env":[],"image":"r/app:1"}]}},"traffic":[{"latestRevision":true,"percent":100}]}"#
            ]]),
        );
        check("--per-request body", false, expect!["--per-request: the program answers requests itself"]);
        check(
            "--reuse 5",
            true,
            expect!["--reuse: the program is a command, each run of which has an instance of its own"],
        );
    }

    #[test]
    fn what_is_misspelt_is_told() {
        check("--env A", false, expect!["--env A: expected NAME=VALUE"]);
        check("--env-from a", false, expect!["--env-from a: expected secret:NAME or config-map:NAME"]);
        check("--mount /a", false, expect!["--mount /a: expected PATH=secret:NAME"]);
    }
}
