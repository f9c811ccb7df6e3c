//! Runs OPA's own conformance cases: `conformance DIR [--only PART] [--failures]`.
//!
//! DIR holds the files of `v1/test/cases/testdata/v1` (or `v0`) of OPA's sources, in YAML or JSON: lists of cases with
//! modules, data, input, a query, and what is wanted of it. Prints each folder's count, each failure's reason where asked,
//! the built-ins that are missing, and a total. Ends with 1 when a case fails.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use eyot_rego::{Bounds, Dialect, Flaw, Outcome, Program, Request, Source, Value};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cases: Vec<Case>,
}

/// One case; what OPA compares is what is compared here.
#[derive(Deserialize)]
struct Case {
    note: String,
    query: String,
    #[serde(default)]
    modules: Option<Vec<String>>,
    #[serde(default)]
    data: Option<Json>,
    #[serde(default)]
    input: Option<Json>,
    #[serde(default)]
    input_term: Option<String>,
    #[serde(default)]
    want_result: Option<Vec<Json>>,
    #[serde(default)]
    want_defined: Option<bool>,
    #[serde(default)]
    want_error_code: Option<String>,
    #[serde(default)]
    want_error: Option<String>,
    #[serde(default)]
    sort_bindings: bool,
    #[serde(default)]
    strict_error: bool,
}

/// What became of a case that did not pass.
struct Failure {
    note: String,
    why: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = arguments.iter().position(|it| it == "--only").and_then(|at| arguments.get(at + 1));
    let show = arguments.iter().any(|it| it == "--failures");
    let Some(dir) = arguments.first().filter(|it| !it.starts_with("--")) else {
        eprintln!("usage: conformance DIR [--only PART] [--failures]");
        return ExitCode::from(2);
    };
    let dialect = if dir.trim_end_matches('/').ends_with("v0") { Dialect::V0 } else { Dialect::V1 };
    let mut files = Vec::new();
    find(Path::new(dir), &mut files);
    files.sort();
    let mut folders: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for path in &files {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let cases = match read(path) {
            Ok(cases) => cases,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(2);
            }
        };
        for case in cases.into_iter().filter(|it| only.is_none_or(|part| it.note.contains(part.as_str()))) {
            let count = folders.entry(folder.clone()).or_default();
            count.1 += 1;
            match run(&case, dialect) {
                Ok(()) => count.0 += 1,
                Err(why) => failures.push(Failure { note: case.note, why }),
            }
        }
    }
    report(&folders, &failures, show)
}

fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|it| it == "json" || it == "yaml" || it == "yml") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Result<Vec<Case>, String> {
    let text = fs::read_to_string(path).map_err(|it| it.to_string())?;
    if path.extension().is_some_and(|it| it == "json") {
        // An index of the cases is no case.
        let Ok(file) = serde_json::from_str::<File>(&text) else {
            return serde_json::from_str::<Vec<Json>>(&text).map(|_| Vec::new()).map_err(|it| it.to_string());
        };
        return Ok(file.cases);
    }
    serde_saphyr::from_str::<File>(&text).map(|it| it.cases).map_err(|it| it.to_string())
}

fn run(case: &Case, dialect: Dialect) -> Result<(), String> {
    match (evaluate(case, dialect), &case.want_result) {
        (Err((code, message)), want) => {
            if case.want_error_code.is_none() && case.want_error.is_none() && !(case.strict_error && want.is_none()) {
                return Err(format!("{code}: {message}"));
            }
            match &case.want_error_code {
                Some(wanted) if *wanted != code => Err(format!("wanted {wanted}, got {code}: {message}")),
                _ => Ok(()),
            }
        }
        (Ok(_), None) if case.want_error_code.is_some() || case.want_error.is_some() => {
            Err("an error was wanted".into())
        }
        (Ok(outcome), None) => match case.want_defined {
            Some(true) if outcome.results.is_empty() => Err("a result was wanted".into()),
            Some(false) | None if !outcome.results.is_empty() => {
                Err(format!("nothing was wanted: {}", shown(&bindings(case, &outcome))))
            }
            _ => Ok(()),
        },
        (Ok(outcome), Some(want)) => {
            let got = bindings(case, &outcome);
            let mut want = want.iter().map(|it| canonical(it, case.sort_bindings)).collect::<Vec<_>>();
            want.sort_by_key(Json::to_string);
            want.dedup();
            if got == want { Ok(()) } else { Err(format!("wanted {}, got {}", shown(&want), shown(&got))) }
        }
    }
}

