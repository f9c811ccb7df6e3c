//! `eyot advise` and `eyot verify` as their users run them: files in, text and exit codes out.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, Options, binary, eventually, example, with_node};
use serde_json::Value;

/// Runs the binary in English, unless told otherwise.
fn eyot(args: &[&str]) -> Result<Output> {
    run(args, "C", None)
}

fn run(args: &[&str], locale: &str, stdin: Option<&str>) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(args).env("LC_ALL", locale);
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting eyot")?;
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        std::io::Write::write_all(&mut pipe, text.as_bytes())?;
    }
    child.wait_with_output().context("running eyot")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a successful run prints.
fn told(args: &[&str]) -> Result<String> {
    let output = eyot(args)?;
    ensure!(output.status.code() == Some(0), "{args:?}: {:?}: {}", output.status.code(), stderr(&output));
    Ok(stdout(&output))
}

fn scenario(name: &str) -> String {
    example("scenarios").join(name).display().to_string()
}

const MEC: &str = "case1-5g-mec.yaml";

#[test]
fn an_answer_comes_in_four_formats_and_two_languages() -> Result<()> {
    let mec = scenario(MEC);
    let table = told(&["advise", &mec])?;
    for word in ["Stack", "Ranking", "Requirements", "Ruled out", "How far each weight can move", "Weakest assumption"]
    {
        ensure!(table.contains(word), "{word} is missing:\n{table}");
    }
    let zh = stdout(&run(&["advise", &mec], "zh_CN.UTF-8", None)?);
    for word in ["技术栈", "排名", "规格匹配", "被排除", "各权重的可变范围", "最弱的假设"] {
        ensure!(zh.contains(word), "{word} is missing:\n{zh}");
    }
    ensure!(told(&["advise", &mec, "--lang", "zh"])? == zh, "the flag says what the locale says");
    let json: Value = serde_json::from_str(&told(&["advise", &mec, "--format", "json"])?)?;
    ensure!(json["ranking"][0]["stack"]["runtime"] == "wasmedge-crun", "{}", json["ranking"][0]);
    ensure!(told(&["advise", &mec, "--format", "markdown"])?.starts_with("# "), "no title");
    ensure!(told(&["advise", &mec, "--format", "mermaid"])?.starts_with("graph "), "no graph");
    Ok(())
}

#[test]
fn tables_fit_a_hundred_columns() -> Result<()> {
    let mec = scenario(MEC);
    let wide =
        |letter: char| matches!(letter as u32, 0x2E80..=0xA4CF | 0xF900..=0xFAFF | 0xFE30..=0xFE4F | 0xFF00..=0xFF60);
    for args in [&["advise", &mec][..], &["advise", &mec, "--lang", "zh"], &["advise", &mec, "--explain", "runtime"]] {
        for line in told(args)?.lines() {
            let width: usize = line.chars().map(|it| if wide(it) { 2 } else { 1 }).sum();
            ensure!(width <= 100, "{width} columns: {line}");
        }
    }
    Ok(())
}

#[test]
fn layers_are_explained_stacks_compared_and_what_ifs_answered() -> Result<()> {
    let mec = scenario(MEC);
    let text = told(&["advise", &mec, "--explain", "runtime"])?;
    ensure!(text.contains("Rules that fired") && text.contains("Specifications"), "{text}");
    ensure!(told(&["advise", &mec, "--explain", "运行时"])? == text, "a layer has a name in either language");
    let text = told(&["advise", &mec, "--compare", "wasmedge-crun", "docker-runc"])?;
    ensure!(text.contains("Dimensions") && text.contains("A - B"), "{text}");
    let text = told(&["advise", &mec, "--what-if", "policy=simple", "--what-if", "gpu=none"])?;
    ensure!(text.contains("What if") && text.contains("policy=simple (was complex)"), "{text}");
    Ok(())
}

#[test]
fn the_same_scenario_gives_the_same_bytes() -> Result<()> {
    let mec = scenario(MEC);
    for format in ["table", "json", "markdown", "mermaid"] {
        let args = ["advise", &mec, "--format", format];
        ensure!(told(&args)? == told(&args)?, "{format} differs");
    }
    Ok(())
}

