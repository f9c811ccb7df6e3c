//! Any bytes as a `wasi:http` component, of which both compilers must mean the same.
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

use hostility::{Arena, service};
use libfuzzer_sys::fuzz_target;

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
static HURRIED: LazyLock<Arena> = LazyLock::new(|| TOKIO.block_on(Arena::new(true)));
static OPTIMISED: LazyLock<Arena> = LazyLock::new(|| TOKIO.block_on(Arena::new(false)));
/// Every guest goes by a name of its own: what was compiled under the last one is another's.
static COUNT: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|bytes: &[u8]| {
    let Some(wasm) = service(bytes) else { return };
    let name = COUNT.fetch_add(1, Relaxed).to_string();
    let (early, _) = TOKIO.block_on(HURRIED.ask(&name, &wasm));
    let (late, _) = TOKIO.block_on(OPTIMISED.ask(&name, &wasm));
    // Their frames differ in size, and so the depth at which a stack ends.
    let is_deep = |it: &Result<String, _>| it.as_ref().is_ok_and(|it| it.contains("stack"));
    assert!(is_deep(&early) || is_deep(&late) || early == late, "{early:?} {late:?}");
});
