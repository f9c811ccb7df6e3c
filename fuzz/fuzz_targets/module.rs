//! Any bytes as a preview-1 module that runs under a pod's limits.
#![no_main]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "what is made is shared with the tests of the runtime, of which each uses a part"
)]

#[path = "../../crates/shell/runtime/tests/hostility/mod.rs"]
mod hostility;

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hostility::{Arena, command};
use libfuzzer_sys::fuzz_target;

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
static ARENA: LazyLock<Arena> = LazyLock::new(|| TOKIO.block_on(Arena::new(false)));
/// Every guest goes by a name of its own: what was compiled under the last one is another's.
static COUNT: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|bytes: &[u8]| {
    let Some(wasm) = command(bytes) else { return };
    let name = COUNT.fetch_add(1, Relaxed).to_string();
    TOKIO.block_on(ARENA.run(&name, &wasm));
});
