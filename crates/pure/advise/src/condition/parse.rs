//! Reads conditions. Entry point: [`parse`].

use std::collections::BTreeMap;

use super::{Atom, Condition, Expr};
use crate::{
    reason::Reason,
    scenario::{Field, Kind},
    tree::closest,
    unit::Range,
};

/// Facts by name, each already read.
pub(crate) type Facts = BTreeMap<String, Expr>;

/// Deepest nesting of parentheses and negations.
const DEPTH_MAX: usize = 32;

/// Reads a condition that may use `facts`. The error says at which character it stopped.
pub(crate) fn parse(text: &str, facts: &Facts) -> Result<Condition, (usize, Reason)> {
    let mut words = Words { rest: tokens(text), facts, depth: 0, end: text.chars().count() };
    let expr = words.any()?;
    match words.rest.first() {
        None => Ok(Condition { text: text.to_owned(), expr }),
        Some((at, word)) => Err((*at, unexpected(word))),
    }
}

fn unexpected(word: &str) -> Reason {
    Reason::ConditionUnexpected { word: word.to_owned() }
}

/// Words, comparisons and parentheses with their places.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    let kind = |it: char| match it {
        '(' | ')' => 0,
        '<' | '>' | '=' | '!' => 1,
        it if it.is_whitespace() => 2,
        _ => 3,
    };
    let mut last = 2;
    for (at, letter) in text.chars().enumerate() {
        let kind = kind(letter);
        match tokens.last_mut() {
            Some((_, word)) if kind == last && kind != 0 && kind != 2 => word.push(letter),
            _ if kind != 2 => tokens.push((at, letter.to_string())),
            _ => {}
        }
        last = kind;
    }
    tokens
}

struct Words<'a> {
    rest: Vec<(usize, String)>,
    facts: &'a Facts,
    depth: usize,
    end: usize,
}

type Parsed<T> = Result<T, (usize, Reason)>;

impl Words<'_> {
    fn peek(&self) -> &str {
        self.rest.first().map_or("", |it| &it.1)
    }

    fn next(&mut self) -> Parsed<(usize, String)> {
        if self.rest.is_empty() {
            return Err((self.end, Reason::ConditionEnds));
        }
        Ok(self.rest.remove(0))
    }

    fn any(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.all()?];
        while self.peek() == "or" {
            self.next()?;
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Any(all) })
    }

    fn all(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.one()?];
        while self.peek() == "and" {
            self.next()?;
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::All(all) })
    }

    fn one(&mut self) -> Parsed<Expr> {
        let (at, word) = self.next()?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((at, unexpected(&word)));
        }
        let expr = match word.as_str() {
            "not" => Expr::Not(Box::new(self.one()?)),
            "(" => {
                let inner = self.any()?;
                let (at, word) = self.next()?;
                if word != ")" {
                    return Err((at, unexpected(&word)));
                }
                inner
            }
            _ => self.named(at, word)?,
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A fact, or a key with or without a comparison.
    fn named(&mut self, at: usize, name: String) -> Parsed<Expr> {
        if let Some(fact) = self.facts.get(&name) {
            return Ok(Expr::Fact(name, Box::new(fact.clone())));
        }
        let Some(field) = Field::of(&name) else {
            let known = self.facts.keys().map(String::as_str).chain(crate::scenario::FIELDS.iter().map(|it| it.key));
            return Err((at, Reason::ConditionName { meant: closest(&name, known), name }));
        };
        if !matches!(self.peek(), "<" | "<=" | ">" | ">=" | "==" | "!=") {
            return Ok(Expr::Atom(if field.kind == Kind::Flag {
                Atom::Flag(field.key)
            } else {
                Atom::Given(field.key)
            }));
        }
        let (at, operator) = self.next()?;
        let (place, literal) = self.next()?;
        comparison(field, &operator, &literal).ok_or_else(|| {
            let place = if matches!(field.kind, Kind::Amount(..)) { place } else { at };
            (place, Reason::ConditionCompare { key: field.key.to_owned(), with: format!("{operator} {literal}") })
        })
    }
}

fn comparison(field: &'static Field, operator: &str, literal: &str) -> Option<Expr> {
    let atom = match field.kind {
        Kind::Amount(unit, _) => {
            let text =
                if matches!(operator, "==" | "!=") { literal.to_owned() } else { format!("{operator}{literal}") };
            Atom::Within(field.key, Range::parse(&text, unit).ok()?)
        }
        Kind::Word(words) | Kind::Words(words) if matches!(operator, "==" | "!=") => {
            Atom::Word(field.key, words.iter().find(|it| **it == literal)?)
        }
        _ => return None,
    };
    Some(if operator == "!=" { Expr::Not(Box::new(Expr::Atom(atom))) } else { Expr::Atom(atom) })
}
