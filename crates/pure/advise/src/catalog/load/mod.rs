//! Reads the catalogue's files. Entry point: [`Catalog::parse`].
//!
//! A file holds any of the sections below; sections of the same name add up over all files. Everything is checked while
//! it is read: keys, words, units, names that nothing carries. A flaw tells its file, line and column.

mod reader;
mod reference;
mod rules;
mod technology;

use std::collections::BTreeSet;

use super::{Catalog, Id, Measured, Spec, Stated};
use crate::{
    condition::Facts,
    flaw::{Flaw, Flaws},
    layer::{Layer, Metric},
    reason::Reason,
    tree::{Fields, Node, parse},
};
use reader::Reader;

pub(crate) use reader::not_quantity;

/// Most files, and most bytes of one, that are read.
const FILES_MAX: usize = 200;
const BYTES_MAX: usize = 1 << 20;

impl Catalog {
    /// Reads a catalogue from files given by name and text. All flaws are told, not only the first.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(files: impl IntoIterator<Item = (N, T)>) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let mut documents: Vec<(String, Node)> = Vec::new();
        for (name, text) in files {
            let name = name.as_ref();
            if text.as_ref().len() > BYTES_MAX || documents.len() >= FILES_MAX {
                flaws.add(name, Default::default(), Reason::TooLarge);
                continue;
            }
            match parse(name, text.as_ref()) {
                Ok(node) => documents.push((name.to_owned(), node)),
                Err(flaw) => flaws.push(*flaw),
            }
        }
        let mut catalog = Self { layer_weights: [1; Layer::ALL.len()], ..Self::default() };
        let mut facts = Facts::new();
        // Facts first: conditions of other files use them.
        for (file, node) in &documents {
            rules::facts(&mut catalog, &mut facts, file, node, &mut flaws);
        }
        let mut measured = Vec::new();
        for (file, node) in &documents {
            let mut reader = Reader { file, facts: &facts, flaws: &mut flaws };
            section(&mut catalog, &mut reader, node, &mut measured);
        }
        for (file, node) in measured {
            let mut reader = Reader { file, facts: &facts, flaws: &mut flaws };
            add_measured(&mut catalog, &mut reader, node);
        }
        catalog.technologies.sort_by_key(|it| it.layer);
        check_names(&catalog, &mut flaws);
        if flaws.is_empty() { Ok(catalog) } else { Err(flaws.into_sorted()) }
    }
}

fn section<'a>(
    catalog: &mut Catalog,
    reader: &mut Reader<'a, '_>,
    node: &'a Node,
    measured: &mut Vec<(&'a str, &'a Node)>,
) {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let _ = fields.take("facts");
    for node in fields.list("technologies") {
        let read = technology::technology(reader, node);
        catalog.technologies.push(read);
    }
    measured.extend(fields.list("measured").iter().map(|it| (reader.file, it)));
    for node in fields.list("trees") {
        catalog.trees.push(rules::tree(reader, node));
    }
    for node in fields.list("requirements") {
        catalog.wanted.extend(rules::wanted(reader, node));
    }
    for node in fields.list("weights") {
        catalog.weighings.extend(rules::weighing(reader, node));
    }
    for node in fields.list("stars") {
        catalog.derived.extend(rules::derived(reader, node));
    }
    for (word, at, node) in fields.entries("layers", reader.flaws) {
        if let Some(layer) = reader.word(*at, word, Layer::WORDS, Layer::from_word) {
            catalog.layer_weights[layer as usize] = reader.weight(node, "layers", 1) / 1000;
        }
    }
    for node in fields.list("extras") {
        catalog.extras.push(rules::extra(reader, node));
    }
    for node in fields.list("models") {
        catalog.models.push(rules::model(reader, node));
    }
    for node in fields.list("references") {
        catalog.references.extend(reference::reference(reader, node));
    }
    for node in fields.list("matrices") {
        catalog.matrices.push(reference::matrix(reader, node));
    }
    for node in fields.list("charts") {
        catalog.charts.push(reference::chart(reader, node));
    }
    fields.finish(reader.flaws);
}

/// Adds one measurement to the technology that it is of.
fn add_measured(catalog: &mut Catalog, reader: &mut Reader<'_, '_>, node: &Node) {
    let mut fields = Fields::of(reader.file, node, reader.flaws);
    let (at, id) = fields.need("technology", reader.flaws);
    let (metric_at, metric) = fields.need("metric", reader.flaws);
    let metric = reader.word(metric_at, metric, Metric::WORDS, Metric::from_word);
    let (value_at, value) = fields.need("value", reader.flaws);
    let measured = Measured {
        with: fields.need("with", reader.flaws).1.to_owned(),
        on: fields.need("on", reader.flaws).1.to_owned(),
        date: fields.need("date", reader.flaws).1.to_owned(),
    };
    let source = fields.need("source", reader.flaws).1.to_owned();
    let here = reader.source(node.at);
    fields.finish(reader.flaws);
    let Some(metric) = metric else { return };
    let Some(range) = reader.range(value_at, "value", value, metric.unit()) else { return };
    match catalog.technologies.iter_mut().find(|it| it.id.as_str() == id) {
        Some(technology) => {
            let spec = technology.specs.entry(metric).or_insert_with(|| Spec { metric, stated: Vec::new() });
            spec.stated.push(Stated { range, source, measured: Some(measured), at: here });
        }
        None => reader.flaws.add(reader.file, at, Reason::UnknownName { name: id.to_owned(), meant: None }),
    }
}

/// Every name that something mentions must be carried by something, once.
fn check_names(catalog: &Catalog, flaws: &mut Flaws) {
    let known: BTreeSet<&str> = catalog.technologies.iter().map(|it| it.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    for it in &catalog.technologies {
        if !seen.insert(it.id.as_str()) {
            flaws.add(&it.source.file, it.source.at, Reason::NameTwice { name: it.id.to_string() });
        }
    }
    let mut check = |id: &Id, layer: Option<Layer>, file: &str, at| {
        let fits = |it: &super::Technology| it.id == *id && layer.is_none_or(|layer| it.layer == layer);
        if !catalog.technologies.iter().any(fits) {
            let meant = crate::tree::closest(id.as_str(), known.iter().copied().filter(|it| *it != id.as_str()));
            flaws.add(file, at, Reason::UnknownName { name: id.to_string(), meant });
        }
    };
    for it in &catalog.technologies {
        it.parts.iter().chain(&it.includes).for_each(|id| check(id, None, &it.source.file, it.source.at));
        for (layer, ids) in &it.needs {
            ids.iter().for_each(|id| check(id, Some(*layer), &it.source.file, it.source.at));
        }
    }
    for rule in catalog.trees.iter().flat_map(|it| &it.rules) {
        for (layer, ids) in &rule.choose {
            ids.iter().for_each(|id| check(id, Some(*layer), &rule.source.file, rule.source.at));
        }
    }
    for it in &catalog.references {
        for (layer, ids) in &it.choose {
            ids.iter().for_each(|id| check(id, Some(*layer), &it.source.file, it.source.at));
        }
    }
    for row in catalog.matrices.iter().flat_map(|it| &it.rows) {
        row.options.iter().for_each(|id| check(id, None, &row.source.file, row.source.at));
    }
    if catalog.technologies.iter().filter(|it| it.option).count() > crate::solve::OPTIONS_MAX {
        flaws.add("catalog", Default::default(), Reason::TooLarge);
    }
    for layer in Layer::ALL {
        if catalog.options(*layer).next().is_none() {
            flaws.add("catalog", Default::default(), Reason::LayerEmpty { layer: *layer });
        }
    }
}
