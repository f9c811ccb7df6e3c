//! What the commands share: a small runtime, a connection to a cluster, and words for what went wrong.

use std::{future::Future, path::Path};

use anyhow::{Context, Result};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Runs a client command to its end on one thread.
pub(crate) fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(command)
}

/// Connects to the cluster that `kubeconfig` names, or that the environment does.
pub(crate) async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
        }
        None => kube::Config::from_kubeconfig(&KubeConfigOptions::default()).await,
    };
    let config = config.context("choosing a cluster: give --kubeconfig or set KUBECONFIG")?;
    Client::try_from(config).context("preparing the API client")
}

/// An error and its causes in one line, each told once: of a refusal what the server says, not the object it says it with.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut causes = error.chain().peekable();
    while let Some(cause) = causes.next() {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref()
            && !status.message.is_empty()
        {
            parts.push(status.message.clone());
            break;
        }
        let text = cause.to_string();
        // Some errors end with their cause, and then give it as well.
        let next = causes.peek().map_or_else(String::new, ToString::to_string);
        match text.strip_suffix(&next) {
            Some("") => {}
            Some(own) => parts.push(own.strip_suffix(": ").unwrap_or(&text).to_owned()),
            None => parts.push(text),
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_words_and_a_cause_once() {
        let answer = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "services.serving.knative.dev \"nope\" not found"}"#;
        let refusal = || kube::Error::Api(serde_json::from_str(answer).unwrap());
        let plain = Err::<(), _>(refusal()).context("reading nope").unwrap_err();
        assert_eq!(told(&plain), "reading nope: services.serving.knative.dev \"nope\" not found");
        let watch = kube::runtime::watcher::Error::InitialListFailed(refusal());
        let within = Err::<(), _>(watch).context("watching nope").unwrap_err();
        assert_eq!(
            told(&within),
            "watching nope: failed to perform initial object list: services.serving.knative.dev \"nope\" not found"
        );
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let twice = eyot_registry::BlobError::Io { step: "reading", path: "/d/references.json".into(), source: full() };
        let twice = Err::<(), _>(twice).context("opening the image store").unwrap_err();
        assert_eq!(told(&twice), "opening the image store: reading /d/references.json: no storage space");
        assert_eq!(told(&anyhow::anyhow!("no revision answers yet")), "no revision answers yet");
    }
}
