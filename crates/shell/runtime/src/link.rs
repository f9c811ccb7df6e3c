//! What guests can import.
//!
//! wasmtime-wasi's implementation, with seven differences: state that a guest does not use is not made (see
//! [`crate::state::State`]), arguments, environment and output come from the shared [`Guest`], sockets are confined by
//! [`crate::net`], names are looked up by [`crate::resolve`], directories may come late ([`crate::files`]) and
//! are listed a piece at a time ([`crate::listings`]), and random bytes come in pieces ([`crate::random`]).

use std::sync::Arc;

use wasmtime::{
    Engine, StoreContextMut,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    cli::{StdinStream, WasiCli},
    clocks::WasiClocks,
    filesystem::WasiFilesystem,
    p2::{
        DynInputStream, DynOutputStream,
        bindings::{cli, clocks, filesystem, io, random, sockets},
        pipe::ClosedInputStream,
    },
    random::WasiRandom,
    sockets::WasiSockets,
};

use crate::{
    LogStream, blobstore,
    cgi::Invocation,
    fields, files,
    guest::Guest,
    keyvalue, listings, net, readdir, request, resolve, settings,
    state::{Input, ModuleState, State},
};

/// Packages of WASI 0.2 that [`component_linker`] offers.
const PACKAGES: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Whether [`component_linker`] offers the interface `name`, such as `wasi:io/streams@0.2.3`. What it says of an interface that no
/// version of WASI 0.2 has is left to the linker, which names it too.
pub(crate) fn offers(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let is_wasi = version.starts_with("0.2.") && PACKAGES.iter().any(|it| interface.starts_with(it));
    is_wasi
        || [&settings::INTERFACES[..], &keyvalue::INTERFACES, &blobstore::INTERFACES]
            .iter()
            .any(|it| it.contains(&name))
}

/// Everything a component can import.
pub(crate) fn component_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<State, Table>(l, |it| &mut it.table)?;
    io::poll::add_to_linker::<State, Table>(l, |it| &mut it.table)?;
    io::streams::add_to_linker::<State, Table>(l, |it| &mut it.table)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, State::random)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::files)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::files)?;
    add_cli(l)?;
    add_sockets(l)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    request::bound(l)?;
    net::confine(l)?;
    files::ask_late(l)?;
    lend_environment(l)?;
    l.allow_shadowing(true);
    fields::bound(l)?;
    listings::bound(l)?;
    crate::random::in_pieces(l)?;
    l.allow_shadowing(false);
    settings::add_to_linker(l)?;
    keyvalue::add_to_linker(l)?;
    blobstore::add_to_linker(l)?;
    Ok(linker)
}

fn add_cli(l: &mut Linker<State>) -> wasmtime::Result<()> {
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<State, Shared>(l, view)?;
    cli::stdin::add_to_linker::<State, Shared>(l, view)?;
    cli::stdout::add_to_linker::<State, Shared>(l, view)?;
    cli::stderr::add_to_linker::<State, Shared>(l, view)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)
}

/// Lowers the environment from where it is. The generated binding takes a copy for every request that looks at it.
fn lend_environment(l: &mut Linker<State>) -> wasmtime::Result<()> {
    l.allow_shadowing(true);
    l.instance("wasi:cli/environment@0.2.12")?.func_wrap(
        "get-environment",
        |store: StoreContextMut<'_, State>, (): ()| {
            let state = store.data();
            Ok((Arc::clone(environment(state.guest(), state.invocation.as_deref())),))
        },
    )?;
    l.allow_shadowing(false);
    Ok(())
}

/// What an instance's environment is: a request's own, where it has one.
fn environment<'a>(guest: &'a Guest, invocation: Option<&'a Invocation>) -> &'a Arc<[(String, String)]> {
    invocation.map_or(&guest.env, |it| &it.env)
}

fn add_sockets(l: &mut Linker<State>) -> wasmtime::Result<()> {
    sockets::network::add_to_linker::<State, WasiSockets>(l, &Default::default(), State::sockets)?;
    sockets::instance_network::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    resolve::add_to_linker(l)?;
    sockets::tcp::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    sockets::udp::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    sockets::udp_create_socket::add_to_linker::<State, WasiSockets>(l, State::sockets)
}

/// Everything a preview-1 module can import.
pub(crate) fn module_linker(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<ModuleState>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, ModuleState::wasi)?;
    readdir::bound(&mut linker)?;
    Ok(linker)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

struct Shared;

impl HasData for Shared {
    type Data<'a> = View<'a>;
}

/// What is shared by all instances of a guest, and one instance's resources.
struct View<'a> {
    guest: Arc<Guest>,
    stdin: Option<&'a Input>,
    invocation: Option<&'a Invocation>,
    table: &'a mut ResourceTable,
}

fn view(state: &mut State) -> View<'_> {
    let guest = Arc::clone(state.guest());
    View { guest, stdin: state.stdin.as_ref(), invocation: state.invocation.as_deref(), table: &mut state.table }
}

impl cli::environment::Host for View<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(environment(&self.guest, self.invocation).to_vec())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.guest.args.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl cli::stdin::Host for View<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = match self.stdin {
            Some(stdin) => stdin.p2_stream(),
            None => Box::new(ClosedInputStream),
        };
        Ok(self.table.push(stream)?)
    }
}

impl cli::stdout::Host for View<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = match self.invocation {
            Some(own) => Box::new(own.stdout.clone()),
            None => Box::new(self.guest.output(LogStream::Stdout)),
        };
        Ok(self.table.push(stream)?)
    }
}

impl cli::stderr::Host for View<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = match self.invocation.and_then(|it| it.stderr.as_ref()) {
            Some(own) => Box::new(own.clone()),
            None => Box::new(self.guest.output(LogStream::Stderr)),
        };
        Ok(self.table.push(stream)?)
    }
}
