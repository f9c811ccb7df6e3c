//! `sprintf`, with the verbs and the complaints of Go's `fmt`.

use std::fmt::Write as _;

use super::{Cx, Made, Row, text, wrong_type};
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("sprintf", 2, sprintf)];

/// The widest field that is filled: wider ones only serve to exhaust memory.
const WIDTH_MAX: usize = 4096;

/// One `%…`.
#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    sharp: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
    verb: char,
}

fn sprintf(cx: &mut Cx, args: &[Value]) -> Made {
    let format = text(args, 0)?;
    let Value::Array(values) = &args[1] else { return Err(wrong_type(args, 1, "array")) };
    let mut out = String::with_capacity(format.len() + 16 * values.len());
    let mut next = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let verb = read(&mut chars, values, &mut next);
        let Some(verb) = verb else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb.verb == '%' {
            out.push('%');
            continue;
        }
        let before = out.len();
        match values.get(next) {
            Some(value) => out.push_str(&padded(&verb, written(&verb, value))),
            None => {
                let _ = write!(out, "%!{}(MISSING)", verb.verb);
            }
        }
        next += 1;
        cx.charge_bytes(out.len() - before)?;
    }
    if next < values.len() {
        out.push_str("%!(EXTRA ");
        for (n, value) in values[next..].iter().enumerate() {
            let _ = write!(out, "{}{}={}", if n > 0 { ", " } else { "" }, go_type(value), plain(value));
        }
        out.push(')');
    }
    cx.text(&out)
}

fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, values: &[Value], next: &mut usize) -> Option<Verb> {
    let mut verb = Verb::default();
    while let Some(c) = chars.peek() {
        match c {
            '-' => verb.minus = true,
            '+' => verb.plus = true,
            '0' => verb.zero = true,
            '#' => verb.sharp = true,
            ' ' => verb.space = true,
            _ => break,
        }
        chars.next();
    }
    let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        if chars.next_if_eq(&'*').is_some() {
            let given = match values.get(*next) {
                Some(Value::Number(n)) => n.as_whole().and_then(|n| usize::try_from(n).ok()),
                _ => None,
            };
            *next += 1;
            return given.map(|n| n.min(WIDTH_MAX));
        }
        let mut out = None;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            out = Some((out.unwrap_or(0) * 10 + digit as usize).min(WIDTH_MAX));
            chars.next();
        }
        out
    };
    verb.width = number(chars);
    if chars.next_if_eq(&'.').is_some() {
        verb.precision = Some(number(chars).unwrap_or(0));
    }
    verb.verb = chars.next()?;
    Some(verb)
}

/// A value the way `%v` shows it: strings bare, everything else as Rego writes it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The type that Go would name: OPA hands over strings and numbers, and everything else as a string.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Number(Number::Int(_)) => "int",
        Value::Number(Number::Big(_)) => "*big.Int",
        Value::Number(Number::Float(_)) => "float64",
        _ => "string",
    }
}

fn written(verb: &Verb, value: &Value) -> String {
    let sign = |s: String| match s.starts_with('-') {
        false if verb.plus => format!("+{s}"),
        false if verb.space => format!(" {s}"),
        _ => s,
    };
    match (verb.verb, value) {
        ('v', Value::Number(Number::Float(f))) => sign(general(*f, verb.precision)),
        ('v', Value::Number(_)) => sign(plain(value)),
        ('s', Value::Number(Number::Big(n))) => n.to_string(),
        ('s', Value::Number(_)) => format!("%!s({}={})", go_type(value), plain(value)),
        ('v', Value::String(s)) if verb.sharp => Value::String(s.clone()).to_string(),
        ('v' | 's', _) => {
            let text = plain(value);
            verb.precision.map_or_else(|| text.clone(), |n| text.chars().take(n).collect())
        }
        ('T', _) => go_type(value).to_owned(),
        ('q', Value::Number(n)) => match n.as_whole().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32) {
            Some(c) => format!("'{c}'"),
            None => format!("%!q({}={n})", go_type(value)),
        },
        ('q', _) => Value::string(&plain(value)).to_string(),
        ('x' | 'X', Value::Number(n)) if n.as_whole().is_some() => integer(verb, n),
        ('x', _) if !matches!(value, Value::Number(_)) => hex::encode(plain(value)),
        ('X', _) if !matches!(value, Value::Number(_)) => hex::encode_upper(plain(value)),
        ('d' | 'b' | 'o' | 'c' | 'U', Value::Number(n)) if n.as_whole().is_some() => sign(integer(verb, n)),
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Number(n)) if n.as_whole().is_none() => {
            let f = n.as_f64();
            sign(match verb.verb {
                'f' | 'F' => format!("{f:.*}", verb.precision.unwrap_or(6)),
                'e' | 'E' => exponent(f, verb.precision.unwrap_or(6)),
                _ => general(f, verb.precision),
            })
        }
        (c, _) => format!("%!{c}({}={})", go_type(value), plain(value)),
    }
}

fn integer(verb: &Verb, n: &Number) -> String {
    let n = n.as_whole().unwrap_or_default();
    let (minus, n) = (if n < 0 { "-" } else { "" }, n.unsigned_abs());
    let digits = match verb.verb {
        'b' => format!("{n:b}"),
        'o' => format!("{n:o}"),
        'x' if verb.sharp => format!("0x{n:x}"),
        'x' => format!("{n:x}"),
        'X' => format!("{n:X}"),
        'c' => return u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string(),
        'U' => format!("U+{n:04X}"),
        _ => n.to_string(),
    };
    format!("{minus}{digits}")
}

fn exponent(f: f64, precision: usize) -> String {
    let text = format!("{f:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

fn general(f: f64, precision: Option<usize>) -> String {
    let rounded = precision.map_or(f, |n| format!("{f:.*e}", n.max(1) - 1).parse().unwrap_or(f));
    let power = if rounded == 0.0 { 0 } else { rounded.abs().log10().floor() as i32 };
    if !(-4..21).contains(&power) {
        let text = format!("{rounded:e}");
        let digits =
            text.split_once('e').map_or(0, |(digits, _)| digits.trim_start_matches('-').len().saturating_sub(2));
        return exponent(rounded, digits);
    }
    rounded.to_string()
}

fn padded(verb: &Verb, text: String) -> String {
    let missing = verb.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if verb.minus {
        return text + &" ".repeat(missing);
    }
    if verb.zero {
        let digits = text.trim_start_matches(['-', '+']);
        let sign = &text[..text.len() - digits.len()];
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}
