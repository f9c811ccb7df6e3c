//! `eyot push`: a file becomes a CNCF Wasm OCI artifact in a registry.

use anyhow::{Context, Result};
use eyot_registry::{Credential, PushOptions};

use crate::flags::PushFlags;

/// Pushes the file and prints the reference with its digest.
pub(crate) async fn run(flags: PushFlags) -> Result<()> {
    let mut options = PushOptions::default();
    if let (Some(username), Some(password)) = (flags.username, flags.password) {
        let registry = flags.reference.split('/').next().unwrap_or_default().to_owned();
        options.credentials.push(Credential { registry, username, password });
    }
    let wasm = std::fs::read(&flags.file).with_context(|| format!("reading {}", flags.file.display()))?;
    let pushed = eyot_registry::push(&flags.reference, wasm.into(), &options)
        .await
        .with_context(|| format!("pushing {}", flags.file.display()))?;
    println!("{}@{}", pushed.reference, pushed.digest);
    Ok(())
}