/// What is wrong with a scenario, as the command tells it.
fn refused(text: &str, locale: &str, code: i32, words: &[&str]) -> Result<()> {
    let output = run(&["advise", "-"], locale, Some(text))?;
    let said = stderr(&output) + &stdout(&output);
    ensure!(output.status.code() == Some(code), "{text:?}: exit {:?}: {said}", output.status.code());
    for word in words {
        ensure!(said.contains(word), "{text:?}: {word:?} is not said: {said}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_a_scenario_is_told_with_line_and_column() -> Result<()> {
    refused("kind: edge\nlatency: 10\n", "C", 1, &["-:2:10", "10ms"])?;
    refused("kind: edge\nlatency: 10\n", "zh_CN.UTF-8", 1, &["-:2:10", "10ms"])?;
    refused("kind: edge\nltency: 10ms\n", "C", 1, &["-:2:1", "ltency", "latency"])?;
    refused("kind: edge\nltency: 10ms\n", "zh_CN.UTF-8", 1, &["-:2:1", "未知的键"])?;
    refused("kind: space\n", "C", 1, &["-:1:7", "edge"])?;
    refused("kind: [\n", "C", 1, &["not YAML"])?;
    refused("- 1\n", "C", 1, &["-:1:1"])?;
    Ok(())
}

#[test]
fn no_feasible_stack_is_exit_three_with_the_nearest_relaxation() -> Result<()> {
    let text = "kind: edge\nnodes: 1\nhard:\n  require: [k3s]\n  forbid: [k3s]\n";
    let output = run(&["advise", "-"], "C", Some(text))?;
    ensure!(matches!(output.status.code(), Some(1 | 3)), "{:?} {}", output.status.code(), stderr(&output));
    refused(
        "kind: edge\nnodes: 5000\nhard:\n  require: [k3s]\n  match: [nodes]\n",
        "C",
        3,
        &["Nearest changes", "nodes"],
    )?;
    refused(
        "kind: edge\nnodes: 5000\nhard:\n  require: [k3s]\n  match: [nodes]\n",
        "zh_CN.UTF-8",
        3,
        &["最接近的可行放宽"],
    )?;
    Ok(())
}

#[test]
fn flags_that_make_no_sense_are_refused() -> Result<()> {
    let mec = scenario(MEC);
    let cases: [(&[&str], i32, &str); 9] = [
        (&["advise", "/nowhere.yaml"], 1, "/nowhere.yaml"),
        (&["advise"], 1, "give a scenario file"),
        (&["advise", &mec, "--explain", "engine"], 1, "orchestration, runtime"),
        (&["advise", &mec, "--what-if", "nodes"], 1, "KEY=VALUE"),
        (&["advise", &mec, "--what-if", "nodes=many"], 1, "nodes"),
        (&["advise", &mec, "--compare", "docker-runc"], 2, "2 values"),
        (&["advise", &mec, "--compare", "docker-runc", "nomad"], 1, "nomad"),
        (&["advise", "--catalog", "/nowhere", &mec], 1, "/nowhere"),
        (&["verify", "/nowhere"], 1, "no such folder"),
    ];
    for (args, code, word) in cases {
        let output = eyot(args)?;
        let said = stderr(&output);
        ensure!(
            output.status.code() == Some(code) && said.contains(word),
            "{args:?}: {:?} {said}",
            output.status.code()
        );
    }
    Ok(())
}

#[test]
fn questions_are_asked_on_a_terminal_and_written_down() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("mine.yaml");
    // `script` gives the command a terminal.
    let command = format!("{} advise --lang zh --output {}", binary()?.display(), file.display());
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting script (bsdutils)")?;
    let mut pipe = child.stdin.take().context("a pipe")?;
    std::io::Write::write_all(&mut pipe, b"my-edge\nspace\nedge\n\n1\n!\n")?;
    let output = child.wait_with_output()?;
    let said = stdout(&output);
    ensure!(output.status.code() == Some(0), "{:?} {said}", output.status.code());
    ensure!(said.contains("场景类型 [kind]") && said.contains("技术栈"), "{said}");
    drop(pipe);
    let written = std::fs::read_to_string(&file)?;
    ensure!(written.contains("kind: edge") && written.contains("nodes: 1"), "{written}");
    told(&["advise", &file.display().to_string()])?;
    Ok(())
}

#[test]
fn the_catalogue_can_be_written_changed_and_read_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().display().to_string();
    ensure!(told(&["advise", "catalog", &path])?.contains("wrote"), "nothing was written");
    ensure!(told(&["advise", "catalog", &path])?.contains("kept"), "what is there stays");
    let mec = scenario(MEC);
    ensure!(
        told(&["advise", &mec, "--catalog", &path])? == told(&["advise", &mec])?,
        "the same catalogue answers the same"
    );
    let file = dir.path().join("runtime.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{text}\nsurprise: 1\n"))?;
    let output = eyot(&["advise", &mec, "--catalog", &path])?;
    let said = stderr(&output);
    ensure!(output.status.code() == Some(1) && said.contains("runtime.yaml:") && said.contains("surprise"), "{said}");
    Ok(())
}

