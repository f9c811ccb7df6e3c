//! Rego's own tests: rules whose names begin with `test_`; those that begin with `todo_test_` are skipped.

use std::path::Path;

use anyhow::Result;
use eyot_rego::{Bounds, Dialect, Program, Request, RuleInfo, Source, Value};

use super::{End, Options, Report, Row};
use crate::policy::load::{DataFiles, Tree, by_directory, compile, now_ns, timed};

/// Runs the tests below `dir`. All modules are compiled together, or, where that is not possible because directories are
/// policies of their own, each directory with tests by itself.
pub(super) fn run(dir: &Path, options: &Options) -> Result<Vec<Report>> {
    let mut tree = Tree::default();
    tree.add(dir, if options.v0 { Dialect::V0 } else { Dialect::V1 }, DataFiles::Named)?;
    if !tree.modules.iter().any(has_tests) {
        return Ok(Vec::new());
    }
    let data = Value::from(&tree.data);
    match compile(&tree.modules) {
        Ok(program) => Ok(reports(&program, &data, options)),
        Err(error) => {
            let groups = by_directory(&tree.modules);
            if groups.len() == 1 {
                return Err(error);
            }
            let mut all = Vec::new();
            for modules in groups.into_values().filter(|it| it.iter().any(has_tests)) {
                all.extend(reports(&compile(&modules)?, &data, options));
            }
            Ok(all)
        }
    }
}

fn has_tests(module: &Source) -> bool {
    module.text.lines().any(|it| it.starts_with("test_") || it.starts_with("todo_test_"))
}

fn reports(program: &Program, data: &Value, options: &Options) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    let mut seen: Vec<&[String]> = Vec::new();
    for rule in program.rules() {
        let Some(name) = rule.path.last().filter(|_| rule.params.is_none() && !rule.default) else { continue };
        let skipped = name.starts_with("todo_test_");
        // Several rules of one name are one test.
        if !(skipped || name.starts_with("test_")) || seen.contains(&&rule.path[..]) {
            continue;
        }
        seen.push(&rule.path);
        let name = format!("data.{}", rule.path.join("."));
        if !options.wants(&name) {
            continue;
        }
        let row = match skipped {
            true => Row { name, end: End::Skipped, took: std::time::Duration::ZERO, detail: String::new() },
            false => row(program, data, rule, name),
        };
        match reports.iter_mut().find(|it| it.file == rule.file) {
            Some(report) => report.rows.push(row),
            None => reports.push(Report { file: rule.file.clone(), rows: vec![row] }),
        }
    }
    reports
}

fn row(program: &Program, data: &Value, rule: &RuleInfo, name: String) -> Row {
    let mut request = Request::new(None, now_ns());
    request.data = data.clone();
    request.bounds = Bounds { steps: 100_000_000, bytes: 1 << 30 };
    let keys: Vec<Value> = rule.path.iter().map(|it| Value::string(it)).collect();
    let (answer, took) = timed(|| program.at(&keys, &request));
    let (end, mut detail) = match answer {
        Ok(Some(Value::Bool(true))) => (End::Pass, String::new()),
        Ok(Some(Value::Object(cases))) => judged_cases(&cases),
        Ok(None) => (End::Fail, String::new()),
        Ok(Some(other)) => (End::Fail, format!("is {other}, not true")),
        Err(fault) => (End::Error, fault.to_string()),
    };
    if end == End::Fail {
        detail =
            format!("{}:{}:{} {detail}", rule.file, rule.position.line, rule.position.column).trim_end().to_owned();
    }
    Row { name, end, took, detail }
}

/// A test of many cases, each true or not: `test_all[case] if { … }`.
fn judged_cases(cases: &std::collections::BTreeMap<Value, Value>) -> (End, String) {
    let failed: Vec<String> =
        cases.iter().filter(|(_, value)| **value != Value::Bool(true)).map(|(key, _)| key.to_string()).collect();
    match failed.is_empty() {
        true => (End::Pass, String::new()),
        false => (End::Fail, format!("failed for {}", failed.join(", "))),
    }
}
