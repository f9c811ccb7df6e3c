//! Regular expressions, as Go reads them. They run in time linear to the text, and their size is bounded, so none can be a bomb.

use std::collections::HashMap;
use std::sync::Arc;

use eyot_pattern::translate;
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

use super::{Cx, Failure, Made, Row, text, whole};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("regex.match", 2, matches),
    ("re_match", 2, matches),
    ("regex.is_valid", 1, |cx, a| match a[0].as_str().map(|pattern| compiled(cx, pattern)) {
        Some(Err(stopped @ Failure::Steps(_))) => Err(stopped),
        made => Ok(made.is_some_and(|it| it.is_ok()).into()),
    }),
    ("regex.split", 2, |cx, a| {
        let s = charged(cx, a, 1)?;
        cx.charge_bytes(s.len() * 4 + 64)?;
        Ok(Value::array(compiled(cx, text(a, 0)?)?.split(s).map(Value::string).collect()))
    }),
    ("regex.replace", 3, |cx, a| {
        let s = charged(cx, a, 0)?;
        let regex = compiled(cx, text(a, 1)?)?;
        let with = go_template(text(a, 2)?);
        cx.charge_bytes(regex.find_iter(s).count().saturating_mul(with.len() + s.len().min(256)))?;
        let replaced = regex.replace_all(s, with.as_str());
        cx.text(&replaced)
    }),
    ("regex.find_n", 3, |cx, a| {
        let s = charged(cx, a, 1)?;
        let count = usize::try_from(whole(a, 2)?).unwrap_or(usize::MAX);
        cx.charge_bytes(s.len() * 4 + 64)?;
        Ok(Value::array(
            compiled(cx, text(a, 0)?)?.find_iter(s).take(count).map(|m| Value::string(m.as_str())).collect(),
        ))
    }),
    ("regex.find_all_string_submatch_n", 3, |cx, a| {
        let s = charged(cx, a, 1)?;
        let count = usize::try_from(whole(a, 2)?).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        for found in compiled(cx, text(a, 0)?)?.captures_iter(s).take(count) {
            cx.charge_bytes(64 * found.len() + found[0].len())?;
            out.push(Value::array(found.iter().map(|m| Value::string(m.map_or("", |m| m.as_str()))).collect()));
        }
        Ok(Value::array(out))
    }),
    ("regex.template_match", 4, template_match),
];

/// The largest compiled expression, in bytes, and the largest that counts as small.
const REGEX_BYTES_MAX: usize = 1 << 20;
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What compiling a small and a large one costs: a step is of the order of a hundred nanoseconds.
const SMALL_STEPS: u64 = 200;
const LARGE_STEPS: u64 = 10_000;
/// How much is kept compiled: so many small expressions, of which a large one counts as sixteen.
const KEPT_MAX: usize = 512;

/// The expressions that were compiled last.
#[derive(Default)]
struct Kept {
    by_pattern: HashMap<String, Arc<Regex>>,
    weight: usize,
}

/// `pattern`, compiled; the last few hundred are kept. They are shared, not cloned: a clone would begin with nothing of
/// what an expression works out while it runs. One that is not kept costs what compiling it takes.
pub(super) fn compiled(cx: &mut Cx, pattern: &str) -> Result<Arc<Regex>, Failure> {
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    if let Some(regex) = KEPT.lock().get_or_insert_default().by_pattern.get(pattern) {
        return Ok(regex.clone());
    }
    cx.step(SMALL_STEPS)?;
    let (regex, weight) = match build(pattern, SMALL_BYTES_MAX) {
        Ok(regex) => (regex, 1),
        Err(regex::Error::CompiledTooBig(_)) => {
            cx.step(LARGE_STEPS)?;
            (build(pattern, REGEX_BYTES_MAX).map_err(invalid)?, 16)
        }
        Err(error) => return Err(invalid(error)),
    };
    let regex = Arc::new(regex);
    let mut kept = KEPT.lock();
    let kept = kept.get_or_insert_default();
    if kept.weight + weight > KEPT_MAX {
        *kept = Kept::default();
    }
    kept.weight += weight;
    kept.by_pattern.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

fn build(pattern: &str, bytes_max: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(pattern)).size_limit(bytes_max).dfa_size_limit(bytes_max).build()
}

fn invalid(error: regex::Error) -> Failure {
    Failure::Error(format!("invalid regular expression: {error}"))
}

/// A text that an expression will run over, accounted for.
fn charged<'a>(cx: &mut Cx, args: &'a [Value], at: usize) -> Result<&'a str, Failure> {
    let s = text(args, at)?;
    cx.step(s.len() as u64 / 16)?;
    Ok(s)
}

fn matches(cx: &mut Cx, args: &[Value]) -> Made {
    let s = charged(cx, args, 1)?;
    Ok(compiled(cx, text(args, 0)?)?.is_match(s).into())
}

/// Go ends the name of a group at the first character that can not be part of it, as this crate's `$1` does; only `$1x`
/// means the group `1x` in both.
fn go_template(with: &str) -> String {
    with.to_owned()
}

/// Whether a text fits a template in which expressions stand between delimiters.
fn template_match(cx: &mut Cx, args: &[Value]) -> Made {
    let template = text(args, 0)?;
    let s = charged(cx, args, 1)?;
    let (open, close) = (text(args, 2)?, text(args, 3)?);
    if open.is_empty() || close.is_empty() {
        return Err("delimiters must be one character".into());
    }
    let mut pattern = String::from("^");
    let mut rest = template;
    while let Some(at) = rest.find(open) {
        pattern.push_str(&regex::escape(&rest[..at]));
        rest = &rest[at + open.len()..];
        let end = rest.find(close).ok_or("unbalanced delimiters")?;
        pattern.push_str(&format!("(?:{})", &rest[..end]));
        rest = &rest[end + close.len()..];
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    Ok(compiled(cx, &pattern)?.is_match(s).into())
}
