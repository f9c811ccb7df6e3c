//! Any bytes as calls of the host by a `wasi:http` component: any order, any handles, any lengths.
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

use hostility::{Arena, caller};
use libfuzzer_sys::fuzz_target;

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
static ARENA: LazyLock<Arena> = LazyLock::new(|| TOKIO.block_on(Arena::new(true)));
/// Every guest goes by a name of its own: what was compiled under the last one is another's.
static COUNT: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|bytes: &[u8]| {
    let Some((wasm, calls)) = caller(bytes) else { return };
    let name = COUNT.fetch_add(1, Relaxed).to_string();
    let (answer, _) = TOKIO.block_on(ARENA.ask(&name, &wasm));
    let answer = answer.unwrap_or_else(|error| panic!("{error}\n{calls}"));
    assert!(!answer.contains("lost"), "the host fell: {answer}\n{calls}");
    TOKIO.block_on(ARENA.neighbour_answers());
});
