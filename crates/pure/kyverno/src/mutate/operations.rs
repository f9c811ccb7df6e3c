//! Operations on JSON (RFC 6902) with the leniency of Kyverno.
//!
//! Entry point: [`apply`]. Adding makes the maps and lists on its way, removing what is not there is no error, and
//! indices may count from the end.

use serde_json::{Map, Value};

/// Operations in one patch.
const OPERATIONS_MAX: usize = 1_000;

/// Reads operations from YAML or JSON.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, String> {
    let value = crate::yaml::parse(text).map_err(|it| format!("failed to convert patchesJSON6902 to JSON: {it}"))?;
    match value {
        Value::Array(all) if all.len() <= OPERATIONS_MAX => Ok(all),
        Value::Array(_) => Err(format!("a patch has more than {OPERATIONS_MAX} operations")),
        _ => Err("failed to decode patches: a patch is a list of operations".to_owned()),
    }
}

/// Applies operations one after another.
pub(super) fn apply(object: &Value, operations: &[Value]) -> Result<Value, String> {
    let mut object = object.clone();
    for operation in operations {
        let text = |field: &str| operation[field].as_str().unwrap_or_default();
        let path = tokens(text("path"))?;
        match text("op") {
            "add" => add(&mut object, &path, operation.get("value").cloned().unwrap_or_default())?,
            "remove" => drop(remove(&mut object, &path)),
            "replace" => {
                let slot = get_mut(&mut object, &path);
                let slot =
                    slot.ok_or_else(|| format!("replace operation does not apply: missing path {}", text("path")))?;
                *slot = operation.get("value").cloned().unwrap_or_default();
            }
            "copy" => {
                let from = get_mut(&mut object, &tokens(text("from"))?).cloned();
                let from =
                    from.ok_or_else(|| format!("copy operation does not apply: missing path {}", text("from")))?;
                add(&mut object, &path, from)?;
            }
            "move" => {
                let from = remove(&mut object, &tokens(text("from"))?);
                let from =
                    from.ok_or_else(|| format!("move operation does not apply: missing path {}", text("from")))?;
                add(&mut object, &path, from)?;
            }
            "test" => {
                let found = get_mut(&mut object, &path).cloned().unwrap_or_default();
                if !crate::text::equal(&found, operation.get("value").unwrap_or(&Value::Null)) {
                    return Err(format!("testing value {} failed", text("path")));
                }
            }
            other => return Err(format!("unexpected operation {other:?}")),
        }
    }
    Ok(object)
}

fn tokens(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or_else(|| format!("a path begins with a slash: {path:?}"))?;
    Ok(rest.split('/').map(|it| it.replace("~1", "/").replace("~0", "~")).collect())
}

/// A place in a list; those below zero count from the end.
fn place(token: &str, length: usize) -> Option<usize> {
    let at: i64 = token.parse().ok()?;
    usize::try_from(if at < 0 { at + length as i64 } else { at }).ok()
}

fn get_mut<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, token| match value {
        Value::Object(all) => all.get_mut(token),
        Value::Array(all) => {
            let at = place(token, all.len())?;
            all.get_mut(at)
        }
        _ => None,
    })
}

fn add(value: &mut Value, path: &[String], new: Value) -> Result<(), String> {
    let Some((last, way)) = path.split_last() else {
        *value = new;
        return Ok(());
    };
    let mut at = value;
    for (depth, token) in way.iter().enumerate() {
        let next = &path[depth + 1];
        let fresh = || {
            if next == "-" || next.parse::<i64>().is_ok() {
                Value::Array(Vec::new())
            } else {
                Value::Object(Map::new())
            }
        };
        at = match at {
            Value::Object(all) => {
                let slot = all.entry(token.as_str()).or_insert_with(fresh);
                if slot.is_null() {
                    *slot = fresh();
                }
                slot
            }
            Value::Array(all) => {
                let length = all.len();
                match place(token, length) {
                    Some(at) if at < length => &mut all[at],
                    _ => {
                        all.push(fresh());
                        &mut all[length]
                    }
                }
            }
            _ => return Err(format!("add operation does not apply: no way through {token:?}")),
        };
    }
    match at {
        Value::Object(all) => drop(all.insert(last.clone(), new)),
        Value::Array(all) if last == "-" => all.push(new),
        Value::Array(all) => {
            // Counted from the end, the last place is behind the last element.
            let length = all.len();
            let at = match last.parse::<i64>() {
                Ok(it) if it < 0 => usize::try_from(length as i64 + 1 + it).ok(),
                _ => place(last, length),
            };
            let at = at.filter(|it| *it <= length);
            all.insert(at.ok_or_else(|| format!("add operation does not apply: no index {last:?}"))?, new);
        }
        _ => return Err(format!("add operation does not apply: no place for {last:?}")),
    }
    Ok(())
}

fn remove(value: &mut Value, path: &[String]) -> Option<Value> {
    let (last, way) = path.split_last()?;
    match get_mut(value, way)? {
        Value::Object(all) => all.remove(last),
        Value::Array(all) => {
            let at = place(last, all.len()).filter(|it| *it < all.len())?;
            Some(all.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_make_their_way() {
        let object = json!({"a": {"list": [1, 2]}});
        let with = |operation: Value| apply(&object, &[operation]);
        assert_eq!(
            with(json!({"op": "add", "path": "/b/c", "value": 1})),
            Ok(json!({"a": {"list": [1, 2]}, "b": {"c": 1}}))
        );
        assert_eq!(
            with(json!({"op": "add", "path": "/b/0", "value": 1})),
            Ok(json!({"a": {"list": [1, 2]}, "b": [1]}))
        );
        assert_eq!(with(json!({"op": "add", "path": "/a/list/-", "value": 3})), Ok(json!({"a": {"list": [1, 2, 3]}})));
        assert_eq!(with(json!({"op": "add", "path": "/a/list/-1", "value": 3})), Ok(json!({"a": {"list": [1, 2, 3]}})));
        assert_eq!(with(json!({"op": "add", "path": "/a/list/0", "value": 3})), Ok(json!({"a": {"list": [3, 1, 2]}})));
        assert_eq!(with(json!({"op": "remove", "path": "/x/y"})), Ok(object.clone()));
        assert_eq!(
            with(json!({"op": "move", "from": "/a/list/0", "path": "/b"})),
            Ok(json!({"a": {"list": [2]}, "b": 1}))
        );
        assert!(with(json!({"op": "replace", "path": "/x", "value": 1})).is_err());
        assert!(with(json!({"op": "test", "path": "/a/list/0", "value": 2})).is_err());
        assert!(with(json!({"op": "add", "path": "/a/list/9", "value": 2})).is_err());
        assert!(with(json!({"op": "jump", "path": "/a"})).is_err());
    }
}
