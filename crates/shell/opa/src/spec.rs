//! What a `Policy` of `eyot.dev/v1alpha1` says, in plain structs. Entry point: [`Spec::read`].

use std::{collections::BTreeMap, time::Duration};

use eyot_model::{
    meta,
    selector::LabelSelector,
    status::{Cause, CauseReason},
};
use eyot_policy::rule::Rule;
use eyot_rego::bundle::Verification;
use serde::Deserialize;
use serde_json::Value;

/// API group of the kind.
pub(crate) const GROUP: &str = "eyot.dev";
/// Its kind.
pub(crate) const KIND: &str = "Policy";

/// Seconds between two looks at a bundle's source, and the least that may be asked for.
const POLL_SECONDS: u64 = 60;
const POLL_SECONDS_MIN: u64 = 1;

/// A policy object's spec, checked.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) source: Source,
    pub(crate) admission: Option<Admission>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) log: Option<Log>,
}

/// Where its Rego comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The object itself.
    Inline { modules: BTreeMap<String, String>, v0: bool, data: Value },
    /// A bundle.
    Bundle(BundleSource),
}

/// Where a bundle is kept up to date from.
#[derive(Clone, Debug)]
pub(crate) struct BundleSource {
    pub(crate) at: At,
    pub(crate) poll: Duration,
    pub(crate) verification: Option<Verification>,
    /// Tells whether a kept bundle is this source's: its description without what may change between two looks.
    pub(crate) identity: String,
}

/// The place of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A file of the node.
    File(String),
    /// An image reference.
    Oci(String),
    /// A server, with the file of a bearer token for it.
    Http { url: String, token_file: Option<String> },
}

/// How requests for admission are judged.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Path of the decision, as `a/b`.
    pub(crate) decision: String,
    pub(crate) rules: Vec<Rule>,
    pub(crate) namespaces: LabelSelector,
    pub(crate) objects: LabelSelector,
    pub(crate) excluded_namespaces: Vec<String>,
    pub(crate) enforcement: Enforcement,
    pub(crate) on_failure: OnFailure,
}

/// How requests at the gateway are judged.
#[derive(Debug)]
pub(crate) struct Authorization {
    /// Path of the decision, as `a/b`.
    pub(crate) decision: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) on_failure: OnFailure,
}

/// What is done about a denial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Enforcement {
    #[default]
    Deny,
    Warn,
    Dryrun,
}

/// What becomes of a request that could not be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum OnFailure {
    #[default]
    Fail,
    Ignore,
}

/// An object whose traffic is judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    /// `namespace/name`.
    pub(crate) name: String,
}

/// Kinds of objects that traffic goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TargetKind {
    Gateway,
    HttpRoute,
    Ingress,
    Service,
}

