//! What a runtime is built with.

use std::{path::PathBuf, sync::Arc};

use eyot_dispatch::Lookups;

/// Largest Wasm file that nodes accept, in bytes.
pub(crate) const WASM_BYTES_MAX: u64 = 256 << 20;

/// Settings of one [`crate::Runtime`]. Start from [`RuntimeConfig::new`].
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled code is kept; created when absent.
    pub cache_dir: PathBuf,
    /// Largest Wasm file accepted, in bytes.
    pub wasm_bytes_max: u64,
    /// Most compilations at once, of small files and of others each; others wait their turn. What takes very long lets the next
    /// begin beside it, two at most.
    pub compiles_max: usize,
    /// Bytes of code from which on a `wasi:http` component is first compiled in a hurry, so that it answers soon, and then once
    /// more behind its back; `None` compiles everything well at once.
    pub early_code_bytes: Option<u64>,
    /// Most compilations at once that nobody waits for; with none, what was compiled in a hurry stays.
    pub improvements_max: usize,
    /// Most bytes of compiled code kept on disk; what was used longest ago goes first, and never what is in use.
    pub cache_bytes_max: u64,
    /// Most requests inside `wasi:http` guests at once, each with its instance; `None` for 1,024, or fewer where the
    /// machine's address space or memory allows no more. Commands do not count. One program in one namespace has three quarters
    /// of them at most.
    pub instances_max: Option<u32>,
    /// Who looks names up for guests' sockets.
    pub lookups: Arc<Lookups>,
}

impl RuntimeConfig {
    /// Settings that suit most machines, with compiled code under `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            wasm_bytes_max: WASM_BYTES_MAX,
            compiles_max: 1,
            early_code_bytes: Some(128 << 10),
            improvements_max: 1,
            cache_bytes_max: 4 << 30,
            instances_max: None,
            lookups: Arc::default(),
        }
    }
}
