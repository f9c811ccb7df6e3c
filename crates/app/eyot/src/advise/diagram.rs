//! Answers as flowcharts for Mermaid. Entry points: [`of`], [`of_layer`], [`of_two`].

use eyot_advise::{
    Catalog, Decision, Lang, Named,
    layer::Layer,
    solve::{Comparison, LayerAnswer},
};

use super::{filled, named, words::say};

/// The scenario, the rules that fired, and what they led to.
pub(super) fn of(catalog: &Catalog, decision: &Decision, lang: Lang) -> String {
    let best = decision.chosen();
    let mut chart = format!("graph LR\n    S[{}]\n", quoted(&decision.scenario));
    for (layer, id) in filled(catalog, &best.stack) {
        let name = format!("{}: {}", layer.name(lang), named(catalog, id, lang));
        chart += &format!("    {}[{}]\n", node(layer), quoted(&name));
        let rule = decision.layers.iter().find(|it| it.layer == layer).and_then(|it| rule(it, lang));
        match rule {
            Some(rule) => chart += &format!("    S -->|{}| {}\n", quoted(&rule), node(layer)),
            None => chart += &format!("    S --> {}\n", node(layer)),
        }
        chart += &format!("    {} --> T\n", node(layer));
    }
    let score = format!("{} {}", say(lang, "score", "得分"), best.score);
    chart + &format!("    T([{}])\n    style T fill:#e6ffe6\n", quoted(&score))
}

fn rule(answer: &LayerAnswer, lang: Lang) -> Option<String> {
    let fired = answer.fired.iter().find(|it| it.agrees)?;
    Some(format!("§{}:{} {}", fired.tree, fired.line, fired.means.get(lang)))
}

/// One layer: what was ruled out, what was left, what was chosen.
pub(super) fn of_layer(catalog: &Catalog, decision: &Decision, layer: Layer, lang: Lang) -> String {
    let mut chart = format!("graph TD\n    L{{{}}}\n", quoted(layer.name(lang)));
    let chosen = decision.chosen().stack.at(layer);
    let Some(answer) = decision.layers.iter().find(|it| it.layer == layer) else { return chart };
    let reason = rule(answer, lang).unwrap_or_else(|| say(lang, "by score", "按得分").to_owned());
    chart += &format!(
        "    L ==>|{}| C[{}]\n    style C fill:#e6ffe6\n",
        quoted(&reason),
        quoted(named(catalog, chosen, lang))
    );
    for (at, it) in answer.alternatives.iter().enumerate() {
        let score = format!("{} #{}", it.score, it.rank);
        chart += &format!("    L -->|{}| A{at}[{}]\n", quoted(&score), quoted(named(catalog, &it.technology, lang)));
    }
    for (at, it) in decision.ruled_out.iter().filter(|it| it.layer == layer).enumerate() {
        let why = it.reason.text();
        chart +=
            &format!("    L -.-x|{}| X{at}[{}]\n", quoted(why.get(lang)), quoted(named(catalog, &it.technology, lang)));
    }
    chart
}

/// Two stacks that share what they have in common.
pub(super) fn of_two(catalog: &Catalog, compared: &Comparison, lang: Lang) -> String {
    let (a, b) = (&compared.a.candidate, &compared.b.candidate);
    let mut chart = format!(
        "graph LR\n    A([{}])\n    B([{}])\n",
        quoted(&format!("{} {}", compared.a.asked, a.score)),
        quoted(&format!("{} {}", compared.b.asked, b.score))
    );
    for ((layer, of_a), (_, of_b)) in a.stack.iter().zip(b.stack.iter()) {
        let name = |id| quoted(&format!("{}: {}", layer.name(lang), named(catalog, id, lang)));
        let node = node(layer);
        if of_a == of_b {
            chart += &format!("    A --> {node}[{}]\n    B --> {node}\n", name(of_a));
        } else {
            chart += &format!("    A --> {node}a[{}]\n    B --> {node}b[{}]\n", name(of_a), name(of_b));
        }
    }
    chart
}

fn node(layer: Layer) -> String {
    layer.word().to_owned()
}

/// A label that may hold anything.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;").replace('\n', " "))
}
