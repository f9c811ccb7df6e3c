//! `policy`: what policies add to a write, and how soon a changed one is in force.
//!
//! Entry point: [`run`]. Pods are posted one after another, with and without being stored (`dryRun`): the difference to the
//! row without policies is what these cost. [`MIXED`] says which sorts of policies there are; a row with 100 policies has all
//! of them in turn. None of them is ever broken, so that each is evaluated to its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use eyot_testkit::Node;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::{gatekeeper, memory, report};

/// How many policies there are in each row.
const ROWS: [usize; 3] = [0, 10, 100];
/// Pods that come first and are not counted.
const WARM_UP: usize = 50;
/// A change that is not in force by then never will be.
const ENFORCED_MAX: Duration = Duration::from_secs(10);

/// A sort of policy: the objects that make up the one of a number, in the order in which they are created.
type Sort = fn(usize) -> Vec<Value>;

/// The sorts that take turns.
const MIXED: &[Sort] = &[labels, images, limits, variables, defaults, gatekeeper_labels];

pub(crate) async fn run(samples: usize) -> Result<Value> {
    let mut node = Node::start().await?;
    let pid = node.pid().context("the node has ended")?;
    let bench = Bench { client: node.client().await? };
    let mut rows = json!({});
    let mut there = 0;
    for count in ROWS {
        for at in there..count {
            for object in MIXED[at % MIXED.len()](at) {
                bench.create(&object).await.with_context(|| format!("policy {at}"))?;
            }
        }
        there = count;
        rows[format!("with_{count}_policies")] = json!({
            "pod_create": bench.pods(&format!("stored-{count}"), "", samples).await?,
            "pod_dry_run": bench.pods(&format!("dry-{count}"), "?dryRun=All", samples).await?,
            "resident_mib": memory::resident_mib(&[pid]),
        });
    }
    rows["gatekeeper"] = tokio::task::spawn_blocking(move || gatekeeper::run(samples)).await??;
    rows["change_to_enforced"] = bench.changes(samples).await?;
    node.stop().await?;
    Ok(rows)
}

struct Bench {
    client: Client,
}

const PODS: &str = "/api/v1/namespaces/default/pods";

impl Bench {
    async fn send(&self, method: Method, uri: &str, media_type: &str, body: &Value) -> Result<String, kube::Error> {
        let request = http::Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, media_type);
        let request = request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await
    }

    async fn create(&self, object: &Value) -> Result<()> {
        let uri = collection(object).context("an object of an unknown kind")?;
        self.send(Method::POST, &uri, "application/json", object).await?;
        Ok(())
    }

    /// Posts pods that no node takes.
    async fn pods(&self, name: &str, query: &str, samples: usize) -> Result<Value> {
        let mut took = Vec::with_capacity(samples);
        for at in 0..WARM_UP + samples {
            let pod = pod(&format!("{name}-{at}"));
            let began = Instant::now();
            self.send(Method::POST, &format!("{PODS}{query}"), "application/json", &pod).await?;
            if at >= WARM_UP {
                took.push(began.elapsed());
            }
        }
        Ok(report::summary(&took))
    }

    /// Changes a policy again and again; from the moment a change is sent to the first refusal by it.
    async fn changes(&self, samples: usize) -> Result<Value> {
        for object in validating("changing", &json!([{"expression": "true"}])) {
            self.create(&object).await?;
        }
        let uri = format!("{}/changing", collection_of("validatingadmissionpolicies"));
        let (mut took, mut late) = (Vec::with_capacity(samples), 0);
        for at in 0..samples {
            let validations = json!([{"expression": format!("object.metadata.name != 'round-{at}'")}]);
            let patch = json!({"spec": {"validations": validations}});
            let began = Instant::now();
            self.send(Method::PATCH, &uri, "application/merge-patch+json", &patch).await?;
            loop {
                let pod = pod(&format!("round-{at}"));
                match self.send(Method::POST, &format!("{PODS}?dryRun=All"), "application/json", &pod).await {
                    Err(kube::Error::Api(status)) if status.code == 422 => break,
                    Err(error) => return Err(error.into()),
                    Ok(_) => late += 1,
                }
                ensure!(began.elapsed() < ENFORCED_MAX, "a change never came into force");
            }
            took.push(began.elapsed());
        }
        let mut figures = report::summary(&took);
        // After the change was answered no request may pass by the policy before it.
        figures["requests_judged_by_the_old_one_after_the_answer"] = late.into();
        Ok(figures)
    }
}

