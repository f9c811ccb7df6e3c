//! What a Wasm file is, needs and would be given, without compiling it.
//!
//! Start at [`describe`].

use wasmtime::Engine;

use crate::{
    LoadError, ProgramKind,
    config::WASM_BYTES_MAX,
    debuginfo,
    inspect::Seen,
    link,
    load::{self, preview1_names},
    weigh::{known, weigh_as},
};

/// What is known of a file before it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// How it would be run; else why it cannot be.
    pub kind: Result<ProgramKind, LoadError>,
    /// Whether it is a component; else it is a core module.
    pub is_component: bool,
    /// Size of the file.
    pub bytes: u64,
    /// What it asks its host for.
    pub imports: Vec<Import>,
    /// What it offers its host.
    pub exports: Vec<String>,
    /// Linear memory that all memories in it start with, in bytes.
    pub memory_initial_bytes: u64,
    /// Debug information in it, in bytes.
    pub debug_bytes: u64,
    /// Whether traps tell lines of its source: it has debug information, and no more than is read.
    pub has_lines: bool,
    /// Languages and tools it says it was built with.
    pub built_with: Vec<String>,
}

/// Something a file asks its host for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// An interface of a component, `module/name` of a core module.
    pub name: String,
    /// Whether this runtime has it.
    pub is_offered: bool,
}

/// Describes `wasm`.
///
/// # Errors
///
/// When it is no WebAssembly or ends in the middle. What merely cannot run, invalid code included, is described.
pub fn describe(wasm: &[u8]) -> Result<Description, LoadError> {
    let seen = Seen::read(wasm)?;
    let imports = imports(&seen)?;
    let missing = imports.iter().find(|it| !it.is_offered).map(|it| LoadError::UnknownImport(it.name.clone()));
    let kind = seen.kind().and_then(|it| missing.map_or(Ok(it), Err));
    let kind =
        kind.and_then(|it| check_size(wasm).and_then(|()| weigh_as(wasm, known(it.is_concurrent()))).map(|_| it));
    let debug_bytes = debuginfo::bytes(wasm);
    Ok(Description {
        has_lines: kind.as_ref().is_ok_and(|it| debuginfo::is_used(*it, debug_bytes)),
        kind,
        is_component: seen.is_component(),
        bytes: wasm.len() as u64,
        imports,
        exports: seen.exports,
        memory_initial_bytes: seen.memory_initial_bytes,
        debug_bytes,
        built_with: seen.built_with,
    })
}

/// Checks that `wasm` may be run, or be part of what is: a library, whose imports are nobody's here and which has no entry point.
///
/// # Errors
///
/// When it is too large, truncated, invalid or too heavy to be compiled, needs what is off, or has a `_start` that cannot be called.
pub fn validate(wasm: &[u8]) -> Result<(), LoadError> {
    check_size(wasm)?;
    let seen = Seen::read(wasm)?;
    match seen.kind() {
        Err(LoadError::NoEntryPoint(_)) if !seen.has_start() => {}
        other => drop(other?),
    }
    weigh_as(wasm, known(true)).map(drop)
}

fn check_size(wasm: &[u8]) -> Result<(), LoadError> {
    let (bytes, max) = (wasm.len() as u64, WASM_BYTES_MAX);
    if bytes > max { Err(LoadError::TooLarge { bytes, max }) } else { Ok(()) }
}

fn imports(seen: &Seen) -> Result<Vec<Import>, LoadError> {
    if seen.is_component() {
        let offers = |name: &str| seen.kind().map_or_else(|_| link::offers(name), |kind| load::offers(kind, name));
        let import = |name: &String| Import { name: name.clone(), is_offered: offers(name) };
        return Ok(seen.component_imports.iter().map(import).collect());
    }
    let failed = |error: wasmtime::Error| LoadError::Compile(format!("listing what is offered: {error:#}"));
    let offered = preview1_names(&Engine::default()).map_err(failed)?;
    let import = |(module, name, _): &(String, String, &str)| Import {
        name: format!("{module}/{name}"),
        is_offered: offered.contains(&(module.clone(), name.clone())),
    };
    Ok(seen.module_imports.iter().map(import).collect())
}

impl Description {
    /// What the guest may do with what it imports, in words: the whole of what it can reach.
    pub fn allowed(&self) -> Vec<&'static str> {
        let asks = |parts: &[&str]| self.imports.iter().any(|it| parts.iter().any(|part| it.name.contains(part)));
        GRANTS.iter().filter(|(parts, _)| asks(parts)).map(|(_, words)| *words).collect()
    }
}

