//! Strings.

use super::{Cx, Failure, Made, Row, text, texts, whole, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("concat", 2, |cx, a| {
        let parts = texts(a, 1)?;
        cx.charge_bytes(parts.iter().map(|part| part.len() + text(a, 0).map_or(0, str::len)).sum())?;
        Ok(Value::string(&parts.join(text(a, 0)?)))
    }),
    ("contains", 2, |_, a| Ok(text(a, 0)?.contains(text(a, 1)?).into())),
    ("startswith", 2, |_, a| Ok(text(a, 0)?.starts_with(text(a, 1)?).into())),
    ("endswith", 2, |_, a| Ok(text(a, 0)?.ends_with(text(a, 1)?).into())),
    ("strings.any_prefix_match", 2, |cx, a| any_match(cx, a, |s, part| s.starts_with(part))),
    ("strings.any_suffix_match", 2, |cx, a| any_match(cx, a, |s, part| s.ends_with(part))),
    ("strings.count", 2, |_, a| match text(a, 1)? {
        "" => Ok(Value::int(text(a, 0)?.chars().count() as i128 + 1)),
        part => Ok(Value::int(text(a, 0)?.matches(part).count() as i128)),
    }),
    ("strings.reverse", 1, |cx, a| {
        let reversed: String = text(a, 0)?.chars().rev().collect();
        cx.text(&reversed)
    }),
    ("strings.replace_n", 2, replace_n),
    ("format_int", 2, format_int),
    ("indexof", 2, |_, a| {
        let s = text(a, 0)?;
        match text(a, 1)? {
            "" => Err("empty search character".into()),
            part => Ok(Value::int(s.find(part).map_or(-1, |at| s[..at].chars().count() as i128))),
        }
    }),
    ("indexof_n", 2, |cx, a| {
        let s = text(a, 0)?;
        let part = Some(text(a, 1)?).filter(|part| !part.is_empty()).ok_or("empty search character")?;
        indexes(cx, s, part)
    }),
    ("lower", 1, |cx, a| cx.text(&text(a, 0)?.to_lowercase())),
    ("upper", 1, |cx, a| cx.text(&text(a, 0)?.to_uppercase())),
    ("replace", 3, |cx, a| {
        let (s, old, new) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
        let found = if old.is_empty() { s.chars().count() + 1 } else { s.matches(old).count() };
        cx.charge_bytes(s.len() + found.saturating_mul(new.len()))?;
        Ok(Value::string(&s.replace(old, new)))
    }),
    ("split", 2, |cx, a| {
        let (s, by) = (text(a, 0)?, text(a, 1)?);
        cx.charge_bytes(s.len() * 4 + 64)?;
        Ok(Value::array(if by.is_empty() {
            s.chars().map(|c| Value::string(c.encode_utf8(&mut [0; 4]))).collect()
        } else {
            s.split(by).map(Value::string).collect()
        }))
    }),
    ("substring", 3, substring),
    ("trim", 2, |cx, a| trimmed(cx, a, |s, is_in| s.trim_matches(is_in))),
    ("trim_left", 2, |cx, a| trimmed(cx, a, |s, is_in| s.trim_start_matches(is_in))),
    ("trim_right", 2, |cx, a| trimmed(cx, a, |s, is_in| s.trim_end_matches(is_in))),
    ("trim_prefix", 2, |cx, a| {
        let (s, part) = (text(a, 0)?, text(a, 1)?);
        cx.text(s.strip_prefix(part).unwrap_or(s))
    }),
    ("trim_suffix", 2, |cx, a| {
        let (s, part) = (text(a, 0)?, text(a, 1)?);
        cx.text(s.strip_suffix(part).unwrap_or(s))
    }),
    ("trim_space", 1, |cx, a| cx.text(text(a, 0)?.trim())),
];

/// Where a part begins, in characters, also inside of where it began before.
fn indexes(cx: &mut Cx, s: &str, part: &str) -> Made {
    let mut found = Vec::new();
    let (mut from, mut characters) = (0, 0);
    while let Some(step) = s[from..].find(part) {
        cx.step(1 + (step + part.len()) as u64 / 16)?;
        cx.charge_bytes(size_of::<Value>())?;
        characters += s[from..from + step].chars().count();
        found.push(Value::int(characters as i128));
        // The next may begin one character later.
        from += step + s[from + step..].chars().next().map_or(1, char::len_utf8);
        characters += 1;
    }
    Ok(Value::array(found))
}

/// A text without the characters of a set at its ends; each character is looked for in the set.
fn trimmed<'a>(cx: &mut Cx, args: &'a [Value], trim: fn(&'a str, &dyn Fn(char) -> bool) -> &'a str) -> Made {
    let (s, set) = (text(args, 0)?, text(args, 1)?);
    cx.step(s.len().saturating_mul(set.len()) as u64 / 256)?;
    cx.text(trim(s, &|c| set.contains(c)))
}

fn any_match(cx: &mut Cx, args: &[Value], fits: fn(&str, &str) -> bool) -> Made {
    let list = |at: usize| match &args[at] {
        Value::String(s) => Ok(vec![&**s]),
        _ => texts(args, at),
    };
    let (values, parts) = (list(0)?, list(1)?);
    cx.step((values.len() * parts.len()) as u64)?;
    Ok(values.iter().any(|s| parts.iter().any(|part| fits(s, part))).into())
}

/// Replaces every key of an object by its value, in one pass over the text, first keys first.
fn replace_n(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Object(patterns) = &args[0] else { return Err(wrong_type(args, 0, "object")) };
    let pairs: Option<Vec<(&str, &str)>> = patterns.iter().map(|(k, v)| Some((k.as_str()?, v.as_str()?))).collect();
    let pairs = pairs.ok_or_else(|| Failure::Type("non-string key or value in pattern object".to_owned()))?;
    let mut rest = text(args, 1)?;
    let mut out = String::new();
    while let Some(c) = rest.chars().next() {
        cx.step(1 + pairs.len() as u64 / 8)?;
        match pairs.iter().find(|(old, _)| !old.is_empty() && rest.starts_with(old)) {
            Some((old, new)) => {
                cx.charge_bytes(new.len())?;
                out.push_str(new);
                rest = &rest[old.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    cx.text(&out)
}

fn format_int(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Number(n) = &args[0] else { return Err(wrong_type(args, 0, "number")) };
    let n = n.as_whole().unwrap_or_else(|| n.as_f64().trunc() as i128);
    let sign = if n < 0 { "-" } else { "" };
    let n = n.unsigned_abs();
    let digits = match whole(args, 1)? {
        2 => format!("{n:b}"),
        8 => format!("{n:o}"),
        10 => n.to_string(),
        16 => format!("{n:x}"),
        _ => return Err(Failure::Type("operand 2 must be one of {2, 8, 10, 16}".to_owned())),
    };
    cx.text(&format!("{sign}{digits}"))
}

fn substring(cx: &mut Cx, args: &[Value]) -> Made {
    let s = text(args, 0)?;
    let from = usize::try_from(whole(args, 1)?).map_err(|_| Failure::from("negative offset"))?;
    let rest = s.char_indices().nth(from).map_or("", |(at, _)| &s[at..]);
    match usize::try_from(whole(args, 2)?) {
        Ok(length) => cx.text(rest.char_indices().nth(length).map_or(rest, |(at, _)| &rest[..at])),
        // A negative length means all of it.
        Err(_) => cx.text(rest),
    }
}
