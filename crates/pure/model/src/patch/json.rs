//! JSON patch, RFC 6902.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::PatchError;

/// Most operations in one patch, as in Kubernetes: each may copy part of the object.
pub const OPERATIONS_MAX: usize = 10_000;

/// Applies a list of operations. Either all of them apply, or none.
pub fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(operations) = patch.as_array() else {
        let found = super::type_name(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.Patch"
        )));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchError::TooLarge { limit: OPERATIONS_MAX, got: operations.len() });
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| PatchError::Malformed(e.to_string()))?;
    let mut patched = current.clone();
    let mut copied = 0;
    for operation in patch.iter() {
        if let PatchOperation::Copy(copy) = operation {
            copied += copy.from.resolve(&patched).map_or(0, |it| it.to_string().len());
            if copied > COPIED_BYTES_MAX {
                return Err(PatchError::CopiesTooMuch { limit: COPIED_BYTES_MAX });
            }
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation)).map_err(|e| failure(operation, &e.kind))?;
    }
    if depth(&patched) > DEPTH_MAX {
        return Err(PatchError::Unprocessable(format!("the patched object nests more than {DEPTH_MAX} levels deep")));
    }
    Ok(patched)
}

/// Deepest nesting a patch may leave: what the JSON parser allows too. Moves could go on nesting a value in another.
const DEPTH_MAX: usize = 127;

/// Levels of nesting, found without recursion.
fn depth(value: &Value) -> usize {
    let (mut deepest, mut open) = (0, vec![(value, 1)]);
    while let Some((value, level)) = open.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(list) => open.extend(list.iter().map(|it| (it, level + 1))),
            Value::Object(map) => open.extend(map.values().map(|it| (it, level + 1))),
            _ => {}
        }
    }
    deepest
}

/// Most bytes that copies may add: repeated copies of a growing value double it each time.
const COPIED_BYTES_MAX: usize = 3 << 20;

fn failure(operation: &PatchOperation, kind: &PatchErrorKind) -> PatchError {
    let (name, path) = match operation {
        PatchOperation::Add(it) => ("add", it.path.to_string()),
        PatchOperation::Remove(it) => ("remove", it.path.to_string()),
        PatchOperation::Replace(it) => ("replace", it.path.to_string()),
        PatchOperation::Move(it) => ("move", it.from.to_string()),
        PatchOperation::Copy(it) => ("copy", it.from.to_string()),
        PatchOperation::Test(it) => ("test", it.path.to_string()),
    };
    PatchError::Unprocessable(match kind {
        PatchErrorKind::TestFailed => format!("testing path {path} failed"),
        _ => format!("{name} operation does not apply: doc is missing path: {path}: missing value"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order() {
        let patch = json!([
            {"op": "test", "path": "/a", "value": 1},
            {"op": "add", "path": "/l/-", "value": 3},
            {"op": "replace", "path": "/a", "value": 2},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "move", "from": "/b", "path": "/m~1n"},
            {"op": "remove", "path": "/l/0"},
        ]);
        let patched = apply(&json!({"a": 1, "l": [1, 2]}), &patch).expect("applies");
        assert_eq!(patched, json!({"a": 2, "l": [2, 3], "m/n": 2}));
    }

    #[test]
    fn a_patch_that_does_not_fit_is_unprocessable() {
        for (operation, why) in [
            (
                json!({"op": "remove", "path": "/x"}),
                "remove operation does not apply: doc is missing path: /x: missing value",
            ),
            (json!({"op": "test", "path": "/a", "value": 2}), "testing path /a failed"),
        ] {
            let error = apply(&json!({"a": 1}), &json!([operation])).expect_err("does not fit");
            assert_eq!(error, PatchError::Unprocessable(why.into()));
        }
    }

    #[test]
    fn malformed_and_oversized_patches_are_refused() {
        for bad in [json!({}), json!([{"op": "shred", "path": "/a"}]), json!([{"op": "add"}])] {
            assert!(matches!(apply(&json!({}), &bad), Err(PatchError::Malformed(_))), "{bad}");
        }
        let one = json!({"op": "test", "path": "", "value": {}});
        let many = Value::Array(vec![one; OPERATIONS_MAX + 1]);
        assert!(matches!(apply(&json!({}), &many), Err(PatchError::TooLarge { .. })));
    }

    #[test]
    fn moves_cannot_nest_without_end() {
        let deeper = [
            json!({"op": "add", "path": "/n", "value": {}}),
            json!({"op": "move", "from": "/a", "path": "/n/x"}),
            json!({"op": "move", "from": "/n", "path": "/a"}),
        ];
        let patch = |times| Value::Array(std::iter::repeat_n(deeper.clone(), times).flatten().collect());
        assert!(apply(&json!({"a": 1}), &patch(100)).is_ok());
        assert!(matches!(apply(&json!({"a": 1}), &patch(1000)), Err(PatchError::Unprocessable(_))));
    }

    #[test]
    fn copies_cannot_blow_an_object_up() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/l/-"});
        let error = apply(&json!({"a": {"l": []}}), &Value::Array(vec![double; 100])).expect_err("doubles");
        assert!(matches!(error, PatchError::CopiesTooMuch { .. }));
    }
}
