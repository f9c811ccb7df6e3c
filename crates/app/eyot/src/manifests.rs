//! `--manifests DIR`: what lies in the directory is applied at start and whenever it changes.
//!
//! Deleting a file deletes nothing: the directory says what must be there, not what must not. Hidden files and folders
//! are passed over, and so are folders that hold a file named `.eyotignore`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use kube::Client;
use notify::{RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::apply::{self, Outcome};

/// Editors write a file in several steps; wait until they are through.
const SETTLE: Duration = Duration::from_millis(100);
/// How often a file that could not be applied is tried again, and the directory looked over for missed events.
const RESCAN: Duration = Duration::from_secs(15);
/// A folder with a file of this name is for somebody else.
const PASSED_OVER: &str = eyot_advise::render::PASSED_OVER;
/// A manifest larger than this is refused rather than read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Keeps `dir` applied until `stop`.
pub(crate) async fn keep_applied(client: Client, dir: PathBuf, stop: CancellationToken) -> Result<()> {
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |_| {
        // Full means that a rescan is due already.
        let _ = changed.try_send(());
    })
    .context("watching manifests")?;
    watcher.watch(&dir, RecursiveMode::Recursive).with_context(|| format!("watching {}", dir.display()))?;
    let mut applied = HashMap::new();
    loop {
        scan(&client, &dir, &mut applied).await;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = changes.recv() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(RESCAN) => {}
        }
    }
}

/// Applies every file whose content is not what was applied last.
async fn scan(client: &Client, dir: &Path, applied: &mut HashMap<PathBuf, [u8; 32]>) {
    for path in files(dir) {
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(file = %path.display(), "manifest not read: {error:#}");
                continue;
            }
        };
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if applied.get(&path) == Some(&digest) {
            continue;
        }
        match apply_file(client, &path, &text).await {
            Ok(()) => drop(applied.insert(path, digest)),
            Err(error) => tracing::error!(file = %path.display(), "manifest not applied: {error:#}"),
        }
    }
}

async fn apply_file(client: &Client, path: &Path, text: &str) -> Result<()> {
    for object in apply::parse(text)? {
        let label = apply::label(&object);
        match apply::apply(client, object).await? {
            Outcome::Unchanged => {}
            outcome => tracing::info!(file = %path.display(), "{label} {}", format!("{outcome:?}").to_lowercase()),
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes = path.metadata().context("looking at it")?.len();
    anyhow::ensure!(bytes <= FILE_BYTES_MAX, "{bytes} bytes; at most {FILE_BYTES_MAX} are read");
    std::fs::read_to_string(path).context("reading it")
}

/// The manifests below `dir`, in the order of their names, so that `00-namespace.yaml` comes first.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match path.extension().and_then(|it| it.to_str()) {
                _ if hidden => {}
                _ if path.is_dir() && path.join(PASSED_OVER).exists() => {}
                _ if path.is_dir() => pending.push(path),
                Some("yaml" | "yml" | "json") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
