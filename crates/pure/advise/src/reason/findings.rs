//! The wording of what an audit finds.

use super::{Reason, text::say};
use crate::{
    layer::Dimension,
    text::{Lang, Named, Text},
};

/// The words of a finding.
pub(super) fn of(reason: &Reason) -> Text {
    match reason {
        Reason::TotalsAreNoSums { .. }
        | Reason::WeightsOutOfOrder { .. }
        | Reason::VerdictAboveStars { .. }
        | Reason::RatedAbovePart { .. } => stars(reason),
        Reason::StatedDifferently { .. }
        | Reason::MeasuredDifferently { .. }
        | Reason::ChoiceBeyond { .. }
        | Reason::DoesNotFit { .. } => figures(reason),
        _ => rules(reason),
    }
}

fn rules(reason: &Reason) -> Text {
    match reason {
        Reason::NeverFires { name: Text { en, zh }, line, when } => {
            say!("{en}, line {line} ({when}) never fires", "{zh} 第 {line} 行（{when}）永远不会触发")
        }
        Reason::PartNeverDecides { name: Text { en, zh }, line, part } => say!(
            "{en}, line {line}: {part} never decides, since an earlier line takes every such scenario",
            "{zh} 第 {line} 行：{part} 永远不起作用，前面的规则已覆盖这些场景"
        ),
        Reason::ChangesNothing { name: Text { en, zh }, line, when } => {
            say!(
                "{en}, line {line} ({when}) chooses what the next line does",
                "{zh} 第 {line} 行（{when}）与下一行的选择相同"
            )
        }
        Reason::ChooseDifferently { layer, one, other, scenario } => {
            let ((en, zh), (a, a_line, first), (b, b_line, second)) = (layer.names(), &**one, &**other);
            let (for_en, for_zh) = match scenario.as_str() {
                "" => (" for a scenario that says nothing".to_owned(), "（未作任何说明的场景）".to_owned()),
                given => (format!(" for {given}"), format!("（{given}）")),
            };
            say!(
                "{en}{for_en}: §{a} line {a_line} chooses {first}, §{b} line {b_line} chooses {second}",
                "{zh}{for_zh}：§{a} 第 {a_line} 行选择 {first}，§{b} 第 {b_line} 行选择 {second}"
            )
        }
        Reason::NamesTooSmall { line, section, names, metric, most, scenario } => {
            let (en, zh) = metric.names();
            say!(
                "§{section} line {line} chooses {names} also for {scenario}, and {en} of it end at {most}",
                "§{section} 第 {line} 行对 {scenario} 仍选择 {names}，而其{zh}上限为 {most}"
            )
        }
        Reason::CasesOverlap { model, one, other, scenario } => say!(
            "{model}: {one} and {other} both hold for {scenario}; the first counts",
            "{model}：{scenario} 同时满足 {one} 与 {other}；以先者为准"
        ),
        Reason::NoCase { model, scenario } => {
            say!("{model}: no case holds for {scenario}", "{model}：没有分支覆盖 {scenario}")
        }
        Reason::NoPathTo { name: Text { en, zh }, section } => {
            say!("no line of §{section} leads to the stack {en}", "§{section} 没有任何一行通向{zh}")
        }
        _ => Text::default(),
    }
}

fn stars(reason: &Reason) -> Text {
    match reason {
        Reason::TotalsAreNoSums { totals, sums, weights: Some(weights) } => {
            let list = |lang| {
                let one = |(dimension, weight): &(Dimension, String)| format!("{} {weight}", dimension.name(lang));
                weights.iter().map(one).collect::<Vec<_>>().join(", ")
            };
            let (en, zh) = (list(Lang::En), list(Lang::Zh));
            say!(
                "the totals {totals} are not the sums of the stars, {sums}; exactly the weights {en} give them",
                "总分 {totals} 不是星级之和 {sums}；只有权重 {zh} 能得到这些总分"
            )
        }
        Reason::TotalsAreNoSums { totals, sums, weights: None } => say!(
            "the totals {totals} are not the sums of the stars, {sums}, and no weights give them",
            "总分 {totals} 不是星级之和 {sums}，也没有权重能得到这些总分"
        ),
        Reason::WeightsOutOfOrder { first: (a, first), second: (b, second) } => {
            let ((a_en, a_zh), (b_en, b_zh)) = (a.names(), b.names());
            say!(
                "the text ranks {a_en} above {b_en}, and the totals need {first} and {second}",
                "文字称{a_zh}权重高于{b_zh}，而总分要求的权重为 {first} 与 {second}"
            )
        }
        Reason::VerdictAboveStars { name: Text { en, zh }, score, most } => say!(
            "the maturity of {en} is {score} stars, and none of what it rests on has more than {most}",
            "{zh} 的成熟度为 {score} 星，而各项依据最多 {most} 星"
        ),
        Reason::RatedAbovePart { name: Text { en, zh }, stars, part, least } => say!(
            "{en} has {stars} stars for maturity, and its part {part} has {least}",
            "{zh} 的成熟度为 {stars} 星，而其组成 {part} 仅 {least} 星"
        ),
        _ => Text::default(),
    }
}

fn figures(reason: &Reason) -> Text {
    match reason {
        Reason::StatedDifferently { name, metric, one, other } => {
            let ((en, zh), Text { en: who, zh: wer }) = (metric.names(), name);
            let ((a, first), (b, second)) = (&**one, &**other);
            say!(
                "{en} of {who}: §{a} says {first}, §{b} says {second}",
                "{wer} 的{zh}：§{a} 为 {first}，§{b} 为 {second}"
            )
        }
        Reason::MeasuredDifferently { name, metric, one, other, with } => {
            let ((en, zh), Text { en: who, zh: wer }) = (metric.names(), name);
            let ((a, first), (b, second)) = (&**one, &**other);
            say!(
                "{en} of {who}: §{a} claims {first}, {with} measured {second} ({b})",
                "{wer} 的{zh}：§{a} 声明 {first}，{with} 实测 {second}（{b}）"
            )
        }
        Reason::ChoiceBeyond { reference, figure, metric, name, stated } => {
            let ((en, zh), Text { en: what, zh: was }) = (metric.names(), &**reference);
            let Text { en: who, zh: wer } = &**name;
            say!(
                "{what} reports {en} {figure}, and {who} states {stated}",
                "{was} 的{zh}为 {figure}，而 {wer} 的规格为 {stated}"
            )
        }
        Reason::DoesNotFit { name, density, each, total, case_and_node } => {
            let (Text { en, zh }, (case, node)) = (&**name, &**case_and_node);
            say!(
                "{density} pods of {en} with {each} each take {total} at least, and the case {case} has nodes of less than {node}",
                "{zh} 每节点 {density} 个 Pod、每个 {each}，至少占用 {total}，而 {case} 的节点内存小于 {node}"
            )
        }
        _ => Text::default(),
    }
}
