//! `eyot policy test`: all tests below a directory, whatever their language.
//!
//! Each language has a runner that finds its own tests and reports them in one form. A directory without any test is an
//! error: a test run that tested nothing should not look like one that passed.

mod gatekeeper;
mod kyverno;
mod rego;

use std::{path::Path, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

/// Flags of `eyot policy test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestFlags {
    /// Directory of policies and their tests, or a file of tests (suite.yaml, kyverno-test.yaml).
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// List every test, not only those that failed.
    #[arg(long, short)]
    verbose: bool,
    /// Run only tests whose name this regular expression finds.
    #[arg(long, short, value_name = "REGEX")]
    run: Option<String>,
    /// Read Rego as v0.
    #[arg(long)]
    v0_compatible: bool,
}

/// What runners are told.
pub(crate) struct Options {
    /// Which tests to run, by name.
    pub(crate) wanted: Option<regex::Regex>,
    /// Whether Rego is v0 unless it says otherwise.
    pub(crate) v0: bool,
}

impl Options {
    /// Whether a test of this name is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|it| it.is_match(name))
    }
}

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Pass,
    Fail,
    /// It could not be run.
    Error,
    /// It is not to be run.
    Skipped,
}

/// One test.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) end: End,
    pub(crate) took: Duration,
    /// What there is to say: why it failed, what it printed.
    pub(crate) detail: String,
}

/// The tests of one file or suite.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) file: String,
    pub(crate) rows: Vec<Row>,
}

/// Finds and runs the tests of one language below a directory.
type Runner = fn(&Path, &Options) -> Result<Vec<Report>>;

/// The languages.
const RUNNERS: &[Runner] = &[rego::run, gatekeeper::run, kyverno::run];

/// Runs everything; whether all passed.
pub(super) fn run(flags: &TestFlags) -> Result<bool> {
    if !flags.dir.exists() {
        bail!("{}: no such directory", flags.dir.display());
    }
    let wanted = flags.run.as_deref().map(regex::Regex::new).transpose().context("--run")?;
    let options = Options { wanted, v0: flags.v0_compatible };
    let mut reports = Vec::new();
    for runner in RUNNERS {
        reports.extend(runner(&flags.dir, &options)?);
    }
    let rows = || reports.iter().flat_map(|it| &it.rows);
    if rows().next().is_none() {
        bail!("{}: no tests found (Rego test_ rules, Gatekeeper suites, kyverno-test.yaml)", flags.dir.display());
    }
    print!("{}", shown(&reports, flags.verbose));
    Ok(rows().all(|it| matches!(it.end, End::Pass | End::Skipped)))
}

/// The tests as OPA lists them: by file, those that failed or all, then the counts.
fn shown(reports: &[Report], verbose: bool) -> String {
    let mut text = String::new();
    for report in reports {
        let listed = |it: &&Row| verbose || !matches!(it.end, End::Pass | End::Skipped);
        let rows: Vec<&Row> = report.rows.iter().filter(listed).collect();
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("{}:\n", report.file));
        for row in rows {
            let word = match row.end {
                End::Pass => "PASS",
                End::Fail => "FAIL",
                End::Error => "ERROR",
                End::Skipped => "SKIPPED",
            };
            text.push_str(&format!("{}: {word} ({:.3?})\n", row.name, row.took));
            for line in row.detail.lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text.push('\n');
    }
    let count = |end| reports.iter().flat_map(|it| &it.rows).filter(|it| it.end == end).count();
    let all: usize = reports.iter().map(|it| it.rows.len()).sum();
    if !text.is_empty() {
        text.push_str(&format!("{}\n", "-".repeat(80)));
    }
    for (word, end) in [("PASS", End::Pass), ("FAIL", End::Fail), ("ERROR", End::Error), ("SKIPPED", End::Skipped)] {
        if end == End::Pass || count(end) > 0 {
            text.push_str(&format!("{word}: {}/{all}\n", count(end)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn failures_are_listed_and_all_are_counted() {
        let row = |name: &str, end, detail: &str| Row {
            name: name.into(),
            end,
            took: Duration::from_millis(1),
            detail: detail.into(),
        };
        let rows = vec![row("data.a.test_x", End::Pass, ""), row("data.a.test_y", End::Fail, "got: 1")];
        let reports = [Report { file: "a_test.rego".into(), rows }];
        expect![[r#"
            a_test.rego:
            data.a.test_y: FAIL (1.000ms)
              got: 1

            --------------------------------------------------------------------------------
            PASS: 1/2
            FAIL: 1/2
        "#]]
        .assert_eq(&shown(&reports, false));
        assert!(shown(&reports, true).contains("data.a.test_x: PASS (1.000ms)"));
    }
}
