//! Reads scenarios. Entry points: [`Scenario::parse`], [`Scenario::set`].

use std::collections::BTreeMap;

use super::{Field, Given, Kind, Named, Scenario, Sense, Value, contradiction};
use crate::{
    catalog::{Id, not_quantity},
    flaw::{Flaw, Flaws},
    layer::Dimension,
    reason::Reason,
    tree::{Fields, Node, Position, Tree, closest, parse, text_of},
    unit::{Range, Unit},
};

/// Most bytes of a scenario.
const BYTES_MAX: usize = 256 << 10;
/// Largest weight, in millionths; beyond it products of weights and stars would no longer be exact.
const WEIGHT_MAX: i64 = 1_000_000_000;

impl Scenario {
    /// Reads a scenario that goes by the name `file`. All flaws are told, not only the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Flaw>> {
        if text.len() > BYTES_MAX {
            return Err(vec![Flaw::new(file, Position::default(), Reason::TooLarge)]);
        }
        let node = parse(file, text).map_err(|flaw| vec![*flaw])?;
        build(file, node)
    }

    /// The same scenario with one key changed, as `--what-if KEY=VALUE` asks; an empty value takes the key away. Weights
    /// go by `weights.resources` and so on.
    pub fn set(&self, key: &str, value: &str) -> Result<Self, Vec<Flaw>> {
        let mut node = self.node.clone().unwrap_or(Node { at: Position::default(), value: Tree::Map(Vec::new()) });
        if matches!(node.value, Tree::Null) {
            node.value = Tree::Map(Vec::new());
        }
        let path: Vec<&str> = key.trim().split('.').collect();
        replace(&mut node, &path, value.trim());
        build(&self.file, node)
    }
}

/// Puts a value, or a list written as `[a, b]`, at the end of a path.
fn replace(node: &mut Node, path: &[&str], value: &str) {
    let Tree::Map(map) = &mut node.value else { return };
    let (first, rest) = (path[0], &path[1..]);
    let nowhere = Position::default();
    if rest.is_empty() {
        map.retain(|it| it.0 != first);
        if !value.is_empty() {
            map.push((first.to_owned(), nowhere, literal(value)));
        }
        return;
    }
    if !map.iter().any(|it| it.0 == first) {
        map.push((first.to_owned(), nowhere, Node { at: nowhere, value: Tree::Map(Vec::new()) }));
    }
    if let Some(entry) = map.iter_mut().find(|it| it.0 == first) {
        replace(&mut entry.2, rest, value);
    }
}

fn literal(value: &str) -> Node {
    let nowhere = Position::default();
    let list = value.strip_prefix('[').and_then(|it| it.strip_suffix(']')).map(|it| it.split(','));
    match list {
        Some(items) => {
            let items = items.map(str::trim).filter(|it| !it.is_empty()).map(|it| Node::scalar(it, nowhere)).collect();
            Node { at: nowhere, value: Tree::List(items) }
        }
        None => Node::scalar(value, nowhere),
    }
}

fn build(file: &str, node: Node) -> Result<Scenario, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let mut scenario = Scenario { file: file.to_owned(), ..Scenario::default() };
    {
        let mut fields = Fields::of(file, &node, &mut flaws);
        for field in super::FIELDS {
            if let Some((_, node)) = fields.take(field.key)
                && let Some(value) = value(file, field, node, &mut flaws)
            {
                scenario.values.insert(field.key, value);
            }
        }
        weights(&mut scenario, file, &mut fields, &mut flaws);
        hard(&mut scenario, file, &mut fields, &mut flaws);
        fields.finish(&mut flaws);
    }
    for flaw in contradiction::all(&scenario) {
        flaws.push(flaw);
    }
    scenario.node = Some(node);
    if flaws.is_empty() { Ok(scenario) } else { Err(flaws.into_sorted()) }
}

fn value(file: &str, field: &'static Field, node: &Node, flaws: &mut Flaws) -> Option<Value> {
    if let Kind::Words(words) = field.kind {
        return list(file, field.key, words, node, flaws);
    }
    let (at, text) = text_of(file, field.key, node, flaws)?;
    let given = match field.kind {
        Kind::Text => Given::Text(text.to_owned()),
        Kind::Word(words) => Given::Word(word(file, field.key, words, at, text, flaws)?),
        Kind::Flag => Given::Flag(word(file, field.key, &["true", "false"], at, text, flaws)? == "true"),
        Kind::Amount(unit, sense) => Given::Range(amount(file, field.key, unit, sense, at, text, flaws)?),
        Kind::Words(_) => return None,
    };
    Some(Value { given, at, text: text.to_owned() })
}

fn list(file: &str, key: &str, words: &'static [&'static str], node: &Node, flaws: &mut Flaws) -> Option<Value> {
    let one = std::slice::from_ref(node);
    let items = if let Tree::List(items) = &node.value { items.as_slice() } else { one };
    let mut given = Vec::new();
    for item in items {
        let (at, text) = text_of(file, key, item, flaws)?;
        given.push(word(file, key, words, at, text, flaws)?);
    }
    let text = format!("[{}]", given.join(", "));
    Some(Value { given: Given::Words(given), at: node.at, text })
}

