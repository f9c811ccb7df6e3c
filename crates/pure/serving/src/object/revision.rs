//! A Revision: what it tells of its instances.

use serde_json::{Value, json};

use super::text;
use crate::{Conditions, Told, Truth};

/// The instances as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Asked for.
    pub desired: i32,
    /// That take requests.
    pub ready: i32,
    /// How many must be ready once.
    pub initial: i32,
    /// Why one does not start: reason and message.
    pub trouble: Option<(String, String)>,
    /// Why none came up in the time there was.
    pub overdue: Option<String>,
    /// Digests of the images, by container.
    pub images: Vec<(String, String)>,
}

/// Whether a revision was ready once; it then stays so, at zero as well.
pub fn is_initialized(revision: &Value) -> bool {
    Told::of(&revision["status"], "Ready").truth == Truth::True
}

/// The status of a Revision. `now` in RFC 3339.
pub fn status(revision: &Value, instances: &Instances, now: &str) -> Value {
    let mut conditions = Conditions::new(&revision["status"], now);
    let initialized = is_initialized(revision) || instances.ready >= instances.initial;
    let (healthy, resources) = match (&instances.trouble, &instances.overdue) {
        _ if initialized => (Told::yes(), Told::yes()),
        (Some((reason, message)), _) => {
            let message = format!("Container failed with: {message}");
            let told = Told::new(Truth::False, reason, message);
            (told, Told::new(Truth::Unknown, "Deploying", ""))
        }
        (None, Some(why)) => (Told::unknown(), Told::new(Truth::False, "ProgressDeadlineExceeded", why.as_str())),
        (None, None) => (Told::new(Truth::Unknown, "Deploying", ""), Told::new(Truth::Unknown, "Deploying", "")),
    };
    conditions.must("ContainerHealthy", healthy);
    conditions.must("ResourcesAvailable", resources);
    conditions.inform("Active", active(instances, initialized));
    let mut status = json!({
        "observedGeneration": revision["metadata"]["generation"],
        "actualReplicas": instances.ready,
        "desiredReplicas": instances.desired,
        "conditions": conditions.finish(),
    });
    let before = &revision["status"]["containerStatuses"];
    let images: Vec<Value> =
        instances.images.iter().map(|(name, digest)| json!({"name": name, "imageDigest": digest})).collect();
    if !images.is_empty() {
        status["containerStatuses"] = images.into();
    } else if !before.is_null() {
        status["containerStatuses"] = before.clone();
    }
    status
}

fn active(instances: &Instances, initialized: bool) -> Told {
    match (instances.ready, instances.desired) {
        (1.., 1..) => Told::yes(),
        (_, 0) if initialized => Told::new(Truth::False, "NoTraffic", "The target is not receiving traffic."),
        _ => {
            let message = "Requests to the target are being buffered as resources are provisioned.";
            Told::new(Truth::Unknown, "Queued", message)
        }
    }
}

/// The requests that one instance takes at once; 0 for any number.
pub fn concurrency(revision: &Value) -> u32 {
    revision["spec"]["containerConcurrency"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0)
}

/// Annotations of a revision.
pub fn annotations(revision: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = revision["metadata"]["annotations"].as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The container that takes the requests.
pub fn serving(spec: &Value) -> &Value {
    static NONE: Value = Value::Null;
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let with_port = containers.iter().find(|it| it["ports"].as_array().is_some_and(|it| !it.is_empty()));
    with_port.or(containers.first()).unwrap_or(&NONE)
}

/// The name of the Deployment of a revision.
pub fn deployment_name(revision: &Value) -> String {
    format!("{}-deployment", text(revision, "/metadata/name"))
}
