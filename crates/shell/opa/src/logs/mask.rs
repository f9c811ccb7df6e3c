//! What policies keep out of the log: `data.system.log.mask` and `data.system.log.drop`, asked with the record as input.

use eyot_rego::Value;
use serde_json::{Value as Json, json};

use crate::decider::{DecideError, Decider, now_ns};

const MASK: &str = "system/log/mask";
const DROP: &str = "system/log/drop";

/// Whether the policy wants no record at all.
pub(super) fn is_dropped(decider: &Decider, record: &Json) -> bool {
    decider.has(DROP) && decider.decide(DROP, &Value::from(record), now_ns()) == Ok(Value::Bool(true))
}

/// Headers that hold what only the client should know.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// Takes out of a record what is secret whatever its policy says: credentials in headers, and what Secrets hold.
pub(super) fn erase_secrets(record: &mut Json) {
    let headers = "/input/attributes/request/http/headers";
    for name in SECRET_HEADERS {
        erase(record, headers, name);
    }
    for object in ["object", "oldObject"] {
        let parent = format!("/input/request/{object}");
        if record.pointer(&format!("{parent}/kind")).is_some_and(|it| it == "Secret") {
            erase(record, &parent, "data");
            erase(record, &parent, "stringData");
        }
    }
}

fn erase(record: &mut Json, parent: &str, field: &str) {
    let gone = record.pointer_mut(parent).and_then(Json::as_object_mut).and_then(|it| it.remove(field));
    if gone.is_some() {
        note(record, "erased", &format!("{parent}/{field}"));
    }
}

/// Takes out of a record what its policy says. A mask that cannot be evaluated takes input and result: what should have
/// been kept out must not get into a log by mistake.
pub(super) fn apply(decider: &Decider, record: &mut Json) {
    if !decider.has(MASK) {
        return;
    }
    let rules = match decider.decide(MASK, &Value::from(&*record), now_ns()) {
        Ok(rules) => rules,
        Err(DecideError::Undefined(_)) => return,
        Err(error) => {
            tracing::warn!(%error, "the mask of the decision log failed; input and result are left out");
            remove_all(record);
            return;
        }
    };
    if !apply_rules(&rules, record) {
        tracing::warn!("the mask of the decision log is neither a set nor an array; input and result are left out");
        remove_all(record);
    }
}

fn remove_all(record: &mut Json) {
    for field in ["input", "result"] {
        if let Some(fields) = record.as_object_mut()
            && fields.remove(field).is_some()
        {
            note(record, "erased", &format!("/{field}"));
        }
    }
}

fn apply_rules(rules: &Value, record: &mut Json) -> bool {
    let rules: Vec<&Value> = match rules {
        Value::Set(rules) => rules.iter().collect(),
        Value::Array(rules) => rules.iter().collect(),
        _ => return false,
    };
    for rule in rules {
        let path = rule.as_str().or_else(|| rule.field("path").and_then(Value::as_str)).unwrap_or_default();
        let upsert = rule.field("op").and_then(Value::as_str) == Some("upsert");
        let (parent, last) = path.rsplit_once('/').unwrap_or_default();
        // Only what was asked and answered can be masked.
        let known = ["/input", "/result"].iter().any(|it| path == *it || path.starts_with(&format!("{it}/")));
        if !known {
            continue;
        }
        let Some(parent) = record.pointer_mut(parent) else { continue };
        let last = last.replace("~1", "/").replace("~0", "~");
        if upsert {
            let value = rule.field("value").map_or(Json::Null, Value::to_json);
            match parent {
                Json::Object(fields) => drop(fields.insert(last, value)),
                Json::Array(items) => match last.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                    Some(item) => *item = value,
                    None => continue,
                },
                _ => continue,
            }
            note(record, "masked", path);
        } else {
            let removed = match parent {
                Json::Object(fields) => fields.remove(&last).is_some(),
                Json::Array(items) => match last.parse::<usize>() {
                    Ok(at) if at < items.len() => {
                        items.remove(at);
                        true
                    }
                    _ => false,
                },
                _ => false,
            };
            if removed {
                note(record, "erased", path);
            }
        }
    }
    true
}

fn note(record: &mut Json, list: &str, path: &str) {
    match &mut record[list] {
        Json::Array(paths) => paths.push(path.into()),
        other => *other = json!([path]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_erased_whatever_a_policy_says() {
        let headers = json!({"authorization": "Bearer t", "accept": "*"});
        let secret = json!({"kind": "Secret", "data": {"a": "eA=="}, "metadata": {}});
        let mut record = json!({"input": {
            "attributes": {"request": {"http": {"headers": headers}}},
            "request": {"object": secret, "oldObject": null},
        }});
        erase_secrets(&mut record);
        assert_eq!(record.pointer("/input/attributes/request/http/headers"), Some(&json!({"accept": "*"})));
        assert_eq!(record.pointer("/input/request/object"), Some(&json!({"kind": "Secret", "metadata": {}})));
        let erased = json!(["/input/attributes/request/http/headers/authorization", "/input/request/object/data"]);
        assert_eq!(record["erased"], erased);
    }

    #[test]
    fn rules_erase_and_replace_inside_of_input_and_result() {
        let mut record = json!({"input": {"password": "p", "a/b": 1, "list": [1, 2]}, "result": true, "path": "x"});
        let rules = json!([
            "/input/password", "/input/a~1b", "/input/none", "/path",
            {"op": "upsert", "path": "/input/list/1", "value": "**"},
            {"op": "upsert", "path": "/result", "value": null},
        ]);
        assert!(apply_rules(&Value::from(&rules), &mut record));
        assert_eq!(
            record,
            json!({"input": {"list": [1, "**"]}, "result": null, "path": "x",
                "erased": ["/input/password", "/input/a~1b"], "masked": ["/input/list/1", "/result"]})
        );
        assert!(!apply_rules(&Value::Bool(true), &mut record));
    }
}
