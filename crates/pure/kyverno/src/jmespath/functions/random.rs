//! Texts that fit a regular expression and are otherwise left to chance.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

use super::{Call, Env, Function, SearchError, function};

pub(super) const TABLE: &[Function] = &[function("random", 1, random)];

/// How often a repetition without an upper bound repeats, at most.
const REPEAT_MAX: u32 = 16;
/// Bytes of what is made.
const BYTES_MAX: usize = 16 << 10;

fn random(call: &Call<'_>) -> Result<Value, SearchError> {
    let pattern = call.text(0)?;
    if pattern.is_empty() {
        return Err(call.fails("no pattern provided"));
    }
    let hir = regex_syntax::Parser::new().parse(pattern).map_err(|it| call.fails(it))?;
    let mut made = Vec::new();
    make(&hir, call.env, &mut made).ok_or_else(|| call.fails("the pattern makes too much"))?;
    String::from_utf8(made).map(Value::String).map_err(|it| call.fails(it))
}

fn make(hir: &Hir, env: &Env, made: &mut Vec<u8>) -> Option<()> {
    if made.len() > BYTES_MAX || env.charge(1).is_err() {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(it) => made.extend(&*it.0),
        HirKind::Class(class) => made.extend(pick(class, env)?),
        HirKind::Repetition(it) => {
            let most = it.max.unwrap_or(it.min.saturating_add(REPEAT_MAX));
            let count = it.min + below(env, u64::from(most.checked_sub(it.min)?) + 1) as u32;
            for _ in 0..count {
                make(&it.sub, env, made)?;
            }
        }
        HirKind::Capture(it) => make(&it.sub, env, made)?,
        HirKind::Concat(all) => all.iter().try_for_each(|it| make(it, env, made))?,
        HirKind::Alternation(all) => make(&all[below(env, all.len() as u64) as usize], env, made)?,
    }
    Some(())
}

fn below(env: &Env, count: u64) -> u64 {
    (env.random() >> 16) % count.max(1)
}

/// A member of a class, from its printable ASCII part if it has one.
fn pick(class: &Class, env: &Env) -> Option<Vec<u8>> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(it) => it.iter().map(|it| (it.start() as u32, it.end() as u32)).collect(),
        Class::Bytes(it) => it.iter().map(|it| (u32::from(it.start()), u32::from(it.end()))).collect(),
    };
    let plain = ranges.iter().map(|it| (it.0.max(0x20), it.1.min(0x7e))).filter(|it| it.0 <= it.1);
    let mut plain: Vec<(u32, u32)> = plain.collect();
    if plain.is_empty() {
        plain = ranges;
    }
    let total: u64 = plain.iter().map(|it| u64::from(it.1 - it.0) + 1).sum();
    let mut at = below(env, total);
    for (low, high) in plain {
        let width = u64::from(high - low) + 1;
        if at < width {
            let it = char::from_u32(low + at as u32)?;
            return Some(it.to_string().into_bytes());
        }
        at -= width;
    }
    None
}