/// Where decisions are noted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Into the node's decision log.
    pub(crate) file: bool,
    /// Onto standard output.
    pub(crate) console: bool,
    /// To a server that takes OPA's decision logs.
    pub(crate) url: Option<String>,
    /// File of a bearer token for that server.
    pub(crate) token_file: Option<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self { file: true, console: false, url: None, token_file: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSpec {
    rego: Option<RawRego>,
    bundle: Option<RawBundle>,
    admission: Option<RawAdmission>,
    authorization: Option<RawAuthorization>,
    decision_log: Option<Log>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRego {
    modules: BTreeMap<String, String>,
    version: Option<String>,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawBundle {
    file: Option<String>,
    oci: Option<String>,
    url: Option<String>,
    token_file: Option<String>,
    poll_seconds: Option<u64>,
    verification: Option<RawVerification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawVerification {
    keys: BTreeMap<String, RawKey>,
    key_id: Option<String>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawKey {
    #[serde(default)]
    algorithm: Option<String>,
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawAdmission {
    decision: Option<String>,
    rules: Vec<Value>,
    #[serde(default)]
    namespace_selector: Value,
    #[serde(default)]
    object_selector: Value,
    #[serde(default)]
    excluded_namespaces: Vec<String>,
    #[serde(default)]
    enforcement: Enforcement,
    #[serde(default)]
    failure_policy: OnFailure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawAuthorization {
    decision: Option<String>,
    target_refs: Vec<RawTarget>,
    #[serde(default)]
    failure_policy: OnFailure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTarget {
    #[serde(default)]
    group: Option<String>,
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

/// One thing that is wrong with a field.
pub(crate) fn flaw(field: &str, message: impl Into<String>) -> Cause {
    Cause { reason: CauseReason::FieldValueInvalid, message: message.into(), field: field.to_owned() }
}

impl Spec {
    /// Reads the spec of a stored or written object.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub(crate) fn read(object: &Value) -> Result<Spec, Vec<Cause>> {
        let raw = RawSpec::deserialize(&object["spec"]).map_err(|error| vec![flaw("spec", error.to_string())])?;
        let mut flaws = Vec::new();
        let source = source(raw.rego, raw.bundle).unwrap_or_else(|cause| {
            flaws.push(cause);
            Source::Inline { modules: BTreeMap::new(), v0: false, data: Value::Null }
        });
        let admission = raw.admission.and_then(|it| it.check(&mut flaws));
        let authorization = raw.authorization.and_then(|it| it.check(&mut flaws));
        if admission.is_none() && authorization.is_none() && flaws.is_empty() {
            flaws.push(flaw("spec", "needs admission, authorization or both"));
        }
        if flaws.is_empty() { Ok(Spec { source, admission, authorization, log: raw.decision_log }) } else { Err(flaws) }
    }
}

impl Spec {
    /// What a stored object is about that cannot be read: whoever relied on it is not to be without it. What of that cannot be read
    /// either makes it about more, and its requests refused.
    pub(crate) fn salvage(object: &Value) -> Spec {
        let of = |field: &str| Some(&object["spec"][field]).filter(|it| it.is_object());
        let source = Source::Inline { modules: BTreeMap::new(), v0: false, data: Value::Null };
        let admission = of("admission").map(|it| Admission {
            decision: String::new(),
            rules: match meta::list(it.get("rules")) {
                [] => vec![widened(&serde_json::json!({}))],
                rules => rules.iter().map(widened).collect(),
            },
            namespaces: LabelSelector::from_value(&or_empty(&it["namespaceSelector"])).unwrap_or_default(),
            objects: LabelSelector::from_value(&or_empty(&it["objectSelector"])).unwrap_or_default(),
            excluded_namespaces: Vec::deserialize(&it["excludedNamespaces"]).unwrap_or_default(),
            enforcement: Enforcement::deserialize(&it["enforcement"]).unwrap_or_default(),
            on_failure: OnFailure::deserialize(&it["failurePolicy"]).unwrap_or_default(),
        });
        let authorization = of("authorization").map(|it| Authorization {
            decision: String::new(),
            targets: meta::list(it.get("targetRefs"))
                .iter()
                .filter_map(|it| RawTarget::deserialize(it).ok()?.check().ok())
                .collect(),
            on_failure: OnFailure::deserialize(&it["failurePolicy"]).unwrap_or_default(),
        });
        Spec { source, admission, authorization, log: None }
    }
}

/// A rule whose lists that are missing stand for everything.
fn widened(rule: &Value) -> Rule {
    let mut rule = rule.clone();
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        if rule.is_object() && rule[field].as_array().is_none_or(Vec::is_empty) {
            rule[field] = serde_json::json!(["*"]);
        }
    }
    Rule::read(&rule)
}

fn or_empty(selector: &Value) -> Value {
    if selector.is_null() { Value::Object(serde_json::Map::new()) } else { selector.clone() }
}

fn source(rego: Option<RawRego>, bundle: Option<RawBundle>) -> Result<Source, Cause> {
    match (rego, bundle) {
        (Some(rego), None) => {
            let v0 = match rego.version.as_deref() {
                None | Some("v1") => false,
                Some("v0") => true,
                Some(other) => return Err(flaw("spec.rego.version", format!("{other:?} is neither v0 nor v1"))),
            };
            if rego.modules.is_empty() {
                return Err(flaw("spec.rego.modules", "needs one module at least"));
            }
            let data = rego.data.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            if !data.is_object() {
                return Err(flaw("spec.rego.data", "must be an object"));
            }
            Ok(Source::Inline { modules: rego.modules, v0, data })
        }
        (None, Some(bundle)) => bundle.check().map(Source::Bundle),
        _ => Err(flaw("spec", "needs either rego or bundle")),
    }
}

impl RawBundle {
    fn check(self) -> Result<BundleSource, Cause> {
        let (at, identity) = match (self.file, self.oci, self.url) {
            (Some(file), None, None) if file.starts_with('/') => (At::File(file.clone()), format!("file {file}")),
            (Some(_), None, None) => return Err(flaw("spec.bundle.file", "must be an absolute path")),
            (None, Some(oci), None) => (At::Oci(oci.clone()), format!("oci {oci}")),
            (None, None, Some(url)) => {
                let parsed: Result<http::Uri, _> = url.parse();
                let known =
                    parsed.is_ok_and(|it| matches!(it.scheme_str(), Some("http" | "https")) && it.host().is_some());
                if !known {
                    return Err(flaw("spec.bundle.url", "must be a URL of http or https"));
                }
                (At::Http { url: url.clone(), token_file: self.token_file.clone() }, format!("url {url}"))
            }
            _ => return Err(flaw("spec.bundle", "needs exactly one of file, oci and url")),
        };
        if self.token_file.is_some() && !matches!(at, At::Http { .. }) {
            return Err(flaw("spec.bundle.tokenFile", "is for url only"));
        }
        let seconds = self.poll_seconds.unwrap_or(POLL_SECONDS);
        if seconds < POLL_SECONDS_MIN {
            return Err(flaw("spec.bundle.pollSeconds", "must be 1 at least"));
        }
        let verification = self.verification.map(RawVerification::check).transpose()?;
        Ok(BundleSource { at, poll: Duration::from_secs(seconds), verification, identity })
    }
}

impl RawVerification {
    fn check(self) -> Result<Verification, Cause> {
        let mut keys = BTreeMap::new();
        for (id, raw) in self.keys {
            let algorithm = raw.algorithm.as_deref().unwrap_or("RS256");
            let key = eyot_rego::jwt::Key::parse(algorithm, &raw.key);
            let key = key.map_err(|it| flaw(&format!("spec.bundle.verification.keys[{id}]"), it.to_string()))?;
            keys.insert(id, key);
        }
        if keys.is_empty() {
            return Err(flaw("spec.bundle.verification.keys", "needs one key at least"));
        }
        Ok(Verification { keys, key_id: self.key_id, scope: self.scope })
    }
}

impl RawAdmission {
    fn check(self, flaws: &mut Vec<Cause>) -> Option<Admission> {
        let before = flaws.len();
        let mut selector = |value: &Value, field: &str| {
            let read = if value.is_null() { Ok(LabelSelector::default()) } else { LabelSelector::from_value(value) };
            read.unwrap_or_else(|error| {
                flaws.push(flaw(field, error.to_string()));
                LabelSelector::default()
            })
        };
        let namespaces = selector(&self.namespace_selector, "spec.admission.namespaceSelector");
        let objects = selector(&self.object_selector, "spec.admission.objectSelector");
        for (at, rule) in self.rules.iter().enumerate() {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if rule[field].as_array().is_none_or(Vec::is_empty) {
                    flaws.push(flaw(&format!("spec.admission.rules[{at}].{field}"), "needs one entry at least"));
                }
            }
        }
        if self.rules.is_empty() {
            flaws.push(flaw("spec.admission.rules", "needs one rule at least"));
        }
        let decision = decision(self.decision, "kubernetes/admission/deny", "spec.admission.decision", flaws);
        (flaws.len() == before).then(|| Admission {
            decision,
            rules: self.rules.iter().map(Rule::read).collect(),
            namespaces,
            objects,
            excluded_namespaces: self.excluded_namespaces,
            enforcement: self.enforcement,
            on_failure: self.failure_policy,
        })
    }
}

impl RawAuthorization {
    fn check(self, flaws: &mut Vec<Cause>) -> Option<Authorization> {
        let before = flaws.len();
        let mut targets = Vec::new();
        for (at, raw) in self.target_refs.into_iter().enumerate() {
            match raw.check() {
                Ok(target) => targets.push(target),
                Err(what) => flaws.push(flaw(&format!("spec.authorization.targetRefs[{at}]"), what)),
            }
        }
        if targets.is_empty() && flaws.len() == before {
            flaws.push(flaw("spec.authorization.targetRefs", "needs one target at least"));
        }
        let decision = decision(self.decision, "envoy/authz/allow", "spec.authorization.decision", flaws);
        (flaws.len() == before).then_some(Authorization { decision, targets, on_failure: self.failure_policy })
    }
}

impl RawTarget {
    fn check(self) -> Result<Target, String> {
        let group = self.group.as_deref().unwrap_or(match self.kind.as_str() {
            "Service" => "",
            "Ingress" => "networking.k8s.io",
            _ => "gateway.networking.k8s.io",
        });
        let kind = match (group, self.kind.as_str()) {
            ("gateway.networking.k8s.io", "Gateway") => TargetKind::Gateway,
            ("gateway.networking.k8s.io", "HTTPRoute") => TargetKind::HttpRoute,
            ("networking.k8s.io", "Ingress") => TargetKind::Ingress,
            ("", "Service") => TargetKind::Service,
            (group, kind) => {
                return Err(format!("{group}/{kind} is none of Gateway, HTTPRoute, Ingress and Service"));
            }
        };
        let namespace = self.namespace.unwrap_or_else(|| "default".to_owned());
        Ok(Target { kind, name: format!("{namespace}/{}", self.name) })
    }
}

/// A decision's path as `a/b`, from that or from `data.a.b`.
fn decision(given: Option<String>, default: &str, field: &str, flaws: &mut Vec<Cause>) -> String {
    let Some(given) = given else { return default.to_owned() };
    let path = match given.strip_prefix("data.") {
        Some(reference) => reference.replace('.', "/"),
        None => given.trim_matches('/').to_owned(),
    };
    if path.is_empty() || path.split('/').any(str::is_empty) || path.contains(char::is_whitespace) {
        flaws.push(flaw(field, "must be a path such as a/b or a reference such as data.a.b"));
    }
    path
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(spec: Value, want: Expect) {
        let got = match Spec::read(&json!({"spec": spec})) {
            Ok(spec) => {
                format!("{:?} {:?}", spec.admission.map(|it| it.decision), spec.authorization.map(|it| it.targets))
            }
            Err(flaws) => flaws.iter().map(|it| format!("{}: {}\n", it.field, it.message)).collect(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn complete_policies_are_read() {
        let rules =
            json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
        check(
            json!({"rego": {"modules": {"a": "package a"}}, "admission": {"decision": "data.a.deny", "rules": rules}}),
            expect![[r#"Some("a/deny") None"#]],
        );
        check(
            json!({"bundle": {"url": "https://b/x.tar.gz"},
                "authorization": {"targetRefs": [{"kind": "HTTPRoute", "name": "r", "namespace": "n"}]}}),
            expect![[r#"None Some([Target { kind: HttpRoute, name: "n/r" }])"#]],
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        check(
            json!({"rego": {"modules": {"a": "package a"}}, "bundle": {"file": "/b"}}),
            expect![[r#"
                spec: needs either rego or bundle
            "#]],
        );
        check(
            json!({"bundle": {"file": "b"}, "admission": {"rules": [{"operations": ["CREATE"]}], "decision": "a b"},
                "authorization": {"targetRefs": [{"kind": "Pod", "name": "p"}]}}),
            expect![[r#"
                spec.bundle.file: must be an absolute path
                spec.admission.rules[0].apiGroups: needs one entry at least
                spec.admission.rules[0].apiVersions: needs one entry at least
                spec.admission.rules[0].resources: needs one entry at least
                spec.admission.decision: must be a path such as a/b or a reference such as data.a.b
                spec.authorization.targetRefs[0]: gateway.networking.k8s.io/Pod is none of Gateway, HTTPRoute, Ingress and Service
            "#]],
        );
        check(
            json!({"rego": {"modules": {"a": "package a"}, "versoin": "v0"}}),
            expect![[r#"
                spec: unknown field `versoin`, expected one of `modules`, `version`, `data`
            "#]],
        );
    }
}
