//! Texts, globs and regular expressions.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{Call, Function, SearchError, function};
use crate::{text, wildcard};

type Made = Result<Value, SearchError>;

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

pub(super) const TABLE: &[Function] = &[
    function("compare", 2, |it| Ok((it.text(0)?.cmp(it.text(1)?) as i8).into())),
    function("equal_fold", 2, |it| Ok((it.text(0)?.to_lowercase() == it.text(1)?.to_lowercase()).into())),
    function("replace", 4, replace),
    function("replace_all", 3, |it| replaced(it, usize::MAX)),
    function("to_upper", 1, |it| Ok(it.text(0)?.to_uppercase().into())),
    function("to_lower", 1, |it| Ok(it.text(0)?.to_lowercase().into())),
    function("trim", 2, trim),
    function("trim_prefix", 2, |it| Ok(it.text(0)?.strip_prefix(it.text(1)?).unwrap_or(it.text(0)?).into())),
    function("split", 2, split),
    function("regex_replace_all", 3, regex_replace_all),
    function("regex_replace_all_literal", 3, regex_replace_all_literal),
    function("regex_match", 2, |it| Ok(regex(it)?.is_match(&it.scalar(1)?).into())),
    function("pattern_match", 2, |it| Ok(wildcard::matches(it.text(0)?, &it.scalar(1)?).into())),
    function("label_match", 2, label_match),
    function("to_boolean", 1, to_boolean),
    function("path_canonicalize", 1, |it| Ok(canonical_path(it.text(0)?).into())),
    function("truncate", 2, truncate),
    function("is_external_url", 1, is_external_url),
];

fn replace(call: &Call<'_>) -> Made {
    let count = call.number(3)?;
    replaced(call, if count < 0.0 { usize::MAX } else { count as usize })
}

/// The first text with the second replaced by the third, so often at most.
fn replaced(call: &Call<'_>, most: usize) -> Made {
    let (source, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let count = source.matches(old).take(most).count();
    call.fits(count.saturating_mul(new.len()).saturating_add(source.len()))?;
    Ok(source.replacen(old, new, count).into())
}

fn trim(call: &Call<'_>) -> Made {
    let cut: Vec<char> = call.text(1)?.chars().collect();
    Ok(call.text(0)?.trim_matches(cut.as_slice()).into())
}

fn split(call: &Call<'_>) -> Made {
    let (source, by) = (call.text(0)?, call.text(1)?);
    if by.is_empty() {
        return Ok(source.chars().map(|it| it.to_string()).map(Value::String).collect());
    }
    Ok(source.split(by).map(Value::from).collect())
}

fn regex(call: &Call<'_>) -> Result<Regex, SearchError> {
    let regex = RegexBuilder::new(&eyot_pattern::translate(call.text(0)?)).size_limit(REGEX_BYTES_MAX).build();
    // Compiling costs more than most matches.
    call.env.charge(1_000)?;
    regex.map_err(|it| call.fails(it))
}

fn regex_replace_all(call: &Call<'_>) -> Made {
    let (regex, source, with) = (regex(call)?, call.scalar(1)?, call.scalar(2)?);
    let (mut made, mut end) = (String::new(), 0);
    for found in regex.captures_iter(&source) {
        let Some(whole) = found.get(0) else { continue };
        // Each group that is named brings what the whole has, at most.
        let expanded = with.matches('$').count().saturating_mul(whole.len()).saturating_add(with.len());
        call.fits(expanded.saturating_add(made.len()))?;
        made.push_str(&source[end..whole.start()]);
        found.expand(&with, &mut made);
        end = whole.end();
    }
    made.push_str(&source[end..]);
    Ok(made.into())
}

fn regex_replace_all_literal(call: &Call<'_>) -> Made {
    let (regex, source, with) = (regex(call)?, call.scalar(1)?, call.scalar(2)?);
    let count = regex.find_iter(&source).count();
    call.fits(count.saturating_mul(with.len()).saturating_add(source.len()))?;
    Ok(regex.replace_all(&source, regex::NoExpand(&with)).into_owned().into())
}

fn label_match(call: &Call<'_>) -> Made {
    let (wanted, given) = (call.object(0)?, call.object(1)?);
    Ok(wanted.iter().all(|(key, value)| given.get(key).is_some_and(|it| text::equal(it, value))).into())
}

fn to_boolean(call: &Call<'_>) -> Made {
    let given = call.text(0)?;
    match given.to_lowercase().as_str() {
        "true" => Ok(true.into()),
        "false" => Ok(false.into()),
        _ => Err(call.fails(format!("lowercase argument must be 'true' or 'false' (provided: '{given}')"))),
    }
}

/// A path without `.`, `..` and doubled slashes.
fn canonical_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|it| !it.is_empty() && *it != ".") {
        match part {
            ".." if parts.last().is_some_and(|it| *it != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) if path.is_empty() => String::new(),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn truncate(call: &Call<'_>) -> Made {
    let length = call.number(1)?.max(0.0) as usize;
    Ok(call.text(0)?.chars().take(length).collect::<String>().into())
}

fn is_external_url(call: &Call<'_>) -> Made {
    let url = call.text(0)?;
    let host = url.split_once("://").map_or(url, |it| it.1);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |it| it.1);
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(it)) => Ok((!it.is_loopback() && !it.is_private()).into()),
        Ok(std::net::IpAddr::V6(it)) => Ok((!it.is_loopback() && !it.is_unique_local()).into()),
        Err(_) => Err(call.fails(format!("{host:?} is no address, and names are not looked up here"))),
    }
}
