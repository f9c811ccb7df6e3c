//! Reads facts, trees, requirements, weights and models.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::{
    catalog::{Catalog, Derived, ExtraRule, Fact, Id, Model, Region, Rule, Tree, Want, Wanted, Weighing},
    condition::{Atom, Condition, Expr, Facts},
    flaw::Flaws,
    layer::{Dimension, Feature, Layer, Level, Metric},
    reason::Reason,
    solve::Weight,
    tree::{Fields, Node},
    unit::{Quantity, Range},
};

/// Reads the facts of one file; a fact may use those before it.
pub(super) fn facts(catalog: &mut Catalog, facts: &mut Facts, file: &str, node: &Node, flaws: &mut Flaws) {
    let crate::tree::Tree::Map(map) = &node.value else { return };
    let Some((_, _, node)) = map.iter().find(|it| it.0 == "facts") else { return };
    let one = std::slice::from_ref(node);
    let items = if let crate::tree::Tree::List(items) = &node.value { items.as_slice() } else { one };
    for node in items {
        let read = {
            let mut reader = Reader { file, facts, flaws };
            let mut fields = Fields::of(file, node, reader.flaws);
            let fact = Fact {
                name: fields.need("name", reader.flaws).1.to_owned(),
                when: reader.condition(&mut fields, "when"),
                text: reader.text(&mut fields, "text"),
                section: section(&mut reader, &mut fields),
                source: reader.source(node.at),
            };
            fields.finish(reader.flaws);
            fact
        };
        facts.insert(read.name.clone(), read.when.expr.clone());
        catalog.facts.push(read);
    }
}

fn section<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> String {
    fields.text("source", reader.flaws).map_or_else(String::new, |it| it.1.to_owned())
}

pub(super) fn tree<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Tree {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let read = Tree {
        id: Id::from(fields.need("id", reader.flaws).1),
        title: reader.text(&mut fields, "title"),
        section: section(reader, &mut fields),
        applies: reader.condition(&mut fields, "for"),
        rules: fields.list("rules").iter().map(|it| rule(reader, it)).collect(),
        source: reader.source(node.at),
    };
    fields.finish(reader.flaws);
    read
}

fn rule<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Rule {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let when = reader.condition(&mut fields, "when");
    let choose = reader.by_layer(&mut fields, "choose");
    let mut must = Vec::new();
    for (at, word) in fields.texts("must", reader.flaws) {
        must.extend(reader.word(at, word, Layer::WORDS, Layer::from_word));
    }
    let leads_to = fields.text("leadsTo", reader.flaws).map(|it| Id::from(it.1));
    fields.finish(reader.flaws);
    Rule { when, choose, must, leads_to, source: reader.source(node.at) }
}

pub(super) fn wanted<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Option<Wanted> {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let key = fields.need("key", reader.flaws).1.to_owned();
    let (at, layer) = fields.need("layer", reader.flaws);
    let layer = reader.word(at, layer, Layer::WORDS, Layer::from_word);
    let want = want(reader, &mut fields);
    let wanted = Wanted {
        key,
        layer: layer?,
        when: reader.condition(&mut fields, "when"),
        want: want?,
        hard: fields.text("hard", reader.flaws).is_some_and(|it| it.1 == "true"),
        because: reader.text(&mut fields, "because"),
        source: reader.source(node.at),
    };
    fields.finish(reader.flaws);
    Some(wanted)
}

fn want<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> Option<Want> {
    let share = fields.take("share").map(|it| reader.whole(it.1, "share").max(1));
    let per = fields.text("per", reader.flaws).map(|it| it.1.to_owned());
    let mut level = |reader: &mut Reader<'a, '_>, key, usual| {
        let given = fields.text(key, reader.flaws);
        given.and_then(|(at, word)| reader.word(at, word, Level::WORDS, Level::from_word)).unwrap_or(usual)
    };
    let (least, full) = (level(reader, "least", Level::Partial), level(reader, "full", Level::Full));
    if let Some((at, word)) = fields.text("metric", reader.flaws) {
        let metric = reader.word(at, word, Metric::WORDS, Metric::from_word)?;
        return Some(Want::Metric { metric, share, per });
    }
    let (at, word) = fields.need("feature", reader.flaws);
    let feature = reader.word(at, word, Feature::WORDS, Feature::from_word)?;
    Some(Want::Feature { feature, least, full })
}

