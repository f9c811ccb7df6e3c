//! `eyot list|invoke|logs|rollback|split|delete`: functions, which are Knative Services, from the command line.
//!
//! Entry point: [`run`]. Everything here goes through the API and the gateway, as `kn` and `curl` would; `deploy` is the
//! command beside it that makes them.

mod flags;
mod invoke;
mod list;
mod logs;
mod traffic;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::client;
pub(crate) use flags::FunctionCommand;
use traffic::Revision;
pub(crate) use traffic::on_deploy;

/// Carries a command out.
pub(crate) async fn run(command: FunctionCommand) -> Result<()> {
    match command {
        FunctionCommand::List { all, at } => {
            let client = client::connect(at.kubeconfig.as_deref()).await?;
            let api = if all { every(&client) } else { services(&client, &at.namespace) };
            let functions = api.list(&ListParams::default()).await.context("listing functions")?.items;
            let revisions = resource("Revision", "revisions");
            let revisions: Api<DynamicObject> = match all {
                true => Api::all_with(client, &revisions),
                false => Api::namespaced_with(client, &at.namespace, &revisions),
            };
            let revisions = revisions.list(&ListParams::default()).await.context("listing revisions")?.items;
            print!("{}", list::table(&functions, &revisions, all));
        }
        FunctionCommand::Invoke(flags) => return invoke::run(flags).await,
        FunctionCommand::Logs { name, follow, tail, at } => {
            return logs::run(&client::connect(at.kubeconfig.as_deref()).await?, &at.namespace, &name, follow, tail)
                .await;
        }
        FunctionCommand::Rollback { name, to, at } => {
            let function = Function::of(&name, &at.namespace, at.kubeconfig.as_deref()).await?;
            let (service, revisions) = function.read().await?;
            let target = match &to {
                Some(to) => traffic::named(to, &revisions)?,
                None => traffic::before(&service, &revisions)?,
            };
            function.lead(traffic::with_tags(traffic::all_to(&target), &service)).await?;
            println!("{name} is answered by {target}");
        }
        FunctionCommand::Split { name, shares, at } => {
            let function = Function::of(&name, &at.namespace, at.kubeconfig.as_deref()).await?;
            let (service, revisions) = function.read().await?;
            let targets = traffic::split(&shares, &revisions)?;
            function.lead(traffic::with_tags(targets, &service)).await?;
            println!("{name} is answered by {}", shares.join(" "));
        }
        FunctionCommand::Delete { name, at } => {
            let client = client::connect(at.kubeconfig.as_deref()).await?;
            let deleted = services(&client, &at.namespace).delete(&name, &DeleteParams::background()).await;
            deleted.with_context(|| format!("deleting {name}"))?;
            println!("deleted {name}");
        }
    }
    Ok(())
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(eyot_serving::GROUP, "v1", kind), plural)
}

fn services(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource("Service", "services"))
}

fn every(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource("Service", "services"))
}

/// One function of a cluster.
struct Function {
    client: Client,
    namespace: String,
    name: String,
}

impl Function {
    async fn of(name: &str, namespace: &str, kubeconfig: Option<&Path>) -> Result<Function> {
        let client = client::connect(kubeconfig).await?;
        Ok(Function { client, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The Service, and its revisions, the oldest first.
    async fn read(&self) -> Result<(Value, Vec<Revision>)> {
        let api = services(&self.client, &self.namespace);
        let service = api.get(&self.name).await.with_context(|| format!("reading {}", self.name))?;
        let revisions: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource("Revision", "revisions"));
        let ours = ListParams::default().labels(&format!("{}={}", eyot_serving::label::SERVICE, self.name));
        let listed = revisions.list(&ours).await.with_context(|| format!("listing revisions of {}", self.name))?;
        let mut revisions: Vec<Revision> =
            listed.items.iter().filter_map(|it| Revision::read(&serde_json::to_value(it).ok()?)).collect();
        revisions.sort_by_key(|it| it.generation);
        Ok((serde_json::to_value(&service)?, revisions))
    }

    /// Gives the function these targets and waits until requests go there.
    async fn lead(&self, targets: Value) -> Result<()> {
        let api = services(&self.client, &self.namespace);
        let patch = Patch::Merge(json!({"spec": {"traffic": targets}}));
        let patched = api.patch(&self.name, &PatchParams::default(), &patch).await;
        let generation = patched.with_context(|| format!("changing {}", self.name))?.metadata.generation;
        ready(&self.client, &self.namespace, &self.name, generation, Duration::from_secs(60)).await.map(drop)
    }
}

/// The function as it is, if there is one.
pub(crate) async fn existing(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>> {
    let found = services(client, namespace).get_opt(name).await.with_context(|| format!("reading {name}"))?;
    found.map(|it| serde_json::to_value(it).context("reading the function")).transpose()
}

/// The generation of a function's spec.
pub(crate) async fn generation(client: &Client, namespace: &str, name: &str) -> Result<Option<i64>> {
    let function = services(client, namespace).get(name).await.with_context(|| format!("reading {name}"))?;
    Ok(function.metadata.generation)
}

/// Waits until a function of this generation is ready, and returns it. Fails at once where it says that it will not be.
pub(crate) async fn ready(
    client: &Client,
    namespace: &str,
    name: &str,
    generation: Option<i64>,
    timeout: Duration,
) -> Result<Value> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = Box::pin(watcher(services(client, namespace), config).applied_objects());
    let mut last = String::from("nothing yet");
    let done = async {
        while let Some(it) = seen.next().await {
            let it = serde_json::to_value(it.context("watching the function")?)?;
            if it["status"]["observedGeneration"].as_i64() < generation {
                continue;
            }
            let (truth, message) = told(&it);
            match truth {
                "True" => return Ok(it),
                "False" => bail!("{name} is not ready: {message}"),
                _ => last = message.to_owned(),
            }
        }
        bail!("the watch ended")
    };
    match tokio::time::timeout(timeout, done).await {
        Ok(done) => done,
        Err(_) => bail!("{name} is not ready after {} s; it says: {last}", timeout.as_secs()),
    }
}

/// What a function says of its readiness.
fn told(service: &Value) -> (&str, &str) {
    let rows = service["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = rows.iter().find(|it| it["type"] == "Ready").unwrap_or(&Value::Null);
    (ready["status"].as_str().unwrap_or("Unknown"), ready["message"].as_str().unwrap_or_default())
}
