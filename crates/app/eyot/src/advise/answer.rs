//! A decision as a report: the stack, its rivals, requirements, what was ruled out, how firm the answer is.

use eyot_advise::{
    Catalog, Decision, Lang, Named, Scenario,
    layer::Dimension,
    solve::{Candidate, Stack, Swing},
};

use super::{
    filled, named,
    report::{Report, Section},
    words::say,
};

/// Rivals that are shown; JSON holds all.
const RIVALS_MAX: usize = 8;

/// The whole answer.
pub(super) fn report(catalog: &Catalog, decision: &Decision, lang: Lang) -> Report {
    let mut report = Report::new(title(decision, lang));
    report.add(layers(catalog, decision, lang));
    report.add(rivals(catalog, decision, lang));
    report.add(requirements(catalog, decision, lang));
    report.add(ruled_out(catalog, decision, lang));
    report.add(weights(catalog, decision, lang));
    report.add(leaning(catalog, decision, lang));
    report.add(beside(decision, lang));
    report.add(steps(decision, lang));
    report
}

fn title(decision: &Decision, lang: Lang) -> String {
    let functions = [
        decision.edge.map(|it| ("E(S,L,R,N)", it.name(lang))),
        decision.serverless.map(|it| ("S(C,D,A)", it.name(lang))),
    ];
    let join = say(lang, "; ", "；");
    let functions: String = functions.iter().flatten().map(|(of, is)| format!("{join}{of} = {is}")).collect();
    let (of, left) = (decision.combinations, decision.ranked);
    match lang {
        Lang::En => format!("{}: {left} of {of} combinations satisfy it{functions}", decision.scenario),
        Lang::Zh => format!("{}：{of} 种组合中有 {left} 种满足{functions}", decision.scenario),
    }
}

fn layers(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let rows = decision.layers.iter().map(|answer| {
        let rule = answer.fired.iter().find(|it| it.agrees).or(answer.fired.first());
        let rule = rule.map_or_else(
            || say(lang, "no rule speaks of it: by score", "没有规则涉及：按得分").to_owned(),
            |it| {
                let agrees = if it.agrees { "" } else { say(lang, " (says otherwise)", "（规则主张不同）") };
                format!("§{}:{} {}{agrees}", it.tree, it.line, it.means.get(lang))
            },
        );
        let next = answer.alternatives.first().map_or_else(String::new, |it| {
            format!("{} {} (#{})", named(catalog, &it.technology, lang), it.score, it.rank)
        });
        vec![answer.layer.name(lang).to_owned(), named(catalog, &answer.chosen, lang).to_owned(), rule, next]
    });
    let header = match lang {
        Lang::En => ["layer", "chosen", "rule that fired", "next best"],
        Lang::Zh => ["层", "选择", "触发的规则", "次优"],
    };
    let best = decision.chosen();
    Section::new(say(lang, "Stack", "技术栈"))
        .text(match lang {
            Lang::En => format!("score {} of 5 stars", best.score),
            Lang::Zh => format!("得分 {}（满分 5 星）", best.score),
        })
        .rows(&header, rows.collect())
}

fn rivals(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let mut header = vec!["#", say(lang, "score", "得分")];
    header.extend(Dimension::ALL.iter().map(|it| in_brief(*it, lang)));
    header.push(say(lang, "differs in", "差异"));
    let best = &decision.chosen().stack;
    let rows = decision.ranking.iter().take(RIVALS_MAX).enumerate().map(|(at, candidate)| {
        let mut row = vec![(at + 1).to_string(), candidate.score.to_string()];
        row.extend(candidate.dimensions.iter().map(ToString::to_string));
        row.push(if at == 0 { String::new() } else { difference(catalog, &candidate.stack, best, lang) });
        row
    });
    let section = Section::new(say(lang, "Ranking", "排名")).rows(&header, rows.collect());
    let more = decision.ranked.saturating_sub(RIVALS_MAX);
    if more == 0 {
        return section;
    }
    let told = decision.ranking.len();
    section.text(match (lang, told < decision.ranked) {
        (Lang::En, false) => format!("and {more} more: `--format json` has all"),
        (Lang::En, true) => format!("and {more} more: `--format json` has the first {told}"),
        (Lang::Zh, false) => format!("另有 {more} 种：见 `--format json`"),
        (Lang::Zh, true) => format!("另有 {more} 种：`--format json` 列出前 {told} 种"),
    })
}

/// A dimension's name that leaves room for seven columns of figures.
fn in_brief(dimension: Dimension, lang: Lang) -> &'static str {
    match (dimension, lang) {
        (Dimension::Resources, Lang::En) => "res.",
        (Dimension::Performance, Lang::En) => "perf.",
        (Dimension::Availability, Lang::En) => "avail.",
        (Dimension::Maturity, Lang::En) => "mature",
        (dimension, lang) => dimension.name(lang),
    }
}

/// What `stack` has other than `best`.
pub(super) fn difference(catalog: &Catalog, stack: &Stack, best: &Stack, lang: Lang) -> String {
    let other = stack.iter().zip(best.iter()).filter(|(it, best)| it.1 != best.1);
    other.map(|((_, id), _)| named(catalog, id, lang)).collect::<Vec<_>>().join(", ")
}

/// The layers of a stack, in short.
pub(super) fn in_short(catalog: &Catalog, stack: &Stack, lang: Lang) -> String {
    filled(catalog, stack).map(|(_, id)| named(catalog, id, lang)).collect::<Vec<_>>().join(" + ")
}

