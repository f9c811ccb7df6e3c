//! From text to [`Module`].
//!
//! Entry points: [`module`] and [`query`]. Both dialects are read: v1, where `if` and `contains` are keywords, and v0,
//! where they become keywords by `import rego.v1` or `import future.keywords`. Metadata comments are comments.

mod expr;
mod rule;
mod term;

use std::sync::Arc;

use crate::Dialect;
use crate::ast::{Expr, Module};
use crate::error::Position;
use crate::lexer::{Kind, Token, tokens};

pub(crate) use term::constant;

/// What is wrong, and where.
pub(crate) type Wrong = (Position, String);

/// How deep terms may be nested: far more than anyone writes, far less than the stack holds.
const DEPTH_MAX: usize = 120;
/// How high the tree of a term may be: operators that follow each other add a level each.
const HEIGHT_MAX: usize = 160;
/// Most parts of the path of a package or a rule.
const PATH_PARTS_MAX: usize = 100;
/// Most statements of a body: they are put into an order by comparing each with the others.
const STATEMENTS_MAX: usize = 1_000;

/// Words that can not be names.
const RESERVED: [&str; 12] =
    ["as", "default", "else", "false", "import", "package", "not", "null", "some", "true", "with", "set("];

pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// Whether `if`, `in`, `contains` and `every` are keywords.
    if_: bool,
    in_: bool,
    contains: bool,
    every: bool,
    v1: bool,
    depth: usize,
    /// The height of the highest term so far at this depth.
    height: usize,
    /// Whether `|` separates the head of a comprehension here instead of joining sets.
    bar_ends: bool,
}

/// The module that `text` is.
pub(crate) fn module(text: &str, dialect: Dialect) -> Result<Module, Wrong> {
    Parser::new(text, dialect)?.module()
}

/// The statements that `text` is.
pub(crate) fn query(text: &str, dialect: Dialect) -> Result<Vec<Expr>, Wrong> {
    let mut parser = Parser::new(text, dialect)?;
    // A query has no imports that could ask for them.
    parser.keywords();
    let body = parser.statements(None)?;
    match parser.peek() {
        Kind::End if body.is_empty() => Err((parser.position(), "query is empty".to_owned())),
        Kind::End => Ok(body),
        _ => Err(parser.unexpected("end of query")),
    }
}

impl Parser {
    fn new(text: &str, dialect: Dialect) -> Result<Parser, Wrong> {
        let tokens = tokens(text)?;
        let v1 = dialect == Dialect::V1;
        Ok(Parser {
            tokens,
            at: 0,
            if_: v1,
            in_: v1,
            contains: v1,
            every: v1,
            v1,
            depth: 0,
            height: 0,
            bar_ends: false,
        })
    }

    /// Makes every keyword of v1 one.
    fn keywords(&mut self) {
        (self.if_, self.in_, self.contains, self.every) = (true, true, true, true);
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn peek(&self) -> &Kind {
        &self.token().kind
    }

    fn position(&self) -> Position {
        self.token().position
    }

    fn next(&mut self) {
        // The last token is the end, and stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Where the word before this one ends.
    fn end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |at| self.tokens[at].end)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Kind::Sign(s) if *s == sign)
    }

    /// Whether the next word is the keyword `word`. Where a field follows it, it is a name: `as.foo`.
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Name(name) if &**name == word) && !self.is_dotted()
    }

    /// Whether a field of the next word follows it.
    fn is_dotted(&self) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| t.adjacent && t.kind == Kind::Sign("."))
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str, of: &str) -> Result<(), Wrong> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}` {of}"))) }
    }

    /// A name that is not a keyword.
    fn name(&mut self) -> Result<Arc<str>, Wrong> {
        match self.peek() {
            Kind::Name(name) if !self.keyword(name) || self.is_dotted() => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn keyword(&self, name: &str) -> bool {
        RESERVED.contains(&name)
            || (self.in_ && name == "in")
            || (self.if_ && name == "if")
            || (self.every && name == "every")
            || (self.contains && self.v1 && name == "contains" && !self.calls_next())
    }

    /// Whether the next word opens the arguments of a call: `contains(a, b)` stays the function.
    fn calls_next(&self) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| t.adjacent && t.kind == Kind::Sign("("))
    }

    fn unexpected(&self, wanted: &str) -> Wrong {
        let found = match self.peek() {
            Kind::Name(name) => format!("`{name}`"),
            Kind::Literal(value) => value.to_string(),
            Kind::Template(_) => "a template string".to_owned(),
            Kind::Sign(sign) => format!("`{sign}`"),
            Kind::End => "end of text".to_owned(),
        };
        (self.position(), format!("unexpected {found}: expected {wanted}"))
    }

    /// Runs `parse` one level deeper.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth >= DEPTH_MAX {
            return Err((self.position(), format!("terms are nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let around = std::mem::take(&mut self.height);
        let out = parse(self);
        self.depth -= 1;
        self.height = around.max(self.height + 1);
        out
    }

    /// Notes that a term was made of those at this depth.
    fn higher(&mut self) -> Result<(), Wrong> {
        self.height += 1;
        if self.height > HEIGHT_MAX {
            return Err((
                self.position(),
                format!("a term has more than {HEIGHT_MAX} operators, or parts in each other"),
            ));
        }
        Ok(())
    }
}
