//! Modules and components made by wasm-smith out of bytes.

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};
use wasmparser::{Parser, Payload};

use super::wrap::{leb, with_caller};

/// How often a guest that must end may go around loops and into functions.
const TURNS: u32 = 2000;

/// A preview-1 module. Some of them have an end.
pub(crate) fn command(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut u = Unstructured::new(bytes);
    let ends = u.ratio(7, 8).ok()?;
    // Shared memories are not offered here: every module would be refused for them.
    let config = Config { threads_enabled: false, ..closed() };
    let mut module = Module::new(config, &mut u).ok()?;
    if ends {
        module.ensure_termination(TURNS).ok()?;
    }
    Some(with_caller(&module.to_bytes(), "_start", &[]))
}

/// Any component.
pub(crate) fn component(bytes: &[u8]) -> Option<Vec<u8>> {
    let component = Component::new(Config::default(), &mut Unstructured::new(bytes)).ok()?;
    Some(component.to_bytes())
}

/// A `wasi:http` component that answers with what generated functions return, which depends on nothing but their code: not on
/// the clock, on what NaNs are made of, nor on the compiler, as far as both compilers know its instructions.
pub(crate) fn service(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut u = Unstructured::new(bytes);
    let config = Config {
        // Half of them come to an answer more often.
        disallow_traps: u.arbitrary().ok()?,
        canonicalize_nans: true,
        // What the instructions do is for each machine to choose.
        relaxed_simd_enabled: false,
        threads_enabled: false,
        // Not known to the baseline compiler.
        gc_enabled: false,
        exceptions_enabled: false,
        tail_call_enabled: false,
        reference_types_enabled: false,
        // Known to it on newer processors only.
        simd_enabled: false,
        max_memory32_bytes: 4 << 20,
        max_memory64_bytes: 4 << 20,
        max_table_elements: 1000,
        ..closed()
    };
    let mut module = Module::new(config, &mut u).ok()?;
    module.ensure_termination(TURNS).ok()?;
    Some(with_module(&template(), &with_caller(&module.to_bytes(), "run", &[0x7e])))
}

/// Modules that need nothing and have something to call.
fn closed() -> Config {
    Config { max_imports: 0, min_funcs: 1, export_everything: true, ..Config::default() }
}

/// A component whose first core module is there to be replaced.
fn template() -> Vec<u8> {
    let handle = "(i64.store (i32.const 1024) (call $run)) (call $hello (local.get $outparam))";
    let text = include_str!("../guests/http.wat")
        .replace(";;HANDLE;;", handle)
        .replace(
            "(core module $libc",
            r#"(core module $generated (func (export "run") (result i64) (i64.const 0)))
            (core instance $generated (instantiate $generated))
            (core module $libc"#,
        )
        .replace("(core module $main", r#"(core module $main (import "generated" "run" (func $run (result i64)))"#)
        .replace(
            r#"(with "libc" (instance $libc))"#,
            r#"(with "libc" (instance $libc)) (with "generated" (instance $generated))"#,
        );
    wat::parse_str(text).expect("the template is a component")
}

/// `component` with `module` as its first core module.
fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    let payloads = Parser::new(0).parse_all(component).flatten();
    let first = payloads.filter_map(|it| match it {
        Payload::ModuleSection { unchecked_range, .. } => Some(unchecked_range),
        _ => None,
    });
    let range = first.into_iter().next().expect("the template has a core module");
    // Before the module: the number of a section of that kind, and its length.
    let start = range.start - 1 - leb(range.len()).len();
    let mut out = component[..start].to_vec();
    out.push(1);
    out.extend(leb(module.len()));
    out.extend(module);
    out.extend(&component[range.end..]);
    out
}
