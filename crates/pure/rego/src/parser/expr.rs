//! Statements and operators.

use std::sync::Arc;

use super::{Parser, STATEMENTS_MAX, Wrong};
use crate::ast::{Expr, ExprKind, Term, TermKind};
use crate::lexer::Kind;

/// Operators by how tightly they bind, loosest first, and the functions they stand for.
const LEVELS: [&[(&str, &str)]; 5] = [
    &[("==", "equal"), ("!=", "neq"), ("<=", "lte"), (">=", "gte"), ("<", "lt"), (">", "gt")],
    &[("|", "or")],
    &[("&", "and")],
    &[("+", "plus"), ("-", "minus")],
    &[("*", "mul"), ("/", "div"), ("%", "rem")],
];

impl Parser {
    /// Statements up to `close`, which is left standing.
    pub(super) fn statements(&mut self, close: Option<&str>) -> Result<Vec<Expr>, Wrong> {
        let bar = std::mem::replace(&mut self.bar_ends, false);
        let mut out = Vec::new();
        loop {
            while self.take(";") {}
            if *self.peek() == Kind::End || close.is_some_and(|close| self.is(close)) {
                break;
            }
            out.push(self.statement()?);
            if out.len() > STATEMENTS_MAX {
                return Err((self.position(), format!("a body has more than {STATEMENTS_MAX} statements")));
            }
            let ended = self.is(";") || self.token().newline || *self.peek() == Kind::End;
            if !ended && !close.is_some_and(|close| self.is(close)) {
                return Err(self.unexpected("a new line, `;` or the end of the body"));
            }
        }
        self.bar_ends = bar;
        Ok(out)
    }

    pub(super) fn statement(&mut self) -> Result<Expr, Wrong> {
        self.deeper(Parser::any_statement)
    }

    fn any_statement(&mut self) -> Result<Expr, Wrong> {
        let (position, start) = (self.position(), self.token().start);
        let kind = if self.is_word("not") {
            self.next();
            let mut inner = self.statement()?;
            // `not x with y as z` replaces before it negates.
            let with = std::mem::take(&mut inner.with);
            let span = (start, self.end());
            return Ok(Expr { kind: ExprKind::Not(Box::new(inner)), with, position, span });
        } else if self.is_word("some") {
            self.next();
            self.some()?
        } else if self.every && self.is_word("every") {
            self.next();
            self.every()?
        } else {
            self.plain()?
        };
        let mut with = Vec::new();
        while self.take_word("with") {
            let target = self.term()?;
            if !self.take_word("as") {
                return Err(self.unexpected("`as`"));
            }
            with.push((target, self.infix()?));
        }
        Ok(Expr { kind, with, position, span: (start, self.end()) })
    }

    fn some(&mut self) -> Result<ExprKind, Wrong> {
        let first = self.operators(0)?;
        let mut second = None;
        let mut names = vec![first.clone()];
        while self.take(",") {
            let term = self.operators(0)?;
            second = Some(term.clone());
            names.push(term);
        }
        if self.in_ && self.take_word("in") {
            let of = self.operators(0)?;
            return match (names.len(), second) {
                (1, _) => Ok(ExprKind::SomeIn(None, first, of)),
                (2, Some(value)) => Ok(ExprKind::SomeIn(Some(first), value, of)),
                _ => Err((first.position, "`some … in` takes one or two names".to_owned())),
            };
        }
        let names: Result<Vec<Arc<str>>, Wrong> = names
            .into_iter()
            .map(|term| match term.kind {
                TermKind::Var(name) => Ok(name),
                _ => Err((term.position, "expected a name after `some`".to_owned())),
            })
            .collect();
        Ok(ExprKind::Some(names?))
    }

    fn every(&mut self) -> Result<ExprKind, Wrong> {
        let mut value = self.name()?;
        let mut key = None;
        if self.take(",") {
            key = Some(std::mem::replace(&mut value, self.name()?));
        }
        if !self.take_word("in") {
            return Err(self.unexpected("`in`"));
        }
        let domain = self.operators(0)?;
        let body = self.block()?;
        Ok(ExprKind::Every { key, value, domain, body })
    }

    fn plain(&mut self) -> Result<ExprKind, Wrong> {
        let left = self.infix()?;
        if self.in_ && self.is(",") {
            // `k, v in xs` as a statement.
            let at = self.at;
            self.next();
            let value = self.operators(0)?;
            if self.take_word("in") {
                return Ok(ExprKind::Test(self.membership(Some(left), value)?));
            }
            self.at = at;
        }
        if self.take(":=") {
            return Ok(ExprKind::Assign(left, self.infix()?));
        }
        if self.take("=") {
            return Ok(ExprKind::Unify(left, self.infix()?));
        }
        Ok(ExprKind::Test(left))
    }

    /// A term with all operators but those of statements.
    pub(super) fn infix(&mut self) -> Result<Term, Wrong> {
        self.deeper(|parser| {
            let mut left = parser.operators(0)?;
            while parser.in_ && parser.take_word("in") {
                left = parser.membership(None, left)?;
            }
            Ok(left)
        })
    }

    fn membership(&mut self, key: Option<Term>, value: Term) -> Result<Term, Wrong> {
        let position = key.as_ref().unwrap_or(&value).position;
        let of = self.operators(0)?;
        self.higher()?;
        Ok(match key {
            None => call(position, "internal.member_2", vec![value, of]),
            Some(key) => call(position, "internal.member_3", vec![key, value, of]),
        })
    }

    fn operators(&mut self, level: usize) -> Result<Term, Wrong> {
        let Some(signs) = LEVELS.get(level) else { return self.term() };
        let mut left = self.operators(level + 1)?;
        loop {
            let Kind::Sign(sign) = *self.peek() else { return Ok(left) };
            let Some((_, function)) = signs.iter().find(|(s, _)| *s == sign) else { return Ok(left) };
            if sign == "|" && self.bar_ends {
                return Ok(left);
            }
            self.next();
            let right = self.operators(level + 1)?;
            self.higher()?;
            left = call(left.position, function, vec![left, right]);
        }
    }
}

/// A call of a function whose name is one word or, with dots, several.
pub(super) fn call(position: crate::error::Position, name: &str, args: Vec<Term>) -> Term {
    Term { kind: TermKind::Call(name.split('.').map(Arc::from).collect(), args), position }
}
