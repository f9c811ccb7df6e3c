//! `--compare A B`: two stacks beside each other.

use anyhow::{Result, anyhow};
use eyot_advise::{
    Catalog, Lang, Named, Scenario,
    solve::{self, Comparison, Match, Side},
};

use super::{
    Format, answer, print_json, print_report,
    report::{Report, Section},
    words::say,
};

pub(super) fn print(
    catalog: &Catalog,
    scenario: &Scenario,
    a: &str,
    b: &str,
    format: Format,
    lang: Lang,
) -> Result<()> {
    let compared =
        solve::compare(catalog, scenario, a, b).map_err(|it| anyhow!("--compare: {}", it.text().get(lang)))?;
    match format {
        Format::Json => print_json(&compared),
        Format::Mermaid => {
            super::print(&super::diagram::of_two(catalog, &compared, lang));
            Ok(())
        }
        Format::Table | Format::Markdown => print_report(&report(catalog, &compared, lang), format),
    }
}

fn report(catalog: &Catalog, compared: &Comparison, lang: Lang) -> Report {
    let Comparison { a, b, dimensions } = compared;
    let mut report = Report::new(format!("A = {}; B = {}", a.asked, b.asked));
    let differ = a.candidate.stack.iter().zip(b.candidate.stack.iter());
    let mut rows: Vec<Vec<String>> = differ
        .map(|((layer, a), (_, b))| {
            let name = |id| super::named(catalog, id, lang).to_owned();
            let mark = if a == b { "" } else { "≠" };
            vec![layer.name(lang).to_owned(), name(a), name(b), mark.to_owned()]
        })
        .collect();
    rows.push(row(say(lang, "score", "得分"), a.candidate.score.to_string(), b.candidate.score.to_string()));
    rows.push(row(say(lang, "rank", "排名"), rank(a, lang), rank(b, lang)));
    rows.push(row(say(lang, "requirements matched", "匹配的需求"), matched(a), matched(b)));
    report.add(Section::new(say(lang, "Layers", "各层")).rows(&[say(lang, "layer", "层"), "A", "B", ""], rows));
    let rows = dimensions.iter().map(|it| {
        let at = it.dimension as usize;
        let equal = it.equal_at.map_or_else(|| "-".to_owned(), |it| it.to_string());
        vec![
            it.dimension.name(lang).to_owned(),
            a.candidate.dimensions[at].to_string(),
            b.candidate.dimensions[at].to_string(),
            it.stars.to_string(),
            it.weighted.to_string(),
            equal,
        ]
    });
    let header = match lang {
        Lang::En => ["dimension", "A", "B", "A - B", "weighted", "equal at weight"],
        Lang::Zh => ["维度", "A", "B", "A - B", "加权", "持平的权重"],
    };
    report.add(Section::new(say(lang, "Dimensions", "各维度")).rows(&header, rows.collect()));
    for (name, side) in [("A", a), ("B", b)] {
        let out = side.violations.iter().map(|it| format!("{}: {}", it.technology, it.reason.text().get(lang)));
        let missed = side.matches.iter().filter(|it| it.verdict != Match::Match);
        let missed = missed.map(|it| format!("{} ({}): {}", it.key, it.verdict.name(lang), it.reason.text().get(lang)));
        let title = match lang {
            Lang::En => {
                format!("What speaks against {name}, {}", answer::in_short(catalog, &side.candidate.stack, lang))
            }
            Lang::Zh => format!("{name} 的不足：{}", answer::in_short(catalog, &side.candidate.stack, lang)),
        };
        report.add(Section::new(title).list(out.chain(missed).collect()));
    }
    report
}

fn row(name: &str, a: String, b: String) -> Vec<String> {
    vec![name.to_owned(), a, b, String::new()]
}

fn rank(side: &Side, lang: Lang) -> String {
    side.rank.map_or_else(|| say(lang, "ruled out", "被排除").to_owned(), |it| it.to_string())
}

fn matched(side: &Side) -> String {
    let full = side.matches.iter().filter(|it| it.verdict == Match::Match).count();
    format!("{full}/{}", side.matches.len())
}
