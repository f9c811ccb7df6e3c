//! Requests through the gateway with and without a policy in Rego on their way, and that policy's changes.
//! Entry point: [`run`].

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::{Progress, changes, create::create, decide::GUARD, send};
use crate::{http as load, peer, watch};

/// Changes of the policy while clients ask.
const CHANGES: usize = 100;
const HOST: &str = "hello.localhost";

pub(super) async fn run(progress: &Progress) -> Result<Value> {
    progress.tell("requests at the gateway");
    let mut node = watch::node().await?;
    let client = node.client().await?;
    node.apply("hello").await?;
    node.rolled_out("hello").await?;
    peer::answers(node.gateway(), HOST).await?;
    let address = node.ready().http.trim_start_matches("http://").to_owned();
    let asked = |name: &str| load::Options {
        connections: 1,
        round: Duration::from_secs(1),
        rounds: 3,
        ..load::Options::of(vec![peer::target(name, &address, HOST)])
    };
    let without = load::run(asked("without")).await?;
    let spec = json!({"rego": {"modules": {"authz.rego": format!("{GUARD}\nallow if http.method == \"GET\"\n")}},
        "authorization": {"targetRefs": [{"kind": "Service", "name": "hello"}]}});
    let guard =
        json!({"apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "guard"}, "spec": spec});
    create(&client, &guard).await?;
    let with = load::run(asked("with")).await?;
    send(&client, Method::DELETE, "/apis/eyot.dev/v1alpha1/policies/guard", &Value::Null).await?;
    progress.tell("changing a policy of the gateway");
    let asked = changes::Asked::Gateway(node.gateway(), HOST);
    let changed = changes::at_the_gateway(&client, &asked, CHANGES).await?;
    node.stop().await?;
    Ok(json!({
        "request_without_policy": without["targets"]["without"],
        "request_with_policy": with["targets"]["with"],
        "change_to_enforced": changed,
    }))
}
