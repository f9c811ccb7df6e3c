//! Splits an expression into tokens.

use serde_json::Value;

use super::SyntaxError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `name`
    Name(String),
    /// `"name"`
    Quoted(String),
    /// `'text'` or `` `json` ``
    Literal(Value),
    /// `-1`
    Number(i64),
    /// Everything made of punctuation.
    Mark(&'static str),
    End,
}

/// Longest first, so that `||` is not two pipes.
const MARKS: [&str; 29] = [
    "[?", "[]", "||", "&&", "==", "!=", ">=", "<=", "|", "&", "!", ">", "<", ".", "*", ",", ":", "{", "}", "]", "[",
    "(", ")", "@", "+", "/", "%", "-", "$",
];

/// Tokens with the position of each.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let start = at;
        let token = match first {
            ' ' | '\t' | '\n' | '\r' => {
                at += 1;
                continue;
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = text[at..].find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
                at = end.map_or(text.len(), |it| at + it);
                Token::Name(text[start..at].to_owned())
            }
            '0'..='9' => number(text, &mut at)?,
            '-' if text[at + 1..].starts_with(|it: char| it.is_ascii_digit()) => number(text, &mut at)?,
            '"' => {
                let raw = delimited(text, &mut at, '"')?;
                let name = serde_json::from_str(&format!("\"{raw}\""));
                Token::Quoted(name.map_err(|it| error(format!("bad quoted identifier: {it}"), start))?)
            }
            '\'' => Token::Literal(Value::String(delimited(text, &mut at, '\'')?.replace("\\'", "'"))),
            '`' => literal(&delimited(text, &mut at, '`')?, start)?,
            _ => {
                let mark = MARKS.iter().find(|it| text[at..].starts_with(**it));
                let mark = *mark.ok_or_else(|| error(format!("Unknown char: {first:?}"), start))?;
                at += mark.len();
                Token::Mark(mark)
            }
        };
        all.push((token, start));
    }
    all.push((Token::End, text.len()));
    Ok(all)
}

fn number(text: &str, at: &mut usize) -> Result<Token, SyntaxError> {
    let start = *at;
    let digits = text[start + 1..].find(|it: char| !it.is_ascii_digit());
    *at = digits.map_or(text.len(), |it| start + 1 + it);
    let number = text[start..*at].parse();
    number.map(Token::Number).map_err(|_| error("the number is too large", start))
}

/// What stands between two delimiters; a backslash keeps the next one from ending it.
fn delimited(text: &str, at: &mut usize, by: char) -> Result<String, SyntaxError> {
    let start = *at;
    let mut escaped = false;
    for (offset, it) in text[start + 1..].char_indices() {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            it if it == by => {
                *at = start + 1 + offset + 1;
                return Ok(text[start + 1..start + 1 + offset].to_owned());
            }
            _ => {}
        }
    }
    Err(error(format!("Unclosed delimiter: {by}"), start))
}

/// JSON between backticks; what is none is a text, as older policies write it.
fn literal(raw: &str, start: usize) -> Result<Token, SyntaxError> {
    let raw = raw.replace("\\`", "`");
    let raw = raw.trim();
    match serde_json::from_str(raw) {
        Ok(value) => Ok(Token::Literal(value)),
        Err(_) if !raw.starts_with(['{', '[', '"']) => Ok(Token::Literal(Value::String(raw.to_owned()))),
        Err(it) => Err(error(format!("bad literal: {it}"), start)),
    }
}

pub(super) fn error(message: impl Into<String>, position: usize) -> SyntaxError {
    SyntaxError { message: message.into(), position }
}
