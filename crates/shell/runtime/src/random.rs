//! Random bytes in pieces: wasmtime makes as many as a guest asks for, 64 MiB at most, without letting anybody else have the
//! thread meanwhile.
//!
//! Start at [`in_pieces`]. Preview 1 has no way to wait between them; its guests are commands, which share no thread that serves.

use wasmtime::{StoreContextMut, component::Linker};
use wasmtime_wasi::{p2, p3, random::WasiRandomCtx};

use crate::state::{CALL_BYTES_MAX, State};

/// Bytes that are made in one go: less than a turn.
const PIECE: u64 = 64 << 10;

/// Most bytes that a guest of WASI 0.2 or preview 1 may ask for at once: they are held for it.
pub(crate) const BYTES_MAX: u64 = CALL_BYTES_MAX as u64;

type Make = fn(&mut WasiRandomCtx, u64) -> wasmtime::Result<Vec<u8>>;

/// Puts turns between pieces of random bytes of WASI 0.2. `linker` must allow shadowing.
pub(crate) fn in_pieces(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use p2::bindings::random::{insecure, random};
    let of_kernel: Make = <WasiRandomCtx as random::Host>::get_random_bytes;
    let fast: Make = <WasiRandomCtx as insecure::Host>::get_insecure_random_bytes;
    for (interface, function, make) in [
        ("wasi:random/random@0.2.12", "get-random-bytes", of_kernel),
        ("wasi:random/insecure@0.2.12", "get-insecure-random-bytes", fast),
    ] {
        linker.instance(interface)?.func_wrap_async(
            function,
            move |mut store: StoreContextMut<'_, State>, (wanted,): (u64,)| {
                Box::new(async move {
                    if wanted > BYTES_MAX {
                        wasmtime::bail!("{wanted} random bytes at once: {BYTES_MAX} are the most");
                    }
                    let mut bytes = make(store.data_mut().random(), wanted.min(PIECE))?;
                    while (bytes.len() as u64) < wanted {
                        tokio::task::yield_now().await;
                        let left = wanted - bytes.len() as u64;
                        bytes.extend(make(store.data_mut().random(), left.min(PIECE))?);
                    }
                    Ok((bytes,))
                })
            },
        )?;
    }
    Ok(())
}

/// Gives guests of WASI 0.3 one piece, which may be less than they ask for. `linker` must allow shadowing.
pub(crate) fn one_piece(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use p3::bindings::random::{insecure, random};
    let of_kernel: Make = <WasiRandomCtx as random::Host>::get_random_bytes;
    let fast: Make = <WasiRandomCtx as insecure::Host>::get_insecure_random_bytes;
    for (interface, function, make) in [
        ("wasi:random/random@0.3.0", "get-random-bytes", of_kernel),
        ("wasi:random/insecure@0.3.0", "get-insecure-random-bytes", fast),
    ] {
        linker.instance(interface)?.func_wrap(
            function,
            move |mut store: StoreContextMut<'_, State>, (wanted,): (u64,)| {
                Ok((make(store.data_mut().random(), wanted.min(PIECE))?,))
            },
        )?;
    }
    Ok(())
}
