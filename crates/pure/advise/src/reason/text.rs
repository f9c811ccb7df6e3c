//! The wording of each reason, in English and in Chinese.

use super::Reason;
use crate::{
    layer::Layer,
    text::{Lang, Named, Text},
};

/// Both wordings, each a format string.
macro_rules! say {
    ($en:literal, $zh:literal $(,)?) => {
        Text::new(format!($en), format!($zh))
    };
}

pub(super) use say;

/// The words of a reason.
pub(super) fn of(reason: &Reason) -> Text {
    match reason {
        Reason::NotYaml { .. }
        | Reason::Misfit { .. }
        | Reason::NotAMapping
        | Reason::NotAScalar { .. }
        | Reason::TooLarge
        | Reason::KeyMissing { .. }
        | Reason::UnknownKey { .. }
        | Reason::UnknownName { .. }
        | Reason::UnknownWord { .. }
        | Reason::NameTwice { .. }
        | Reason::LayerEmpty { .. }
        | Reason::NoWay { .. } => reading(reason),
        Reason::UnitMissing { .. }
        | Reason::UnitWrong { .. }
        | Reason::NotAmount { .. }
        | Reason::AmountOutOfRange { .. }
        | Reason::BoundBackwards { .. }
        | Reason::TooManyStars { .. }
        | Reason::NotWeight { .. }
        | Reason::WeightsZero => amounts(reason),
        Reason::ConditionUnexpected { .. }
        | Reason::ConditionEnds
        | Reason::ConditionName { .. }
        | Reason::ConditionCompare { .. }
        | Reason::RequiredAndForbidden { .. }
        | Reason::StrictWithoutKey { .. }
        | Reason::Contradiction { .. } => asked(reason),
        Reason::Within { .. }
        | Reason::Overlaps { .. }
        | Reason::Outside { .. }
        | Reason::NothingStated { .. }
        | Reason::Has { .. }
        | Reason::PartlyHas { .. }
        | Reason::Lacks { .. } => verdict(reason),
        Reason::Identified { .. }
        | Reason::Constrained { .. }
        | Reason::OptionsLeft { .. }
        | Reason::MatchedOptions { .. }
        | Reason::Satisfies { .. }
        | Reason::Adjusted { .. }
        | Reason::Chosen { .. } => step(reason),
        Reason::LeansOnShortfall { .. }
        | Reason::LeansOnClaim { .. }
        | Reason::LeansOnWeight { .. }
        | Reason::LeansOnLead { .. } => assumption(reason),
        Reason::Forbidden
        | Reason::AnotherRequired { .. }
        | Reason::OnlyWhen { .. }
        | Reason::MustBe { .. }
        | Reason::OnlyPartly { .. }
        | Reason::NothingGoesWith { .. }
        | Reason::NeverTogether
        | Reason::ScoresLess { .. }
        | Reason::IsRuledOut { .. }
        | Reason::ExcludeEachOther { .. }
        | Reason::LayerExhausted { .. }
        | Reason::LayersExclude { .. }
        | Reason::NothingFitsTogether
        | Reason::TooManyCombinations { .. }
        | Reason::TreesDisagree { .. }
        | Reason::TreeImpossible { .. } => excluded(reason),
        _ => super::findings::of(reason),
    }
}

fn meant(meant: &Option<String>) -> Text {
    match meant {
        Some(meant) => say!("; did you mean {meant:?}?", "；是否想写 {meant:?}？"),
        None => Text::default(),
    }
}

