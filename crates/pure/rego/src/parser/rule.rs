//! Packages, imports and rules.

use std::sync::Arc;

use super::{PATH_PARTS_MAX, Parser, Wrong};
use crate::ast::{Expr, HeadKind, Import, Module, Rule, Term, TermKind};
use crate::lexer::Kind;
use crate::value::Value;

impl Parser {
    pub(super) fn module(&mut self) -> Result<Module, Wrong> {
        if !self.take_word("package") {
            return Err(self.unexpected("`package`"));
        }
        let package = self.dotted()?;
        let mut imports = Vec::new();
        let mut rules = Vec::new();
        while *self.peek() != Kind::End {
            if self.take(";") {
                continue;
            }
            if self.is_word("import") {
                imports.extend(self.import()?);
            } else {
                self.rule(&mut rules)?;
            }
        }
        Ok(Module { package, imports, rules })
    }

    /// `a.b["c"]`.
    fn dotted(&mut self) -> Result<Vec<Arc<str>>, Wrong> {
        let Kind::Name(first) = self.peek().clone() else { return Err(self.unexpected("a name")) };
        let mut path = vec![first];
        self.next();
        loop {
            if self.token().newline || !self.token().adjacent {
                return Ok(path);
            }
            self.check_path(path.len())?;
            if self.take(".") {
                let Kind::Name(name) = self.peek().clone() else { return Err(self.unexpected("a name")) };
                path.push(name);
                self.next();
            } else if self.take("[") {
                let Kind::Literal(Value::String(name)) = self.peek().clone() else {
                    return Err(self.unexpected("a string"));
                };
                path.push(name);
                self.next();
                self.expect("]", "after the name")?;
            } else {
                return Ok(path);
            }
        }
    }

    /// Paths are trees when they are compiled.
    fn check_path(&self, parts: usize) -> Result<(), Wrong> {
        if parts > PATH_PARTS_MAX {
            return Err((self.position(), format!("a path has more than {PATH_PARTS_MAX} parts")));
        }
        Ok(())
    }

    /// An import, or nothing if it only chose keywords.
    fn import(&mut self) -> Result<Option<Import>, Wrong> {
        self.next();
        let position = self.position();
        let path = self.dotted()?;
        let alias = if self.take_word("as") { Some(self.name()?) } else { None };
        let words: Vec<&str> = path.iter().map(|word| &**word).collect();
        match words[..] {
            ["rego", "v1"] => {
                self.keywords();
                self.v1 = true;
                Ok(None)
            }
            ["future", "keywords"] => {
                self.keywords();
                Ok(None)
            }
            ["future", "keywords", word] => {
                match word {
                    "in" => self.in_ = true,
                    "if" => self.if_ = true,
                    "contains" => self.contains = true,
                    "every" => (self.every, self.in_) = (true, true),
                    _ => return Err((position, format!("unexpected keyword `{word}`"))),
                }
                Ok(None)
            }
            ["data" | "input", ..] => {
                let alias = alias.or_else(|| path.last().cloned()).unwrap_or_default();
                Ok(Some(Import { path, alias }))
            }
            _ => Err((position, "path must begin with `input`, `data`, `rego` or `future`".to_owned())),
        }
    }

    fn rule(&mut self, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        let position = self.position();
        let default = self.is_word("default") && !self.tokens[self.at + 1].newline && self.take_word("default");
        let name = self.name()?;
        let mut path = Vec::new();
        self.steps(&mut path)?;
        self.check_path(path.len())?;
        let params = if self.is("(") && self.token().adjacent {
            self.next();
            Some(self.terms(")")?)
        } else {
            None
        };
        let (kind, valued) = self.head(&mut path, params.is_some())?;
        let keyworded = self.if_ && self.is_word("if");
        let mut rule = Rule { default, name, path, params, kind, body: Vec::new(), otherwise: Vec::new(), position };
        if default {
            if !valued {
                return Err((position, "default rules must have a value".to_owned()));
            }
            rules.push(rule);
            return Ok(());
        }
        rule.body = match self.rule_body()? {
            Some(body) => body,
            None => {
                let member = matches!(rule.kind, HeadKind::Member(_));
                if self.v1 && !valued && !member && rule.params.is_none() {
                    return Err((position, "`if` or a value is required in a rule of Rego v1".to_owned()));
                }
                Vec::new()
            }
        };
        self.legacy_set(&mut rule, valued, keyworded);
        while self.take_word("else") {
            let value = if self.take("=") || self.take(":=") { Some(self.infix()?) } else { None };
            let body = self.rule_body()?;
            if value.is_none() && body.is_none() {
                return Err(self.unexpected("a value or a body after `else`"));
            }
            rule.otherwise.push((value, body.unwrap_or_default()));
        }
        self.chained(rule, rules)
    }

