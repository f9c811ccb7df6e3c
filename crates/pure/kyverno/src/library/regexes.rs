//! Regular expressions: `regex.replace`, `regex.extract`, `regex.extractAll`, as cel-go has them.
//!
//! They run in linear time, and what they make is bounded.

use std::sync::Arc;

use eyot_rules::cel::{Context, ExecutionError, Value, extractors::Arguments, objects::OptionalValue};
use regex::{Captures, Regex, RegexBuilder};

use super::{Made, as_text, fails};

/// Most bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a text that is made.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most items of a list that is made.
const ITEMS_MAX: usize = 10_000;

pub(super) fn register(context: &mut Context<'static>) {
    context.add_function("regex.replace", |it: Arguments| replace(&it.0));
    context.add_function("regex.extract", |it: Arguments| extract(&it.0));
    context.add_function("regex.extractAll", |it: Arguments| extract_all(&it.0));
}

fn compile(function: &str, pattern: &str) -> Result<Regex, ExecutionError> {
    let built = RegexBuilder::new(&eyot_pattern::translate(pattern)).size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|it| fails(function, format!("given regex is invalid: {it}")))
}

/// `replace(target, pattern, replacement)`, or with how often at most; `\1` stands for what the first group found.
fn replace(arguments: &[Value]) -> Made {
    const NAME: &str = "regex.replace";
    let (texts, most) = match arguments {
        [texts @ .., Value::Int(count)] if texts.len() == 3 => (texts, usize::try_from(*count).unwrap_or(usize::MAX)),
        texts => (texts, usize::MAX),
    };
    let texts: Vec<&str> = texts.iter().filter_map(as_text).collect();
    let [target, pattern, replacement] = texts.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
    let regex = compile(NAME, pattern)?;
    let (mut made, mut end) = (String::new(), 0);
    for found in regex.captures_iter(target).take(most) {
        let Some(whole) = found.get(0) else { continue };
        made.push_str(&target[end..whole.start()]);
        expand(&found, replacement, &mut made).map_err(|why| fails(NAME, why))?;
        end = whole.end();
        if made.len() > TEXT_BYTES_MAX {
            return Err(fails(NAME, "the text that is made is too long"));
        }
    }
    made.push_str(&target[end..]);
    Ok(Value::from(made))
}

fn expand(found: &Captures<'_>, replacement: &str, made: &mut String) -> Result<(), String> {
    let mut rest = replacement.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some('\\')) => made.push('\\'),
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                let group = digit.to_digit(10).unwrap_or(0) as usize;
                if group >= found.len() {
                    return Err(format!(
                        "replacement string references group {group} but regex has only {} group(s)",
                        found.len() - 1
                    ));
                }
                made.push_str(found.get(group).map_or("", |it| it.as_str()));
            }
            ('\\', _) => return Err("invalid replacement string: \\ must be followed by a digit or \\".to_owned()),
            (c, _) => made.push(c),
        }
    }
    Ok(())
}

/// What the only group finds, or the expression where it has none.
fn group<'t>(function: &str, regex: &Regex, found: &Captures<'t>) -> Result<Option<&'t str>, ExecutionError> {
    match regex.captures_len() {
        1 => Ok(found.get(0).map(|it| it.as_str())),
        2 => Ok(found.get(1).map(|it| it.as_str())),
        _ => Err(fails(function, "regular expression has more than one capturing group")),
    }
}

fn extract(arguments: &[Value]) -> Made {
    const NAME: &str = "regex.extract";
    let texts: Vec<&str> = arguments.iter().filter_map(as_text).collect();
    let [target, pattern] = texts.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
    let regex = compile(NAME, pattern)?;
    let found = regex.captures(target).map(|it| group(NAME, &regex, &it)).transpose()?.flatten();
    let found = found.map_or_else(OptionalValue::none, |it| OptionalValue::of(Value::from(it.to_owned())));
    Ok(Value::Opaque(Arc::new(found)))
}

fn extract_all(arguments: &[Value]) -> Made {
    const NAME: &str = "regex.extractAll";
    let texts: Vec<&str> = arguments.iter().filter_map(as_text).collect();
    let [target, pattern] = texts.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
    let regex = compile(NAME, pattern)?;
    let mut all = Vec::new();
    for found in regex.captures_iter(target) {
        if let Some(it) = group(NAME, &regex, &found)? {
            all.push(Value::from(it.to_owned()));
        }
        if all.len() > ITEMS_MAX {
            return Err(fails(NAME, format!("more than {ITEMS_MAX} places match")));
        }
    }
    Ok(Value::List(Arc::new(all)))
}
