//! Where things lie.

use std::path::{Path, PathBuf};

use crate::profile::Profile;

/// The repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// What xtask installs for itself.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The built guests.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// The `eyot` binary of a profile.
pub(crate) fn eyot(profile: Profile) -> PathBuf {
    target().join(profile.folder()).join("eyot")
}