#[test]
fn what_migrations_know_is_part_of_the_catalogue() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().display().to_string();
    told(&["advise", "catalog", &path])?;
    let migrate = ["advise", "migrate", "--from", "k3s", "--to", "kubernetes", "--catalog", &path];
    let file = dir.path().join("migration/moves.yaml");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("Raise Kubernetes beside K3s"), "{text}");
    std::fs::write(&file, text.replace("Raise Kubernetes beside K3s", "Ask the neighbours first"))?;
    ensure!(told(&migrate)?.contains("Ask the neighbours first"), "the folder's own steps count");
    std::fs::write(&file, text.replace("    from: [docker-host]", "    from: [docker-hots]"))?;
    let output = eyot(&migrate)?;
    let said = stderr(&output);
    let place = "migration/moves.yaml:";
    ensure!(output.status.code() == Some(1) && said.contains(place) && said.contains("docker-host"), "{said}");
    std::fs::remove_file(&file)?;
    let output = eyot(&migrate)?;
    ensure!(
        output.status.code() == Some(0) && stderr(&output).contains("the built-in one counts"),
        "{}",
        stderr(&output)
    );
    Ok(())
}

#[test]
fn the_audit_names_the_two_known_traps() -> Result<()> {
    let output = eyot(&["advise", "audit", "--format", "json"])?;
    let said = stdout(&output);
    let findings: Value = serde_json::from_str(&said)?;
    ensure!(findings.as_array().is_some_and(|it| !it.is_empty()), "{said}");
    ensure!(said.contains("24"), "the totals of the edge matrix are not told: {said}");
    let zh = stdout(&run(&["advise", "audit", "--lang", "zh"], "C", None)?);
    ensure!(zh.contains("一致性报告"), "{zh}");
    Ok(())
}

#[test]
fn a_migration_names_steps_ways_back_and_findings() -> Result<()> {
    let inventory = example("migration/inventory.yaml").display().to_string();
    let to = ["--from", "kubernetes+docker+etcd", "--to", "k3s+wasmedge+sqlite"];
    let args = |more: &[&'static str]| -> Vec<String> {
        let args = ["advise", "migrate"].iter().chain(&to).copied().map(str::to_owned);
        args.chain([inventory.clone()]).chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    let run = |args: Vec<String>| told(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let text = run(args(&[]))?;
    ensure!(text.contains("Stage 2") && text.contains("the way back") && text.contains("1 of 10 objects"), "{text}");
    let zh = run(args(&["--lang", "zh"]))?;
    ensure!(zh.contains("编译到 Wasm") && zh.contains("回退") && zh.contains("阻断"), "{zh}");
    let plan: Value = serde_json::from_str(&run(args(&["--format", "json"]))?)?;
    let undone = |it: &Value| it["undo"]["zh"].as_str().is_some_and(|it| !it.is_empty());
    let steps =
        plan["stages"].as_array().context("stages")?.iter().flat_map(|it| it["steps"].as_array().into_iter().flatten());
    ensure!(steps.clone().count() == 12 && steps.clone().all(undone), "{plan}");
    let output = eyot(&["advise", "migrate", "--from", "nomad", "--to", "k3s"])?;
    ensure!(output.status.code() == Some(1) && stderr(&output).contains("nomad"), "{}", stderr(&output));
    let output = eyot(&["advise", "migrate", "--from", "k3s", "--to", "eyot", "/nowhere"])?;
    ensure!(output.status.code() == Some(1) && stderr(&output).contains("/nowhere"), "{}", stderr(&output));
    Ok(())
}

fn rendered(name: &str, dir: &Path) -> Result<String> {
    let folder = dir.join("rendered").display().to_string();
    told(&["advise", &scenario(name), "--render", &folder])?;
    Ok(folder)
}

#[test]
fn what_is_there_is_replaced_only_by_force() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = rendered(MEC, dir.path())?;
    let output = eyot(&["advise", &scenario(MEC), "--render", &folder])?;
    ensure!(output.status.code() == Some(1) && stderr(&output).contains("--force"), "{}", stderr(&output));
    told(&["advise", &scenario(MEC), "--render", &folder, "--force"]).map(drop)
}

/// The rendered folder as it is, but for the registry, which listens elsewhere in a test.
fn localized(folder: &str, registry: &str) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|it| it == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(&path, text.replace("localhost:5000", registry))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn eyot_up_runs_the_rendered_folder_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = rendered(MEC, dir.path())?;
    // A first start, to have a registry whose address the images can name.
    let mut node = Node::start_with(Options::default()).await?;
    localized(&folder, &node.ready().registry)?;
    node.stop().await?;
    let mut options = Options { data_dir: Some(node.data_dir().to_owned()), ..Options::default() };
    options.args.extend(["--registry-listen".to_owned(), node.ready().registry.clone()]);
    options.args.extend(["--manifests".to_owned(), folder.clone()]);
    let again = Node::start_with(options).await?;
    let wasm = Path::new(&folder).join("app.wasm");
    let deployments = eventually_named(&again).await?;
    again.push_file(&wasm, &format!("{deployments}:v1")).await?;
    again
        .kubectl(&["-n", &deployments, "rollout", "status", &format!("deployment/{deployments}"), "--timeout=120s"])
        .await?;
    let answer = again.get(&format!("{deployments}.localhost"), "/").await?;
    ensure!(answer.status == 200, "{}", answer.status);
    let log = again.log();
    ensure!(!log.contains("manifest not applied"), "{}", again.log_tail(40));
    Ok(())
}

