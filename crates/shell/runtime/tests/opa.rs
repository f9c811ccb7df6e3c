//! Policies compiled to WebAssembly: answers, built-in functions, and modules that misbehave.
//!
//! The modules are written by hand against OPA's ABI; values are their own text, so that dumping and parsing are the
//! identity.

mod common;

use std::{sync::Arc, time::Duration};

use common::Bench;
use eyot_runtime::{OpaBounds, OpaBuiltins, OpaError, OpaPolicy};

/// Knows one function, which repeats its argument, and one that fails.
struct Echo;

impl OpaBuiltins for Echo {
    fn knows(&self, name: &str) -> bool {
        ["echo", "undefined", "fail"].contains(&name)
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Result<Option<String>, String> {
        match name {
            "undefined" => Ok(None),
            "fail" => Err("no way".into()),
            _ => Ok(Some(format!("[{{\"result\": {}}}]", arguments.join(",")))),
        }
    }
}

/// A module whose `opa_eval` is `body`; it may use `$input` and `$length`, and `$heap`.
fn policy(minor: i32, builtin: &str, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module
            (import "env" "memory" (memory 1))
            (import "env" "opa_abort" (func $abort (param i32)))
            (import "env" "opa_builtin1" (func $builtin1 (param i32 i32 i32) (result i32)))
            (global (export "opa_wasm_abi_version") i32 (i32.const 1))
            (global (export "opa_wasm_abi_minor_version") i32 (i32.const {minor}))
            (global $top (mut i32) (i32.const 4096))
            (export "memory" (memory 0))
            (data (i32.const 16) "{{\22a/allow\22: 0}}\00")
            (data (i32.const 64) "{{\22{builtin}\22: 7}}\00")
            (data (i32.const 128) "[{{\22result\22: true}}]\00")
            (data (i32.const 192) "something is wrong\00")
            (data (i32.const 256) "\22told\22\00")
            (func (export "opa_malloc") (param i32) (result i32)
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (i32.add (local.get 0) (i32.const 1)))))
            (func (export "opa_value_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_value_parse") (param i32 i32) (result i32)
                (i32.store8 (i32.add (local.get 0) (local.get 1)) (i32.const 0)) (local.get 0))
            (func (export "opa_json_parse") (param i32 i32) (result i32) (local.get 0))
            (func (export "opa_heap_ptr_get") (result i32) (global.get $top))
            (func (export "opa_heap_ptr_set") (param i32) (global.set $top (local.get 0)))
            (func (export "builtins") (result i32) (i32.const 64))
            (func (export "entrypoints") (result i32) (i32.const 16))
            (func (export "opa_eval") (param i32 i32 i32) (param $input i32) (param $length i32) (param $heap i32) (param i32)
                (result i32) {body}))"#
    );
    wat::parse_str(wat).unwrap()
}

fn load(bench: &Bench, wasm: &[u8]) -> Result<OpaPolicy, OpaError> {
    let bounds = OpaBounds { memory_bytes: 16 << 20, deadline: Duration::from_millis(50) };
    bench.runtime.opa_policy(wasm, "{}", Arc::new(Echo), bounds)
}

#[test]
fn an_entry_point_answers_again_and_again_and_from_many_threads() {
    let bench = Bench::new();
    let policy = load(&bench, &policy(2, "echo", "(i32.const 128)")).unwrap();
    assert_eq!(policy.entrypoints().collect::<Vec<_>>(), ["a/allow"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(policy.eval("a/allow", Some("{}")).unwrap(), r#"[{"result": true}]"#);
                }
            });
        }
    });
    let error = policy.eval("b", None).unwrap_err();
    assert_eq!(error.to_string(), r#"the module has no entry point "b"; it has a/allow"#);
}

#[test]
fn input_lies_where_the_policy_is_told_and_the_heap_begins_behind_it() {
    let bench = Bench::new();
    // Terminates the input and gives it back; traps where the heap would overlap it.
    let body = "(if (i32.lt_u (local.get $heap) (i32.add (local.get $input) (local.get $length))) (then unreachable))
        (i32.store8 (i32.add (local.get $input) (local.get $length)) (i32.const 0)) (local.get $input)";
    let policy = load(&bench, &policy(3, "echo", body)).unwrap();
    for input in ["{}", "[1, 2, 3]", &format!("\"{}\"", "x".repeat(500_000)), "{}"] {
        assert_eq!(policy.eval("a/allow", Some(input)).unwrap(), input);
    }
}

