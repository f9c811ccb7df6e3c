//! Terms: what stands between operators.

use std::sync::Arc;

use super::expr::call;
use super::{Parser, Wrong};
use crate::ast::{ExprKind, Term, TermKind};
use crate::error::Position;
use crate::lexer::{Kind, Part, Token};
use crate::number::Number;
use crate::value::Value;

impl Parser {
    pub(super) fn term(&mut self) -> Result<Term, Wrong> {
        self.deeper(Parser::any_term)
    }

    fn any_term(&mut self) -> Result<Term, Wrong> {
        let position = self.position();
        let head = match self.peek().clone() {
            Kind::Literal(value) => {
                self.next();
                return Ok(Term { kind: TermKind::Const(value), position });
            }
            Kind::Template(parts) => return self.template(parts),
            Kind::Name(name) if self.is_dotted() => {
                self.next();
                TermKind::Var(name)
            }
            Kind::Name(name) => match &*name {
                "true" | "false" => {
                    self.next();
                    return Ok(Term { kind: TermKind::Const(Value::Bool(&*name == "true")), position });
                }
                "null" => {
                    self.next();
                    return Ok(Term { kind: TermKind::Const(Value::Null), position });
                }
                "set" if self.calls_next() && self.tokens[self.at + 2].kind == Kind::Sign(")") => {
                    self.at += 3;
                    return Ok(Term { kind: TermKind::Const(Value::set([])), position });
                }
                _ => TermKind::Var(self.name()?),
            },
            Kind::Sign("-") => return self.negated(),
            Kind::Sign("(") => {
                self.next();
                let bar = std::mem::replace(&mut self.bar_ends, false);
                let mut inner = self.infix()?;
                if self.in_ && self.take(",") {
                    let value = self.infix_value()?;
                    let of = self.infix()?;
                    inner = call(position, "internal.member_3", vec![inner, value, of]);
                }
                self.bar_ends = bar;
                self.expect(")", "after the expression")?;
                return Ok(inner);
            }
            Kind::Sign("[") => self.array()?,
            Kind::Sign("{") => self.braces()?,
            _ => return Err(self.unexpected("a term")),
        };
        self.references(Term { kind: head, position })
    }

