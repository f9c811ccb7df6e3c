//! How soon a changed policy is in force, and whether a request falls between two versions. Entry point: [`run`].
//!
//! For each engine one policy refuses everything and says its version. It is changed again and again while clients ask
//! without a pause. A request that is let pass was seen by neither version; one that began after a change was answered and
//! is refused by an older version was judged by a policy that is no more.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Gateway, Node};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    PODS, Progress,
    create::create,
    mixed::{collection, constraint, opa, template, validating},
    pod, send,
};
use crate::report;

/// A change that is not in force by then never will be.
const ENFORCED_MAX: Duration = Duration::from_secs(10);
/// Changes of one engine's policy, at most.
const CHANGES_MAX: usize = 100;
/// Clients that ask without a pause.
const CLIENTS: usize = 2;

/// A policy that is changed.
struct Changing {
    name: &'static str,
    /// What is created first; the last one's change is `change`.
    setup: Vec<Value>,
    /// Which of the objects is changed.
    at: usize,
    /// A merge patch that makes it the version of a number.
    change: fn(usize) -> Value,
}

pub(super) async fn run(samples: usize, progress: &Progress) -> Result<Value> {
    let mut node = Node::start().await?;
    let client = node.client().await?;
    let mut rows = json!({});
    for changing in [vap(), gatekeeper_constraint(), gatekeeper_template(), kyverno(), opa_admission()] {
        progress.tell(&format!("changing a policy of {}", changing.name));
        rows[changing.name] = measure(&client, &Asked::Api(&client), &changing, samples).await?;
    }
    node.stop().await?;
    Ok(rows)
}

/// Who is asked.
pub(super) enum Asked<'a> {
    Api(&'a Client),
    Gateway(&'a Gateway, &'static str),
}

impl Asked<'_> {
    /// What a refusal says; nothing where there was none.
    async fn ask(&self) -> Result<String> {
        match self {
            Asked::Api(client) => {
                let answer = send(client, Method::POST, &format!("{PODS}?dryRun=All"), &pod("asking")).await;
                match answer {
                    Ok(_) => Ok(String::new()),
                    Err(kube::Error::Api(status)) => Ok(status.message.clone()),
                    Err(error) => Err(error.into()),
                }
            }
            Asked::Gateway(gateway, host) => Ok(gateway.get(host, "/").await?.text()),
        }
    }
}

