//! What is printed when nothing satisfies a scenario.

use anyhow::Result;
use eyot_advise::{Lang, NoAnswer};

use super::{
    Format, print_json, print_report,
    report::{Report, Section},
    words::say,
};

/// Layers whose emptiness is told; those further down follow from them most of the time.
const CONFLICTS_MAX: usize = 2;

pub(super) fn print(no: &NoAnswer, format: Format, lang: Lang) -> Result<()> {
    if format == Format::Json {
        return print_json(no);
    }
    let mut report = Report::new(match lang {
        Lang::En => format!("{}: no stack satisfies it", no.scenario),
        Lang::Zh => format!("{}：没有技术栈能满足", no.scenario),
    });
    let rows = no.relaxations.iter().map(|it| {
        let changes: Vec<_> = it.changes.iter().map(|(key, value)| change(key, value, lang)).collect();
        let stack: Vec<_> = it.stack.iter().map(|(_, id)| id.as_str()).filter(|it| !it.starts_with("no-")).collect();
        vec![changes.join(", "), stack.join(" + ")]
    });
    let header = match lang {
        Lang::En => ["change", "then the answer is"],
        Lang::Zh => ["改动", "则答案为"],
    };
    report.add(
        Section::new(say(lang, "Nearest changes that leave an answer", "最接近的可行放宽"))
            .rows(&header, rows.collect()),
    );
    let shown = no.conflicts.iter().take(CONFLICTS_MAX).map(|it| it.line(lang)).collect();
    let mut section = Section::new(say(lang, "What excludes each other", "相互排斥的约束")).list(shown);
    let more = no.conflicts.len().saturating_sub(CONFLICTS_MAX);
    if more > 0 {
        section = section.text(match lang {
            Lang::En => {
                format!("and so for {more} more layers: `--format json` has all, with every option that was ruled out")
            }
            Lang::Zh => format!("另有 {more} 层如此：`--format json` 含全部及每个被排除的选项"),
        });
    }
    report.add(section);
    print_report(&report, format)
}

fn change(key: &str, value: &str, lang: Lang) -> String {
    match (value, lang) {
        ("", Lang::En) => format!("without {key}"),
        ("", Lang::Zh) => format!("去掉 {key}"),
        _ => format!("{key}: {value}"),
    }
}