fn reading(reason: &Reason) -> Text {
    match reason {
        Reason::NotYaml { message } => say!("not YAML: {message}", "不是合法的 YAML：{message}"),
        Reason::Misfit { message } => say!("not what belongs here: {message}", "此处内容不合要求：{message}"),
        Reason::NotAMapping => say!("expected keys with values", "此处应为键值映射"),
        Reason::NotAScalar { key } => say!("{key}: expected a single value", "{key}：此处应为单个值"),
        Reason::TooLarge => say!("too large", "内容过大"),
        Reason::KeyMissing { key } => say!("{key} is missing", "缺少 {key}"),
        Reason::UnknownKey { key, meant: hint } => {
            let Text { en, zh } = meant(hint);
            say!("unknown key {key:?}{en}", "未知的键 {key:?}{zh}")
        }
        Reason::UnknownName { name, meant: hint } => {
            let Text { en, zh } = meant(hint);
            say!("nothing is called {name:?}{en}", "没有名为 {name:?} 的条目{zh}")
        }
        Reason::UnknownWord { key, word, words, meant: hint } => {
            let (Text { en, zh }, words) = (meant(hint), words.join(", "));
            say!("{key}: {word:?} is none of {words}{en}", "{key}：{word:?} 不在 {words} 之中{zh}")
        }
        Reason::NameTwice { name } => say!("{name:?} is there twice", "{name:?} 重复出现"),
        Reason::LayerEmpty { layer } => both(*layer, "nothing can be chosen for {}", "{}没有可选项"),
        Reason::NoWay { from, to } => say!("no move leads from {from} to {to}", "没有从 {from} 到 {to} 的迁移步骤"),
        _ => Text::default(),
    }
}

/// A sentence about a layer.
fn both(layer: Layer, en: &str, zh: &str) -> Text {
    Text::new(en.replace("{}", layer.name(Lang::En)), zh.replace("{}", layer.name(Lang::Zh)))
}

fn amounts(reason: &Reason) -> Text {
    match reason {
        Reason::UnitMissing { key, text, unit, meant } => {
            let (en, zh) = unit.names();
            say!(
                "{key}: {text:?} has no unit, and {key} is {en}; did you mean {meant:?}?",
                "{key}：{text:?} 没有单位，{key} 应为{zh}；是否想写 {meant:?}？"
            )
        }
        Reason::UnitWrong { key, text, unit, of: Some(of), .. } => {
            let ((en, zh), (of_en, of_zh)) = (unit.names(), of.names());
            say!("{key}: {text:?} is {of_en}, and {key} is {en}", "{key}：{text:?} 是{of_zh}，而 {key} 应为{zh}")
        }
        Reason::UnitWrong { key, text, unit, suffix, .. } => {
            let (en, zh) = unit.names();
            say!(
                "{key}: {suffix:?} in {text:?} is no unit; {key} is {en}",
                "{key}：{text:?} 中的 {suffix:?} 不是单位；{key} 应为{zh}"
            )
        }
        Reason::NotAmount { key, text, unit } => {
            let (en, zh) = unit.names();
            say!("{key}: {text:?} is not {en}", "{key}：{text:?} 不是{zh}")
        }
        Reason::AmountOutOfRange { key, text } => {
            say!("{key}: no amount is meant by {text:?}", "{key}：{text:?} 不表示任何有效的量")
        }
        Reason::BoundBackwards { key, text, most: true } => say!(
            "{key}: {text:?} sets no upper bound; write <, <= or a plain amount",
            "{key}：{text:?} 没有给出上限；请写 <、<= 或单个量"
        ),
        Reason::BoundBackwards { key, text, .. } => say!(
            "{key}: {text:?} sets an upper bound where a lower one is asked for; write >, >= or a plain amount",
            "{key}：此处需要下限，而 {text:?} 给出的是上限；请写 >、>= 或单个量"
        ),
        Reason::TooManyStars { key } => say!("{key}: there are five stars at most", "{key}：最多五颗星"),
        Reason::NotWeight { key, text } => say!(
            "{key}: {text:?} is no weight; write 3, 0.5 or 1/3, at most 1000 and with six digits at most after the point",
            "{key}：{text:?} 不是权重；请写 3、0.5 或 1/3，最大 1000，小数最多六位"
        ),
        Reason::WeightsZero => say!("every weight is zero", "所有权重都是零"),
        _ => Text::default(),
    }
}

fn asked(reason: &Reason) -> Text {
    match reason {
        Reason::ConditionUnexpected { word } => say!("{word:?} is not expected here", "此处不应出现 {word:?}"),
        Reason::ConditionEnds => say!("the condition ends too early", "条件不完整"),
        Reason::ConditionName { name, meant: hint } => {
            let Text { en, zh } = meant(hint);
            say!("{name:?} is neither a key nor a fact{en}", "{name:?} 既不是键也不是事实{zh}")
        }
        Reason::ConditionCompare { key, with } => {
            say!("{key} cannot be compared as {with:?}", "{key} 不能与 {with:?} 比较")
        }
        Reason::RequiredAndForbidden { name } => {
            say!("{name} is both required and forbidden", "{name} 既被要求又被禁止")
        }
        Reason::StrictWithoutKey { key } => {
            say!("{key} has to match, and the scenario does not give it", "{key} 被要求完全匹配，但场景没有给出它")
        }
        Reason::Contradiction { key, other, line, because } => {
            let Text { en, zh } = because;
            let (en_line, zh_line) = match line {
                0 => (String::new(), String::new()),
                line => (format!(" (line {line})"), format!("（第 {line} 行）")),
            };
            say!("{key} contradicts {other}{en_line}: {en}", "{key} 与 {other}{zh_line}矛盾：{zh}")
        }
        _ => Text::default(),
    }
}

