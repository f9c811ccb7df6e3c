//! Every module of `differential/` means here what it means to OPA. Runs where there is an `opa`: on the path, or named by
//! `EYOT_OPA`; says that it was skipped where there is none.
//!
//! A module's comments say its input (`# input: …`) and, where it is in the dialect before OPA 1.0, `# v0`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use eyot_rego::{Dialect, Program, Request, Source, Value};
use serde_json::Value as Json;

/// The program to compare with, if there is one.
fn opa() -> Option<PathBuf> {
    let named = std::env::var_os("EYOT_OPA").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "opa".into());
    let answers = Command::new(&program).arg("version").output().is_ok_and(|it| it.status.success());
    answers.then_some(program)
}

struct Module {
    name: String,
    path: PathBuf,
    text: String,
    input: String,
    dialect: Dialect,
}

fn modules() -> Vec<Module> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let input = text.lines().find_map(|it| it.strip_prefix("# input: ")).unwrap_or("{}").to_owned();
        let dialect = if text.starts_with("# v0\n") { Dialect::V0 } else { Dialect::V1 };
        Module { name: path.file_name().unwrap().to_string_lossy().into_owned(), path, text, input, dialect }
    };
    paths.into_iter().map(read).collect()
}

/// What the module's package comes to here.
fn here(module: &Module) -> Json {
    let source = Source { name: module.name.clone(), text: module.text.clone(), dialect: module.dialect };
    let program = Program::compile(&[source]).unwrap_or_else(|flaws| panic!("{}: {flaws:?}", module.name));
    let input: Json = serde_json::from_str(&module.input).unwrap();
    let request = Request::new(Some(Value::from(&input)), 1_700_000_000_000_000_000);
    let value = program.value("data.t", &request).unwrap_or_else(|fault| panic!("{}: {fault}", module.name));
    value.map_or(Json::Null, |it| it.to_json())
}

/// What it comes to there.
fn there(opa: &Path, module: &Module) -> Json {
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), &module.input).unwrap();
    let mut command = Command::new(opa);
    command.args(["eval", "--format", "json", "-d"]).arg(&module.path).arg("-i").arg(input.path());
    if module.dialect == Dialect::V0 {
        command.arg("--v0-compatible");
    }
    let output = command.arg("data.t").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let answer: Json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{}: {error}: {said}", module.name));
    assert!(answer["errors"].is_null(), "{}: {said}", module.name);
    answer["result"][0]["expressions"][0]["value"].clone()
}

/// Numbers are compared by their value, however they are written.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, one)| other.get(key).is_some_and(|it| same(one, it)))
        }
        _ => one == other,
    }
}

/// The rules of a package that differ.
fn differences(here: &Json, there: &Json) -> Vec<String> {
    let names = |it: &Json| it.as_object().map(|it| it.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut all: Vec<String> = names(here).into_iter().chain(names(there)).collect();
    all.sort();
    all.dedup();
    let of = |it: &Json, name: &str| it.get(name).map_or("undefined".to_owned(), Json::to_string);
    let differ = |name: &String| match (here.get(name), there.get(name)) {
        (Some(here), Some(there)) => !same(here, there),
        _ => true,
    };
    let told = all.iter().filter(|it| differ(it));
    told.map(|name| format!("{name}: here {}, there {}", of(here, name), of(there, name))).collect()
}

#[test]
fn modules_mean_what_they_mean_to_opa() {
    let modules = modules();
    // Also without OPA they must compile, and be evaluated to their end.
    let found: Vec<(Module, Json)> = modules.into_iter().map(|it| (here(&it), it)).map(|(a, b)| (b, a)).collect();
    assert!(found.len() >= 10 && found.iter().all(|it| it.1.as_object().is_some_and(|it| !it.is_empty())));
    let Some(opa) = opa() else {
        eprintln!("skipped: there is no `opa` on the path, and EYOT_OPA names none");
        return;
    };
    let mut wrong = String::new();
    for (module, here) in &found {
        for difference in differences(here, &there(&opa, module)) {
            wrong.push_str(&format!("{}: {difference}\n", module.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
