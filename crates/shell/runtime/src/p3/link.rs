//! What components of WASI 0.3 can import: all that those of 0.2 can, which their languages' libraries still use, and 0.3 itself.

use std::sync::Arc;

use wasmtime::{
    Engine, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    cli::WasiCli,
    clocks::WasiClocks,
    filesystem::{Descriptor, WasiFilesystem},
    p3::bindings::{cli, clocks, filesystem, random, sockets},
    random::WasiRandom,
    sockets::WasiSockets,
};

use super::{held, http, net, said};
use crate::{fields, listings, request, state::State};

/// Packages of WASI 0.3.
const PACKAGES: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:random/", "wasi:sockets/"];

/// Whether WASI 0.3 has the interface `name`, as far as its package and version tell.
pub(crate) fn offers(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    version.starts_with("0.3.") && !version.contains('-') && PACKAGES.iter().any(|it| interface.starts_with(it))
}

/// Everything a component of WASI 0.3 can import.
pub(crate) fn component_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = crate::link::component_linker(engine)?;
    let l = &mut linker;
    clocks::types::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::system_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, State::random)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::files)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::files)?;
    sockets::types::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    add_cli(l)?;
    wasmtime_wasi_http::p3::add_to_linker(l)?;
    l.allow_shadowing(true);
    http::complete(l)?;
    net::confine(l)?;
    held::bound(l)?;
    request::bound_late(l)?;
    fields::bound_late(l)?;
    listings::bound_late(l)?;
    said::shorten(l)?;
    ask_late(l)?;
    crate::random::one_piece(l)?;
    l.allow_shadowing(false);
    Ok(linker)
}

fn add_cli(l: &mut Linker<State>) -> wasmtime::Result<()> {
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::whole_cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::whole_cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::whole_cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::whole_cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)
}

/// As [`crate::files::ask_late`] does.
fn ask_late(l: &mut Linker<State>) -> wasmtime::Result<()> {
    type Directories = (Vec<(Resource<Descriptor>, String)>,);
    l.instance("wasi:filesystem/preopens@0.3.0")?.func_wrap_async(
        "get-directories",
        |mut store: StoreContextMut<'_, State>, (): ()| {
            Box::new(async move {
                let guest = Arc::clone(store.data().guest());
                guest.files.complete(|why| guest.say(why)).await;
                let mut files = store.data_mut().all_files();
                let directories: Directories = (filesystem::preopens::Host::get_directories(&mut files)?,);
                Ok(directories)
            })
        },
    )
}
