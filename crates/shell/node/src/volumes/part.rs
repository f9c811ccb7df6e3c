//! Which of a pod's volumes are made when.

use k8s_openapi::api::core::v1::{Pod, Volume};

/// What the API server calls the volume with a token that it gives to pods that do not ask for one.
const LATE_PREFIX: &str = "kube-api-access-";

/// Some of a pod's volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those that are made before a container starts.
    Early,
    /// Those that are made when a guest first looks for a directory: tokens that nobody asked for, which most guests never
    /// look at.
    Late,
    /// All of them.
    All,
}

impl Part {
    /// The volumes of `pod` that belong to it.
    pub(crate) fn volumes(self, pod: &Pod) -> impl Iterator<Item = &Volume> {
        pod.spec.iter().flat_map(|it| it.volumes.iter().flatten()).filter(move |it| self.holds(it))
    }

    /// Whether `volume` belongs to it.
    pub(super) fn holds(self, volume: &Volume) -> bool {
        match self {
            Part::Early => !is_late(volume),
            Part::Late => is_late(volume),
            Part::All => true,
        }
    }
}

fn is_late(volume: &Volume) -> bool {
    let mut sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
    volume.name.starts_with(LATE_PREFIX) && sources.any(|it| it.service_account_token.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_that_nobody_asked_for_come_late() {
        let token = serde_json::json!({ "sources": [{ "serviceAccountToken": { "path": "token" } }] });
        let pod: Pod = serde_json::from_value(serde_json::json!({ "spec": { "containers": [], "volumes": [
            { "name": "kube-api-access-x2x4z", "projected": token },
            { "name": "asked-for", "projected": token },
            { "name": "kube-api-access-other", "emptyDir": {} },
        ] } }))
        .unwrap();
        let names = |part: Part| part.volumes(&pod).map(|it| it.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(Part::Late), ["kube-api-access-x2x4z"]);
        assert_eq!(names(Part::Early), ["asked-for", "kube-api-access-other"]);
        assert_eq!(names(Part::All).len(), 3);
    }
}
