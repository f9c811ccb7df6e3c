//! Reads what the documents chose, references and matrices, and the keys of other projects' files.

use super::reader::Reader;
use crate::{
    catalog::{Chart, Id, Matrix, MatrixRow, Origin, Reference, Shape},
    layer::{Dimension, Layer, Level, Metric},
    tree::{Fields, Node, text_of},
};

pub(super) fn reference<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Option<Reference> {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let id = Id::from(fields.need("id", reader.flaws).1);
    let (at, origin) = fields.need("origin", reader.flaws);
    let origin = reader.word(at, origin, Origin::WORDS, Origin::from_word);
    let mut figures = std::collections::BTreeMap::new();
    for (word, at, node) in fields.entries("figures", reader.flaws) {
        let metric = reader.word(*at, word, Metric::WORDS, Metric::from_word);
        let (Some(metric), Some((at, text))) = (metric, text_of(reader.file, word, node, reader.flaws)) else {
            continue;
        };
        figures.extend(reader.range(at, word, text, metric.unit()).map(|range| (metric, range)));
    }
    let mut conflicts = std::collections::BTreeMap::new();
    for (word, at, node) in fields.entries("conflicts", reader.flaws) {
        if let Some(layer) = reader.word(*at, word, Layer::WORDS, Layer::from_word) {
            conflicts.insert(layer, reader.words_of(node));
        }
    }
    let read = Reference {
        id,
        origin: origin?,
        name: reader.text(&mut fields, "name"),
        section: fields.need("source", reader.flaws).1.to_owned(),
        choose: reader.by_layer(&mut fields, "choose"),
        also: reader.text_map(&mut fields, "also"),
        maturity: fields.take("maturity").map(|it| reader.whole(it.1, "maturity") as u8),
        production: level(reader, &mut fields, "production"),
        figures,
        scenario: fields.text("scenario", reader.flaws).map(|it| it.1.to_owned()),
        conflicts,
        source: reader.source(node.at),
    };
    fields.finish(reader.flaws);
    Some(read)
}

fn level<'a>(reader: &mut Reader<'a, '_>, fields: &mut Fields<'a>, key: &'static str) -> Option<Level> {
    let (at, word) = fields.text(key, reader.flaws)?;
    reader.word(at, word, Level::WORDS, Level::from_word)
}

pub(super) fn matrix<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Matrix {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let id = Id::from(fields.need("id", reader.flaws).1);
    let section = fields.need("source", reader.flaws).1.to_owned();
    let mut columns = Vec::new();
    for (word, at, node) in fields.entries("columns", reader.flaws) {
        if let Some(dimension) = reader.word(*at, word, Dimension::WORDS, Dimension::from_word) {
            columns.push((dimension, reader.words_of(node)));
        }
    }
    let mut rows = Vec::new();
    for node in fields.list("rows") {
        let mut row = Fields::of(reader.file, node, reader.flaws);
        rows.push(MatrixRow {
            options: reader.ids(&mut row, "options"),
            stars: row.list("stars").iter().map(|it| reader.whole(it, "stars")).collect(),
            total: row.take("total").map_or(0, |it| reader.whole(it.1, "total")),
            verdict: level(reader, &mut row, "verdict").unwrap_or(Level::None),
            source: reader.source(node.at),
        });
        row.finish(reader.flaws);
    }
    fields.finish(reader.flaws);
    Matrix { id, section, columns, rows, source: reader.source(node.at) }
}

pub(super) fn chart<'a>(reader: &mut Reader<'a, '_>, node: &'a Node) -> Chart {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let id = Id::from(fields.need("id", reader.flaws).1);
    let of = fields.need("of", reader.flaws).1.to_owned();
    let read = fields.need("source", reader.flaws).1.to_owned();
    let mut keys = std::collections::BTreeMap::new();
    for (key, _, node) in fields.entries("keys", reader.flaws) {
        let Some((at, word)) = text_of(reader.file, key, node, reader.flaws) else { continue };
        keys.extend(reader.word(at, word, Shape::WORDS, Shape::from_word).map(|shape| (key.clone(), shape)));
    }
    fields.finish(reader.flaws);
    Chart { id, of, read, keys, source: reader.source(node.at) }
}
