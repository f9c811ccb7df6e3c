//! What containers print, on disk as the container runtime interface lays it out.
//!
//! [`Log`] is the writing end, one per run of a container; [`read`] serves `kubectl logs`. A line on disk reads
//! `TIME STREAM TAG TEXT`, TAG being `F` for a whole line and `P` for a part of one. Files rotate at [`FILE_BYTES_MAX`],
//! and [`FILES_MAX`] are kept.

mod line;
pub(crate) mod read;
pub(crate) mod tap;
mod write;

use std::path::{Path, PathBuf};

pub(crate) use write::{Log, OpenLogs};

/// A log file larger than this is rotated.
pub(crate) const FILE_BYTES_MAX: u64 = 10 << 20;
/// How many files of one run are kept.
pub(crate) const FILES_MAX: u32 = 3;

/// Where the logs of a pod lie.
pub(crate) fn pod_directory(root: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{uid}"))
}

/// The file of one run of a container: how often it was restarted names it.
pub(crate) fn run_file(pod_directory: &Path, container: &str, restarts: u32) -> PathBuf {
    pod_directory.join(container).join(format!("{restarts}.log"))
}

/// A rotated file; generation 1 is the youngest.
fn rotated(file: &Path, generation: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{generation}"));
    name.into()
}
