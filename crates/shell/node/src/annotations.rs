//! Annotations of a pod under `eyot.io/` that do nothing for a container. Pure: start at [`unused`].

use k8s_openapi::api::core::v1::Pod;

use crate::{deadline, reuse};

/// The hosts that the pod's guests may connect to.
pub(crate) const ALLOWED_HOSTS: &str = "eyot.io/allowed-hosts";

const PREFIX: &str = "eyot.io/";
/// All that a pod may have under the prefix.
const KNOWN: [&str; 4] = [ALLOWED_HOSTS, reuse::REQUESTS, reuse::IDLE, deadline::TIMEOUT];

/// How a container's program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// It answers requests.
    Service,
    /// It is a command, run for each request.
    PerRequest,
    /// It is a command, run once.
    Once,
}

/// What to tell of annotations that do nothing for the container of this name.
pub(crate) fn unused(pod: &Pod, container: &str, runs: Runs) -> Vec<String> {
    let annotations = pod.metadata.annotations.iter().flat_map(|it| it.keys());
    let containers = pod.spec.as_ref().map_or(&[][..], |it| &it.containers);
    let is_first = containers.first().is_some_and(|it| it.name == container);
    // A command beside a service is not what is meant.
    let is_meant = is_first && containers.len() == 1;
    let told = annotations.filter(|it| it.starts_with(PREFIX)).filter_map(|name| match name.as_str() {
        reuse::REQUESTS if is_meant && runs != Runs::Service => {
            Some(format!("annotation {name} is not used: each run of a command has an instance of its own"))
        }
        deadline::TIMEOUT if is_meant && runs == Runs::Once => {
            Some(format!("annotation {name} is not used: a command that runs once is handed no requests"))
        }
        known if KNOWN.contains(&known) => None,
        // Told once for a pod.
        _ => is_first.then(|| format!("annotation {name} is not known; there are {}", KNOWN.join(", "))),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(annotations: &[&str], containers: &[&str], container: &str, runs: Runs, want: &[&str]) {
        let pod = serde_json::json!({
            "metadata": { "annotations": annotations.iter().map(|it| (*it, "1")).collect::<std::collections::BTreeMap<_, _>>() },
            "spec": { "containers": containers.iter().map(|it| serde_json::json!({ "name": it })).collect::<Vec<_>>() },
        });
        let told = unused(&serde_json::from_value(pod).unwrap(), container, runs);
        let starts: Vec<_> = told.iter().map(|it| it.split(" is not ").next().unwrap()).collect();
        assert_eq!(starts, want, "{told:?}");
    }

    #[test]
    fn names_that_mean_nothing_are_told_once_for_a_pod() {
        let misspelt = ["eyot.io/alowed-hosts", "eyot.io/allowed-hosts", "analysis.eyot.io/interval", "other"];
        let told = ["annotation eyot.io/alowed-hosts"];
        for runs in [Runs::Service, Runs::PerRequest, Runs::Once] {
            check(&misspelt, &["a", "b"], "a", runs, &told);
            check(&misspelt, &["a", "b"], "b", runs, &[]);
        }
        check(&KNOWN, &["a"], "a", Runs::Service, &[]);
        check(&[], &["a"], "a", Runs::Once, &[]);
    }

    #[test]
    fn what_is_for_requests_does_nothing_for_a_command() {
        let both = [reuse::REQUESTS, deadline::TIMEOUT];
        let told = ["annotation eyot.io/instance-reuse", "annotation eyot.io/request-timeout"];
        check(&both, &["a"], "a", Runs::Service, &[]);
        check(&both, &["a"], "a", Runs::PerRequest, &told[..1]);
        check(&both, &["a"], "a", Runs::Once, &told);
        check(&both, &["a", "b"], "a", Runs::Once, &[]);
    }
}