fn requirements(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let rows = decision.matches.iter().map(|it| {
        let measured = if it.measured { say(lang, " (measured)", "（实测）") } else { "" };
        vec![
            it.key.clone(),
            it.need.clone(),
            named(catalog, &it.technology, lang).to_owned(),
            format!("{}{measured}", it.stated),
            it.verdict.name(lang).to_owned(),
            it.reason.text().get(lang).to_owned(),
        ]
    });
    let header = match lang {
        Lang::En => ["requirement", "needs", "technology", "states", "verdict", "reason"],
        Lang::Zh => ["需求", "要求", "技术", "规格", "结论", "原因"],
    };
    Section::new(say(lang, "Requirements, M(T,R)", "规格匹配 M(T,R)")).rows(&header, rows.collect())
}

fn ruled_out(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let rows = decision.ruled_out.iter().map(|it| {
        let by = if it.key.is_empty() { say(lang, "other layers", "其他层").to_owned() } else { it.key.clone() };
        vec![
            it.layer.name(lang).to_owned(),
            named(catalog, &it.technology, lang).to_owned(),
            by,
            it.reason.text().get(lang).to_owned(),
        ]
    });
    let header = match lang {
        Lang::En => ["layer", "technology", "constraint", "why"],
        Lang::Zh => ["层", "技术", "约束", "原因"],
    };
    Section::new(say(lang, "Ruled out", "被排除")).rows(&header, rows.collect())
}

fn weights(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let best = &decision.chosen().stack;
    let bound = |it: &Option<eyot_advise::solve::Weight>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let then = |it: &Option<Stack>| it.as_ref().map_or_else(String::new, |it| difference(catalog, it, best, lang));
    let row = |it: &Swing| {
        vec![
            it.dimension.name(lang).to_owned(),
            it.weight.to_string(),
            bound(&it.low),
            then(&it.below),
            bound(&it.high),
            then(&it.above),
        ]
    };
    let header = match lang {
        Lang::En => ["weight", "is", "below", "wins instead", "above", "wins instead"],
        Lang::Zh => ["权重", "当前", "低于", "则改选", "高于", "则改选"],
    };
    Section::new(say(lang, "How far each weight can move", "各权重的可变范围"))
        .rows(&header, decision.sensitivity.iter().map(row).collect())
}

fn leaning(catalog: &Catalog, decision: &Decision, lang: Lang) -> Section {
    let weakest = &decision.weakest;
    let mut about = vec![weakest.key.clone()];
    about.extend(weakest.technology.as_ref().map(|it| named(catalog, it, lang).to_owned()));
    about.retain(|it| !it.is_empty());
    let about = if about.is_empty() { String::new() } else { format!("{}: ", about.join(", ")) };
    Section::new(say(lang, "Weakest assumption", "最弱的假设"))
        .text(format!("{about}{}", weakest.reason.text().get(lang)))
}

fn beside(decision: &Decision, lang: Lang) -> Section {
    let extras = decision.extras.iter().map(|it| format!("{} ({})", it.name.get(lang), it.source));
    let conflicts = decision
        .conflicts
        .iter()
        .map(|it| format!("{}{}", say(lang, "the documents disagree: ", "文档矛盾："), it.text().get(lang)));
    Section::new(say(lang, "To know", "须知")).list(extras.chain(conflicts).collect())
}

fn steps(decision: &Decision, lang: Lang) -> Section {
    let lines = decision.steps.iter().map(|it| format!("{}: {}", it.step.name(lang), it.reason.text().get(lang)));
    Section::new(say(lang, "How it was decided", "决策过程")).list(lines.collect())
}

/// What the what-ifs change.
pub(super) fn what_if(
    catalog: &Catalog,
    asked: &Scenario,
    before: Option<&Decision>,
    after: &Decision,
    changes: &[String],
    lang: Lang,
) -> Section {
    let was = |change: &String| {
        let key = change.split('=').next().unwrap_or_default().trim();
        let was =
            asked.values.get(key).map_or_else(|| say(lang, "not given", "未给出").to_owned(), |it| it.text.clone());
        match lang {
            Lang::En => format!("{change} (was {was})"),
            Lang::Zh => format!("{change}（原为 {was}）"),
        }
    };
    let section = Section::new(say(lang, "What if", "假设分析")).list(changes.iter().map(was).collect());
    let Some(before) = before else {
        return section.text(say(
            lang,
            "without the change nothing satisfies the scenario",
            "不做此改动则没有技术栈满足场景",
        ));
    };
    let (old, new) = (before.chosen(), after.chosen());
    if old.stack == new.stack {
        return section.text(match lang {
            Lang::En => format!("the answer stays; its score goes from {} to {}", old.score, new.score),
            Lang::Zh => format!("答案不变；得分由 {} 变为 {}", old.score, new.score),
        });
    }
    let rows = changed_layers(catalog, old, new, lang);
    let header = [say(lang, "layer", "层"), say(lang, "before", "之前"), say(lang, "after", "之后")];
    section.rows(&header, rows)
}

fn changed_layers(catalog: &Catalog, old: &Candidate, new: &Candidate, lang: Lang) -> Vec<Vec<String>> {
    let layers = old.stack.iter().zip(new.stack.iter()).filter(|(old, new)| old.1 != new.1);
    let mut rows: Vec<Vec<String>> = layers
        .map(|((layer, old), (_, new))| {
            let name = |id| named(catalog, id, lang).to_owned();
            vec![layer.name(lang).to_owned(), name(old), name(new)]
        })
        .collect();
    rows.push(vec![say(lang, "score", "得分").to_owned(), old.score.to_string(), new.score.to_string()]);
    rows
}
