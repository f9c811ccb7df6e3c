//! Reads technologies.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::{
    catalog::{Id, Maturity, Spec, Stated, Technology},
    layer::{DIMENSIONS, Dimension, Feature, Layer, Level, Metric},
    reason::Reason,
    tree::{Fields, Node, Position, Tree},
};

/// Most stars, in thousandths.
const STARS_MAX: i64 = 5_000;

pub(super) fn technology<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Technology {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let id = Id::from(fields.need("id", reader.flaws).1);
    let (at, layer) = fields.need("layer", reader.flaws);
    let layer = reader.word(at, layer, Layer::WORDS, Layer::from_word).unwrap_or(Layer::Orchestration);
    let mut read = Technology {
        name: reader.text(&mut fields, "name"),
        layer,
        option: flag(reader, &mut fields, "option", true),
        empty: flag(reader, &mut fields, "empty", false),
        parts: reader.ids(&mut fields, "parts"),
        includes: reader.ids(&mut fields, "includes"),
        versions: fields.texts("versions", reader.flaws).into_iter().map(|it| it.1.to_owned()).collect(),
        when: reader.condition(&mut fields, "when"),
        specs: specs(reader, &mut fields),
        features: features(reader, &mut fields),
        stars: stars(reader, &mut fields),
        maturity: maturity(reader, &mut fields),
        needs: reader.by_layer(&mut fields, "needs"),
        facts: reader.text_map(&mut fields, "facts"),
        sources: fields.texts("sources", reader.flaws).into_iter().map(|it| it.1.to_owned()).collect(),
        source: reader.source(node.at),
        id,
    };
    if read.name.en.is_empty() {
        read.name = crate::text::Text::name(read.id.as_str());
    }
    if let Some(maturity) = &read.maturity {
        // The document's verdict stands unless the entry gives stars of its own.
        let stars = &mut read.stars[Dimension::Maturity as usize];
        if *stars == 0 {
            *stars = i64::from(maturity.score) * 1000;
        }
    }
    fields.finish(reader.flaws);
    read
}

fn flag<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>, key: &'static str, usual: bool) -> bool {
    let Some((at, text)) = fields.text(key, reader.flaws) else { return usual };
    let from = |word: &str| word.parse::<bool>().ok();
    reader.word(at, text, &["true", "false"], from).unwrap_or(usual)
}

/// Statements by metric: one value, or a list of values with their sources.
fn specs<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> BTreeMap<Metric, Spec> {
    let mut specs = BTreeMap::new();
    for (word, at, node) in fields.entries("specs", reader.flaws) {
        let Some(metric) = reader.word(*at, word, Metric::WORDS, Metric::from_word) else { continue };
        let one = std::slice::from_ref(node);
        let items = if let Tree::List(items) = &node.value { items.as_slice() } else { one };
        let stated = items.iter().filter_map(|it| stated(reader, metric, it)).collect();
        specs.insert(metric, Spec { metric, stated });
    }
    specs
}

fn stated<'a>(reader: &mut Reader<'a, '_>, metric: Metric, node: &'a Node) -> Option<Stated> {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let (at, value) = fields.need("value", reader.flaws);
    let source = fields.need("source", reader.flaws).1.to_owned();
    fields.finish(reader.flaws);
    let range = reader.range(at, metric.word(), value, metric.unit())?;
    Some(Stated { range, source, measured: None, at: reader.source(node.at) })
}

fn features<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> BTreeMap<Feature, Level> {
    let mut features = BTreeMap::new();
    for (word, at, node) in fields.entries("features", reader.flaws) {
        let feature = reader.word(*at, word, Feature::WORDS, Feature::from_word);
        let Some((at, level)) = crate::tree::text_of(reader.file, word, node, reader.flaws) else { continue };
        let level = reader.word(at, level, Level::WORDS, Level::from_word);
        if let (Some(feature), Some(level)) = (feature, level) {
            features.insert(feature, level);
        }
    }
    features
}

fn stars<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> [i64; DIMENSIONS] {
    let mut stars = [0; DIMENSIONS];
    for (word, at, node) in fields.entries("stars", reader.flaws) {
        let Some(dimension) = reader.word(*at, word, Dimension::WORDS, Dimension::from_word) else { continue };
        let given = reader.thousandths(node, word);
        if given > STARS_MAX {
            reader.flaws.add(reader.file, node.at, Reason::TooManyStars { key: word.clone() });
        }
        stars[dimension as usize] = given.min(STARS_MAX);
    }
    stars
}

fn maturity<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>) -> Option<Maturity> {
    let (_, node) = fields.take("maturity")?;
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let mut star = |key| Some(stars_of(reader, fields.take(key)?.1, key));
    let read = Maturity {
        community: star("community"),
        stability: star("stability"),
        production: star("production"),
        documentation: star("documentation"),
        ecosystem: star("ecosystem"),
        score: star("score").unwrap_or_default(),
        github: fields.text("github", reader.flaws).map(|it: (Position, &str)| it.1.to_owned()),
        releases: fields.take("releases").map(|it| reader.words_of(it.1)),
        because: reader.text_map(&mut fields, "because"),
        source: fields.need("source", reader.flaws).1.to_owned(),
    };
    fields.finish(reader.flaws);
    Some(read)
}

fn stars_of(reader: &mut Reader<'_, '_>, node: &Node, key: &str) -> u8 {
    let stars = reader.whole(node, key);
    if stars > STARS_MAX / 1000 {
        reader.flaws.add(reader.file, node.at, Reason::TooManyStars { key: key.to_owned() });
    }
    stars as u8
}