/// Parts of names of imports, and what a guest that has one of them may do.
const GRANTS: [(&[&str], &str); 10] = [
    (
        &["wasi:cli/environment", "/environ_get", "/args_get"],
        "read its arguments and environment: those of its container",
    ),
    (&["wasi:config/"], "read its settings: the environment of its container"),
    (&["wasi:keyvalue/"], "keep values in the buckets of its namespace"),
    (&["wasi:blobstore/"], "keep objects in the containers of its namespace"),
    (&["wasi:cli/std", "/fd_write"], "print to the pod's log"),
    (
        &["wasi:filesystem/", "/path_open"],
        "open files in the pod's volumes, under their mount paths; read-only mounts stay as they are",
    ),
    (
        &["wasi:http/outgoing-handler", "wasi:http/client"],
        "send HTTP requests through the gateway: Services by name, everything else out",
    ),
    (
        &["wasi:sockets/tcp", "wasi:sockets/udp", "wasi:sockets/instance-network", "wasi:sockets/types"],
        "bind sockets at the pod's own address, connect anywhere but to loopback and link-local addresses that are no pod's",
    ),
    (&["wasi:clocks/", "/clock_time_get"], "read the clocks"),
    (&["wasi:random/", "/random_get"], "draw random numbers"),
];

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(wat: &str, want: Expect) {
        let it = describe(&wat::parse_str(wat).unwrap()).unwrap();
        let kind = it.kind.as_ref().map_or_else(LoadError::to_string, ProgramKind::to_string);
        let imports: Vec<_> = it.imports.iter().map(|it| format!("{} {}", it.name, it.is_offered)).collect();
        let built = it.built_with.join(", ");
        want.assert_eq(&format!("{kind}\n{imports:?}\n{:?}\n{built}", it.allowed()));
    }

    #[test]
    fn a_component_is_allowed_what_it_imports() {
        check(
            r#"(component
                (import "wasi:filesystem/types@0.2.3" (instance))
                (import "wasi:config/store@0.2.0-rc.1" (instance))
                (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#,
            expect![[r#"
                wasi:cli component
                ["wasi:filesystem/types@0.2.3 true", "wasi:config/store@0.2.0-rc.1 true"]
                ["read its settings: the environment of its container", "open files in the pod's volumes, under their mount paths; read-only mounts stay as they are"]
            "#]],
        );
    }

    #[test]
    fn what_nobody_offers_is_named() {
        check(
            r#"(component (import "acme:billing/ledger@1.0.0" (instance)) (import "wasi:http/types@0.4.0" (instance))
                (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
            expect![[r#"
                unknown import: acme:billing/ledger@1.0.0
                ["acme:billing/ledger@1.0.0 false", "wasi:http/types@0.4.0 false"]
                []
            "#]],
        );
    }

    #[test]
    fn what_is_offered_to_a_component_of_0_3_is_both_and_no_draft() {
        check(
            r#"(component
                (import "wasi:http/client@0.3.0" (instance)) (import "wasi:cli/stdout@0.2.6" (instance))
                (import "wasi:sockets/types@0.3.0-rc-2026-01-06" (instance)) (import "wasi:blobstore/types@0.2.0-draft" (instance))
                (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#,
            expect![[r#"
                unknown import: wasi:sockets/types@0.3.0-rc-2026-01-06
                ["wasi:http/client@0.3.0 true", "wasi:cli/stdout@0.2.6 true", "wasi:sockets/types@0.3.0-rc-2026-01-06 false", "wasi:blobstore/types@0.2.0-draft true"]
                ["keep objects in the containers of its namespace", "print to the pod's log", "send HTTP requests through the gateway: Services by name, everything else out", "bind sockets at the pod's own address, connect anywhere but to loopback and link-local addresses that are no pod's"]
            "#]],
        );
    }

    #[test]
    fn a_module_tells_its_functions_and_its_tools() {
        check(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (import "env" "emscripten_memcpy" (func))
                (func (export "_start"))
                (@producers (language "C" "11") (processed-by "clang" "19.1")))"#,
            expect![[r#"
                unknown import: env/emscripten_memcpy
                ["wasi_snapshot_preview1/fd_write true", "env/emscripten_memcpy false"]
                ["print to the pod's log"]
                C 11, clang 19.1"#]],
        );
    }

    #[test]
    fn what_is_invalid_is_described_and_refused() {
        let wrong = r#"(module (func (export "_start") (drop (local.get 7))))"#;
        check(
            wrong,
            expect![[r#"
                invalid WebAssembly: unknown local 7: local index out of bounds at byte 35
                []
                []
            "#]],
        );
        let told = |wat: &str| validate(&wat::parse_str(wat).unwrap()).map_err(|it| it.to_string());
        assert!(told(wrong).unwrap_err().starts_with("invalid WebAssembly: unknown local 7"));
        assert!(
            told(r#"(module (func (export "_start") (param i32)))"#).unwrap_err().starts_with("no entry point: _start")
        );
        assert!(
            told(r#"(module (func try catch_all end))"#)
                .unwrap_err()
                .contains("proposal that is not supported: legacy_exceptions")
        );
        for fine in [
            r#"(module (func (export "add")))"#,
            r#"(module (import "env" "memory" (memory 2)) (func (export "opa_eval") (param i32)))"#,
            r#"(component (import "acme:billing/ledger@1.0.0" (instance)))"#,
            r#"(module (memory i64 1) (func (export "_start") (drop (i32x4.splat (i32.const 1)))))"#,
        ] {
            assert_eq!(told(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn a_library_is_described_though_it_cannot_run() {
        check(
            r#"(module (func (export "add")))"#,
            expect![[r#"
                no entry point: the module exports add, and no _start
                []
                []
            "#]],
        );
    }
}