/// The namespace that the folder made, which is called as its Deployment is.
async fn eventually_named(node: &Node) -> Result<String> {
    eventually("the folder to be applied", std::time::Duration::from_secs(60), async || {
        let found = node
            .kubectl(&[
                "get",
                "cm",
                "-A",
                "-o",
                "jsonpath={.items[?(@.metadata.name=='eyot-advice')].metadata.namespace}",
            ])
            .await?;
        ensure!(!found.is_empty(), "no advice yet");
        node.kubectl(&["-n", &found, "get", "deployment", &found]).await?;
        Ok(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_the_server_only_stores_are_those_that_are_marked() {
    with_node(async |node| {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("scenario.yaml");
        std::fs::write(&file, "name: all\nkind: serverless\nnodes: 1\nautoscaling: qps\npolicy: complex\nnetworkPolicy: basic\ndensity: 100\n")?;
        let folder = dir.path().join("rendered").display().to_string();
        told(&["advise", &file.display().to_string(), "--render", &folder])?;
        let mut marked = Vec::new();
        let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
        files.sort_by_key(|it| it.path());
        for file in files.iter().map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "yaml")) {
            let text = std::fs::read_to_string(&file)?;
            let outcome = node.apply_outcome(&text).await?;
            ensure!(outcome.code == 0, "{}: {}", file.display(), outcome.stderr);
            let warned = ["nothing acts on", "only a part of"].iter().any(|it| outcome.stderr.contains(it));
            ensure!(warned == text.contains("advise.eyot.io/acts: "), "{}: {}", file.display(), outcome.stderr);
            marked.extend(file.file_name().filter(|_| warned).map(|it| it.to_string_lossy().into_owned()));
        }
        ensure!(marked == ["50-network.yaml"], "{marked:?}");
        Ok(())
    })
    .await;
}

/// The manifests right in a folder, in order.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        files.extend(Some(path).filter(|it| it.extension().is_some_and(|it| it == "yaml")));
    }
    files.sort();
    Ok(files)
}

/// What is rendered for Eyot, and what for a cluster: the server holds both to its schemas, and the kinds of policy engines
/// to their definitions.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_takes_every_object_that_is_rendered_for_a_shipped_scenario() {
    with_node(async |node| {
        let dir = tempfile::tempdir()?;
        let mut taken = 0;
        for file in manifests(&example("scenarios"))? {
            let name = file.file_stem().context("a name")?.to_string_lossy().into_owned();
            let folder = dir.path().join(&name);
            told(&["advise", &file.display().to_string(), "--render", &folder.display().to_string()])?;
            for part in [folder.clone(), folder.join("cluster")].into_iter().filter(|it| it.is_dir()) {
                let mut dry = vec!["apply".to_owned(), "--dry-run=server".to_owned(), "--validate=strict".to_owned()];
                for path in manifests(&part)? {
                    let path = path.display().to_string();
                    // What others need to be judged is there for real: the namespace, and the kind that a template makes.
                    if path.ends_with("00-namespace.yaml") || path.ends_with("30-policy.yaml") {
                        node.kubectl(&["apply", "--validate=strict", "-f", &path]).await?;
                    }
                    dry.extend(["-f".to_owned(), path]);
                }
                let args: Vec<&str> = dry.iter().map(String::as_str).collect();
                let outcome = node.kubectl_outcome(&args).await?;
                ensure!(outcome.code == 0, "{name}: {}", outcome.stderr);
                taken += outcome.stdout.lines().filter(|it| it.ends_with("(server dry run)")).count();
            }
        }
        ensure!(taken > 150, "{taken} objects");
        Ok(())
    })
    .await;
}

