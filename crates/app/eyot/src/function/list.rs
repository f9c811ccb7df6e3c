//! `eyot list`: what there is, as a table. Pure.

use kube::api::DynamicObject;
use serde_json::Value;

use super::told;

/// A row for each function. `revisions` tell of instances; `all` has a column for namespaces.
pub(super) fn table(functions: &[DynamicObject], revisions: &[DynamicObject], all: bool) -> String {
    let heads = ["NAMESPACE", "NAME", "URL", "LATEST", "TRAFFIC", "INSTANCES", "READY", "REASON"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(functions.iter().map(|it| row(it, revisions)));
    let first = usize::from(!all);
    let widths: Vec<usize> =
        (0..heads.len()).map(|at| rows.iter().map(|it| it[at].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).skip(first).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(function: &DynamicObject, revisions: &[DynamicObject]) -> [String; 8] {
    let status = &function.data["status"];
    let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
    let name = function.metadata.name.clone().unwrap_or_default();
    let ours = revisions.iter().filter(|it| {
        let service = it.metadata.labels.as_ref().and_then(|it| it.get(eyot_serving::label::SERVICE));
        it.metadata.namespace == function.metadata.namespace && service == Some(&name)
    });
    let instances: i64 = ours.filter_map(|it| it.data["status"]["actualReplicas"].as_i64()).sum();
    let (truth, message) = told(&function.data);
    [
        function.metadata.namespace.clone().unwrap_or_default(),
        name,
        text(&status["url"]),
        text(&status["latestReadyRevisionName"]),
        shares(&status["traffic"]),
        instances.to_string(),
        truth.to_owned(),
        message.to_owned(),
    ]
}

/// `REVISION=PERCENT` of each target, with its tag.
fn shares(traffic: &Value) -> String {
    let targets = traffic.as_array().into_iter().flatten();
    let shares = targets.filter_map(|it| {
        let (percent, tag) = (it["percent"].as_i64().unwrap_or(0), it["tag"].as_str());
        let named = tag.map_or_else(String::new, |tag| format!("({tag})"));
        (percent > 0 || tag.is_some())
            .then(|| format!("{}={percent}{named}", it["revisionName"].as_str().unwrap_or("?")))
    });
    shares.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_are_told_with_their_shares_tags_and_instances() {
        let object = |value: Value| serde_json::from_value::<DynamicObject>(value).unwrap();
        let functions = [
            object(json!({
                "metadata": {"name": "hello", "namespace": "default"},
                "status": {
                    "url": "http://hello.default.localhost", "latestReadyRevisionName": "hello-00002",
                    "traffic": [
                        {"revisionName": "hello-00001", "percent": 90}, {"revisionName": "hello-00002", "percent": 10},
                        {"revisionName": "hello-00002", "tag": "canary"},
                    ],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })),
            object(json!({"metadata": {"name": "new", "namespace": "shop"}})),
        ];
        let revision = |name: &str, of: &str, count: i64| {
            object(json!({
                "metadata": {"name": name, "namespace": "default", "labels": {"serving.knative.dev/service": of}},
                "status": {"actualReplicas": count},
            }))
        };
        let revisions =
            [revision("hello-00001", "hello", 2), revision("hello-00002", "hello", 1), revision("x-00001", "x", 9)];
        expect![[r#"
            NAME   URL                             LATEST       TRAFFIC                                              INSTANCES  READY    REASON
            hello  http://hello.default.localhost  hello-00002  hello-00001=90,hello-00002=10,hello-00002=0(canary)  3          True
            new    -                               -                                                                 0          Unknown
        "#]]
        .assert_eq(&table(&functions, &revisions, false));
        assert!(table(&functions, &revisions, true).starts_with("NAMESPACE  NAME"));
    }
}
