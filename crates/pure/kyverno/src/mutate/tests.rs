use serde_json::{Value, json};

use super::{merge, preprocess};

fn patched(object: &Value, patch: Value) -> Value {
    let mut made = object.clone();
    let changed = merge::merge(&mut made, &preprocess::preprocess(patch, object));
    assert_eq!(changed, made != *object, "it says whether it changed something");
    made
}

fn pod(containers: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
}

#[test]
fn fields_are_added_where_they_are_missing() {
    let object = pod(json!([{"name": "c", "image": "a"}]));
    let made = patched(&object, json!({"metadata": {"labels": {"+(team)": "x"}}, "spec": {"+(priority)": 1}}));
    assert_eq!(made["metadata"]["labels"], json!({"team": "x"}));
    let made = patched(&made, json!({"metadata": {"labels": {"+(team)": "y"}}}));
    assert_eq!(made["metadata"]["labels"], json!({"team": "x"}));
}

#[test]
fn conditions_choose_elements_of_lists() {
    let object = pod(json!([{"name": "a", "image": "x:latest"}, {"name": "b", "image": "x:1"}]));
    let patch = json!({"spec": {"containers": [{"(image)": "*:latest", "imagePullPolicy": "Always"}]}});
    let containers =
        json!([{"name": "a", "image": "x:latest", "imagePullPolicy": "Always"}, {"name": "b", "image": "x:1"}]);
    assert_eq!(patched(&object, patch)["spec"]["containers"], containers);
    let patch = json!({"spec": {"containers": [{"(name)": "*", "securityContext": {"+(privileged)": false}}]}});
    let made = patched(&object, patch);
    assert_eq!(made["spec"]["containers"][1]["securityContext"], json!({"privileged": false}));
}

#[test]
fn a_condition_that_does_not_hold_takes_the_patch_away() {
    let object = pod(json!([{"name": "a", "image": "x:1"}]));
    let patch = json!({"metadata": {"(name)": "other", "labels": {"a": "b"}}});
    assert_eq!(patched(&object, patch), object);
    let patch = json!({"spec": {"containers": [{"<(image)": "ghcr.io/*"}], "imagePullSecrets": [{"name": "s"}]}});
    assert_eq!(patched(&object, patch.clone()), object);
    let object = pod(json!([{"name": "a", "image": "ghcr.io/x"}]));
    let made = patched(&object, patch);
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
    assert_eq!(made["spec"]["containers"], object["spec"]["containers"]);
}

#[test]
fn lists_merge_by_their_key_and_null_removes() {
    let object = pod(json!([{"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]}]));
    let patch = json!({"spec": {"containers": [{"name": "side", "image": "s"}, {"name": "a", "image": null}],
        "volumes": [{"name": "v", "emptyDir": {}}]}});
    let made = patched(&object, patch);
    assert_eq!(
        made["spec"],
        json!({
            "containers": [{"name": "side", "image": "s"}, {"name": "a", "env": [{"name": "K", "value": "1"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        })
    );
    let made = patched(&object, json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}));
    assert_eq!(made["spec"]["containers"], json!([]));
}