/// Every engine takes the rules that were rendered for it, and refuses what breaks them.
#[tokio::test(flavor = "multi_thread")]
async fn each_engine_enforces_what_is_rendered_for_it() {
    with_node(async |node| {
        for (engine, policy) in [("kyverno", "simple"), ("gatekeeper", "complex"), ("opa-wasm", "complex")] {
            let dir = tempfile::tempdir()?;
            let file = dir.path().join("scenario.yaml");
            let text = format!("name: {engine}\nkind: edge\nnodes: 1\npolicy: {policy}\nhard: {{require: [{engine}]}}\n");
            std::fs::write(&file, text)?;
            let folder = dir.path().join("rendered");
            told(&["advise", &file.display().to_string(), "--render", &folder.display().to_string()])?;
            for name in ["00-namespace.yaml", "30-policy.yaml", "31-constraint.yaml"] {
                let path = folder.join(name);
                if path.exists() {
                    node.apply_text(&std::fs::read_to_string(path)?).await?;
                }
            }
            let pod = |image: &str| {
                format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: {engine}, labels: {{app.kubernetes.io/name: a}}}}\n\
                     spec: {{containers: [{{name: a, image: '{image}', resources: {{limits: {{memory: 16Mi}}}}}}]}}\n"
                )
            };
            let outcome = node.apply_outcome(&pod("elsewhere.example/a:v1")).await?;
            let said = &outcome.stderr;
            ensure!(outcome.code != 0 && said.contains("images must come from"), "{engine}: {said}{}", outcome.stdout);
            node.apply_text(&pod("localhost:5000/a:v1")).await?;
        }
        Ok(())
    })
    .await;
}

#[test]
fn verify_tells_promised_measured_and_verdict_and_writes_figures_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = rendered(MEC, dir.path())?;
    let catalog = dir.path().join("catalog").display().to_string();
    let args = [
        "verify",
        &folder,
        "--samples",
        "5",
        "--density",
        "20",
        "--format",
        "json",
        "--write-back",
        &catalog,
        "--date",
        "2026-11-22",
    ];
    let output = eyot(&args)?;
    let said = stdout(&output);
    let told: Value = serde_json::from_str(&said).with_context(|| format!("{said}\n{}", stderr(&output)))?;
    let promises = told["promises"].as_array().context("promises")?;
    let of = |what: &str| promises.iter().find(|it| it["what"] == what);
    let cold = of("coldStart").context("a cold start is promised")?;
    ensure!(cold["value"].as_i64() > Some(0), "{cold}");
    let density = of("density").context("a density is promised")?;
    ensure!(density["verdict"] == "partly", "a sample is no proof of all: {density}");
    for promise in promises {
        let known = ["kept", "partly", "broken", "not_measured"].iter().any(|it| promise["verdict"] == *it);
        let explained =
            promise["verdict"] != "not_measured" || promise["reason"]["en"].as_str().is_some_and(|it| !it.is_empty());
        ensure!(known && explained, "{promise}");
    }
    let policy = of("policyLatency").context("the catalogue states how fast policies are")?;
    ensure!(policy["how"]["en"].as_str().is_some_and(|it| it.contains("is refused")), "{policy}");
    // A debug build keeps few promises; the code says what the verdicts say.
    let any = |verdict: &str| promises.iter().any(|it| it["verdict"] == verdict);
    let code = if any("broken") {
        3
    } else if any("not_measured") {
        4
    } else {
        0
    };
    ensure!(output.status.code() == Some(code), "{:?}: {said}", output.status.code());
    let written = std::fs::read_to_string(dir.path().join("catalog/verified.yaml"))?;
    ensure!(written.contains("metric: startup") && written.contains("2026-11-22"), "{written}");
    ensure!(written.contains(r#"metric: density, value: ">=20""#), "a sample is no upper bound: {written}");
    // A debug build may be too slow for the scenario it came from: another one asks less.
    let modest = "kind: edge\nhard: {require: [wasmedge-crun]}\n";
    let output = run(&["advise", "-", "--explain", "runtime", "--catalog", &catalog], "C", Some(modest))?;
    let explained = stdout(&output);
    ensure!(explained.contains("2026-11-22"), "{explained}{}", stderr(&output));
    Ok(())
}