fn word(
    file: &str,
    key: &str,
    words: &'static [&'static str],
    at: Position,
    text: &str,
    flaws: &mut Flaws,
) -> Option<&'static str> {
    let found = words.iter().find(|it| **it == text).copied();
    if found.is_none() {
        let meant = closest(text, words.iter().copied());
        let (key, words) = (key.to_owned(), words.iter().map(|it| (*it).to_owned()).collect());
        flaws.add(file, at, Reason::UnknownWord { key, word: text.to_owned(), words, meant });
    }
    found
}

fn amount(
    file: &str,
    key: &str,
    unit: Unit,
    sense: Sense,
    at: Position,
    text: &str,
    flaws: &mut Flaws,
) -> Option<Range> {
    let plain = text.starts_with(|it: char| it.is_ascii_digit()) && !text.contains("..");
    let bounded = match sense {
        Sense::AtMost if plain => format!("<={text}"),
        Sense::AtLeast if plain => format!(">={text}"),
        _ => text.to_owned(),
    };
    let range = match Range::parse(&bounded, unit) {
        Ok(range) => range,
        Err(wrong) => {
            flaws.add(file, at, not_quantity(key, text, unit, wrong));
            return None;
        }
    };
    let backwards = match sense {
        Sense::AtMost => range.high.is_none() || range.low > 0,
        Sense::AtLeast => range.high.is_some(),
        Sense::Amount => false,
    };
    let nothing = range.most() == Some(0) || range.most().is_some_and(|most| most < range.low);
    if backwards || nothing {
        let reason = if backwards {
            Reason::BoundBackwards { key: key.to_owned(), text: text.to_owned(), most: sense == Sense::AtMost }
        } else {
            Reason::AmountOutOfRange { key: key.to_owned(), text: text.to_owned() }
        };
        flaws.add(file, at, reason);
        return None;
    }
    Some(range)
}

fn weights<'a>(scenario: &mut Scenario, file: &str, fields: &mut Fields<'a>, flaws: &mut Flaws) {
    let entries = fields.entries("weights", flaws);
    for (name, at, node) in entries {
        let Some(dimension) = Dimension::from_word(name) else {
            let meant = closest(name, Dimension::WORDS.iter().copied());
            flaws.add(file, *at, Reason::UnknownKey { key: name.clone(), meant });
            continue;
        };
        let Some((at, text)) = text_of(file, name, node, flaws) else { continue };
        match weight(text) {
            Some(weight) => {
                scenario.weights.insert(dimension, weight);
                scenario.weight_positions.insert(dimension, at);
            }
            None => flaws.add(file, at, Reason::NotWeight { key: name.clone(), text: text.to_owned() }),
        }
    }
    let all = Dimension::ALL.len();
    if scenario.weights.len() == all && scenario.weights.values().all(|it| *it == 0) {
        let at = scenario.weight_positions.values().next().copied().unwrap_or_default();
        flaws.add(file, at, Reason::WeightsZero);
    }
}

/// `3`, `0.25` or `1/3`, in millionths.
fn weight(text: &str) -> Option<i64> {
    let (number, parts) = match text.split_once('/') {
        Some((number, parts)) => {
            (number.trim(), parts.trim().parse::<i64>().ok().filter(|it| (1..=WEIGHT_MAX).contains(it))?)
        }
        None => (text.trim(), 1),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 6
        || whole.len() > 4
        || whole.is_empty()
        || !format!("{whole}{fraction}").bytes().all(|it| it.is_ascii_digit())
    {
        return None;
    }
    let millionths: i64 = format!("{whole}{fraction:0<6}").parse().ok()?;
    Some((millionths + parts / 2) / parts).filter(|it| *it <= WEIGHT_MAX)
}

fn hard<'a>(scenario: &mut Scenario, file: &str, fields: &mut Fields<'a>, flaws: &mut Flaws) {
    let Some((_, node)) = fields.take("hard") else { return };
    let mut hard = Fields::of(file, node, flaws);
    let named = |texts: Vec<(Position, &str)>| -> Vec<Named> {
        texts.into_iter().map(|(at, id)| Named { id: Id::from(id), at }).collect()
    };
    scenario.require = named(hard.texts("require", flaws));
    scenario.forbid = named(hard.texts("forbid", flaws));
    scenario.strict = named(hard.texts("match", flaws));
    hard.finish(flaws);
    let required: BTreeMap<_, _> = scenario.require.iter().map(|it| (&it.id, it.at)).collect();
    for it in &scenario.forbid {
        if required.contains_key(&it.id) {
            flaws.add(file, it.at, Reason::RequiredAndForbidden { name: it.id.to_string() });
        }
    }
    for it in &scenario.strict {
        if !scenario.values.contains_key(it.id.as_str()) {
            flaws.add(file, it.at, Reason::StrictWithoutKey { key: it.id.to_string() });
        }
    }
}
