//! What a user types: the verbs of kubectl against a running node.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// Hello, rolled out.
async fn hello(node: &Node) -> Result<()> {
    node.sample("hello").await
}

/// The name of the first pod with a label.
async fn pod(node: &Node, label: &str) -> Result<String> {
    node.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[0].metadata.name}"]).await
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    // kubectl aligns its columns: how many spaces there are says nothing.
    let text =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_deployment_answers_through_the_gateway() {
    with_node(async |node| {
        node.push("hello").await?;
        let applied = node.apply("hello").await?;
        has(
            &applied,
            &[
                "deployment.apps/hello created",
                "service/hello created",
                "httproute.gateway.networking.k8s.io/hello created",
            ],
        );
        node.rolled_out("hello").await?;
        let answer = eventually("hello answers", SOON, async || {
            let answer = node.get("hello.localhost", "/").await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(answer)
        })
        .await?;
        has(&answer.text(), &["hello from hello-"]);
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        let elsewhere = node.get("nobody.localhost", "/").await?;
        assert_eq!(elsewhere.status, 404, "a host without a route");
        let again = node.apply("hello").await?;
        has(&again, &["deployment.apps/hello unchanged", "service/hello unchanged"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_shows_the_usual_columns() {
    with_node(async |node| {
        hello(node).await?;
        has(&node.kubectl(&["get", "deployments"]).await?, &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "2/2"]);
        has(&node.kubectl(&["get", "pods"]).await?, &["READY", "STATUS", "RESTARTS", "1/1", "Running"]);
        has(
            &node.kubectl(&["get", "pods", "-o", "wide"]).await?,
            &["IP", "NODE", "NOMINATED NODE", "READINESS GATES", "island"],
        );
        has(&node.kubectl(&["get", "rs"]).await?, &["DESIRED", "CURRENT", "READY"]);
        has(
            &node.kubectl(&["get", "svc"]).await?,
            &["TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "ClusterIP", "80/TCP"],
        );
        has(&node.kubectl(&["get", "nodes"]).await?, &["STATUS", "ROLES", "VERSION", "island", "Ready"]);
        has(&node.kubectl(&["get", "ns"]).await?, &["default", "kube-system", "Active"]);
        has(&node.kubectl(&["get", "endpointslices"]).await?, &["ADDRESSTYPE", "PORTS", "ENDPOINTS", "IPv4", "8080"]);
        has(&node.kubectl(&["get", "events"]).await?, &["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        has(&node.kubectl(&["get", "httproutes"]).await?, &["hello.localhost"]);
        has(
            &node.kubectl(&["get", "deploy,svc,pods", "-A"]).await?,
            &["NAMESPACE", "deployment.apps/hello", "service/kubernetes"],
        );
        let names = node.kubectl(&["get", "pods", "-l", "app=hello", "-o", "name"]).await?;
        assert_eq!(names.lines().count(), 2);
        let running = node.kubectl(&["get", "pods", "--field-selector", "status.phase=Running", "-o", "name"]).await?;
        assert_eq!(running.lines().count(), 2);
        has(&node.kubectl(&["get", "pods", "-o", "yaml"]).await?, &["kind: Pod", "runtimeClassName: wasm"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_tells_the_story_of_a_pod() {
    with_node(async |node| {
        hello(node).await?;
        let described = eventually("events are written", SOON, async || {
            let described = node.kubectl(&["describe", "pod", "-l", "app=hello"]).await?;
            ensure!(described.contains("Started"), "no Started event in:\n{described}");
            Ok(described)
        })
        .await?;
        has(
            &described,
            &[
                "Status: Running",
                "Controlled By: ReplicaSet/hello-",
                &node.localized("localhost:5000/hello:v1"),
                "Scheduled",
            ],
        );
        has(
            &node.kubectl(&["describe", "deployment", "hello"]).await?,
            &["StrategyType: RollingUpdate", "NewReplicaSet:", "ScalingReplicaSet"],
        );
        has(&node.kubectl(&["describe", "service", "hello"]).await?, &["Endpoints:", ":8080"]);
        has(
            &node.kubectl(&["describe", "node", "island"]).await?,
            &["Conditions:", "KubeletReady", "Capacity:", "Allocatable:"],
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_annotations_and_edits_are_kept() {
    with_node(async |node| {
        hello(node).await?;
        node.kubectl(&["label", "deployment", "hello", "tier=front"]).await?;
        has(&node.kubectl(&["get", "deploy", "-l", "tier=front", "-o", "name"]).await?, &["deployment.apps/hello"]);
        node.kubectl(&["label", "deployment", "hello", "tier-"]).await?;
        assert_eq!(node.kubectl(&["get", "deploy", "-l", "tier", "-o", "name"]).await?.trim(), "");
        node.kubectl(&["annotate", "deployment", "hello", "note=green"]).await?;
        has(
            &node.kubectl(&["get", "deploy", "hello", "-o", "jsonpath={.metadata.annotations.note}"]).await?,
            &["green"],
        );

        // An editor that changes one line, as a person would.
        let editor = node.data_dir().join("editor.sh");
        std::fs::write(&editor, "#!/bin/sh\nsed -i 's/replicas: 2/replicas: 3/' \"$1\"\n")?;
        std::process::Command::new("chmod").arg("+x").arg(&editor).status()?;
        let edited = format!("KUBE_EDITOR={}", editor.display());
        let kubectl = std::env::var("EYOT_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut edit = tokio::process::Command::new("env");
        edit.arg(edited).arg(kubectl).args(["edit", "deployment", "hello"]).env("KUBECONFIG", &node.ready().kubeconfig);
        let said = edit.output().await?;
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        node.rolled_out("hello").await?;
        assert_eq!(node.kubectl(&["get", "deploy", "hello", "-o", "jsonpath={.status.readyReplicas}"]).await?, "3");
        node.kubectl(&[
            "patch",
            "deployment",
            "hello",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#,
        ])
        .await?;
        node.kubectl(&["patch", "deployment", "hello", "--type=merge", "-p", r#"{"spec":{"minReadySeconds":0}}"#])
            .await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.replicas}=1", "deployment/hello", "--timeout=120s"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_wait_and_delete_do_what_they_say() {
    with_node(async |node| {
        hello(node).await?;
        node.kubectl(&["scale", "deployment", "hello", "--replicas=5"]).await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["wait", "--for=condition=Ready", "pods", "-l", "app=hello", "--timeout=120s"]).await?;
        assert_eq!(node.kubectl(&["get", "pods", "-o", "name"]).await?.lines().count(), 5);
        node.kubectl(&["scale", "deployment", "hello", "--replicas=0"]).await?;
        node.kubectl(&["wait", "--for=delete", "pods", "-l", "app=hello", "--timeout=170s"]).await?;
        let answer = node.get("hello.localhost", "/").await?;
        assert_eq!(answer.status, 503, "a route without endpoints: {}", answer.text());
        node.kubectl(&["scale", "deployment", "hello", "--replicas=1"]).await?;
        node.rolled_out("hello").await?;

        let one = pod(node, "app=hello").await?;
        node.kubectl(&["delete", "pod", &one]).await?;
        eventually("the pod is replaced", SOON, async || {
            let now = pod(node, "app=hello").await?;
            ensure!(now != one, "{now} is still there");
            Ok(())
        })
        .await?;
        node.kubectl(&["delete", "deployment,service,httproute", "hello"]).await?;
        node.kubectl(&["wait", "--for=delete", "pods", "-l", "app=hello", "--timeout=170s"]).await?;
        eventually("what it owned is collected", SOON, async || {
            let left = node.kubectl(&["get", "rs,endpointslices", "-o", "name"]).await?;
            ensure!(!left.contains("hello"), "still there: {left}");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_everything_with_it() {
    with_node(async |node| {
        node.push("hello").await?;
        node.kubectl(&["create", "namespace", "islet"]).await?;
        let manifest = eyot_testkit::read_example("hello/hello.yaml")?;
        let applied = node.kubectl_stdin(&["-n", "islet", "apply", "-f", "-"], &manifest).await?;
        assert_eq!(applied.code, 0, "{}", applied.stderr);
        node.kubectl(&["-n", "islet", "rollout", "status", "deployment/hello", "--timeout=170s"]).await?;
        node.kubectl(&["delete", "namespace", "islet", "--timeout=170s"]).await?;
        let gone = node.kubectl_outcome(&["get", "namespace", "islet"]).await?;
        has(&gone.stderr, &["NotFound"]);
        assert_eq!(
            node.kubectl(&["-n", "islet", "get", "pods,deploy,rs,svc,httproutes", "-o", "name"]).await?.trim(),
            ""
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn port_forward_reaches_a_pod_and_a_service() {
    with_node(async |node| {
        hello(node).await?;
        for target in [format!("pod/{}", pod(node, "app=hello").await?), "service/hello".to_owned()] {
            let port = if target.starts_with("pod") { ":8080" } else { ":80" };
            let mut forward = node.kubectl_running(&["port-forward", &target, port])?;
            let line = forward.line_with("Forwarding from 127.0.0.1:", SOON).await?;
            let address =
                line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).unwrap_or_default().to_owned();
            let gateway = eyot_testkit::Gateway::new(&format!("http://{address}"));
            for _ in 0..3 {
                let answer = gateway.get("anything", "/").await?;
                has(&answer.text(), &["hello from hello-"]);
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_and_create_job_make_pods_of_wasm_images() {
    with_node(async |node| {
        node.push("wordcount").await?;
        node.push("hello").await?;
        // No runtime class: a Wasm image makes it a Wasm pod.
        node.kubectl(&["run", "alone", "--image=localhost:5000/hello:v1", "--port=8080"]).await?;
        node.kubectl(&["wait", "--for=condition=Ready", "pod/alone", "--timeout=120s"]).await?;
        node.kubectl(&["create", "job", "count", "--image=localhost:5000/wordcount:v1", "--", "wordcount", "/nope"])
            .await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.failed}", "job/count", "--timeout=170s"]).await?;
        node.kubectl(&["delete", "pod/alone", "job/count"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_applied() {
    with_node(async |node| {
        node.push("hello").await?;
        let dir = node.data_dir().join("kustomize");
        std::fs::create_dir_all(&dir)?;
        let hello = node.localized(&eyot_testkit::read_example("hello/hello.yaml")?);
        std::fs::write(dir.join("hello.yaml"), hello)?;
        let kustomization = "resources: [hello.yaml]\nnamePrefix: north-\nlabels:\n  - pairs: {bank: north}\n    includeSelectors: true\n\
                             replicas:\n  - {name: hello, count: 3}\nconfigMapGenerator:\n  - name: words\n    literals: [river=slow]\n";
        std::fs::write(dir.join("kustomization.yaml"), kustomization)?;
        node.kubectl(&["apply", "-k", &dir.to_string_lossy()]).await?;
        node.rolled_out("north-hello").await?;
        assert_eq!(node.kubectl(&["get", "pods", "-l", "bank=north", "-o", "name"]).await?.lines().count(), 3);
        has(&node.kubectl(&["get", "configmaps", "-o", "name"]).await?, &["configmap/north-words-"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_wants_a_certificate() {
    with_node(async |node| {
        let outcome = node
            .kubectl_outcome(&[
                "--kubeconfig=/dev/null",
                "--server",
                &node.ready().api,
                "--insecure-skip-tls-verify",
                "--token=none",
                "get",
                "pods",
            ])
            .await?;
        assert_ne!(outcome.code, 0);
        has(&outcome.stderr, &["You must be logged in"]);
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&node.ready().kubeconfig)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eyot_deploy_goes_from_a_file_to_an_answer() {
    with_node(async |node| {
        let wasm = eyot_testkit::guest("hello")?;
        let said = node.eyot(&["deploy", &wasm.to_string_lossy(), "--name", "quick"]).await?;
        assert_eq!(said.code, 0, "{}", said.stderr);
        has(&said.stdout, &["http://quick.default.localhost"]);
        has(&node.get("quick.default.localhost", "/").await?.text(), &["hello from "]);
        let said = node.eyot(&["deploy", &wasm.to_string_lossy(), "--name", "steady", "--deployment"]).await?;
        assert_eq!(said.code, 0, "{}", said.stderr);
        has(&node.get("steady.localhost", "/").await?.text(), &["hello from "]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eyot_says_in_a_line_what_cannot_be_done_and_does_nothing_of_it() {
    with_node(async |node| {
        for command in ["invoke", "delete", "logs", "rollback"] {
            let said = node.eyot(&[command, "nope"]).await?;
            assert_eq!(said.code, 1, "{}", said.stdout);
            let told = said.stderr.trim();
            assert!(told.ends_with(": services.serving.knative.dev \"nope\" not found"), "{told}");
            assert!(!told.contains("ApiError") && told.matches("not found").count() == 1, "{told}");
        }
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("mute.wasm");
        std::fs::write(&file, wat::parse_str("(component)")?)?;
        let said = node.eyot(&["deploy", &file.to_string_lossy()]).await?;
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "nothing is pushed");
        has(&said.stderr, &["mute.wasm cannot be run: no entry point: "]);
        assert_eq!(node.kubectl(&["get", "ksvc", "-o", "name"]).await?.trim(), "");
        Ok(())
    })
    .await;
}
