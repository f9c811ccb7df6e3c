//! Policies of plain OPA on a real node: for admission, for requests at the gateway, from bundles, and over the REST API.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use eyot_testkit::{Gateway, Node, Options, eventually, with_node};
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SOON: Duration = Duration::from_secs(30);

/// An admission policy about ConfigMaps.
fn admission(source: Value) -> String {
    let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let mut spec = source;
    spec["admission"] = json!({"decision": "data.names.deny", "rules": [rule], "excludedNamespaces": ["kube-*"]});
    json!({"apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "names"}, "spec": spec})
        .to_string()
}

/// A module that refuses ConfigMaps of one name.
fn refusing(name: &str) -> String {
    format!(
        "package names\n\ndeny contains msg if {{\n  input.request.object.metadata.name == {name:?}\n  \
         msg := sprintf(\"the name %v is taken\", [input.request.name])\n}}\n"
    )
}

fn inline(module: &str) -> Value {
    json!({"rego": {"modules": {"names.rego": module}}})
}

async fn create(node: &Node, name: &str) -> Result<String> {
    let outcome = node.kubectl_outcome(&["create", "configmap", name]).await?;
    Ok(format!("{}{}", outcome.stdout, outcome.stderr))
}

async fn condition(node: &Node, kind: &str) -> Result<String> {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")]['status','reason','message']}}");
    node.kubectl(&["get", "policies.eyot.dev", "names", "-o", &path]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_judges_writes_from_its_own_write_on_and_a_broken_one_changes_nothing() {
    with_node(async |node| {
        node.apply_text(&admission(inline(&refusing("one")))).await?;
        let refused = create(node, "one").await?;
        assert!(refused.contains(r#"policy "names" denied the request: the name one is taken"#), "{refused}");
        assert!(create(node, "two").await?.contains("configmap/two created"));

        let broken =
            node.apply_outcome(&admission(inline("package names\n\ndeny contains msg if {\n  x ==\n}\n"))).await?;
        assert!(broken.code != 0 && broken.stderr.contains("spec.rego.modules[names.rego]"), "{}", broken.stderr);
        assert!(broken.stderr.contains("5:1: rego_parse_error"), "{}", broken.stderr);
        let recursive = "package names\n\ndeny contains a if { a := b }\nb := c if { c := count(deny) }\n";
        let recursive = node.apply_outcome(&admission(inline(recursive))).await?;
        assert!(recursive.stderr.contains("rego_recursion_error"), "{}", recursive.stderr);
        assert!(create(node, "one").await?.contains("is taken"), "the last good one stays");
        assert!(condition(node, "Ready").await?.starts_with("True Compiled"));

        // One that never ends is stopped, and stops the write; the server goes on.
        let loops = "package names\n\ndeny contains msg if {\n  some i in numbers.range(1, 100000)\n  \
                     some j in numbers.range(1, 100000)\n  i * j == 0\n  msg := \"never\"\n}\n";
        node.apply_text(&admission(inline(loops))).await?;
        let stopped = create(node, "three").await?;
        assert!(stopped.contains("could not judge the request") && stopped.contains("stopped"), "{stopped}");

        node.apply_text(&admission(inline(&refusing("four")))).await?;
        node.kill().await?;
        node.restart().await?;
        assert!(create(node, "four").await?.contains("is taken"), "after a restart");
        node.kubectl(&["delete", "policies.eyot.dev", "names"]).await?;
        assert!(create(node, "four").await?.contains("created"));
        Ok(())
    })
    .await;
}

/// A policy for requests to the hello Service.
fn guard(module: &str) -> String {
    let target = json!({"kind": "Service", "name": "hello"});
    let spec = json!({"rego": {"modules": {"authz.rego": module}}, "decisionLog": {},
        "authorization": {"targetRefs": [target]}});
    json!({"apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "guard"}, "spec": spec})
        .to_string()
}

/// A module that answers everything but `/open` with a word.
fn answering(word: &str) -> String {
    format!(
        "package envoy.authz\n\ndefault allow := {{\"allowed\": false, \"http_status\": 418, \"body\": {word:?}}}\n\n\
         allow := {{\"allowed\": true, \"response_headers_to_add\": {{\"x-judged\": input.attributes.request.http.method}}}} \
         if input.parsed_path[0] == \"open\"\n\nsystem_log := 1\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_gateway_are_judged_and_a_changed_policy_leaves_no_gap() {
    with_node(async |node| {
        node.sample("hello").await?;
        node.apply_text(&guard(&answering("one"))).await?;
        let denied = node.get("hello.localhost", "/closed?q=1").await?;
        assert_eq!((denied.status.as_u16(), denied.text().as_str()), (418, "one"));
        // Now, because the log keeps its newest files only.
        let log = node.data_dir().join("eyot/opa/decisions/decisions.log");
        let noted = eventually("decisions are noted", SOON, async || {
            let text = std::fs::read_to_string(&log)?;
            let first: Value = serde_json::from_str(text.lines().next().context("a line")?)?;
            Ok(first)
        })
        .await?;
        assert_eq!(noted["path"], "envoy/authz/allow");
        assert_eq!(noted["result"]["body"], "one");
        assert_eq!(noted["input"]["parsed_query"], json!({"q": ["1"]}));
        let open = node.get("hello.localhost", "/open").await?;
        assert_eq!((open.status.as_u16(), &open.headers["x-judged"]), (200, &"GET".parse()?));

        // While clients ask without a pause, the policy is changed again and again.
        let (stop, wrong, asked) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (stop, wrong, asked, gateway) =
                    (stop.clone(), wrong.clone(), asked.clone(), node.gateway().clone());
                tokio::spawn(async move {
                    while !stop.load(SeqCst) {
                        let answer = gateway.get("hello.localhost", "/closed").await;
                        let known =
                            answer.is_ok_and(|it| it.status == 418 && ["one", "two"].contains(&it.text().as_str()));
                        wrong.fetch_add(usize::from(!known), SeqCst);
                        asked.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        for word in ["two", "one", "two", "one", "two"] {
            node.apply_text(&guard(&answering(word))).await?;
            let now = node.get("hello.localhost", "/closed").await?.text();
            assert_eq!(now, word, "in force with the answer to its write");
        }
        stop.store(true, SeqCst);
        for client in clients {
            client.await?;
        }
        assert_eq!(wrong.load(SeqCst), 0, "of {} requests", asked.load(SeqCst));

        // A policy that fails denies, and says nothing of why to the client.
        node.apply_text(&guard("package envoy.authz\n\nallow := 1\n")).await?;
        let failed = node.get("hello.localhost", "/open").await?;
        assert_eq!((failed.status.as_u16(), failed.text().as_str()), (403, "the request could not be authorised\n"));
        Ok(())
    })
    .await;
}

/// Makes an archive of a directory.
fn archive(files: &[(&str, &str)], into: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content)?;
    }
    let status = Command::new("tar").arg("czf").arg(into).arg("-C").arg(dir.path()).arg(".").status()?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

/// Serves one file over HTTP with its length as the ETag, until dropped; counts how often it was unchanged.
struct Server {
    url: String,
    unchanged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(file: std::path::PathBuf) -> Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/bundle.tar.gz", listener.local_addr()?);
        let unchanged = Arc::new(AtomicUsize::new(0));
        let counted = unchanged.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                let body = std::fs::read(&file).unwrap_or_default();
                let etag = format!("\"{}\"", body.len());
                let answer = if head.contains(&format!("if-none-match: {etag}")) {
                    counted.fetch_add(1, SeqCst);
                    b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_vec()
                } else {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\netag: {etag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    [head.into_bytes(), body].concat()
                };
                let _ = stream.write_all(&answer).await;
            }
        });
        Ok(Server { url, unchanged, task })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_followed_and_outlives_garbage_its_server_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.tar.gz");
    archive(&[("names.rego", &refusing("one")), (".manifest", r#"{"revision": "r1"}"#)], &file).unwrap();
    with_node(async |node| {
        let server = Server::start(file.clone()).await?;
        node.apply_text(&admission(json!({"bundle": {"url": server.url, "pollSeconds": 1}}))).await?;
        eventually("the bundle is in force", SOON, async || {
            ensure!(create(node, "one").await?.contains("is taken"));
            Ok(())
        })
        .await?;
        eventually("the source has nothing new", SOON, async || {
            ensure!(server.unchanged.load(SeqCst) > 0);
            Ok(())
        })
        .await?;
        let revision = ["get", "policies.eyot.dev", "names", "-o", "jsonpath={.status.revision}"];
        assert_eq!(node.kubectl(&revision).await?, "r1");

        let whole = std::fs::read(&file)?;
        for garbage in [b"<html>busy</html>".to_vec(), whole[..whole.len() / 2].to_vec()] {
            std::fs::write(&file, &garbage)?;
            eventually("the status tells of garbage", SOON, async || {
                let told = condition(node, "Fetched").await?;
                ensure!(told.contains("not a complete .tar.gz"), "{told}");
                Ok(())
            })
            .await?;
            assert!(condition(node, "Ready").await?.starts_with("True Activated"));
            assert!(create(node, "one").await?.contains("is taken"), "the last good one stays");
        }
        let flawed = "package names\n\ndeny contains x if y\n";
        archive(&[("names.rego", flawed)], &file)?;
        eventually("the status tells of a bundle that does not compile", SOON, async || {
            let told = condition(node, "Fetched").await?;
            ensure!(told.contains("names.rego:3:"), "{told}");
            Ok(())
        })
        .await?;

        // Its server is gone, and the node starts anew.
        server.task.abort();
        node.kill().await?;
        node.restart().await?;
        assert!(create(node, "one").await?.contains("is taken"), "from the first request on");
        eventually("the status tells that nobody answers", SOON, async || {
            let told = condition(node, "Fetched").await?;
            ensure!(told.contains("onnect"), "{told}");
            Ok(())
        })
        .await
    })
    .await;
}

/// Signs a bundle of one module as OPA does: a token that lists its files with their hashes.
async fn signature(node: &Node, module: &str, secret: &str) -> Result<String> {
    let input = tempfile::NamedTempFile::new()?;
    let key = URL_SAFE_NO_PAD.encode(secret);
    std::fs::write(input.path(), json!({"module": module, "key": {"kty": "oct", "k": key}}).to_string())?;
    let query = r#"io.jwt.encode_sign({"alg": "HS256", "kid": "main"}, {"files": [
        {"name": "names.rego", "hash": crypto.sha256(input.module), "algorithm": "SHA-256"}]}, input.key)"#;
    let file = input.path().to_string_lossy();
    let token = node.eyot(&["policy", "eval", "-i", &file, "--format", "raw", query]).await?;
    ensure!(token.code == 0, "{}", token.stderr);
    Ok(json!({"signatures": [token.stdout.trim()]}).to_string())
}

/// Pushes an archive as the one layer of an image, as `oras push` does.
async fn push_layer(node: &Node, archive: &Path, name: &str, tag: &str) -> Result<()> {
    let registry = node.ready().registry.clone();
    let api = Gateway::new(&format!("http://{registry}"));
    let send = async |method: Method, path: String, body: Vec<u8>| -> Result<http::HeaderMap> {
        let answer = api.send(method, &registry, &path, Bytes::from(body)).await?;
        ensure!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
        Ok(answer.headers)
    };
    let blob = async |content: Vec<u8>, kind: &str| -> Result<Value> {
        let digest =
            Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().and_then(|mut it| {
                it.stdin.take().map_or(Ok(()), |mut input| input.write_all(&content))?;
                it.wait_with_output()
            })?;
        let digest = String::from_utf8_lossy(&digest.stdout).split(' ').next().unwrap_or_default().to_owned();
        let size = content.len();
        let started = send(Method::POST, format!("/v2/{name}/blobs/uploads/"), Vec::new()).await?;
        let location = started.get("location").context("a place to upload to")?.to_str()?.to_owned();
        let path = location.trim_start_matches(&format!("http://{registry}"));
        let glue = if path.contains('?') { '&' } else { '?' };
        send(Method::PUT, format!("{path}{glue}digest=sha256:{digest}"), content).await?;
        Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size}))
    };
    let config = blob(b"{}".to_vec(), "application/vnd.oci.image.config.v1+json").await?;
    let layer = blob(std::fs::read(archive)?, "application/vnd.oci.image.layer.v1.tar+gzip").await?;
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer]});
    send(Method::PUT, format!("/v2/{name}/manifests/{tag}"), manifest.to_string().into_bytes()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_bundle_from_the_registry_decides_and_what_another_key_signed_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.tar.gz");
    with_node(async |node| {
        let push = async |node: &Node, module: &str, secret: &str, change: &str| -> Result<()> {
            let signatures = signature(node, module, secret).await?;
            archive(&[("names.rego", &format!("{module}{change}")), (".signatures.json", &signatures)], &file)?;
            push_layer(node, &file, "policies/names", "v1").await
        };
        push(node, &refusing("one"), "ours", "").await?;
        let reference = format!("{}/policies/names:v1", node.ready().registry);
        let verification = json!({"keys": {"main": {"algorithm": "HS256", "key": "ours"}}});
        let bundle = json!({"oci": reference, "pollSeconds": 300, "verification": verification});
        node.apply_text(&admission(json!({"bundle": bundle}))).await?;
        let refuses = async |node: &Node, name: &str| {
            eventually("the bundle is in force", SOON, async || {
                let said = create(node, name).await?;
                ensure!(said.contains(&format!("the name {name} is taken")), "{said}");
                Ok(())
            })
            .await
        };
        refuses(node, "one").await?;

        // A push is looked at when it comes; what is wrongly signed changes nothing.
        for (secret, change, told) in
            [("theirs", "", "signature does not match"), ("ours", "# more", "is not what was signed")]
        {
            push(node, &refusing("two"), secret, change).await?;
            eventually("the status tells of the signature", SOON, async || {
                let said = condition(node, "Fetched").await?;
                ensure!(said.starts_with("False") && said.contains(told), "{said}");
                Ok(())
            })
            .await?;
            assert!(create(node, "one").await?.contains("is taken"), "the last good one stays");
            assert!(condition(node, "Ready").await?.starts_with("True Activated"));
        }
        node.kill().await?;
        node.restart().await?;
        assert!(create(node, "one").await?.contains("is taken"), "after a restart, with a bad one in the registry");

        push(node, &refusing("three"), "ours", "").await?;
        refuses(node, "three").await?;

        // The bundle's place is gone, and the node starts anew.
        let elsewhere = json!({"bundle": {"oci": reference, "pollSeconds": 1, "verification": verification}});
        node.apply_text(&admission(elsewhere)).await?;
        let registry = Gateway::new(&format!("http://{}", node.ready().registry));
        let gone = registry
            .send(Method::DELETE, &node.ready().registry, "/v2/policies/names/manifests/v1", Bytes::new())
            .await?;
        ensure!(gone.status.is_success(), "{}", gone.status);
        node.kill().await?;
        node.restart().await?;
        assert!(create(node, "three").await?.contains("is taken"), "from the first request on");
        eventually("the status tells that it is gone", SOON, async || {
            let said = condition(node, "Fetched").await?;
            ensure!(said.starts_with("False") && said.contains("no such bundle"), "{said}");
            Ok(())
        })
        .await?;
        assert!(create(node, "three").await?.contains("is taken"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opas_rest_api_answers_on_its_listener() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let options = Options { args: vec!["--opa-listen".into(), address.clone()], ..Options::default() };
    let node = Node::start_with(options).await.unwrap();
    let outcome = rest(&node, &address).await;
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", node.log_tail(30));
    }
}

async fn rest(node: &Node, address: &str) -> Result<()> {
    let api = Gateway::new(&format!("http://{address}"));
    let ask = async |method: Method, path: &str, body: &str| -> Result<(u16, Value)> {
        let answer = api.send(method, address, path, Bytes::from(body.to_owned())).await?;
        let value = if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? };
        Ok((answer.status.as_u16(), value))
    };
    assert_eq!(ask(Method::GET, "/health", "").await?, (200, json!({})));
    assert_eq!(ask(Method::PUT, "/v1/data/users", r#"{"ann": ["admin"]}"#).await?.0, 204);
    let module = "package app\n\nallow if \"admin\" in data.users[input.user]\n";
    assert_eq!(ask(Method::PUT, "/v1/policies/app", module).await?, (200, json!({})));
    let (_, answer) = ask(Method::POST, "/v1/data/app/allow", r#"{"input": {"user": "ann"}}"#).await?;
    assert_eq!(answer["result"], true);
    let (_, answer) = ask(Method::POST, "/v1/data/app/allow", r#"{"input": {"user": "bob"}}"#).await?;
    assert_eq!(answer.get("result"), None, "undefined");
    assert_eq!(ask(Method::POST, "/v0/data/app/allow", r#"{"user": "ann"}"#).await?, (200, json!(true)));
    let patch = r#"[{"op": "add", "path": "/bob", "value": ["admin"]}, {"op": "remove", "path": "/ann"}]"#;
    assert_eq!(ask(Method::PATCH, "/v1/data/users", patch).await?.0, 204);
    let (_, answer) = ask(Method::GET, "/v1/data/users", "").await?;
    assert_eq!(answer["result"], json!({"bob": ["admin"]}));
    let (_, answer) = ask(Method::POST, "/v1/query", r#"{"query": "data.users[name][_] = role"}"#).await?;
    assert_eq!(answer["result"], json!([{"name": "bob", "role": "admin"}]));
    let (status, flawed) = ask(Method::PUT, "/v1/policies/bad", "package x\n\nallow if y\n").await?;
    assert_eq!(
        (status, &flawed["code"], &flawed["errors"][0]["code"]),
        (400, &json!("invalid_parameter"), &json!("rego_unsafe_var_error"))
    );
    assert_eq!(flawed["errors"][0]["location"]["row"], 3);
    assert_eq!(ask(Method::DELETE, "/v1/data/nothing", "").await?.1["code"], "resource_not_found");
    assert_eq!(
        ask(Method::POST, "/v1/compile", "{}").await?.1["message"],
        "partial evaluation (/v1/compile) is not supported"
    );
    assert_eq!(ask(Method::POST, "/", "{}").await?.1["code"], "undefined_document");
    assert_eq!(ask(Method::GET, "/v1/data?explain=full", "").await?.0, 400);
    assert_eq!(ask(Method::DELETE, "/v1/policies/app", "").await?.0, 200);

    // The node's own policies can be asked as well.
    node.apply_text(&admission(inline(&refusing("one")))).await?;
    let input = r#"{"input": {"request": {"name": "one", "object": {"metadata": {"name": "one"}}}}}"#;
    let (_, answer) = ask(Method::POST, "/v1/data/names/deny", input).await?;
    assert_eq!(answer["result"], json!(["the name one is taken"]));
    Ok(())
}