pub(super) fn weighing<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Option<Weighing> {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let (at, word) = fields.need("dimension", reader.flaws);
    let dimension = reader.word(at, word, Dimension::WORDS, Dimension::from_word);
    let _ = section(reader, &mut fields);
    let mut lines = Vec::new();
    for node in fields.list("lines") {
        let mut line = Fields::of(reader.file, node, reader.flaws);
        let when = reader.condition(&mut line, "when");
        let weight = line.take("weight").map_or(0, |it| reader.weight(it.1, "weight", 1000));
        line.finish(reader.flaws);
        lines.push((when, Weight(weight * 1000)));
    }
    fields.finish(reader.flaws);
    Some(Weighing { dimension: dimension?, lines, source: reader.source(node.at) })
}

pub(super) fn derived<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Option<Derived> {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let (at, layer) = fields.need("layer", reader.flaws);
    let layer = reader.word(at, layer, Layer::WORDS, Layer::from_word);
    let (at, dimension) = fields.need("dimension", reader.flaws);
    let dimension = reader.word(at, dimension, Dimension::WORDS, Dimension::from_word);
    let (at, metric) = fields.need("metric", reader.flaws);
    let metric = reader.word(at, metric, Metric::WORDS, Metric::from_word)?;
    let mut amount = |key| {
        let (at, text) = fields.need(key, reader.flaws);
        match Quantity::parse(text, metric.unit()) {
            Ok(it) if it.value > 0 => it.value,
            _ => {
                let reason = Reason::NotAmount { key: key.to_owned(), text: text.to_owned(), unit: metric.unit() };
                reader.flaws.add(reader.file, at, reason);
                1
            }
        }
    };
    let (worst, best) = (amount("worst"), amount("best"));
    if worst == best {
        let text = Quantity { value: best, unit: metric.unit() }.to_string();
        reader.flaws.add(reader.file, node.at, Reason::AmountOutOfRange { key: "best".to_owned(), text });
    }
    fields.finish(reader.flaws);
    let source = reader.source(node.at);
    Some(Derived { layer: layer?, dimension: dimension?, metric, worst, best, source })
}

pub(super) fn extra<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> ExtraRule {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let read = ExtraRule {
        when: reader.condition(&mut fields, "when"),
        name: reader.text(&mut fields, "name"),
        section: section(reader, &mut fields),
    };
    fields.finish(reader.flaws);
    read
}

pub(super) fn model<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Model {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let id = Id::from(fields.need("id", reader.flaws).1);
    let section = section(reader, &mut fields);
    let mut regions = Vec::new();
    for node in fields.list("regions") {
        let mut region = Fields::of(reader.file, node, reader.flaws);
        let value = region.need("value", reader.flaws).1.to_owned();
        let when = reader.condition(&mut region, "when");
        region.finish(reader.flaws);
        regions.push(Region { value, within: bounds(&when), when });
    }
    fields.finish(reader.flaws);
    Model { id, section, regions, source: reader.source(node.at) }
}

/// The bounds on amounts that a plain conjunction sets.
fn bounds(when: &Condition) -> BTreeMap<&'static str, Range> {
    let parts = if let Expr::All(all) = &when.expr { all.as_slice() } else { std::slice::from_ref(&when.expr) };
    let bound = |it: &Expr| if let Expr::Atom(Atom::Within(key, range)) = it { Some((*key, *range)) } else { None };
    parts.iter().filter_map(bound).collect()
}