    /// What follows the name in a head.
    fn head(&mut self, path: &mut Vec<Term>, function: bool) -> Result<(HeadKind, bool), Wrong> {
        if !function && self.contains && self.is_word("contains") {
            self.next();
            return Ok((HeadKind::Member(self.infix()?), false));
        }
        if self.take("=") || self.take(":=") {
            return Ok((HeadKind::Value(Some(self.infix()?)), true));
        }
        let _ = path;
        Ok((HeadKind::Value(None), false))
    }

    /// In v0, `p[x]` without a value is a member of a set, unless `if` follows.
    fn legacy_set(&self, rule: &mut Rule, valued: bool, keyworded: bool) {
        let bracketed = rule.path.len() == 1 && rule.params.is_none();
        if bracketed && !valued && !keyworded && !self.v1 && matches!(rule.kind, HeadKind::Value(None)) {
            rule.kind = HeadKind::Member(rule.path.remove(0));
        }
    }

    /// The body after a head or an `else`.
    fn rule_body(&mut self) -> Result<Option<Vec<Expr>>, Wrong> {
        if self.if_ && self.take_word("if") {
            if self.is("{") {
                let start = self.at;
                // `if {…}` may also be one statement that begins with an object, a set or a comprehension.
                self.next();
                let body = self.statements(Some("}"));
                let ended = body.is_ok() && self.take("}") && (self.token().newline || self.body_may_end());
                if ended {
                    return body.map(Some);
                }
                let brace = body.err();
                self.at = start;
                return match self.statement() {
                    Ok(one) => Ok(Some(vec![one])),
                    Err(wrong) => Err(brace.unwrap_or(wrong)),
                };
            }
            return Ok(Some(vec![self.statement()?]));
        }
        if !self.is("{") {
            return Ok(None);
        }
        if self.v1 {
            return Err((self.position(), "`if` keyword is required before rule body".to_owned()));
        }
        self.block().map(Some)
    }

    fn body_may_end(&self) -> bool {
        *self.peek() == Kind::End || self.is_word("else") || self.is("{") || self.is(";")
    }

    /// `{ … }`.
    pub(super) fn block(&mut self) -> Result<Vec<Expr>, Wrong> {
        let position = self.position();
        self.expect("{", "before the body")?;
        let body = self.statements(Some("}"))?;
        self.expect("}", "after the body")?;
        if body.is_empty() {
            return Err((position, "found empty body".to_owned()));
        }
        Ok(body)
    }

    /// `p { … } { … }`: each further body is the same rule once more.
    fn chained(&mut self, first: Rule, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        let head = Rule { body: Vec::new(), otherwise: Vec::new(), ..first.clone() };
        let chains = !first.body.is_empty() && first.otherwise.is_empty();
        rules.push(first);
        while chains && self.is("{") {
            let position = self.position();
            let body = self.block()?;
            rules.push(Rule { body, position, ..head.clone() });
        }
        Ok(())
    }

    /// The brackets and fields that follow a name.
    pub(super) fn steps(&mut self, path: &mut Vec<Term>) -> Result<(), Wrong> {
        loop {
            let token = self.token();
            if !token.adjacent {
                return Ok(());
            }
            let position = token.position;
            if self.take(".") {
                let Kind::Name(name) = self.peek().clone() else { return Err(self.unexpected("a name")) };
                if !self.token().adjacent {
                    return Err(self.unexpected("a name"));
                }
                self.next();
                path.push(Term { kind: TermKind::Const(Value::String(name)), position });
            } else if self.take("[") {
                let bar = std::mem::replace(&mut self.bar_ends, false);
                let key = self.infix();
                self.bar_ends = bar;
                path.push(key?);
                self.expect("]", "after the key")?;
            } else {
                return Ok(());
            }
        }
    }
}
