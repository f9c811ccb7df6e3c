//! Conditions on a scenario, as the catalogue writes them: `nodes > 1000 or (edge and not ha)`. Entry point:
//! [`Condition`].
//!
//! A name is a key of the scenario or a fact that the catalogue defines. A comparison with an amount holds when every
//! amount that the scenario allows satisfies it, so `latency < 10ms` holds for a scenario that asks for `<10ms`. What a
//! scenario does not mention satisfies no comparison. A key alone asks whether it was given (a flag: whether it is true).

mod parse;
mod reach;

use std::fmt;

use crate::{
    catalog::Fact,
    scenario::{Given, Scenario},
    text::Text,
    unit::Range,
};

pub(crate) use parse::{Facts, parse};
pub(crate) use reach::{Witness, witness};

/// A condition, with its facts filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Always,
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// A fact by its name, and what it stands for.
    Fact(String, Box<Expr>),
    Atom(Atom),
}

/// One question about one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Atom {
    Given(&'static str),
    Flag(&'static str),
    Word(&'static str, &'static str),
    Within(&'static str, Range),
}

/// A condition as the catalogue writes it; the default one always holds.
#[derive(Clone, Debug)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    pub(crate) expr: Expr,
}

impl Condition {
    /// Whether it holds for `scenario`.
    pub fn holds(&self, scenario: &Scenario) -> bool {
        self.expr.holds(scenario)
    }

    /// The condition that always holds.
    pub(crate) fn always() -> Self {
        Self { text: String::new(), expr: Expr::Always }
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::always()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "else" } else { &self.text })
    }
}

impl Expr {
    pub(crate) fn holds(&self, scenario: &Scenario) -> bool {
        match self {
            Self::Always => true,
            Self::All(all) => all.iter().all(|it| it.holds(scenario)),
            Self::Any(any) => any.iter().any(|it| it.holds(scenario)),
            Self::Not(it) => !it.holds(scenario),
            Self::Fact(_, it) => it.holds(scenario),
            Self::Atom(it) => it.holds(scenario.values.get(it.key()).map(|it| &it.given)),
        }
    }

    /// Every key that it asks about.
    pub(crate) fn atoms<'a>(&'a self, out: &mut Vec<&'a Atom>) {
        match self {
            Self::Always => {}
            Self::All(all) | Self::Any(all) => all.iter().for_each(|it| it.atoms(out)),
            Self::Not(it) | Self::Fact(_, it) => it.atoms(out),
            Self::Atom(it) => out.push(it),
        }
    }
}

impl Atom {
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Given(key) | Self::Flag(key) | Self::Word(key, _) | Self::Within(key, _) => key,
        }
    }

    pub(crate) fn holds(&self, given: Option<&Given>) -> bool {
        match (self, given) {
            (_, None) => false,
            (Self::Given(_), Some(_)) => true,
            (Self::Flag(_), Some(Given::Flag(flag))) => *flag,
            (Self::Word(_, word), Some(Given::Word(given))) => word == given,
            (Self::Word(_, word), Some(Given::Words(given))) => given.contains(word),
            (Self::Within(_, bound), Some(Given::Range(given))) => given.within(bound),
            _ => false,
        }
    }
}

impl Condition {
    /// What it asks, with facts told in their own words.
    pub fn means(&self, facts: &[Fact]) -> Text {
        means(&self.expr, facts, false)
    }
}

/// `inner` says whether it stands beside others.
fn means(expr: &Expr, facts: &[Fact], inner: bool) -> Text {
    let join = |all: &[Expr], en: &str, zh: &str| {
        let all: Vec<Text> = all.iter().map(|it| means(it, facts, true)).collect();
        let list = |of: fn(&Text) -> &str, by: &str| all.iter().map(of).collect::<Vec<_>>().join(by);
        let (en, zh) = (list(|it| &it.en, en), list(|it| &it.zh, zh));
        if inner { Text::new(format!("({en})"), format!("（{zh}）")) } else { Text::new(en, zh) }
    };
    match expr {
        Expr::Always => Text::new("in every other case", "其他情况"),
        Expr::All(all) => join(all, " and ", " 且 "),
        Expr::Any(any) => join(any, " or ", " 或 "),
        Expr::Not(it) => {
            let Text { en, zh } = means(it, facts, true);
            Text::new(format!("not {en}"), format!("非{zh}"))
        }
        Expr::Fact(name, _) => {
            let text = facts.iter().find(|it| it.name == *name).map(|it| it.text.clone());
            let Text { en, zh } = text.unwrap_or_else(|| Text::name(name));
            if inner { Text::new(format!("“{en}”"), format!("“{zh}”")) } else { Text::new(en, zh) }
        }
        Expr::Atom(Atom::Given(key)) => Text::new(format!("{key} is given"), format!("给出 {key}")),
        Expr::Atom(Atom::Flag(key)) => Text::name(key),
        Expr::Atom(Atom::Word(key, word)) => Text::name(&format!("{key} = {word}")),
        Expr::Atom(Atom::Within(key, range)) => Text::name(&format!("{key} {range}")),
    }
}

/// The first key of a condition that the scenario gives; empty if it gives none.
pub(crate) fn first_key(condition: &Condition, scenario: &Scenario) -> &'static str {
    let mut atoms = Vec::new();
    condition.expr.atoms(&mut atoms);
    atoms.iter().map(|it| it.key()).find(|it| scenario.values.contains_key(it)).unwrap_or_default()
}
