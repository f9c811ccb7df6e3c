//! Schemas of custom kinds as kubectl finds them published: what it lets through, and how it explains them.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

fn definition(plural: &str, kind: &str, schema: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{plural: {plural}, kind: {kind}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {schema}
"
    )
}

const FOO: &str = "
        description: Foo CRD for Testing
        type: object
        properties:
          spec:
            type: object
            description: Specification of Foo
            properties:
              bars:
                description: List of Bars and their specs.
                type: array
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {description: Name of Bar., type: string}
                    age: {description: Age of Bar., type: string}
                    feeling: {description: Whether Bar is feeling great., type: string, enum: [Great, Down]}
                    bazs: {description: List of Bazs., type: array, items: {type: string}}
          status: {description: Status of Foo, type: object, properties: {bars: {type: array, items: {type: object, properties: {name: {type: string}}}}}}";

async fn define(node: &Node, plural: &str, kind: &str, schema: &str) -> Result<()> {
    node.apply_text(&definition(plural, kind, schema)).await?;
    let name = format!("crd/{plural}.example.com");
    node.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=10s"]).await.map(drop)
}

fn object(kind: &str, rest: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{name: test}}\n{rest}\n")
}

/// Creates, applies over it and deletes.
async fn accepts(node: &Node, text: &str) -> Result<()> {
    for command in ["create", "apply", "delete"] {
        let done = node.kubectl_stdin(&[command, "-f", "-"], text).await?;
        ensure!(done.code == 0, "{command}: {}\n{text}", done.stderr);
    }
    Ok(())
}

async fn refuses(node: &Node, text: &str, why: &str) -> Result<()> {
    for command in ["create", "apply"] {
        let refused = node.kubectl_stdin(&[command, "-f", "-"], text).await?;
        ensure!(refused.code != 0 && refused.stderr.contains(why), "{command}: {}\n{text}", refused.stderr);
    }
    Ok(())
}

/// What `kubectl explain` says, once the schema is published.
async fn explained(node: &Node, what: &str, want: &[&str]) -> Result<()> {
    eventually(what, Duration::from_secs(20), async || {
        let text = node.kubectl(&["explain", what]).await?;
        for word in want {
            ensure!(text.contains(word), "{word:?} is missing in:\n{text}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_held_to_and_explained() {
    with_node(async |node| {
        define(node, "foos", "Foo", FOO).await?;
        accepts(node, &object("Foo", "spec: {bars: [{name: test-bar, age: '10', feeling: Great}]}")).await?;
        refuses(node, &object("Foo", "spec: {bars: [{name: b}], unknown: x}"), "unknown field \"spec.unknown\"")
            .await?;
        refuses(node, &object("Foo", "spec: {bars: [{age: '10'}]}"), "spec.bars[0].name").await?;
        refuses(node, &object("Foo", "spec: {bars: [{name: b, feeling: Up}]}"), "Unsupported value").await?;
        explained(node, "foos", &["KIND:       Foo", "Foo CRD for Testing", "spec\t<Object>", "Specification of Foo"])
            .await?;
        explained(node, "foos.metadata", &["Standard object's metadata", "creationTimestamp"]).await?;
        explained(node, "foos.spec", &["bars\t<[]Object>", "List of Bars and their specs."]).await?;
        explained(node, "foos.spec.bars", &["age\t<string>", "name\t<string> -required-", "bazs\t<[]string>"]).await?;
        let missing = node.kubectl_outcome(&["explain", "foos.spec.bars2"]).await?;
        ensure!(missing.code != 0 && missing.stderr.contains("field \"bars2\" does not exist"), "{missing:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_leaves_open_is_let_through_and_explained() {
    with_node(async |node| {
        let open = "{type: object, x-kubernetes-preserve-unknown-fields: true}";
        define(node, "empties", "Empty", open).await?;
        accepts(node, &object("Empty", "a: {b: [{c: d}]}\nfoo: true")).await?;
        explained(node, "empties", &["KIND:       Empty", "DESCRIPTION:\n    <empty>"]).await?;

        let root = "{type: object, x-kubernetes-preserve-unknown-fields: true, properties: {spec: {type: object, \
                    x-kubernetes-preserve-unknown-fields: true}, status: {type: object, \
                    x-kubernetes-preserve-unknown-fields: true}}}";
        define(node, "roots", "Root", root).await?;
        accepts(node, &object("Root", "spec: {a: 1}\nanything: {b: [1]}")).await?;
        explained(node, "roots", &["KIND:       Root", "spec\t<Object>"]).await?;

        let nested = "{type: object, properties: {spec: {type: object, description: Open, \
                      x-kubernetes-preserve-unknown-fields: true, properties: {dummy: {type: string}}}}}";
        define(node, "nesteds", "Nested", nested).await?;
        accepts(node, &object("Nested", "spec: {a: null, b: [{c: d}], dummy: x}")).await?;
        refuses(node, &object("Nested", "other: {a: 1}"), "unknown field \"other\"").await?;
        explained(node, "nesteds", &["KIND:       Nested", "spec\t<Object>", "Open"]).await
    })
    .await;
}
