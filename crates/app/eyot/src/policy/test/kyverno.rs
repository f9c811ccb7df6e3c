//! Kyverno's tests: every `kyverno-test.yaml`, as `kyverno test` runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use eyot_kyverno::suite::{self, Files};

use super::{End, Options, Report, Row};
use crate::policy::load::{files, files_of_tests, timed};

/// Files beside a test.
struct Directory(PathBuf);

impl Files for Directory {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = self.0.join(path);
        if !path.is_dir() {
            return fs::read_to_string(&path).map_err(|it| format!("{}: {it}", path.display()));
        }
        let all = files(&path).map_err(|it| format!("{it:#}"))?;
        let manifests = all.iter().filter(|it| it.extension().is_some_and(|it| it == "yaml" || it == "yml"));
        let texts: Result<Vec<String>, _> = manifests.map(fs::read_to_string).collect();
        texts.map(|it| it.join("\n---\n")).map_err(|it| it.to_string())
    }
}

/// Runs the tests below `dir`.
pub(super) fn run(dir: &Path, options: &Options) -> Result<Vec<Report>> {
    let all = if dir.is_dir() { files_of_tests(dir)? } else { vec![dir.to_owned()] };
    let tests = all.into_iter().filter(|it| it.file_name().is_some_and(|it| it == "kyverno-test.yaml"));
    tests.map(|path| one(&path, options)).collect()
}

fn one(path: &Path, options: &Options) -> Result<Report> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let beside = Directory(path.parent().map(Path::to_path_buf).unwrap_or_default());
    let (ran, took) = timed(|| suite::run(&text, &beside, jiff::Timestamp::now()));
    let file = path.display().to_string();
    let rows = match ran {
        Err(why) => vec![Row { name: file.clone(), end: End::Error, took, detail: why.to_string() }],
        Ok(report) => {
            let rows = report.rows.into_iter().map(|row| Row {
                name: format!("{}/{}/{}", row.policy, row.rule, row.resource),
                end: match row.reason.as_str() {
                    "Excluded" | "Not judged" => End::Skipped,
                    _ if row.ok => End::Pass,
                    _ => End::Fail,
                },
                took: Duration::ZERO,
                detail: if row.ok { String::new() } else { format!("{}: {}", row.reason, row.message) },
            });
            rows.filter(|it| options.wants(&it.name)).collect()
        }
    };
    Ok(Report { file, rows })
}
