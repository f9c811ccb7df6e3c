//! Deploys the samples and calls them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::node::Node;
use crate::{
    http::{self, Answer},
    paths, run,
};

/// Guest file, and the manifest that runs it.
const SAMPLES: &[(&[&str], &str)] = &[
    (&["hello"], "hello"),
    (&["hello-c"], "hello-c"),
    (&["images"], "images"),
    (&["stock", "front"], "shop"),
    (&["echo-socket"], "echo-socket"),
    (&["wordcount"], "wordcount"),
    (&["boolector"], "yowasp/boolector.yaml"),
];
const DEPLOYMENTS: &[&str] = &["hello", "hello-c", "images", "stock", "front", "echo-socket"];
/// How long a route may trail its backends.
const ROUTE_MAX: Duration = Duration::from_secs(10);

/// Pushes, applies, waits and calls.
pub(super) fn show(node: &Node, kubectl: &Path, guests: &Path) -> Result<()> {
    let cluster = Cluster { node, kubectl };
    for (images, manifest) in SAMPLES {
        for image in *images {
            cluster.push(guests, image)?;
        }
        let path = cluster.localized(manifest)?;
        cluster.kubectl(&format!("kubectl apply -f examples/{manifest}"), &["apply", "-f", &path.to_string_lossy()])?;
    }
    for deployment in DEPLOYMENTS {
        let name = format!("deployment/{deployment}");
        cluster.kubectl(&format!("{deployment} is rolled out"), &["rollout", "status", &name, "--timeout=60s"])?;
    }
    cluster.call("hello.localhost", "/", None, |answer| text(answer).starts_with("hello from hello-"))?;
    cluster.call("hello-c.localhost", "/", None, |answer| text(answer).ends_with("in C\n"))?;
    cluster.call("shop.localhost", "/order?item=paddle&count=2", None, |answer| text(answer).contains("179.00"))?;
    let picture = fs::read(paths::root().join("examples/images/eyot.png"))?;
    let is_jpeg = |answer: &Answer| answer.body.starts_with(&[0xff, 0xd8, 0xff]);
    cluster.call("images.localhost", "/resize?width=64", Some(&picture), is_jpeg)?;
    cluster.call("echo.localhost", "/", None, |answer| text(answer) == "echo\n")?;
    cluster.job("wordcount", "4 28 145 ")?;
    cluster.job("factoring", "bv4001")?;
    cluster.deploy(guests)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

struct Cluster<'a> {
    node: &'a Node,
    kubectl: &'a Path,
}

impl Cluster<'_> {
    fn push(&self, guests: &Path, name: &str) -> Result<()> {
        let reference = format!("{}/{name}:v1", self.node.registry_host());
        let mut push = Command::new(&self.node.eyot);
        push.arg("push").arg(guests.join(format!("{name}.wasm"))).arg(&reference);
        run::timed(&format!("eyot push {name}.wasm"), || run::output(&mut push).map(drop))
    }

    /// The manifests of `examples/PATH`: as they are, or copies that name the registry where it really listens.
    fn localized(&self, path: &str) -> Result<PathBuf> {
        let from = paths::root().join("examples").join(path);
        if self.node.registry_host().ends_with(":5000") {
            return Ok(from);
        }
        let to = self.node.log.with_file_name("manifests").join(path);
        let files = match from.is_dir() {
            true => fs::read_dir(&from)?.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?,
            false => vec![from.clone()],
        };
        for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "yaml")) {
            let copy = if from.is_dir() { to.join(file.file_name().context("a file name")?) } else { to.clone() };
            fs::create_dir_all(copy.parent().context("a folder")?)?;
            let text = fs::read_to_string(file)?.replace("localhost:5000/", &format!("{}/", self.node.registry_host()));
            fs::write(&copy, text)?;
        }
        Ok(to)
    }

    fn kubectl(&self, label: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.kubectl);
        command.env("KUBECONFIG", &self.node.kubeconfig).args(args);
        run::timed(label, || run::output(&mut command))
    }

    /// Calls a host through the gateway until it answers 200, then judges the answer.
    fn call(&self, host: &str, path: &str, body: Option<&[u8]>, is_right: impl Fn(&Answer) -> bool) -> Result<()> {
        let until = Instant::now() + ROUTE_MAX;
        loop {
            let began = Instant::now();
            let answer = http::call(self.node.http_host(), host, path, body)?;
            let took = began.elapsed();
            if answer.status == 200 {
                let said = text(&answer);
                ensure!(is_right(&answer), "http://{host}{path} answered something else: {said}");
                let note = if said.contains('\u{fffd}') { format!("{} bytes", answer.body.len()) } else { said };
                run::done(&format!("http://{host}{path}"), took, note.trim());
                return Ok(());
            }
            if Instant::now() > until {
                bail!("http://{host}{path} answers {}: {}", answer.status, text(&answer).trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn job(&self, name: &str, wanted: &str) -> Result<()> {
        let job = format!("job/{name}");
        self.kubectl(&format!("{job} is complete"), &["wait", "--for=condition=complete", &job, "--timeout=120s"])?;
        let log = self.kubectl(&format!("kubectl logs {job}"), &["logs", &job])?;
        ensure!(log.contains(wanted), "{job} printed something else: {log}");
        log.lines().for_each(|line| println!("    {line}"));
        Ok(())
    }

    fn deploy(&self, guests: &Path) -> Result<()> {
        let mut deploy = Command::new(&self.node.eyot);
        deploy.arg("deploy").arg(guests.join("hello.wasm")).args(["--name", "deployed"]);
        deploy.env("KUBECONFIG", &self.node.kubeconfig);
        let said = run::timed("eyot deploy hello.wasm", || run::output(&mut deploy).context("eyot deploy"))?;
        said.lines().for_each(|line| println!("    {line}"));
        Ok(())
    }
}
