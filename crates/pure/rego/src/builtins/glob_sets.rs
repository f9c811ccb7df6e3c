//! `regex.globs_match`: whether two simple patterns have a text in common. Patterns are characters, `.`, and sets such as
//! `[a-z]`, each perhaps with `*` or `+`.

use std::collections::HashSet;

use super::{Cx, Failure, Made, Row, text};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("regex.globs_match", 2, globs_match)];

/// What one character of a text may be.
#[derive(Clone, Debug)]
enum Class {
    Any,
    Ranges(Vec<(char, char)>),
}

#[derive(Clone, Debug)]
struct Token {
    class: Class,
    /// It may be left out.
    optional: bool,
    /// It may come again.
    repeated: bool,
}

impl Class {
    fn meets(&self, other: &Class) -> bool {
        match (self, other) {
            (Class::Any, _) | (_, Class::Any) => true,
            (Class::Ranges(a), Class::Ranges(b)) => {
                a.iter().any(|(from, to)| b.iter().any(|(other_from, other_to)| from <= other_to && other_from <= to))
            }
        }
    }
}

fn parse(pattern: &str) -> Result<Vec<Token>, Failure> {
    let wrong = |what: &str| Failure::Error(format!("input:{pattern}, {what}: the input provided is invalid"));
    let mut chars = pattern.chars().peekable();
    let mut tokens: Vec<Token> = Vec::new();
    while let Some(char) = chars.next() {
        let class = match char {
            '.' => Class::Any,
            '\\' => {
                let escaped = chars.next().ok_or_else(|| wrong("a backslash at the end"))?;
                Class::Ranges(vec![(escaped, escaped)])
            }
            '[' => {
                let mut ranges = Vec::new();
                loop {
                    let mut next = |what| chars.next().ok_or_else(|| wrong(what));
                    let from = match next("a set does not end")? {
                        ']' => break,
                        '\\' => next("a set does not end")?,
                        char => char,
                    };
                    let mut to = from;
                    if chars.peek() == Some(&'-') {
                        chars.next();
                        to = chars.next().filter(|it| *it != ']').ok_or_else(|| wrong("a range does not end"))?;
                    }
                    if to < from {
                        return Err(wrong("a range runs backwards"));
                    }
                    ranges.push((from, to));
                }
                if ranges.is_empty() {
                    return Err(wrong("a set is empty"));
                }
                Class::Ranges(ranges)
            }
            ']' => return Err(wrong("set-close ']' with no preceding '['")),
            '*' | '+' => return Err(wrong("a flag without a preceding token")),
            char => Class::Ranges(vec![(char, char)]),
        };
        let (optional, repeated) = match chars.peek() {
            Some('*') => (true, true),
            Some('+') => (false, true),
            _ => (false, false),
        };
        if repeated {
            chars.next();
        }
        tokens.push(Token { class, optional, repeated });
    }
    Ok(tokens)
}

fn globs_match(cx: &mut Cx, args: &[Value]) -> Made {
    let (one, other) = (parse(text(args, 0)?)?, parse(text(args, 1)?)?);
    // Pairs of places that some text leads to; whether a token there was taken already.
    let mut seen: HashSet<(usize, bool, usize, bool)> = HashSet::new();
    let mut waiting = vec![(0, false, 0, false)];
    while let Some(state @ (a, taken_a, b, taken_b)) = waiting.pop() {
        cx.step(1)?;
        if !seen.insert(state) {
            continue;
        }
        cx.charge_bytes(32)?;
        if a == one.len() && b == other.len() {
            return Ok(Value::Bool(true));
        }
        // Passing a token that is satisfied.
        if let Some(token) = one.get(a)
            && (token.optional || taken_a)
        {
            waiting.push((a + 1, false, b, taken_b));
        }
        if let Some(token) = other.get(b)
            && (token.optional || taken_b)
        {
            waiting.push((a, taken_a, b + 1, false));
        }
        // Taking a character that both accept.
        if let (Some(x), Some(y)) = (one.get(a), other.get(b))
            && x.class.meets(&y.class)
            && (!taken_a || x.repeated)
            && (!taken_b || y.repeated)
        {
            waiting.push((a, true, b, true));
        }
    }
    Ok(Value::Bool(false))
}
