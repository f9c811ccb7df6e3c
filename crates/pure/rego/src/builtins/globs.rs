//! Glob patterns: translated to regular expressions.

use super::{Cx, Failure, Made, Row, text, texts};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("glob.match", 3, glob_match),
    ("glob.quote_meta", 1, |cx, a| {
        let mut out = String::new();
        for c in text(a, 0)?.chars() {
            if "*?\\[]{}".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        cx.text(&out)
    }),
];

fn glob_match(cx: &mut Cx, args: &[Value]) -> Made {
    let delimiters: Vec<char> = match &args[1] {
        Value::Null => Vec::new(),
        _ => {
            let given = texts(args, 1)?;
            if given.is_empty() { vec!['.'] } else { given.iter().flat_map(|d| d.chars()).collect() }
        }
    };
    let s = text(args, 2)?;
    cx.step(s.len() as u64 / 16)?;
    let pattern = translated(text(args, 0)?, &delimiters)?;
    Ok(super::regexes::compiled(cx, &pattern)?.is_match(s).into())
}

/// The expression that matches what `pattern` does, where `*` and `?` stop at `delimiters`.
fn translated(pattern: &str, delimiters: &[char]) -> Result<String, Failure> {
    let set: String = delimiters.iter().map(|d| regex::escape(&d.to_string())).collect();
    let any = if set.is_empty() { ".".to_owned() } else { format!("[^{set}]") };
    let mut out = String::from("(?s)^");
    let mut depth = 0usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => out.push_str(".*"),
            '*' => out.push_str(&format!("{any}*")),
            '?' => out.push_str(&any),
            '\\' => out.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '[' => {
                let not = chars.next_if_eq(&'!').is_some() || chars.next_if_eq(&'^').is_some();
                out.push_str(if not { "[^" } else { "[" });
                loop {
                    match chars.next() {
                        Some(']') => break,
                        Some('-') => out.push('-'),
                        Some(c) => out.push_str(&regex::escape(&c.to_string())),
                        None => return Err("glob: unterminated range".into()),
                    }
                }
                out.push(']');
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    if depth > 0 {
        return Err("glob: unterminated alternatives".into());
    }
    out.push('$');
    Ok(out)
}
