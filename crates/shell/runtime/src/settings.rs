//! `wasi:config`: a guest's settings, which are its environment.
//!
//! Kubernetes has one place where a pod says which values of which ConfigMaps and Secrets it gets as text: its environment. A
//! guest that asks by key finds what one that asks for a variable finds, so nothing about settings has to be said twice.

use wasmtime::component::{Linker, Val};

use crate::state::State;

/// Every version of the interface that is in use. They differ in their names only.
pub(crate) const INTERFACES: [&str; 4] = [
    // wasmCloud 1.
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/store@0.2.0-draft",
    // Spin.
    "wasi:config/store@0.2.0-draft-2024-09-27",
    // wasmtime, wasmCloud.
    "wasi:config/store@0.2.0-rc.1",
];

/// Adds all of [`INTERFACES`].
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut store = linker.instance(name)?;
        // By value, not by type: a component whose idea of the interface is another one traps when it calls.
        store.func_new("get", |store, _, arguments, results| {
            let ([Val::String(key)], [result]) = (arguments, results) else { return Err(unlike(name)) };
            let env = &store.data().guest().env;
            // Later ones win, as they do in an environment.
            let found = env.iter().rev().find(|(it, _)| it == key).map(|(_, value)| Box::new(text(value)));
            *result = ok(Val::Option(found));
            Ok(())
        })?;
        store.func_new("get-all", |store, _, _, results| {
            let [result] = results else { return Err(unlike(name)) };
            let pair = |(name, value): &(String, String)| Val::Tuple(vec![text(name), text(value)]);
            *result = ok(Val::List(store.data().guest().env.iter().map(pair).collect()));
            Ok(())
        })?;
    }
    Ok(())
}

fn text(of: &str) -> Val {
    Val::String(of.to_owned())
}

fn ok(value: Val) -> Val {
    Val::Result(Ok(Some(Box::new(value))))
}

fn unlike(interface: &str) -> wasmtime::Error {
    wasmtime::format_err!("{interface} is declared otherwise than it is")
}
