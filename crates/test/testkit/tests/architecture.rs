//! The crate map, held to what is written down here and in ARCHITECTURE.md.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Each crate of ours, and which others of ours it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("eyot-pattern", &[]),
    ("eyot-model", &["eyot-pattern"]),
    ("eyot-plan", &["eyot-model"]),
    ("eyot-route", &[]),
    ("eyot-instance", &[]),
    ("eyot-compose", &[]),
    ("eyot-glossary", &[]),
    ("eyot-advise", &["eyot-model"]),
    ("eyot-rules", &["eyot-model", "eyot-pattern"]),
    ("eyot-policy", &["eyot-model"]),
    ("eyot-kyverno", &["eyot-model", "eyot-pattern", "eyot-policy", "eyot-rules", "eyot-vap"]),
    ("eyot-rego", &["eyot-pattern"]),
    ("eyot-gatekeeper", &["eyot-model", "eyot-policy", "eyot-rego", "eyot-rules"]),
    ("eyot-serving", &["eyot-model", "eyot-policy"]),
    ("eyot-vap", &["eyot-model", "eyot-policy", "eyot-rules"]),
    ("eyot-store", &[]),
    ("eyot-bucket", &[]),
    ("eyot-dispatch", &[]),
    ("eyot-meter", &["eyot-dispatch"]),
    ("eyot-apiserver", &["eyot-glossary", "eyot-meter", "eyot-model", "eyot-policy", "eyot-rules", "eyot-store"]),
    ("eyot-controllers", &["eyot-dispatch", "eyot-meter", "eyot-plan", "eyot-model", "eyot-serving"]),
    ("eyot-audit", &["eyot-gatekeeper", "eyot-kyverno", "eyot-model", "eyot-policy"]),
    ("eyot-registry", &["eyot-compose"]),
    ("eyot-opa", &["eyot-dispatch", "eyot-model", "eyot-policy", "eyot-registry", "eyot-rego", "eyot-runtime"]),
    ("eyot-openfaas", &["eyot-bucket", "eyot-dispatch", "eyot-serving"]),
    ("eyot-runtime", &["eyot-bucket", "eyot-dispatch"]),
    ("eyot-gateway", &["eyot-dispatch", "eyot-meter", "eyot-route"]),
    ("eyot-node", &["eyot-bucket", "eyot-dispatch", "eyot-instance", "eyot-registry", "eyot-runtime", "eyot-model"]),
    (
        "eyot",
        &[
            "eyot-advise",
            "eyot-apiserver",
            "eyot-audit",
            "eyot-controllers",
            "eyot-dispatch",
            "eyot-gatekeeper",
            "eyot-gateway",
            "eyot-kyverno",
            "eyot-meter",
            "eyot-model",
            "eyot-node",
            "eyot-opa",
            "eyot-openfaas",
            "eyot-policy",
            "eyot-registry",
            "eyot-rego",
            "eyot-runtime",
            "eyot-serving",
            "eyot-store",
            "eyot-vap",
        ],
    ),
    ("eyot-testkit", &[]),
    ("eyot-mixture", &["eyot-gatekeeper", "eyot-kyverno", "eyot-model", "eyot-policy", "eyot-rego", "eyot-vap"]),
    (
        "eyot-bench",
        &[
            "eyot-mixture",
            "eyot-advise",
            "eyot-testkit",
            "eyot-store",
            "eyot-dispatch",
            "eyot-runtime",
            "eyot-gatekeeper",
            "eyot-opa",
            "eyot-policy",
            "eyot-registry",
            "eyot-rego",
        ],
    ),
    ("xtask", &[]),
];

/// A crate of others, and which of ours may name it.
const KNOWN_ONLY_TO: &[(&str, &[&str])] = &[
    ("wasmtime", &["eyot-runtime", "eyot-bench"]),
    ("cranelift-codegen", &["eyot-runtime"]),
    ("wasmtime-wasi", &["eyot-runtime", "eyot-bench"]),
    ("wasmtime-wasi-http", &["eyot-runtime", "eyot-bench"]),
    ("rusqlite", &["eyot-bucket", "eyot-store"]),
    (
        "kube",
        &[
            "eyot-audit",
            "eyot-controllers",
            "eyot-node",
            "eyot-gateway",
            "eyot-opa",
            "eyot-openfaas",
            "eyot",
            "eyot-testkit",
            "eyot-bench",
        ],
    ),
    ("oci-client", &["eyot-registry"]),
    ("wac-graph", &["eyot-compose"]),
    ("rtnetlink", &["eyot-node"]),
    ("kube-cel", &["eyot-rules"]),
];

