//! The way from one combination to another, layer by layer. Entry points: [`stages`], [`assumptions`].

use serde::Serialize;

use super::{
    book::{Book, Era, Step},
    combination::{Combination, LAYERS},
};
use crate::Text;

/// One stage: a change of one layer, with what it carries along, that ends in a stack that serves.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// What it is.
    pub title: Text,
    /// The stage of the evolution path that is reached, where it is one.
    pub reaches: Option<String>,
    /// The stack afterwards.
    pub stack: String,
    /// Where its steps are described; `eyot` when the documents have none.
    pub source: String,
    /// What to do, in order, each with the way back.
    pub steps: Vec<Step>,
}

/// What was taken for granted.
pub(super) fn assumptions(from: &Combination, to: &Combination, book: &Book) -> Vec<Text> {
    let sides = [(from, "today", "现状"), (to, "the target", "目标")];
    let said = sides.into_iter().flat_map(|(side, en, zh)| {
        side.assumed.iter().filter_map(move |layer| {
            let title = book.title(side.get(layer)?);
            let orchestrator = book.title(side.get("orchestration")?);
            Some(Text::new(
                format!("{layer} of {en}: {title}, which {orchestrator} brings"),
                format!("{zh}的 {layer}：{title}（{orchestrator} 自带）"),
            ))
        })
    });
    said.collect()
}

/// The stages, in the order in which layers are moved. A change of orchestrator carries storage and network with it.
pub(super) fn stages(from: &Combination, to: &Combination, book: &Book) -> Vec<Stage> {
    let changes =
        |layer: &str| to.get(layer).is_some_and(|it| Some(it) != from.get(layer) && !nothing(from, layer, it));
    let (mut stack, mut stages) = (from.clone(), Vec::new());
    let mut carried: &[&str] = &[];
    for layer in LAYERS {
        if !changes(layer) || carried.contains(&layer) {
            continue;
        }
        if layer == "orchestration" {
            carried = &["storage", "network"];
        }
        let goal = to.get(layer).unwrap_or_default();
        let Some(way) = book.steps(layer, from.get(layer), goal) else { continue };
        for layer in std::iter::once(layer).chain(carried.iter().copied().filter(|_| layer == "orchestration")) {
            if let Some(id) = to.get(layer) {
                stack.parts.insert(layer.to_owned(), id.to_owned());
            }
        }
        let before = from.get(layer).map_or("-", |it| book.title(it));
        let fill = |text: &Text| {
            let fill = |it: &str| it.replace("{from}", before).replace("{to}", book.title(goal));
            Text::new(fill(&text.en), fill(&text.zh))
        };
        let steps = way.steps.iter().filter(|it| it.when.as_deref().is_none_or(changes));
        let steps =
            steps.map(|it| Step { title: fill(&it.title), act: fill(&it.act), undo: fill(&it.undo), when: None });
        let era = era(&stack, book);
        stages.push(Stage {
            title: Text::new(format!("{before} → {}", book.title(goal)), format!("{before} → {}", book.title(goal))),
            reaches: era.map(|it| it.id.clone()),
            stack: stack.short(),
            source: way.source.clone(),
            steps: steps.collect(),
        });
    }
    stages
}

/// Whether a layer that nobody named becomes what means that there is none.
fn nothing(from: &Combination, layer: &str, goal: &str) -> bool {
    from.get(layer).is_none() && goal == "no-mesh"
}

/// The last stage of the evolution path whose parts the combination has.
fn era<'a>(stack: &Combination, book: &'a Book) -> Option<&'a Era> {
    book.stages.iter().rev().find(|era| era.has.iter().all(|(layer, id)| stack.is(layer, id)))
}