fn verdict(reason: &Reason) -> Text {
    match reason {
        Reason::Within { metric, stated, need } => {
            let (en, zh) = metric.names();
            say!("{en}: {stated} satisfies {need}", "{zh}：{stated} 满足 {need}")
        }
        Reason::Overlaps { metric, stated, need } => {
            let (en, zh) = metric.names();
            say!("{en}: {stated} satisfies {need} only in part", "{zh}：{stated} 仅部分满足 {need}")
        }
        Reason::Outside { metric, stated, need } => {
            let (en, zh) = metric.names();
            say!("{en}: {stated} does not satisfy {need}", "{zh}：{stated} 不满足 {need}")
        }
        Reason::NothingStated { name, metric } => {
            let ((en, zh), Text { en: who, zh: wer }) = (metric.names(), name);
            say!("nothing is stated about {en} of {who}", "{wer} 没有给出{zh}")
        }
        Reason::Has { feature } => {
            let (en, zh) = feature.names();
            say!("{en}: in full", "{zh}：完整支持")
        }
        Reason::PartlyHas { feature, .. } => {
            let (en, zh) = feature.names();
            say!("{en}: in part", "{zh}：部分支持")
        }
        Reason::Lacks { feature } => {
            let (en, zh) = feature.names();
            say!("{en}: not at all", "{zh}：不支持")
        }
        _ => Text::default(),
    }
}

fn excluded(reason: &Reason) -> Text {
    match reason {
        Reason::Forbidden => say!("the scenario forbids it", "场景禁止使用"),
        Reason::AnotherRequired { name } => say!("the scenario requires {name}", "场景要求使用 {name}"),
        Reason::OnlyWhen { when: Text { en, zh } } => say!("only where {en}", "仅适用于：{zh}"),
        Reason::MustBe { section, names } => {
            say!("§{section} allows only {names}", "§{section} 规定必须为 {names}")
        }
        Reason::OnlyPartly { because } => {
            let Text { en, zh } = because.text();
            say!("must match in full; {en}", "要求完全匹配；{zh}")
        }
        Reason::NothingGoesWith { layer, needed } if needed.is_empty() => {
            both(*layer, "no option that is left for {} goes with it", "{}中剩余的选项都与之不兼容")
        }
        Reason::NothingGoesWith { layer, needed } => {
            let (en, zh) = layer.names();
            say!("needs {needed} for {en}, which is ruled out", "{zh}需要 {needed}，而它们已被排除")
        }
        Reason::NeverTogether => say!("in no combination that satisfies the scenario", "不在任何满足场景的组合之中"),
        Reason::ScoresLess { name, score, loses_in: Some(dimension) } => {
            let (en, zh) = dimension.names();
            say!("{name} comes to {score} at best, losing in {en}", "{name} 最高得 {score} 分，主要失分于{zh}")
        }
        Reason::ScoresLess { name, score, .. } => {
            say!("{name} comes to {score} at best", "{name} 最高得 {score} 分")
        }
        Reason::IsRuledOut { name, because } => {
            let Text { en, zh } = because.text();
            say!("{name} is ruled out: {en}", "{name} 已被排除：{zh}")
        }
        Reason::ExcludeEachOther { names } => say!("{names} exclude each other", "{names} 互不兼容"),
        Reason::LayerExhausted { layer, because } => {
            let list = |lang| {
                let one = |(name, key, reason): &(String, String, Reason)| {
                    let text = reason.text();
                    let text = text.get(lang);
                    if key.is_empty() { format!("{name}: {text}") } else { format!("{name} ({key}): {text}") }
                };
                because.iter().map(one).collect::<Vec<_>>().join("; ")
            };
            let ((name_en, name_zh), en, zh) = (layer.names(), list(Lang::En), list(Lang::Zh));
            say!("nothing is left for {name_en} — {en}", "{name_zh}没有可选项——{zh}")
        }
        Reason::LayersExclude { one: (a, first), other: (b, second) } => {
            let ((a_en, a_zh), (b_en, b_zh)) = (a.names(), b.names());
            say!(
                "what is left for {a_en} ({first}) does not go with what is left for {b_en} ({second})",
                "{a_zh}剩余的 {first} 与{b_zh}剩余的 {second} 不兼容"
            )
        }
        Reason::NothingFitsTogether => {
            say!("each layer has options, and no combination of them fits", "各层都有可选项，但没有兼容的组合")
        }
        Reason::TooManyCombinations { most } => say!(
            "too many combinations are left to rank: halves of them alone are more than {most}; forbid or require some options",
            "剩余组合过多，无法排名：仅其一半的组合就超过 {most} 个；请要求或禁止部分选项"
        ),
        Reason::TreesDisagree { layer, sides } => {
            let (en, zh) = layer.names();
            let list = |verb: &str, by: &str| {
                sides.iter().map(|(sections, names)| format!("{sections} {verb} {names}")).collect::<Vec<_>>().join(by)
            };
            let (en_sides, zh_sides) = (list("→", "; "), list("→", "；"));
            say!("{en}: the trees disagree: {en_sides}", "{zh}：决策树互相矛盾：{zh_sides}")
        }
        Reason::TreeImpossible { layer, sections, name, because } => {
            let ((en, zh), text) = (layer.names(), because.text());
            let Text { en: why, zh: wieso } = text;
            say!(
                "{en}: {sections} → {name}, which is ruled out: {why}",
                "{zh}：{sections} → {name}，但它已被排除：{wieso}"
            )
        }
        _ => Text::default(),
    }
}