#[test]
fn functions_of_the_host_are_called_with_values() {
    let bench = Bench::new();
    let call = "(call $builtin1 (i32.const 7) (i32.const 0) (i32.const 256))";
    let policy_of = |builtin| load(&bench, &policy(2, builtin, call));
    assert_eq!(policy_of("echo").unwrap().eval("a/allow", None).unwrap(), r#"[{"result": "told"}]"#);
    let failed = policy_of("fail").unwrap().eval("a/allow", None).unwrap_err();
    assert_eq!(failed, OpaError::Failed("fail: no way".into()));
    assert_eq!(policy_of("http.send").unwrap_err(), OpaError::Builtin("http.send".into()));
}

#[test]
fn a_policy_that_does_not_end_is_stopped_and_the_next_question_is_answered() {
    let bench = Bench::new();
    // Loops when the input begins with `[`.
    let body = "(if (i32.eq (i32.load8_u (local.get $input)) (i32.const 91)) (then (loop $again (br $again))))
        (i32.const 128)";
    let policy = load(&bench, &policy(2, "echo", body)).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(policy.eval("a/allow", Some("[]")).unwrap_err(), OpaError::Deadline(Duration::from_millis(50)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(policy.eval("a/allow", Some("{}")).is_ok());
}

#[test]
fn memory_ends_at_the_bound() {
    let bench = Bench::new();
    let grow = "(drop (memory.grow (i32.const 10000))) (if (i32.gt_u (memory.size) (i32.const 256)) (then unreachable))
        (i32.const 128)";
    let policy = load(&bench, &policy(2, "echo", grow)).unwrap();
    assert!(policy.eval("a/allow", None).is_ok(), "growing failed and was told");
    let input = format!("\"{}\"", "x".repeat(20 << 20));
    assert_eq!(policy.eval("a/allow", Some(&input)).unwrap_err(), OpaError::Memory(16 << 20));
}

#[test]
fn a_policy_that_aborts_says_why() {
    let bench = Bench::new();
    let policy = load(&bench, &policy(2, "echo", "(call $abort (i32.const 192)) (i32.const 0)")).unwrap();
    let error = policy.eval("a/allow", None).unwrap_err();
    assert_eq!(error.to_string(), "the evaluation failed: the policy aborted: something is wrong");
}

#[test]
fn what_is_no_policy_is_told() {
    let bench = Bench::new();
    let text = |wat: &str| load(&bench, &wat::parse_str(wat).unwrap()).unwrap_err().to_string();
    assert_eq!(
        load(&bench, b"\x7fELF").unwrap_err().to_string(),
        "the policy module is not usable: it is no WebAssembly module"
    );
    let no_abi = text("(module (func (export \"_start\")))");
    assert_eq!(no_abi, "the policy module is not usable: it is none of OPA's: it exports no opa_wasm_abi_version");
    let wasi = text(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))"#);
    assert_eq!(wasi, r#"the module imports "proc_exit" of "wasi_snapshot_preview1", which no OPA policy does"#);
    let newer = text(
        r#"(module (memory (export "memory") 1) (global (export "opa_wasm_abi_version") i32 (i32.const 2))
            (global (export "opa_wasm_abi_minor_version") i32 (i32.const 0)))"#,
    );
    assert_eq!(newer, "the module has OPA ABI 2.0; 1.1 to 1.x are supported");
    let whole = policy(2, "echo", "(i32.const 128)");
    for cut in [9, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(load(&bench, &whole[..cut]), Err(OpaError::Module(_))), "cut at {cut}");
    }
}

#[test]
fn compiled_policies_are_taken_from_the_cache() {
    let bench = Bench::new();
    let wasm = policy(2, "echo", "(i32.const 128)");
    load(&bench, &wasm).unwrap();
    let files = || {
        let dirs = std::fs::read_dir(bench.dir.path().join("cache")).unwrap().map(|it| it.unwrap().path());
        let files = dirs.filter(|it| it.is_dir()).flat_map(|it| std::fs::read_dir(it).unwrap());
        files.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("opa-")).count()
    };
    assert_eq!(files(), 1);
    load(&bench, &wasm).unwrap();
    assert_eq!(files(), 1);
}

/// Modules that real OPA compiled, where a directory of them is given: every entry point answers.
#[test]
fn modules_of_real_opa_answer() {
    let Some(dir) = std::env::var_os("EYOT_OPA_WASM_DIR") else { return };
    let bench = Bench::new();
    let mut answered = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "wasm") {
            continue;
        }
        match load(&bench, &std::fs::read(&path).unwrap()) {
            Ok(policy) => {
                for entrypoint in policy.entrypoints() {
                    println!(
                        "{} {:?} {entrypoint}: {:?}",
                        path.display(),
                        policy.abi(),
                        policy.eval(entrypoint, Some("{}"))
                    );
                    answered += 1;
                }
            }
            Err(error) => println!("{}: {error}", path.display()),
        }
    }
    assert!(answered > 0);
}
