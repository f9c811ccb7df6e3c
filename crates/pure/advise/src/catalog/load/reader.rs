//! Reads words, amounts, names and conditions, noting what is wrong with them.

use std::collections::BTreeMap;

use crate::{
    catalog::{Id, Source},
    condition::{Condition, Facts, parse},
    flaw::Flaws,
    layer::Layer,
    reason::Reason,
    text::Text,
    tree::{Fields, Node, Position, Tree, closest, text_of},
    unit::{NotQuantity, Range, Unit},
};

/// Where and with what one reads.
pub(super) struct Reader<'a, 'f> {
    pub(super) file: &'a str,
    pub(super) facts: &'f Facts,
    pub(super) flaws: &'f mut Flaws,
}

impl<'a> Reader<'a, '_> {
    pub(super) fn source(&self, at: Position) -> Source {
        Source { file: self.file.to_owned(), at }
    }

    /// One of `words`.
    pub(super) fn word<T>(
        &mut self,
        at: Position,
        word: &str,
        words: &[&'static str],
        from: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let found = from(word);
        if found.is_none() {
            let meant = closest(word, words.iter().copied());
            self.flaws.add(self.file, at, Reason::UnknownName { name: word.to_owned(), meant });
        }
        found
    }

    pub(super) fn range(&mut self, at: Position, key: &str, text: &str, unit: Unit) -> Option<Range> {
        match Range::parse(text, unit) {
            Ok(range) => Some(range),
            Err(wrong) => {
                self.flaws.add(self.file, at, not_quantity(key, text, unit, wrong));
                None
            }
        }
    }

    /// A whole number, or zero with a flaw.
    pub(super) fn whole(&mut self, node: &Node, key: &str) -> i64 {
        let Some((at, text)) = text_of(self.file, key, node, self.flaws) else { return 0 };
        self.range(at, key, text, Unit::Count).map_or(0, |it| it.low)
    }

    /// A number with up to three digits after the point, in thousandths.
    pub(super) fn thousandths(&mut self, node: &Node, key: &str) -> i64 {
        let Some((at, text)) = text_of(self.file, key, node, self.flaws) else { return 0 };
        self.range(at, key, text, Unit::Cores).map_or(0, |it| it.low)
    }

    /// A weight of at most 1,000, in thousandths and in multiples of `1 / parts`; larger ones would leave no exact sums.
    pub(super) fn weight(&mut self, node: &Node, key: &str, parts: i64) -> i64 {
        let given = self.thousandths(node, key);
        if given > 1_000_000 || given * parts % 1000 != 0 {
            let text = crate::unit::thousandths(given);
            self.flaws.add(self.file, node.at, Reason::NotWeight { key: key.to_owned(), text });
            return 0;
        }
        given
    }

    /// `{en: …, zh: …}`, or one text that both languages share.
    pub(super) fn words_of(&mut self, node: &Node) -> Text {
        match &node.value {
            Tree::Scalar(text) => Text::name(text),
            _ => {
                let mut fields = Fields::of(self.file, node, self.flaws);
                let text = Text::new(fields.need("en", self.flaws).1, fields.need("zh", self.flaws).1);
                fields.finish(self.flaws);
                text
            }
        }
    }

    /// The words under `key`, empty if it is absent.
    pub(super) fn text(&mut self, fields: &mut Fields<'a>, key: &'static str) -> Text {
        fields.take(key).map(|(_, node)| self.words_of(node)).unwrap_or_default()
    }

    /// The words under every key of the mapping `key`.
    pub(super) fn text_map(&mut self, fields: &mut Fields<'a>, key: &'static str) -> BTreeMap<String, Text> {
        let entries = fields.entries(key, self.flaws);
        entries.iter().map(|(key, _, node)| (key.clone(), self.words_of(node))).collect()
    }

    /// The condition under `when`-like keys; always, if it is absent.
    pub(super) fn condition(&mut self, fields: &mut Fields<'a>, key: &'static str) -> Condition {
        let Some((at, text)) = fields.text(key, self.flaws) else { return Condition::always() };
        match parse(text, self.facts) {
            Ok(condition) => condition,
            Err((offset, reason)) => {
                let at = Position { line: at.line, column: at.column + offset as u32 };
                self.flaws.add(self.file, at, reason);
                Condition::always()
            }
        }
    }

    pub(super) fn ids(&mut self, fields: &mut Fields<'a>, key: &'static str) -> Vec<Id> {
        fields.texts(key, self.flaws).into_iter().map(|it| Id::from(it.1)).collect()
    }

    /// Options by layer.
    pub(super) fn by_layer(&mut self, fields: &mut Fields<'a>, key: &'static str) -> BTreeMap<Layer, Vec<Id>> {
        let mut chosen = BTreeMap::new();
        for (word, at, node) in fields.entries(key, self.flaws) {
            let Some(layer) = self.word(*at, word, Layer::WORDS, Layer::from_word) else { continue };
            let one = std::slice::from_ref(node);
            let items = if let Tree::List(items) = &node.value { items.as_slice() } else { one };
            let ids = items.iter().filter_map(|it| text_of(self.file, word, it, self.flaws));
            chosen.insert(layer, ids.map(|it| Id::from(it.1)).collect());
        }
        chosen
    }
}

/// What is wrong with an amount, with what was probably meant.
pub(crate) fn not_quantity(key: &str, text: &str, unit: Unit, wrong: NotQuantity) -> Reason {
    let (key, text) = (key.to_owned(), text.to_owned());
    match wrong {
        NotQuantity::NoUnit => {
            let meant = format!("{text}{}", unit.usual_suffix());
            Reason::UnitMissing { key, text, unit, meant }
        }
        NotQuantity::WrongUnit(suffix) => Reason::UnitWrong { key, text, unit, of: Unit::of_suffix(&suffix), suffix },
        NotQuantity::NoNumber => Reason::NotAmount { key, text, unit },
        NotQuantity::OutOfRange => Reason::AmountOutOfRange { key, text },
    }
}