fn assumption(reason: &Reason) -> Text {
    match reason {
        Reason::LeansOnShortfall { name, key, because } => {
            let Text { en, zh } = because.text();
            say!("{name} is chosen although {key} is not matched in full ({en})", "{name} 并未完全满足 {key}（{zh}）")
        }
        Reason::LeansOnClaim { name, key, stated, section } => say!(
            "that {name} keeps {stated} for {key} is claimed (§{section}) and not measured",
            "{name} 的 {key} 指标 {stated} 仅为声明值（§{section}），未经实测"
        ),
        Reason::LeansOnWeight { dimension, weight, to } => {
            let (en, zh) = dimension.names();
            say!(
                "another stack wins once the weight of {en} moves from {weight} past {to}",
                "{zh}权重从 {weight} 变到 {to} 之外时，最优方案会改变"
            )
        }
        Reason::LeansOnLead { lead } => say!("the lead is {lead} of 5 stars", "领先优势为 {lead}（满分 5）"),
        _ => Text::default(),
    }
}

fn step(reason: &Reason) -> Text {
    match reason {
        Reason::Identified { keys } => say!("{keys} keys are given", "共给出 {keys} 项需求"),
        Reason::Constrained { out } => say!("{out} options are ruled out", "排除 {out} 个选项"),
        Reason::OptionsLeft { left } => say!("{left} options are left", "剩余 {left} 个选项"),
        Reason::MatchedOptions { full, all } => {
            say!("{full} of {all} specifications match in full", "{all} 项规格中 {full} 项完全匹配")
        }
        Reason::Satisfies { names, score } => {
            say!("{names} satisfies the scenario with {score}", "{names} 满足场景，得分 {score}")
        }
        Reason::Adjusted { layer, names, because } => {
            let ((en, zh), text) = (layer.names(), because.as_ref().map(|it| it.text()));
            let (why, wieso) = match &text {
                Some(text) => (format!(": {}", text.en), format!("：{}", text.zh)),
                None => (String::new(), String::new()),
            };
            say!("{en} is opened beyond {names}{why}", "{zh}不再限于 {names}{wieso}")
        }
        Reason::Chosen { names, score, of } => {
            say!("{names} with {score}, the best of {of}", "{names}，得分 {score}，为 {of} 个组合中的最优")
        }
        _ => Text::default(),
    }
}
