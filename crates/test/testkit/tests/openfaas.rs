//! OpenFaaS' REST API, call by call as its clients make them, and its own command-line client where there is one.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use eyot_testkit::{Answer, Gateway, Node, Options, eventually};
use http::{Method, Request, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(60);

/// A node with OpenFaaS' API, and a client of that.
struct World {
    node: Node,
    api: Gateway,
    password: String,
}

/// Runs a test; prints the end of the node's log when it fails.
async fn with_world(test: impl AsyncFnOnce(&mut World) -> Result<()>) {
    let args = vec!["--openfaas-listen".to_owned(), "127.0.0.1:0".to_owned()];
    let node = Node::start_with(Options { args, ..Options::default() }).await.expect("a node");
    let api = Gateway::new(&node.ready().openfaas);
    let mut world = World { node, api, password: String::new() };
    let outcome = async {
        let kept = ["-n", "openfaas", "get", "secret", "basic-auth", "-o", "jsonpath={.data.basic-auth-password}"];
        world.password = String::from_utf8(BASE64_STANDARD.decode(world.node.kubectl(&kept).await?.trim())?)?;
        test(&mut world).await
    };
    if let Err(error) = outcome.await {
        panic!("{error:#}\n{}", world.node.log_tail(60));
    }
}

impl World {
    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let token = BASE64_STANDARD.encode(format!("admin:{}", self.password));
        let request = Request::builder().method(method).header(AUTHORIZATION, format!("Basic {token}"));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.api.ask(request, path, body).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.ask(Method::GET, path, Value::Null).await?;
        ensure!(answer.status == 200, "{path}: {}: {}", answer.status, answer.text());
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Expects a status.
    async fn expect(&self, status: u16, method: Method, path: &str, body: Value) -> Result<String> {
        let answer = self.ask(method.clone(), path, body).await?;
        ensure!(answer.status == status, "{method} {path}: {} and not {status}: {}", answer.status, answer.text());
        Ok(answer.text())
    }

    async fn ready(&self, name: &str) -> Result<()> {
        self.node.kubectl(&["wait", &format!("ksvc/{name}"), "--for=condition=Ready", "--timeout=120s"]).await.map(drop)
    }

    async fn shout(&self, extra: Value) -> Result<()> {
        self.node.push("shout").await?;
        let mut body = json!({"service": "shout", "image": self.node.localized("localhost:5000/shout:v1"), "envProcess": "shout",
            "envVars": {"mode": "cgi"}, "labels": {"com.openfaas.scale.zero": "true"}});
        for (key, value) in extra.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.expect(202, Method::POST, "/system/functions", body).await?;
        self.ready("shout").await
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: &'static str) -> Result<Answer> {
        let begun =
            headers.iter().fold(Request::builder().method(Method::POST), |it, (name, value)| it.header(*name, *value));
        self.api.ask(begun, path, Bytes::from_static(body.as_bytes())).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_deployed_told_scaled_updated_and_deleted() {
    with_world(async |world| {
        world.shout(json!({"limits": {"memory": "64Mi"}, "annotations": {"topic": "loud"}})).await?;
        let again = json!({"service": "shout", "image": "x"});
        world.expect(409, Method::POST, "/system/functions", again).await?;
        let told = world.get("/system/function/shout").await?;
        assert_eq!(
            (&told["name"], &told["namespace"], &told["envProcess"]),
            (&json!("shout"), &json!("default"), &json!("shout"))
        );
        assert_eq!((&told["limits"], &told["annotations"]["topic"]), (&json!({"memory": "64Mi"}), &json!("loud")));
        assert_eq!((&told["envVars"], &told["labels"]["faas_function"]), (&json!({"mode": "cgi"}), &json!("shout")));

        let answer = world.call("/function/shout", &[], "hello").await?;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "HELLO"));
        for name in ["x-call-id", "x-start-time", "x-served-by"] {
            assert!(answer.headers.contains_key(name), "{name}: {:?}", answer.headers);
        }
        let answer = world.call("/function/shout.default/a?b", &[("X-Call-Id", "mine")], "x").await?;
        assert_eq!((answer.text().as_str(), answer.headers["x-call-id"].to_str()?), ("X", "mine"));
        assert_eq!(world.call("/function/none", &[], "").await?.status, 404);

        // What nobody deployed through this API is listed as well.
        world.node.push("hello").await?;
        world
            .node
            .apply_text(
                r#"{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "plain"}, "spec":
            {"template": {"spec": {"containers": [{"image": "localhost:5000/hello:v1"}]}}}}"#,
            )
            .await?;
        world.ready("plain").await?;
        let listed = world.get("/system/functions").await?;
        let names: Vec<_> =
            listed.as_array().context("a list")?.iter().map(|it| it["name"].as_str().unwrap_or("")).collect();
        assert_eq!(names, ["plain", "shout"]);
        assert_eq!(listed[1]["invocationCount"], 2);
        assert_eq!(world.call("/function/plain", &[], "").await?.status, 200);

        let scale = json!({"serviceName": "shout", "replicas": 3});
        world.expect(202, Method::POST, "/system/scale-function/shout", scale).await?;
        eventually("three instances", SOON, async || {
            let told = world.get("/system/function/shout").await?;
            ensure!(told["availableReplicas"] == 3, "{told}");
            Ok(())
        })
        .await?;
        world.expect(404, Method::POST, "/system/scale-function/none", json!({"replicas": 1})).await?;

        let image = world.node.localized("localhost:5000/shout:v1");
        let update = json!({"service": "shout", "image": image, "envProcess": "shout", "network": "func"});
        let answer = world.ask(Method::PUT, "/system/functions", update).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["warning"], "299 - \"network is without effect\"");
        eventually("the update", SOON, async || {
            let text = world.call("/function/shout", &[], "hello").await?.text();
            ensure!(text.starts_with("Content-Type: "), "no longer CGI: {text}");
            Ok(())
        })
        .await?;
        world.expect(404, Method::PUT, "/system/functions", json!({"service": "none", "image": "x"})).await?;
        world.expect(200, Method::DELETE, "/system/functions", json!({"functionName": "shout"})).await?;
        eventually("its end", SOON, async || {
            let status = world.ask(Method::GET, "/system/function/shout", Value::Null).await?.status;
            ensure!(status == 404, "{status}");
            Ok(())
        })
        .await?;
        world.expect(404, Method::DELETE, "/system/functions", json!({"functionName": "shout"})).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_the_password_and_what_is_wrong_is_told() {
    with_world(async |world| {
        let system = ["functions", "function/a", "info", "logs?name=a", "secrets", "namespaces", "namespace/default", "alert"];
        for path in system.map(|it| format!("/system/{it}")).iter().map(String::as_str).chain(["/metrics"]) {
            let answer = world.api.ask(Request::builder().method(Method::GET), path, Bytes::new()).await?;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"Restricted\"");
        }
        for wrong in ["admin:x", "root:", ":"] {
            let begun = Request::builder().method(Method::GET).header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(wrong)));
            assert_eq!(world.api.ask(begun, "/system/info", Bytes::new()).await?.status, 401, "{wrong}");
        }
        assert_eq!(world.api.ask(Request::builder().method(Method::GET), "/healthz", Bytes::new()).await?.text(), "OK");
        // Other listeners know nothing of it.
        assert_eq!(world.node.get("127.0.0.1", "/system/info").await?.status, 404);
        let info = world.get("/system/info").await?;
        assert_eq!((&info["provider"]["provider"], &info["provider"]["orchestration"]), (&json!("eyot"), &json!("kubernetes")));

        let bad = [
            (json!({"image": "x"}), "service: is required"),
            (json!({"service": "A", "image": "x"}), "must be a valid DNS entry"),
            (json!({"service": "a", "image": "x", "secrets": ["none"]}), "unable to fetch secrets"),
            (json!({"service": "a", "image": "x", "namespace": "elsewhere"}), "elsewhere"),
            (json!({"service": "a", "image": "x", "envVars": {"PORT": "1"}}), "reserved"),
            (json!({"service": "a", "image": "x", "labels": {"com.openfaas.scale.min": "5", "com.openfaas.scale.max": "2"}}), "less than"),
            (json!({"service": "a", "image": "x", "annotations": {"autoscaling.knative.dev/colour": "red"}}), "colour"),
        ];
        for (body, word) in bad {
            let answer = world.ask(Method::POST, "/system/functions", body.clone()).await?;
            assert!(matches!(answer.status.as_u16(), 400 | 404) && answer.text().contains(word), "{body}: {} {}", answer.status, answer.text());
        }
        world.expect(401, Method::GET, "/system/functions?namespace=kube-system", Value::Null).await?;
        let long = json!({"service": "a", "image": "x".repeat(1 << 20)});
        world.expect(413, Method::POST, "/system/functions", long).await?;
        world.expect(405, Method::PATCH, "/system/functions", Value::Null).await?;
        world.expect(404, Method::GET, "/system/nothing", Value::Null).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_files_of_functions_and_never_read_back() {
    with_world(async |world| {
        let secret = |value: &str| json!({"name": "key", "value": value});
        world.expect(201, Method::POST, "/system/secrets", secret("first-value")).await?;
        world.expect(409, Method::POST, "/system/secrets", secret("x")).await?;
        world.expect(200, Method::PUT, "/system/secrets", secret("second-value")).await?;
        world.expect(404, Method::PUT, "/system/secrets", json!({"name": "none", "value": "x"})).await?;
        let listed = world.get("/system/secrets").await?;
        assert_eq!(listed, json!([{"name": "key", "namespace": "default"}]));
        // A secret that somebody else keeps is none of this API's.
        world.node.kubectl(&["create", "secret", "generic", "theirs", "--from-literal=a=b"]).await?;
        world.expect(404, Method::DELETE, "/system/secrets", json!({"name": "theirs"})).await?;

        world.node.push("wordcount").await?;
        let body = json!({"service": "count", "image": world.node.localized("localhost:5000/wordcount:v1"),
            "envProcess": "wordcount /var/openfaas/secrets/key", "secrets": ["key"]});
        world.expect(202, Method::POST, "/system/functions", body).await?;
        world.ready("count").await?;
        assert_eq!(world.call("/function/count", &[], "").await?.text(), "0 1 12 /var/openfaas/secrets/key\n");
        assert_eq!(world.get("/system/function/count").await?["secrets"], json!(["key"]));
        world.expect(202, Method::DELETE, "/system/secrets", json!({"name": "key"})).await?;
        assert_eq!(world.get("/system/secrets").await?, json!([]));
        let log = world.node.log_tail(100_000);
        assert!(!log.contains("second-value") && !log.contains(&world.password), "no secret is in the log");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_made_for_functions_and_others_stay_closed() {
    with_world(async |world| {
        assert_eq!(world.get("/system/namespaces").await?, json!(["default"]));
        let shop = json!({"name": "shop", "annotations": {"openfaas": "1"}, "labels": {"team": "x"}});
        world.expect(201, Method::POST, "/system/namespace/", shop).await?;
        world.expect(400, Method::POST, "/system/namespace/", json!({"name": "other"})).await?;
        assert_eq!(world.get("/system/namespaces").await?, json!(["default", "shop"]));
        assert_eq!(world.get("/system/namespace/shop").await?["labels"]["team"], "x");
        let change = json!({"name": "shop", "annotations": {"openfaas": "1"}, "labels": {"team": "y"}});
        world.expect(202, Method::PUT, "/system/namespace/shop", change).await?;
        assert_eq!(world.get("/system/namespace/shop").await?["labels"]["team"], "y");
        world.node.push("hello").await?;
        let image = world.node.localized("localhost:5000/hello:v1");
        let body = json!({"service": "hello", "image": image, "namespace": "shop"});
        world.expect(202, Method::POST, "/system/functions", body).await?;
        eventually("an answer", SOON, async || {
            let status = world.call("/function/hello.shop", &[], "").await?.status;
            ensure!(status == 200, "{status}");
            Ok(())
        })
        .await?;
        assert_eq!(world.get("/system/functions?namespace=shop").await?[0]["namespace"], "shop");
        assert_eq!(world.get("/system/functions").await?, json!([]));
        world.node.kubectl(&["create", "namespace", "closed"]).await?;
        world
            .expect(
                400,
                Method::POST,
                "/system/functions",
                json!({"service": "a", "image": "x", "namespace": "closed"}),
            )
            .await?;
        world.expect(404, Method::DELETE, "/system/namespace/closed", Value::Null).await?;
        world.expect(400, Method::DELETE, "/system/namespace/default", Value::Null).await?;
        world.expect(401, Method::DELETE, "/system/namespace/kube-system", Value::Null).await?;
        world.expect(202, Method::DELETE, "/system/namespace/shop", Value::Null).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_later_and_its_answer_is_sent_on() {
    with_world(async |world| {
        world.shout(Value::Null).await?;
        // Takes callbacks: its log is what it was sent.
        let taker = json!({"service": "taker", "image": world.node.localized("localhost:5000/shout:v1"), "envProcess": "shout",
            "envVars": {"combine_output": "true"}});
        world.expect(202, Method::POST, "/system/functions", taker).await?;
        world.ready("taker").await?;
        let callback = ("X-Callback-Url", "http://gateway.openfaas:8080/function/taker");
        let answer = world.call("/async-function/shout/a?b=c", &[callback, ("User-Agent", "tester")], "later").await?;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.headers["x-call-id"].to_str()?.to_owned();
        assert!(!id.is_empty() && answer.headers.contains_key("x-start-time"));
        eventually("both were called", SOON, async || {
            let answer = world.ask(Method::GET, "/metrics", Value::Null).await?.text();
            for name in ["shout", "taker"] {
                let told = world.get(&format!("/system/function/{name}")).await?;
                ensure!(told["invocationCount"] == 1, "{told}");
            }
            let line = "gateway_function_invocation_total{code=\"200\",function_name=\"shout.default\"} 1";
            ensure!(answer.contains(line) && answer.contains("eyot_async_calls_waiting 0"), "{answer}");
            Ok(())
        })
        .await?;
        let logs = world.ask(Method::GET, "/system/logs?name=shout&tail=10", Value::Null).await?;
        assert_eq!(logs.headers["content-type"], "application/x-ndjson");
        let lines: Vec<Value> = logs.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let line = lines.iter().find(|it| it["text"] == "POST /a?b=c from tester").with_context(|| format!("{lines:?}"))?;
        assert_eq!((&line["name"], &line["namespace"]), (&json!("shout"), &json!("default")));
        assert!(line["timestamp"].as_str().is_some_and(|it| it.contains('T')), "{line}");
        world.expect(404, Method::GET, "/system/logs?name=none", Value::Null).await?;
        world.expect(422, Method::GET, "/system/logs?name=shout&tail=x", Value::Null).await?;

        assert_eq!(world.call("/async-function/none", &[], "").await?.status, 404);
        assert_eq!(world.call("/async-function/shout", &[("X-Callback-Url", "/relative")], "").await?.status, 400);
        let long = Bytes::from(vec![b'x'; (4 << 20) + 1]);
        assert_eq!(world.api.ask(Request::builder().method(Method::POST), "/async-function/shout", long).await?.status, 413);
        let get = world.api.ask(Request::builder().method(Method::GET), "/async-function/shout", Bytes::new()).await?;
        assert_eq!(get.status, 405);
        let said = world.node.eyot(&["invoke", "shout", "--async", "-d", "x"]).await?;
        ensure!(said.code == 0 && said.stdout.trim().len() == 36, "{}{}", said.stdout, said.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_accepted_outlive_the_node() {
    with_world(async |world| {
        world.node.push("toolbox").await?;
        let slow = json!({"service": "slow", "image": world.node.localized("localhost:5000/toolbox:v1"),
            "envProcess": "toolbox sleep 1500 , made"});
        world.expect(202, Method::POST, "/system/functions", slow).await?;
        world.ready("slow").await?;
        for _ in 0..40 {
            assert_eq!(world.call("/async-function/slow", &[], "x").await?.status, 202);
        }
        let metrics = world.ask(Method::GET, "/metrics", Value::Null).await?.text();
        assert!(!metrics.contains("eyot_async_calls_waiting 0"), "they take seconds: {metrics}");
        world.node.kill().await?;
        world.node.restart().await?;
        world.api = Gateway::new(&world.node.ready().openfaas);
        eventually("all of them were made", SOON, async || {
            let metrics = world.ask(Method::GET, "/metrics", Value::Null).await?.text();
            ensure!(metrics.contains("eyot_async_calls_waiting 0"), "{metrics}");
            Ok(())
        })
        .await?;
        let log = world.ask(Method::GET, "/system/logs?name=slow", Value::Null).await?.text();
        let made = log.lines().filter(|it| it.contains("no such step: made")).count();
        assert!(made >= 40, "{made} of 40 were made:\n{log}");
        Ok(())
    })
    .await;
}

/// `faas-cli`, if there is one: `$EYOT_FAAS_CLI`, or on the path.
fn faas_cli() -> Option<PathBuf> {
    let named = std::env::var_os("EYOT_FAAS_CLI").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|it| it.join("faas-cli")).find(|it| it.is_file()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_client_of_openfaas_works() {
    let Some(cli) = faas_cli() else {
        println!("skipped: there is no faas-cli on the path, and $EYOT_FAAS_CLI names none");
        return;
    };
    with_world(async |world| {
        let gateway = world.node.ready().openfaas.clone();
        let home = world.node.data_dir().join("faas-home");
        std::fs::create_dir_all(&home)?;
        let run = async |args: &[&str], input: &str| -> Result<String> {
            let mut command = Command::new(&cli);
            command
                .args(args)
                .env("OPENFAAS_URL", &gateway)
                .env("HOME", &home)
                .env("OPENFAAS_CONFIG", home.join("config"));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().context("starting faas-cli")?;
            let mut stdin = child.stdin.take().context("its input")?;
            tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await?;
            drop(stdin);
            let output = tokio::time::timeout(SOON, child.wait_with_output())
                .await
                .with_context(|| format!("{args:?} hangs"))??;
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success(), "faas-cli {args:?}: {text}");
            Ok(text)
        };
        world.node.push("shout").await?;
        let image = world.node.localized("localhost:5000/shout:v1");
        run(&["login", "--password-stdin"], &world.password).await?;
        run(&["secret", "create", "key", "--from-literal", "value", "--trim"], "").await?;
        assert!(run(&["secret", "list"], "").await?.contains("key"));
        let deploy = [
            "deploy",
            "--image",
            &image,
            "--name",
            "shout",
            "--fprocess",
            "shout",
            "--env",
            "mode=cgi",
            "--secret",
            "key",
            "--label",
            "com.openfaas.scale.zero=true",
            "--annotation",
            "topic=loud",
        ];
        assert!(run(&deploy, "").await?.contains("Deployed."));
        run(&["ready", "shout"], "").await?;
        world.ready("shout").await?;
        assert_eq!(run(&["invoke", "shout"], "hello").await?.trim(), "HELLO");
        assert!(run(&["list"], "").await?.contains("shout"));
        let told = run(&["describe", "shout"], "").await?;
        assert!(told.contains("shout") && told.contains("Ready"), "{told}");
        assert!(run(&["logs", "shout", "--tail=false"], "").await.is_ok_and(|it| it.contains("shouted 5 bytes")));
        assert!(run(&["invoke", "shout", "--async"], "x").await?.contains("asynchronously"));
        assert!(run(&deploy, "").await?.contains("rolling-update"));
        // It also asks for its own newest release, and fails where there is no network.
        let version = run(&["version"], "").await.unwrap_or_else(|error| format!("{error:#}"));
        assert!(version.contains("eyot"), "{version}");
        assert!(run(&["namespace", "list"], "").await?.contains("default"));
        run(&["remove", "shout"], "").await?;
        run(&["secret", "remove", "key"], "").await.map(drop)
    })
    .await;
}