/// What the pure crates never name: they do no I/O, keep no time and start no task.
const NEVER_PURE: &[&str] = &["tokio", "hyper", "kube", "rusqlite", "reqwest", "rand", "socket2", "libc", "rustix"];

#[test]
fn each_crate_uses_only_the_neighbours_it_may() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for (name, uses) in dependencies(None) {
        let Some(allowed) = allowed.get(name.as_str()) else {
            panic!("{name} is not in the crate map: add it to MAY_USE")
        };
        for used in uses.iter().filter(|used| is_ours(used)) {
            assert!(allowed.contains(&used.as_str()), "{name} may not use {used}");
        }
    }
}

#[test]
fn heavy_neighbours_are_known_to_one_crate_each() {
    for (name, uses) in dependencies(None) {
        for (foreign, knowers) in KNOWN_ONLY_TO {
            let is_used = uses.iter().any(|used| used == foreign);
            assert!(!is_used || knowers.contains(&name.as_str()), "{name} may not name {foreign}");
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    let pure = dependencies(Some("/crates/pure/"));
    assert!(pure.len() >= 7, "the pure crates were found");
    for (name, uses) in pure {
        for used in uses {
            assert!(!NEVER_PURE.contains(&used.as_str()), "{name} is pure and may not name {used}");
        }
    }
}

/// What a test is called in `docs/conformance.md`, and where it lies.
const TESTS: &[(&str, &str)] = &[
    ("api", "crates/shell/apiserver/tests/api"),
    ("island", "crates/shell/controllers/tests/island"),
    ("node", "crates/shell/node/tests/node"),
    ("testkit", "crates/test/testkit/tests"),
];

#[test]
fn the_conformance_page_adds_up() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");
    let page = std::fs::read_to_string(format!("{root}/docs/conformance.md")).expect("the page");
    let (mut specs, mut established, mut stated) = (0, 0, None);
    for row in page.lines().filter_map(|it| it.strip_prefix("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let number = |at: usize| cells.get(at).and_then(|it| it.parse::<u32>().ok());
        let (Some(of_group), Some(shown)) = (number(1), number(2)) else { continue };
        if cells[0] == "all" {
            stated = Some((of_group, shown));
            continue;
        }
        assert!(shown <= of_group, "{row}");
        assert_eq!(shown > 0, !cells[3].is_empty(), "what is established is shown by a test: {row}");
        (specs, established) = (specs + of_group, established + shown);
    }
    assert_eq!(stated, Some((specs, established)));
    for name in page.split('`').skip(1).step_by(2).filter(|it| it.contains("::") && !it.ends_with("::")) {
        let mut parts: Vec<&str> = name.split("::").collect();
        let function = parts.pop().expect("a name");
        let first = parts.remove(0);
        let place = TESTS.iter().find(|it| it.0 == first).map_or("crates/test/testkit/tests", |it| it.1);
        // What is in no folder of its own is a file among the testkit's tests.
        let file = if parts.is_empty() { first.to_owned() } else { parts.join("/") };
        let path = format!("{root}/{place}/{file}.rs");
        let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
        assert!(source.contains(&format!("fn {function}(")), "{name} is not in {path}");
    }
}

fn is_ours(name: &str) -> bool {
    name == "eyot" || name.starts_with("eyot-")
}

/// The workspace's crates (those whose manifest lies under `within`) with what they use outside of their tests.
fn dependencies(within: Option<&str>) -> Vec<(String, Vec<String>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let wanted =
        packages.iter().filter(|package| within.is_none_or(|part| text(&package["manifest_path"]).contains(part)));
    let uses = |package: &Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|it| it["kind"] != "dev").map(|it| text(&it["name"])).collect::<Vec<_>>()
    };
    wanted.map(|package| (text(&package["name"]), uses(package))).collect()
}
