//! `eyot advise audit`: what contradicts itself in the catalogue.

use std::process::ExitCode;

use anyhow::Result;
use eyot_advise::{Catalog, Lang, Named, Severity, audit};

use super::{
    Format, NO_ANSWER,
    flags::AuditFlags,
    print_json, print_report,
    report::{Report, Section},
    words::say,
};

pub(super) fn run(flags: &AuditFlags, catalog: &Catalog, lang: Lang) -> Result<ExitCode> {
    let findings = audit::audit(catalog);
    let format = Format::from(flags.format);
    if format == Format::Json {
        print_json(&findings)?;
    } else {
        let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
        let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
        let mut report = Report::new(match lang {
            Lang::En => format!("{errors} errors, {warnings} warnings, {notes} notes"),
            Lang::Zh => format!("{errors} 个错误，{warnings} 个警告，{notes} 个提示"),
        });
        let rows = findings.iter().map(|it| {
            let places: Vec<_> = it.places.iter().map(|it| format!("{}:{}", it.file, it.at)).collect();
            let what = format!("{}\n{}", it.kind.name(lang), it.sections.join(", "));
            vec![it.severity.name(lang).to_owned(), what, it.reason.text().get(lang).to_owned(), places.join("\n")]
        });
        let header = match lang {
            Lang::En => ["severity", "kind", "finding", "where"],
            Lang::Zh => ["级别", "类别", "发现", "位置"],
        };
        report.add(Section::new(say(lang, "Consistency", "一致性报告")).rows(&header, rows.collect()));
        print_report(&report, format)?;
    }
    let is_broken = findings.iter().any(|it| it.severity == Severity::Error);
    Ok(if is_broken { ExitCode::from(NO_ANSWER) } else { ExitCode::SUCCESS })
}