type Failed = (String, String);

fn evaluate(case: &Case, dialect: Dialect) -> Result<Outcome, Failed> {
    let modules = case.modules.iter().flatten().enumerate();
    let sources: Vec<Source> =
        modules.map(|(at, text)| Source { name: format!("test-{at}.rego"), text: text.clone(), dialect }).collect();
    let program = Program::compile(&sources).map_err(of_flaws)?;
    let query = program.query(&case.query, dialect).map_err(of_flaws)?;
    let input = match &case.input_term {
        Some(term) => Some(term_value(term, dialect)?),
        None => case.input.as_ref().map(Value::from),
    };
    let data = Value::from(case.data.as_ref().unwrap_or(&Json::Object(serde_json::Map::new())));
    let request = Request {
        input,
        data,
        now_ns: 1_760_000_000_000_000_000,
        bounds: Bounds::default(),
        strict: case.strict_error,
    };
    program.eval(&query, &request).map_err(|fault| (fault.code().to_owned(), fault.to_string()))
}

/// Evaluates an input that is given as a term of Rego.
fn term_value(term: &str, dialect: Dialect) -> Result<Value, Failed> {
    let program = Program::compile(&[]).map_err(of_flaws)?;
    let query = program.query(&format!("x = {term}"), dialect).map_err(of_flaws)?;
    let request = Request {
        input: None,
        data: Value::from(&Json::Object(serde_json::Map::new())),
        now_ns: 0,
        bounds: Bounds::default(),
        strict: false,
    };
    let outcome = program.eval(&query, &request).map_err(|fault| (fault.code().to_owned(), fault.to_string()))?;
    let solution = outcome.results.into_iter().next();
    solution
        .and_then(|it| it.bindings.into_iter().next())
        .map(|it| it.1)
        .ok_or_else(|| ("input_term".to_owned(), "undefined".to_owned()))
}

fn of_flaws(flaws: Vec<Flaw>) -> Failed {
    flaws.into_iter().next().map_or_else(Default::default, |it| (it.code.to_owned(), it.message))
}

fn bindings(case: &Case, outcome: &Outcome) -> Vec<Json> {
    let solutions = outcome.results.iter().map(|solution| {
        let bound = solution.bindings.iter().map(|(name, value)| (name.clone(), value.to_json()));
        canonical(&Json::Object(bound.collect()), case.sort_bindings)
    });
    let mut all: Vec<Json> = solutions.collect();
    all.sort_by_key(Json::to_string);
    all.dedup();
    all
}

/// A value with numbers that are equal written equally, and the arrays of bindings sorted where order does not matter.
fn canonical(value: &Json, sort: bool) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(|it| canonical(it, false)).collect()),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let mut value = canonical(value, false);
                if let (true, Json::Array(items)) = (sort, &mut value) {
                    items.sort_by_key(Json::to_string);
                }
                (key.clone(), value)
            });
            Json::Object(fields.collect())
        }
        Json::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Json::from(float as i64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

fn shown(values: &[Json]) -> String {
    let text = Json::Array(values.to_vec()).to_string();
    if text.len() > 400 { text.chars().take(400).chain("…".chars()).collect() } else { text }
}

fn report(folders: &BTreeMap<String, (usize, usize)>, failures: &[Failure], show: bool) -> ExitCode {
    for (folder, (passed, all)) in folders {
        let mark = if passed == all { "" } else { "  <-" };
        println!("{folder:40} {passed:4} of {all:4}{mark}");
    }
    if show {
        for failure in failures {
            println!("FAIL {}: {}", failure.note, failure.why);
        }
    }
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in failures {
        if let Some(name) = failure.why.split("undefined function ").nth(1) {
            *missing.entry(name.split_whitespace().next().unwrap_or(name)).or_default() += 1;
        }
    }
    for (name, count) in missing {
        println!("missing built-in {name}: {count}");
    }
    let passed: usize = folders.values().map(|it| it.0).sum();
    let failed = failures.len();
    let share = 100.0 * passed as f64 / (passed + failed).max(1) as f64;
    println!("{passed} passed, {failed} failed ({share:.1} %)");
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
