//! Tests of policies, as `kyverno test` runs them.
//!
//! Entry point: [`run`] on a `kyverno-test.yaml` (`cli.kyverno.io/v1alpha1 Test`) and the [`Files`] around it. Policies
//! are applied to resources without a server; each expected result becomes rows of a [`Report`].

mod cel;
mod compare;
mod evaluate;
mod load;
#[cfg(test)]
mod tests;
mod values;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Where files come from. Paths are relative to the directory of the test and may begin with `../`.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
}

/// One `kyverno-test.yaml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    name: String,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    target_resources: Vec<String>,
    #[serde(default)]
    param_resources: Vec<String>,
    #[serde(default)]
    cluster_resources: Vec<String>,
    #[serde(default)]
    variables: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    values: Value,
    #[serde(default)]
    userinfo: String,
    #[serde(default)]
    exceptions: Vec<String>,
    #[serde(default)]
    api_call_responses: Vec<Value>,
    #[serde(default)]
    global_context_entries: Vec<Value>,
    #[serde(default)]
    results: Vec<Expected>,
}

/// What a test expects.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    policy: String,
    #[serde(default)]
    rule: String,
    /// `pass`, `fail`, `skip`, `warn`, `error`.
    #[serde(default)]
    result: String,
    #[serde(default)]
    resources: Vec<String>,
    /// An older test's only resource.
    #[serde(default)]
    resource: String,
    #[serde(default)]
    resource_specs: Vec<Value>,
    #[serde(default)]
    patched_resources: String,
    #[serde(default)]
    generated_resource: String,
    #[serde(default)]
    generated_resources: Vec<String>,
    #[serde(default)]
    clone_source_resource: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    fail_on_missing_resources: bool,
}

/// How one expectation came out for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// The rule, as it is called in the policy.
    pub rule: String,
    /// `apiVersion/kind/namespace/name`.
    pub resource: String,
    /// What the test expects.
    pub expected: String,
    /// Whether it came true.
    pub ok: bool,
    /// In a few words.
    pub reason: String,
    /// What the rule said.
    pub message: String,
}

/// The outcome of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Name of the test.
    pub name: String,
    /// All rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether everything came true.
    pub fn is_ok(&self) -> bool {
        self.rows.iter().all(|it| it.ok)
    }
}

/// Runs a test.
///
/// # Errors
/// When a file cannot be read or makes no sense, or a policy does not compile.
pub fn run(test: &str, files: &dyn Files, now: Timestamp) -> Result<Report, String> {
    let documents = crate::yaml::documents(test).map_err(|it| format!("the test: {it}"))?;
    let mut report = Report::default();
    for document in documents {
        let test: Test = serde_json::from_value(document).map_err(|it| format!("the test: {it}"))?;
        let one = run_one(&test, files, now)?;
        if report.name.is_empty() {
            report.name = one.name;
        }
        report.rows.extend(one.rows);
    }
    Ok(report)
}

fn run_one(test: &Test, files: &dyn Files, now: Timestamp) -> Result<Report, String> {
    let name = test.metadata["name"].as_str().filter(|it| !it.is_empty()).unwrap_or(&test.name).to_owned();
    let loaded = load::load(test, files)?;
    let outcomes = evaluate::all(test, &loaded, now)?;
    let mut rows = Vec::new();
    for expected in &test.results {
        rows.extend(compare::rows(expected, &outcomes, &loaded, files)?);
    }
    Ok(Report { name, rows })
}
