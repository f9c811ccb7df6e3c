//! `eyot push`: a file becomes a CNCF Wasm OCI artifact in a registry.

use std::path::Path;

use anyhow::{Context, Result};
use eyot_registry::{Credential, Library, PushOptions};

use crate::flags::PushFlags;

/// Pushes the file and prints the reference with its digest.
pub(crate) async fn run(flags: PushFlags) -> Result<()> {
    let mut options = PushOptions::default();
    if let (Some(username), Some(password)) = (flags.username, flags.password) {
        let registry = flags.reference.split('/').next().unwrap_or_default().to_owned();
        options.credentials.push(Credential { registry, username, password });
    }
    let wasm = read(&flags.file)?;
    for file in &flags.link {
        options.libraries.push(Library { title: title(file), wasm: read(file)?.into() });
    }
    options.title = (!flags.link.is_empty()).then(|| title(&flags.file));
    let pushed = eyot_registry::push(&flags.reference, wasm.into(), &options)
        .await
        .with_context(|| format!("pushing {}", flags.file.display()))?;
    println!("{}@{}", pushed.reference, pushed.digest);
    Ok(())
}

/// Reads a file, and refuses WebAssembly that no node could take.
fn read(file: &Path) -> Result<Vec<u8>> {
    let content = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    if content.starts_with(b"\0asm") {
        eyot_runtime::validate(&content).with_context(|| file.display().to_string())?;
    }
    Ok(content)
}

/// What a file is called.
fn title(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
