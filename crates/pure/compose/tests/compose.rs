//! Real components, put together and read again.

use expect_test::expect;
use eyot_compose::{ComposeError, Link, Part, compose, links};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Exports `acme:calc/add@0.1.0` with `add: func(a: u32, b: u32) -> u32`.
const ADDER: &str = r#"(component
    (core module $m (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))
    (core instance $i (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (instance $face (export "add" (func $add)))
    (export "acme:calc/add@0.1.0" (instance $face)))"#;

/// Imports that, and `wasi:cli/exit@0.2.0`; exports `acme:app/twice@0.1.0`.
const TWICE: &str = r#"(component
    (import "acme:calc/add@0.1.0" (instance $calc
        (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
    (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
    (core func $add (canon lower (func $calc "add")))
    (core module $m (import "calc" "add" (func $add (param i32 i32) (result i32)))
        (func (export "twice") (param i32) (result i32) (call $add (local.get 0) (local.get 0))))
    (core instance $i (instantiate $m (with "calc" (instance (export "add" (func $add))))))
    (func $twice (param "a" u32) (result u32) (canon lift (core func $i "twice")))
    (instance $face (export "twice" (func $twice)))
    (export "acme:app/twice@0.1.0" (instance $face)))"#;

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

/// Names of the outermost imports and exports.
fn faces(wasm: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(it) if depth == 1 => {
                imports.extend(it.into_iter().map(|it| it.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(it) if depth == 1 => {
                exports.extend(it.into_iter().map(|it| it.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn a_program_and_its_library_become_one_valid_component_that_asks_the_host_for_the_rest() {
    let (app, lib) = (wasm(TWICE), wasm(ADDER));
    let parts = [Part { name: "app.wasm", wasm: &app }, Part { name: "adder.wasm", wasm: &lib }];
    let name = "acme:calc/add@0.1.0".to_owned();
    let link = Link { importer: "app.wasm".into(), import: name.clone(), exporter: "adder.wasm".into(), export: name };
    assert_eq!(links(&parts).unwrap(), [link]);
    let composed = compose(&parts).unwrap();
    Validator::new_with_features(WasmFeatures::all()).validate_all(&composed).unwrap();
    assert_eq!(faces(&composed), (vec!["wasi:cli/exit@0.2.0".into()], vec!["acme:app/twice@0.1.0".into()]));
    assert_eq!(compose(&parts).unwrap(), composed, "the same parts make the same component");
}

#[test]
fn a_chain_of_libraries_becomes_one_valid_component() {
    // Takes `acme:calc/add@0.1.0` from the next, and adds one.
    let more = r#"(component
        (import "acme:calc/add@0.1.0" (instance $calc
            (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
        (core func $add (canon lower (func $calc "add")))
        (core module $m (import "calc" "add" (func $add (param i32 i32) (result i32)))
            (func (export "add") (param i32 i32) (result i32)
                (i32.add (i32.const 1) (call $add (local.get 0) (local.get 1)))))
        (core instance $i (instantiate $m (with "calc" (instance (export "add" (func $add))))))
        (func $more (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
        (instance $face (export "add" (func $more)))
        (export "acme:calc/add@0.1.0" (instance $face)))"#;
    let (app, more, lib) = (wasm(TWICE), wasm(more), wasm(ADDER));
    let part = |name, wasm| Part { name, wasm };
    let parts = [part("app", &app), part("one", &more), part("two", &more), part("adder", &lib)];
    let takes: Vec<_> = links(&parts).unwrap().into_iter().map(|it| (it.importer, it.exporter)).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(takes, [pair("app", "one"), pair("one", "two"), pair("two", "adder")]);
    let composed = compose(&parts).unwrap();
    Validator::new_with_features(WasmFeatures::all()).validate_all(&composed).unwrap();
    assert_eq!(faces(&composed).0, ["wasi:cli/exit@0.2.0"]);
}

#[test]
fn parts_that_mean_different_things_by_one_name_are_told_where_they_differ() {
    let (app, lib) = (wasm(TWICE), wasm(&ADDER.replace("(param \"b\" u32)", "(param \"b\" s32)")));
    let error = compose(&[Part { name: "app", wasm: &app }, Part { name: "lib", wasm: &lib }]).unwrap_err();
    let ComposeError::Mismatch { importer, exporter, import, .. } = &error else { panic!("{error}") };
    assert_eq!((importer.as_str(), exporter.as_str(), import.as_str()), ("app", "lib", "acme:calc/add@0.1.0"));
}

#[test]
fn what_is_no_component_is_refused_and_no_truncation_panics() {
    let (app, module) = (wasm(TWICE), wasm("(module)"));
    let of = |lib: &[u8]| compose(&[Part { name: "app", wasm: &app }, Part { name: "lib", wasm: lib }]);
    expect!["lib cannot be linked: it is a core module, and only components are linked"]
        .assert_eq(&of(&module).unwrap_err().to_string());
    let lib = wasm(ADDER);
    // A file that is cut between two sections is a shorter one, perhaps without what it was to export.
    let refused = (0..lib.len()).filter(|len| of(&lib[..*len]).is_err()).count();
    assert!(refused * 10 > lib.len() * 9, "{refused} of {}", lib.len());
}
