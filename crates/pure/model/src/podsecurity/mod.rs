//! The Pod Security Standards: which pods a namespace takes, by its labels.
//!
//! Start at [`Policy::of`], which reads a namespace's labels, and [`violations`], which holds a pod against one level.
//! Checks, versions and wording follow Kubernetes. Deliberately absent: exemptions by user or runtime class, which
//! Kubernetes takes from a file of its server.

mod baseline;
mod restricted;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::{meta, status::Cause};

/// What a pod may do, from anything to little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything.
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// What is considered good practice.
    Restricted,
}

/// The minor version of Kubernetes whose checks are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `v1.N`
    Minor(u32),
    /// The newest checks there are.
    Latest,
}

/// A level as of a version; shown as `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// What is allowed.
    pub level: Level,
    /// As of when.
    pub version: Version,
}

/// What a namespace does with pods that break a standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// They are refused.
    pub enforce: Standard,
    /// They are noted in the audit log.
    pub audit: Standard,
    /// Who sends them is warned.
    pub warn: Standard,
}

/// Why a pod breaks a standard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A few words, the same for every pod that breaks the same rule.
    pub reason: String,
    /// Which containers, and what they should do instead; may be empty.
    pub detail: String,
}

impl Standard {
    /// Allows everything.
    pub const PRIVILEGED: Standard = Standard { level: Level::Privileged, version: Version::Latest };

    /// Whether nothing can break it.
    pub fn allows_all(&self) -> bool {
        self.level == Level::Privileged
    }
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    /// Reads the labels of a namespace. An unreadable level to enforce counts as the strictest, so that a slip of the
    /// pen opens nothing; elsewhere as none.
    pub fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Policy {
        let standard = |mode: &str, otherwise: Level| {
            let level = label(&format!("{PREFIX}{mode}"));
            Standard {
                level: level.map_or(Level::Privileged, |it| parse_level(it).unwrap_or(otherwise)),
                version: label(&format!("{PREFIX}{mode}-version")).and_then(parse_version).unwrap_or(Version::Latest),
            }
        };
        Policy {
            enforce: standard("enforce", Level::Restricted),
            audit: standard("audit", Level::Privileged),
            warn: standard("warn", Level::Privileged),
        }
    }

    /// Whether it concerns no pod at all.
    pub fn is_idle(&self) -> bool {
        self.enforce.allows_all() && self.audit.allows_all() && self.warn.allows_all()
    }
}

/// What is wrong with the labels of a namespace.
pub fn check_labels(namespace: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in meta::labels(namespace).filter(|(key, _)| key.starts_with(PREFIX)) {
        let field = format!("metadata.labels[{key}]");
        match &key[PREFIX.len()..] {
            "enforce" | "audit" | "warn" if parse_level(value).is_none() => {
                let why = "must be one of privileged, baseline, restricted";
                causes.push(Cause::invalid(field, &value.into(), why));
            }
            "enforce-version" | "audit-version" | "warn-version" if parse_version(value).is_none() => {
                causes.push(Cause::invalid(field, &value.into(), r#"must be "latest" or "v1.x""#));
            }
            _ => {}
        }
    }
    causes
}

fn parse_level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn parse_version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor == "0" || !minor.starts_with(['0', '+']);
    minor.parse().ok().filter(|_| plain).map(Version::Minor)
}

/// Everything in which a pod, or a pod template, breaks a standard; `pod` has `metadata` and `spec`.
pub fn violations(standard: Standard, pod: &Value) -> Vec<Violation> {
    let pod = Pod::new(pod, standard.version);
    match standard.level {
        Level::Privileged => Vec::new(),
        Level::Baseline => baseline::check(&pod, false),
        Level::Restricted => {
            let mut found = baseline::check(&pod, true);
            found.extend(restricted::check(&pod));
            found
        }
    }
}

/// Violations as one sentence part: `reason (detail), reason (detail)`.
pub fn describe(violations: &[Violation]) -> String {
    let all: Vec<String> = violations.iter().map(Violation::to_string).collect();
    all.join(", ")
}

/// The pod template of a workload, or the pod itself.
pub fn template<'a>(group: &str, kind: &str, object: &'a Value) -> Option<&'a Value> {
    let pointer = match (group, kind) {
        ("", "Pod") => "",
        ("", "PodTemplate") => "/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => "/spec/template",
        _ => return None,
    };
    object.pointer(pointer)
}

/// Whether an update of a pod can change what it may do: its images, profiles, or containers.
pub fn is_significant(new: &Value, old: &Value) -> bool {
    let profiles = |pod: &Value| {
        let all = meta::annotations(pod)
            .filter(|(key, _)| key.starts_with(baseline::APPARMOR_PREFIX) || key.contains(baseline::SECCOMP_MARK));
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    new.get("spec") != old.get("spec") || profiles(new) != profiles(old)
}

/// A pod and the version of the checks it is held against.
struct Pod<'a> {
    object: &'a Value,
    spec: &'a Value,
    security: &'a Value,
    containers: Vec<&'a Value>,
    version: Version,
}

static NULL: Value = Value::Null;

impl<'a> Pod<'a> {
    fn new(object: &'a Value, version: Version) -> Self {
        let spec = object.get("spec").unwrap_or(&NULL);
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|it| meta::list(spec.get(*it))).collect();
        Pod { object, spec, security: &spec["securityContext"], containers, version }
    }

    fn since(&self, minor: u32) -> bool {
        self.version >= Version::Minor(minor)
    }

    /// Names of the containers that a test finds wanting.
    fn containers(&self, mut wanting: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        let found = self.containers.iter().filter(|it| wanting(it));
        found.map(|it| it["name"].as_str().unwrap_or_default()).collect()
    }

    /// Containers with user ids of their own are spared what those ids make harmless.
    fn has_own_users(&self) -> bool {
        self.since(35) && self.spec["hostUsers"] == false
    }

    fn is_windows(&self) -> bool {
        self.since(25) && self.spec["os"]["name"] == "windows"
    }
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Violation {
        Violation { reason: reason.into(), detail: detail.into() }
    }
}

/// `"a", "b"`
fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    let all: Vec<String> = texts.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    all.join(", ")
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`
fn named(containers: &[&str]) -> String {
    format!("{} {}", plural(containers.len(), "container", "containers"), quoted(containers))
}

/// Who does what is forbidden: `pod and container "a"`. Empty when nobody does.
fn setters(pod: bool, containers: &[&str]) -> String {
    match (pod, containers.is_empty()) {
        (false, true) => String::new(),
        (true, true) => "pod".to_owned(),
        (false, false) => named(containers),
        (true, false) => format!("pod and {}", named(containers)),
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Version::Minor(minor) => write!(f, "v1.{minor}"),
            Version::Latest => f.write_str("latest"),
        }
    }
}

impl std::fmt::Display for Standard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        write!(f, "{level}:{}", self.version)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(&self.reason),
            detail => write!(f, "{} ({detail})", self.reason),
        }
    }
}
