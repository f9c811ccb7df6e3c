//! Assertion trees: the shape of an object, where keys and values may be expressions.
//!
//! Entry point: [`check`]. `(expression)` as a key goes on with what the expression finds, `~` before a key goes on with
//! each element, `(expression)` as a value must equal the value at hand. Refused by name: bindings (`->name`) and the
//! variables that they make.

use serde_json::Value;

use crate::{anchor, context::Context, context::search, text, variables};

/// Everything in which a value breaks a tree.
pub(crate) fn check(tree: &Value, value: &Value, context: &mut Context<'_>) -> Result<Vec<String>, String> {
    let tree = variables::substitute(context, tree).map_err(|it| it.to_string())?;
    let mut failures = Vec::new();
    walk(&tree, value, "", context, &mut failures)?;
    Ok(failures)
}

/// Says what in a tree is not understood.
pub(crate) fn unsupported(tree: &Value) -> Option<String> {
    match tree {
        Value::Object(all) => all.iter().find_map(|(key, it)| {
            let binds = key.contains("->").then(|| format!("bindings are not understood: {key:?}"));
            binds.or_else(|| unsupported(it))
        }),
        Value::Array(all) => all.iter().find_map(unsupported),
        _ => None,
    }
}

fn expression(text: &str) -> Option<&str> {
    text.trim().strip_prefix('(')?.strip_suffix(')')
}

fn walk(
    tree: &Value,
    value: &Value,
    path: &str,
    context: &mut Context<'_>,
    failures: &mut Vec<String>,
) -> Result<(), String> {
    match tree {
        Value::Object(all) => {
            for (key, below) in all {
                let at = format!("{path}.{key}");
                let (each, bare) = key.strip_prefix('~').map_or((false, key.as_str()), |it| (true, it));
                let bare = bare.strip_prefix('.').unwrap_or(bare);
                let found = match expression(bare) {
                    Some(expression) => search(expression, value, context.env).or_else(missing)?,
                    None => value.get(bare).cloned().unwrap_or_default(),
                };
                match (each, &found) {
                    (false, found) => walk(below, found, &at, context, failures)?,
                    (true, Value::Array(all)) => {
                        for (place, it) in all.iter().enumerate() {
                            walk(below, it, &format!("{at}[{place}]"), context, failures)?;
                        }
                    }
                    (true, Value::Object(all)) => {
                        for (name, it) in all {
                            walk(below, it, &format!("{at}[{name}]"), context, failures)?;
                        }
                    }
                    (true, _) => {}
                }
            }
            Ok(())
        }
        Value::Array(all) => {
            let given = value.as_array().map_or(0, Vec::len);
            if given != all.len() {
                failures.push(format!("{path}: Invalid value: lengths of slices don't match"));
                return Ok(());
            }
            for (place, below) in all.iter().enumerate() {
                walk(below, &value[place], &format!("{path}[{place}]"), context, failures)?;
            }
            Ok(())
        }
        leaf => {
            let wanted = match leaf.as_str().and_then(expression) {
                Some(expression) => search(expression, value, context.env).or_else(missing)?,
                None => leaf.clone(),
            };
            if !text::equal(&wanted, value) {
                let path = anchor::bare_path(path.trim_start_matches('.'));
                failures.push(format!("{path}: Invalid value: {value}: Expected value: {wanted}"));
            }
            Ok(())
        }
    }
}

fn missing(why: crate::context::QueryError) -> Result<Value, String> {
    if why.is_not_found() { Ok(Value::Null) } else { Err(why.to_string()) }
}
