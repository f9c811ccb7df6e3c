//! `--explain LAYER`: how one layer came out.

use anyhow::{Context, Result};
use eyot_advise::{Catalog, Decision, Lang, Named, layer::Layer};
use serde_json::json;

use super::{
    Format, named, print_json, print_report,
    report::{Report, Section},
    words::say,
};

pub(super) fn print(catalog: &Catalog, decision: &Decision, layer: Layer, format: Format, lang: Lang) -> Result<()> {
    match format {
        Format::Json => {
            let answer = decision.layers.iter().find(|it| it.layer == layer);
            let matches: Vec<_> = decision.matches.iter().filter(|it| it.layer == layer).collect();
            let ruled_out: Vec<_> = decision.ruled_out.iter().filter(|it| it.layer == layer).collect();
            let chosen = catalog.technology(decision.chosen().stack.at(layer).as_str());
            print_json(&json!({ "answer": answer, "matches": matches, "ruled_out": ruled_out, "technology": chosen }))
        }
        Format::Mermaid => {
            super::print(&super::diagram::of_layer(catalog, decision, layer, lang));
            Ok(())
        }
        Format::Table | Format::Markdown => print_report(&report(catalog, decision, layer, lang)?, format),
    }
}

fn report(catalog: &Catalog, decision: &Decision, layer: Layer, lang: Lang) -> Result<Report> {
    let answer = decision.layers.iter().find(|it| it.layer == layer).context("the answer lacks the layer")?;
    let mut report = Report::new(format!("{}: {}", layer.name(lang), named(catalog, &answer.chosen, lang)));
    report.add(rules(catalog, answer, lang));
    report.add(requirements(decision, layer, lang));
    let rows = answer.alternatives.iter().map(|it| {
        let loses = it.loses_in.map_or("", |it| it.name(lang));
        vec![
            named(catalog, &it.technology, lang).to_owned(),
            it.score.to_string(),
            it.rank.to_string(),
            loses.to_owned(),
        ]
    });
    let header = match lang {
        Lang::En => ["instead", "best score", "rank", "loses most in"],
        Lang::Zh => ["换成", "最高得分", "排名", "主要劣势"],
    };
    report.add(Section::new(say(lang, "Alternatives", "备选")).rows(&header, rows.collect()));
    let out = decision.ruled_out.iter().filter(|it| it.layer == layer);
    let lines = out.map(|it| format!("{}: {}", named(catalog, &it.technology, lang), it.reason.text().get(lang)));
    report.add(Section::new(say(lang, "Ruled out", "被排除")).list(lines.collect()));
    report.add(specifications(catalog, decision, layer, lang));
    Ok(report)
}

fn rules(catalog: &Catalog, answer: &eyot_advise::solve::LayerAnswer, lang: Lang) -> Section {
    let rows = answer.fired.iter().map(|it| {
        let choose: Vec<_> = it.choose.iter().map(|id| named(catalog, id, lang)).collect();
        let why = it.because.as_ref().map(|it| it.text().get(lang).to_owned()).unwrap_or_default();
        let agrees =
            if it.agrees { say(lang, "yes", "是").to_owned() } else { format!("{} {why}", say(lang, "no", "否")) };
        vec![format!("§{}:{}", it.tree, it.line), it.means.get(lang).to_owned(), choose.join(" / "), agrees]
    });
    let header = match lang {
        Lang::En => ["rule", "when", "says", "followed"],
        Lang::Zh => ["规则", "条件", "主张", "是否采纳"],
    };
    Section::new(say(lang, "Rules that fired", "触发的规则")).rows(&header, rows.collect())
}

fn requirements(decision: &Decision, layer: Layer, lang: Lang) -> Section {
    let rows = decision.matches.iter().filter(|it| it.layer == layer).map(|it| {
        let reason = it.reason.text().get(lang).to_owned();
        vec![it.key.clone(), it.need.clone(), it.stated.clone(), it.verdict.name(lang).to_owned(), reason]
    });
    let header = match lang {
        Lang::En => ["requirement", "needs", "states", "verdict", "reason"],
        Lang::Zh => ["需求", "要求", "规格", "结论", "原因"],
    };
    Section::new(say(lang, "Requirements", "需求匹配")).rows(&header, rows.collect())
}

/// Every statement about the chosen option: the one that counts is marked.
fn specifications(catalog: &Catalog, decision: &Decision, layer: Layer, lang: Lang) -> Section {
    let Some(technology) = catalog.technology(decision.chosen().stack.at(layer).as_str()) else {
        return Section::new("");
    };
    let mut rows = Vec::new();
    for spec in technology.specs.values() {
        let counts = spec.effective().map(|it| it as *const _);
        for stated in &spec.stated {
            let how = stated.measured.as_ref().map_or_else(
                || say(lang, "claimed", "声称").to_owned(),
                |it| format!("{} {}, {}, {}", say(lang, "measured", "实测"), it.with, it.on, it.date),
            );
            let mark = if Some(stated as *const _) == counts { "*" } else { "" };
            rows.push(vec![
                spec.metric.name(lang).to_owned(),
                format!("{}{mark}", stated.range),
                how,
                stated.source.clone(),
            ]);
        }
    }
    let header = match lang {
        Lang::En => ["specification", "value (* counts)", "how known", "source"],
        Lang::Zh => ["规格", "值（* 为采用值）", "来历", "出处"],
    };
    let mut section = Section::new(say(lang, "Specifications", "技术规格")).rows(&header, rows);
    if let Some(it) = &technology.maturity {
        section = section.text(format!(
            "{}: {} ({})",
            say(lang, "maturity", "成熟度"),
            "★".repeat(usize::from(it.score)),
            it.source
        ));
    }
    section
}
