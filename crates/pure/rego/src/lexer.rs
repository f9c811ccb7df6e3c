//! The words of a module.
//!
//! Entry point: [`tokens`]. Comments vanish here; what matters about white space — whether a word begins a line, whether
//! it touches the word before it — stays as two flags, because Rego's grammar depends on both.

use std::sync::Arc;

use crate::error::Position;
use crate::number::Number;
use crate::value::Value;

/// The largest module that is read. Gatekeeper's own templates are a hundredth of it.
pub(crate) const MODULE_BYTES_MAX: usize = 4 << 20;

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A name or a keyword.
    Name(Arc<str>),
    /// A string or a number.
    Literal(Value),
    /// A string with expressions in it.
    Template(Vec<Part>),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of the module.
    End,
}

/// A part of a template string.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    /// The words between braces, the last one [`Kind::End`].
    Expression(Vec<Token>),
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) position: Position,
    /// Where it lies in the text, in bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether a line ends between it and the word before.
    pub(crate) newline: bool,
    /// Whether nothing lies between it and the word before.
    pub(crate) adjacent: bool,
}

/// Longest first, so that `:=` is not read as `:`.
const SIGNS: [&str; 25] = [
    ":=", "==", "!=", "<=", ">=", "{", "}", "[", "]", "(", ")", ",", ".", ";", ":", "=", "<", ">", "+", "-", "*", "/",
    "%", "&", "|",
];

/// The words of `text`, the last one [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, (Position, String)> {
    let mut lexer = Lexer { text, at: 0, position: Position { line: 1, column: 1 }, templates: 0 };
    if text.len() > MODULE_BYTES_MAX {
        return Err((lexer.position, format!("module is larger than {MODULE_BYTES_MAX} bytes")));
    }
    let mut out: Vec<Token> = Vec::with_capacity(text.len() / 5);
    loop {
        let (newline, gap) = lexer.skip();
        let (position, start) = (lexer.position, lexer.at);
        let kind = lexer.word()?;
        let end = kind == Kind::End;
        out.push(Token { kind, position, start, end: lexer.at, newline, adjacent: !gap });
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    position: Position,
    /// How many template strings are open.
    templates: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        for c in self.text[self.at..self.at + bytes].chars() {
            if c == '\n' {
                self.position = Position { line: self.position.line + 1, column: 1 };
            } else {
                self.position.column += 1;
            }
        }
        self.at += bytes;
    }

    /// Passes white space and comments; says whether a line ended, and whether anything was passed.
    fn skip(&mut self) -> (bool, bool) {
        let (from, line) = (self.at, self.position.line);
        loop {
            let rest = self.rest();
            let white = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len();
            if white > 0 {
                self.advance(white);
            } else if rest.starts_with('#') {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else {
                return (self.position.line != line, self.at != from);
            }
        }
    }

    fn word(&mut self) -> Result<Kind, (Position, String)> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Kind::End) };
        match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.advance(len);
                Ok(Kind::Name(Arc::from(&rest[..len])))
            }
            '0'..='9' => self.number(),
            '$' if rest[1..].starts_with(['"', '`']) => self.template(),
            '"' => self.string(),
            '`' => {
                let Some(len) = rest[1..].find('`') else {
                    return Err((self.position, "non-terminated raw string".to_owned()));
                };
                let value = Value::string(&rest[1..=len]);
                self.advance(len + 2);
                Ok(Kind::Literal(value))
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => {
                    self.advance(sign.len());
                    Ok(Kind::Sign(sign))
                }
                None => Err((self.position, format!("illegal token: {first:?}"))),
            },
        }
    }

    /// `$"…"` or, without escapes and over several lines, with backticks.
    fn template(&mut self) -> Result<Kind, (Position, String)> {
        const DEPTH_MAX: usize = 32;
        let position = self.position;
        let raw = self.rest()[1..].starts_with('`');
        let close = if raw { '`' } else { '"' };
        self.templates += 1;
        if self.templates > DEPTH_MAX {
            return Err((position, format!("template strings are nested more than {DEPTH_MAX} deep")));
        }
        self.advance(2);
        let (mut parts, mut text) = (Vec::new(), String::new());
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next().filter(|c| raw || *c != '\n') else {
                return Err((position, "non-terminated template string".to_owned()));
            };
            if first == close {
                self.advance(1);
                break;
            }
            if rest.starts_with("\\{") {
                text.push('{');
                self.advance(2);
            } else if first == '\\' && !raw {
                let len = if rest[1..].starts_with('u') { 6 } else { 2 };
                let escape = rest.get(..len).ok_or((position, "non-terminated template string".to_owned()))?;
                let read = serde_json::from_str::<String>(&format!("\"{escape}\""));
                text.push_str(&read.map_err(|_| (position, "illegal string escape sequence".to_owned()))?);
                self.advance(len);
            } else if first == '{' {
                self.advance(1);
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Expression(self.expression()?));
            } else {
                text.push(first);
                self.advance(first.len_utf8());
            }
        }
        self.templates -= 1;
        parts.push(Part::Text(text));
        Ok(Kind::Template(parts))
    }

    /// The words up to the brace that ends an expression, which is passed.
    fn expression(&mut self) -> Result<Vec<Token>, (Position, String)> {
        let mut out: Vec<Token> = Vec::new();
        let mut open = 0_usize;
        loop {
            let (newline, gap) = self.skip();
            let (position, start) = (self.position, self.at);
            let mut kind = self.word()?;
            match kind {
                Kind::End => return Err((position, "non-terminated template expression".to_owned())),
                Kind::Sign("{") => open += 1,
                Kind::Sign("}") if open == 0 => kind = Kind::End,
                Kind::Sign("}") => open -= 1,
                _ => {}
            }
            let end = kind == Kind::End;
            if end && out.is_empty() {
                return Err((position, "a template expression is empty".to_owned()));
            }
            out.push(Token { kind, position, start, end: self.at, newline, adjacent: !gap });
            if end {
                return Ok(out);
            }
        }
    }

    fn number(&mut self) -> Result<Kind, (Position, String)> {
        let (rest, position) = (self.rest(), self.position);
        let digits = |from: usize| rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| from + n);
        let mut end = digits(0);
        let whole = end;
        if rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
            end = digits(end + 1);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            if digits(end + 1 + sign) > end + 1 + sign {
                end = digits(end + 1 + sign);
            }
        }
        let tail = rest[end..].chars().next();
        let number = Number::parse(&rest[..end]);
        match number {
            Some(number)
                if (whole <= 1 || !rest.starts_with('0'))
                    && !tail.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') =>
            {
                self.advance(end);
                Ok(Kind::Literal(Value::Number(number)))
            }
            _ => Err((position, "illegal number format".to_owned())),
        }
    }

    fn string(&mut self) -> Result<Kind, (Position, String)> {
        let (rest, position) = (self.rest(), self.position);
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text: String = serde_json::from_str(&rest[..=at])
                        .map_err(|_| (position, "illegal string escape sequence".to_owned()))?;
                    self.advance(at + 1);
                    return Ok(Kind::Literal(Value::string(&text)));
                }
                _ => {}
            }
        }
        Err((position, "non-terminated string".to_owned()))
    }
}