fn collection_of(plural: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{plural}")
}

/// Where objects of a kind are created.
fn collection(object: &Value) -> Option<String> {
    Some(match object["kind"].as_str()? {
        "ConstraintTemplate" => "/apis/templates.gatekeeper.sh/v1/constrainttemplates".to_owned(),
        kind if kind.starts_with("BenchLabels") => {
            format!("/apis/constraints.gatekeeper.sh/v1beta1/{}", kind.to_lowercase())
        }
        "ValidatingAdmissionPolicy" => collection_of("validatingadmissionpolicies"),
        "ValidatingAdmissionPolicyBinding" => collection_of("validatingadmissionpolicybindings"),
        "MutatingAdmissionPolicy" => collection_of("mutatingadmissionpolicies"),
        "MutatingAdmissionPolicyBinding" => collection_of("mutatingadmissionpolicybindings"),
        _ => return None,
    })
}

/// A pod as they are: two containers, limits, probes, labels. Nothing schedules it.
pub(crate) fn pod(name: &str) -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": format!("registry.example.com/shop/{name}:1.4.2"), "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
            "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}})
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "shop", "team": "checkout", "tier": "front"}},
        "spec": {"schedulerName": "nobody", "containers": [container("web"), container("side")]}})
}

fn rules() -> Value {
    json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}]})
}

fn validating(name: &str, validations: &Value) -> Vec<Value> {
    let api_version = "admissionregistration.k8s.io/v1";
    vec![
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": rules(), "validations": validations}}),
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]}}),
    ]
}

fn labels(at: usize) -> Vec<Value> {
    let expression = "['app', 'team', 'tier'].all(l, l in object.metadata.labels)";
    validating(&format!("labels-{at}"), &json!([{"expression": expression, "message": "labels are missing"}]))
}

fn gatekeeper_labels(at: usize) -> Vec<Value> {
    vec![gatekeeper::template(at), gatekeeper::constraint(at)]
}

fn images(at: usize) -> Vec<Value> {
    let expression =
        "object.spec.containers.all(c, c.image.startsWith('registry.example.com/') && !c.image.endsWith(':latest'))";
    validating(&format!("images-{at}"), &json!([{"expression": expression, "message": "images come from elsewhere"}]))
}

fn limits(at: usize) -> Vec<Value> {
    let expression = "object.spec.containers.all(c, has(c.resources.limits) && quantity(c.resources.limits.memory).isLessThan(quantity('1Gi')))";
    validating(&format!("limits-{at}"), &json!([{"expression": expression, "message": "too much memory"}]))
}

fn variables(at: usize) -> Vec<Value> {
    let mut made = validating(
        &format!("variables-{at}"),
        &json!([
            {"expression": "variables.contexts.all(c, c.?allowPrivilegeEscalation.orValue(true) == false)"},
            {"expression": "variables.contexts.all(c, c.?runAsNonRoot.orValue(false))"},
        ]),
    );
    let expression = "object.spec.containers.map(c, c.?securityContext.orValue({}))";
    made[0]["spec"]["variables"] = json!([{"name": "contexts", "expression": expression}]);
    made
}

fn defaults(at: usize) -> Vec<Value> {
    let api_version = "admissionregistration.k8s.io/v1";
    let name = format!("defaults-{at}");
    let expression = format!("Object{{metadata: Object.metadata{{annotations: {{'bench/{at}': 'seen'}}}}}}");
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    vec![
        json!({"apiVersion": api_version, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": rules(), "reinvocationPolicy": "Never", "mutations": [mutation]}}),
        json!({"apiVersion": api_version, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name}}),
    ]
}