    /// A text with expressions in it: a call that joins the texts and, of each expression, the set of its values.
    fn template(&mut self, parts: Vec<Part>) -> Result<Term, Wrong> {
        let position = self.position();
        self.next();
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            let tokens = match part {
                Part::Text(text) => {
                    items.push(constant(Value::string(&text), position));
                    continue;
                }
                Part::Expression(tokens) => tokens,
            };
            items.push(self.deeper(|outer| outer.expression_set(tokens))?);
        }
        Ok(call(position, "internal.template_string", vec![Term { kind: TermKind::Array(items), position }]))
    }

    /// `{x | x = EXPRESSION}`.
    fn expression_set(&mut self, tokens: Vec<Token>) -> Result<Term, Wrong> {
        let Parser { if_, in_, contains, every, v1, depth, .. } = *self;
        let mut inner = Parser { tokens, at: 0, if_, in_, contains, every, v1, depth, height: 0, bar_ends: false };
        let position = inner.position();
        let mut statement = inner.statement()?;
        self.height = self.height.max(inner.height);
        if *inner.peek() != Kind::End {
            return Err(inner.unexpected("the end of the template expression"));
        }
        let ExprKind::Test(value) = statement.kind else {
            return Err((position, "a template expression must be a term".to_owned()));
        };
        let made = Term {
            kind: TermKind::Var(Arc::from(format!("__template_{}_{}__", position.line, position.column))),
            position,
        };
        statement.kind = ExprKind::Unify(made.clone(), value);
        Ok(Term { kind: TermKind::SetOf(Box::new(made), vec![statement]), position })
    }

    /// The value of `(k, v in xs)`, up to and with `in`.
    fn infix_value(&mut self) -> Result<Term, Wrong> {
        let value = self.term()?;
        if self.take_word("in") { Ok(value) } else { Err(self.unexpected("`in`")) }
    }

    fn negated(&mut self) -> Result<Term, Wrong> {
        let position = self.position();
        self.next();
        let term = self.term()?;
        Ok(match &term.kind {
            TermKind::Const(Value::Number(n)) => {
                let negative = n.combine(&Number::Int(-1), i128::checked_mul, |a, b| a * b);
                Term { kind: TermKind::Const(Value::Number(negative.unwrap_or(Number::Int(0)))), position }
            }
            _ => {
                let zero = Term { kind: TermKind::Const(Value::int(0)), position };
                call(position, "minus", vec![zero, term])
            }
        })
    }

    /// What touches a term: fields, keys, arguments.
    fn references(&mut self, mut head: Term) -> Result<Term, Wrong> {
        loop {
            let position = head.position;
            let mut path = Vec::new();
            self.steps(&mut path)?;
            if !path.is_empty() {
                head = Term { kind: TermKind::Ref(Box::new(head), path), position };
            }
            if !(self.is("(") && self.token().adjacent) {
                return Ok(head);
            }
            let Some(name) = function_name(&head) else { return Err(self.unexpected("an operator")) };
            self.next();
            let args = self.terms(")")?;
            head = Term { kind: TermKind::Call(name, args), position };
        }
    }

    /// Terms between commas, up to and with `close`.
    pub(super) fn terms(&mut self, close: &str) -> Result<Vec<Term>, Wrong> {
        let bar = std::mem::replace(&mut self.bar_ends, false);
        let mut out = Vec::new();
        while !self.is(close) {
            out.push(self.infix()?);
            if !self.take(",") {
                break;
            }
        }
        self.bar_ends = bar;
        self.expect(close, "after the last element")?;
        Ok(out)
    }

    /// The first element of a collection, where `|` would begin a comprehension's body.
    fn first(&mut self) -> Result<Term, Wrong> {
        let bar = std::mem::replace(&mut self.bar_ends, true);
        let term = self.infix();
        self.bar_ends = bar;
        term
    }

    /// The body of a comprehension, if `|` says that this is one.
    fn comprehension(&mut self, close: &str) -> Result<Option<Vec<crate::ast::Expr>>, Wrong> {
        if !self.take("|") {
            return Ok(None);
        }
        let body = self.statements(Some(close))?;
        if body.is_empty() {
            return Err((self.position(), "found empty body".to_owned()));
        }
        self.expect(close, "after the comprehension")?;
        Ok(Some(body))
    }

    /// The elements that follow the first one.
    fn further(&mut self, mut items: Vec<Term>, close: &str) -> Result<Vec<Term>, Wrong> {
        if self.take(",") {
            items.extend(self.terms(close)?);
        } else {
            self.expect(close, "after the last element")?;
        }
        Ok(items)
    }

    fn array(&mut self) -> Result<TermKind, Wrong> {
        self.next();
        if self.take("]") {
            return Ok(TermKind::Array(Vec::new()));
        }
        let first = self.first()?;
        if let Some(body) = self.comprehension("]")? {
            return Ok(TermKind::ArrayOf(Box::new(first), body));
        }
        Ok(TermKind::Array(self.further(vec![first], "]")?))
    }

    fn braces(&mut self) -> Result<TermKind, Wrong> {
        self.next();
        if self.take("}") {
            return Ok(TermKind::Object(Vec::new()));
        }
        let first = self.first()?;
        if !self.take(":") {
            if let Some(body) = self.comprehension("}")? {
                return Ok(TermKind::SetOf(Box::new(first), body));
            }
            return Ok(TermKind::Set(self.further(vec![first], "}")?));
        }
        let value = self.first()?;
        if let Some(body) = self.comprehension("}")? {
            return Ok(TermKind::ObjectOf(Box::new((first, value)), body));
        }
        let mut fields = vec![(first, value)];
        let bar = std::mem::replace(&mut self.bar_ends, false);
        while self.take(",") && !self.is("}") {
            let key = self.infix()?;
            self.expect(":", "after the key")?;
            fields.push((key, self.infix()?));
        }
        self.bar_ends = bar;
        self.expect("}", "after the last field")?;
        Ok(TermKind::Object(fields))
    }
}

/// The name of a function, if `term` can be one.
fn function_name(term: &Term) -> Option<Vec<Arc<str>>> {
    match &term.kind {
        TermKind::Var(name) => Some(vec![name.clone()]),
        TermKind::Ref(head, path) => {
            let mut name = function_name(head)?;
            for step in path {
                match &step.kind {
                    TermKind::Const(Value::String(part)) => name.push(part.clone()),
                    _ => return None,
                }
            }
            Some(name)
        }
        _ => None,
    }
}

/// A constant at `position`.
pub(crate) fn constant(value: Value, position: Position) -> Term {
    Term { kind: TermKind::Const(value), position }
}