/// The policy of a Service at the gateway.
pub(super) async fn at_the_gateway(client: &Client, asked: &Asked<'_>, samples: usize) -> Result<Value> {
    fn module(version: usize) -> Value {
        let answer = format!("{{\"allowed\": false, \"http_status\": 418, \"body\": \"version {version};\"}}");
        json!({"rego": {"modules": {"main.rego": format!("package envoy.authz\n\ndefault allow := {answer}\n")}}})
    }
    let mut spec = module(0);
    spec["authorization"] = json!({"targetRefs": [{"kind": "Service", "name": "hello"}]});
    let policy =
        json!({"apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "changing"}, "spec": spec});
    let change = |version| json!({"spec": module(version)});
    measure(client, asked, &Changing { name: "gateway", setup: vec![policy], at: 0, change }, samples).await
}

/// What clients and the one who changes the policy tell each other.
struct Board {
    /// The version whose write was answered last.
    answered: AtomicUsize,
    /// When each version was seen first.
    seen: Vec<OnceLock<Instant>>,
    told: Notify,
    over: AtomicBool,
    asked: AtomicUsize,
    neither: AtomicUsize,
    late: AtomicUsize,
}

async fn measure(client: &Client, asked: &Asked<'_>, changing: &Changing, samples: usize) -> Result<Value> {
    for object in &changing.setup {
        create(client, object).await.with_context(|| changing.name.to_owned())?;
    }
    let uris: Vec<String> = changing.setup.iter().filter_map(named).collect();
    let changes = samples.clamp(1, CHANGES_MAX);
    let board = Board {
        answered: AtomicUsize::new(0),
        seen: (0..=changes).map(|_| OnceLock::new()).collect(),
        told: Notify::new(),
        over: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        neither: AtomicUsize::new(0),
        late: AtomicUsize::new(0),
    };
    let clients = futures::future::try_join_all((0..CLIENTS).map(|_| board.ask(asked)));
    let writer = async {
        let took = board.write(client, &uris[changing.at], changing.change).await;
        board.over.store(true, SeqCst);
        took
    };
    let (took, asking) = tokio::join!(writer, clients);
    asking.with_context(|| changing.name.to_owned())?;
    let mut figures = report::summary(&took.with_context(|| changing.name.to_owned())?);
    figures["requests_meanwhile"] = board.asked.load(SeqCst).into();
    figures["seen_by_neither_version"] = board.neither.load(SeqCst).into();
    figures["judged_by_the_old_one_after_the_answer"] = board.late.load(SeqCst).into();
    for uri in uris.iter().rev() {
        send(client, Method::DELETE, uri, &Value::Null).await.with_context(|| format!("deleting {uri}"))?;
    }
    Ok(figures)
}

impl Board {
    /// Changes the policy again and again; from the moment a change is sent to the first refusal by it.
    async fn write(&self, client: &Client, uri: &str, change: fn(usize) -> Value) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(self.seen.len());
        for version in 1..self.seen.len() {
            let began = Instant::now();
            send(client, Method::PATCH, uri, &change(version)).await.with_context(|| format!("changing {uri}"))?;
            self.answered.store(version, SeqCst);
            let seen = loop {
                if let Some(seen) = self.seen[version].get() {
                    break *seen;
                }
                ensure!(began.elapsed() < ENFORCED_MAX, "version {version} of {uri} never came into force");
                // The clients may have told just before; then it is looked at again soon.
                let _ = tokio::time::timeout(Duration::from_millis(5), self.told.notified()).await;
            };
            took.push(seen - began);
        }
        Ok(took)
    }

    /// One client.
    async fn ask(&self, asked: &Asked<'_>) -> Result<()> {
        while !self.over.load(SeqCst) {
            let newest = self.answered.load(SeqCst);
            let answer = asked.ask().await?;
            self.asked.fetch_add(1, SeqCst);
            match version(&answer) {
                None => {
                    self.neither.fetch_add(1, SeqCst);
                }
                Some(version) => {
                    self.late.fetch_add(usize::from(version < newest), SeqCst);
                    if let Some(seen) = self.seen.get(version) {
                        let _ = seen.set(Instant::now());
                    }
                    self.told.notify_one();
                }
            }
        }
        Ok(())
    }
}

/// The version that a refusal tells.
fn version(answer: &str) -> Option<usize> {
    let (_, rest) = answer.split_once("version ")?;
    rest.split_once(';')?.0.parse().ok()
}

/// Where an object is.
fn named(object: &Value) -> Option<String> {
    Some(format!("{}/{}", collection(object)?, object["metadata"]["name"].as_str()?))
}

fn vap() -> Changing {
    let validations = |version: usize| json!([{"expression": "false", "message": format!("version {version};")}]);
    let change = |version: usize| json!({"spec": {"validations": [{"expression": "false", "message": format!("version {version};")}]}});
    Changing { name: "validating_admission_policy", setup: validating("changing", &validations(0)), at: 0, change }
}

fn gatekeeper_constraint() -> Changing {
    let rego = "package versions\nviolation[{\"msg\": msg}] { msg := input.parameters.message }\n";
    let mut constraint = constraint(0, "Pod");
    constraint["spec"]["parameters"] = json!({"message": "version 0;"});
    let change = |version: usize| json!({"spec": {"parameters": {"message": format!("version {version};")}}});
    Changing { name: "gatekeeper_constraint", setup: vec![template(0, rego), constraint], at: 1, change }
}

fn gatekeeper_template() -> Changing {
    fn rego(version: usize) -> String {
        format!("package versions\nviolation[{{\"msg\": msg}}] {{ msg := \"version {version};\" }}\n")
    }
    let change =
        |version| json!({"spec": {"targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": rego(version)}]}});
    Changing { name: "gatekeeper_template", setup: vec![template(1, &rego(0)), constraint(1, "Pod")], at: 0, change }
}

fn kyverno() -> Changing {
    fn spec(version: usize) -> Value {
        json!({"background": false, "rules": [{"name": "it", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"failureAction": "Enforce", "message": format!("version {version};"), "deny": {}}}]})
    }
    let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "changing"},
        "spec": spec(0)});
    Changing { name: "kyverno", setup: vec![policy], at: 0, change: |version| json!({"spec": spec(version)}) }
}

fn opa_admission() -> Changing {
    fn module(version: usize) -> String {
        format!("package bench\n\ndeny contains \"version {version};\"\n")
    }
    let change = |version| json!({"spec": {"rego": {"modules": {"main.rego": module(version)}}}});
    Changing { name: "opa", setup: vec![opa("changing", &module(0))], at: 0, change }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_version_and_an_answer_without_one_tells_none() {
        assert_eq!(version("admission webhook denied: [team] version 12; no"), Some(12));
        assert_eq!(version(""), None);
        assert_eq!(version("version x;"), None);
    }
}
