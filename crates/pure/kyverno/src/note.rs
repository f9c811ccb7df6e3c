//! What people are told of policies: the content of Kubernetes Events, in Kyverno's words.
//!
//! Entry points: [`Note`], [`Reasons`]. Deliberately absent: writing events, counting and bounding them, which is the
//! business of who listens.

use std::{fmt, str::FromStr};

use eyot_model::meta;
use serde_json::Value;

/// Bytes of a message.
const MESSAGE_MAX: usize = 1024;

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A rule is violated, or could not be evaluated.
    Violation,
    /// A policy had nothing to object to, or did its work.
    Applied,
    /// Work in the background failed.
    Error,
    /// An exception let an object pass.
    Skipped,
}

impl Reason {
    const ALL: [Reason; 4] = [Reason::Violation, Reason::Applied, Reason::Error, Reason::Skipped];

    /// As events have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Violation => "PolicyViolation",
            Reason::Applied => "PolicyApplied",
            Reason::Error => "PolicyError",
            Reason::Skipped => "PolicySkipped",
        }
    }

    /// `Warning` or `Normal`.
    pub fn severity(self) -> &'static str {
        match self {
            Reason::Violation | Reason::Error => "Warning",
            Reason::Applied | Reason::Skipped => "Normal",
        }
    }
}

/// The reasons for which events are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<Reason>);

impl Reasons {
    /// Whether events are written for a reason.
    pub fn has(&self, reason: Reason) -> bool {
        self.0.contains(&reason)
    }
}

impl FromStr for Reasons {
    type Err = String;

    /// Reads reasons with commas between them, or `none`.
    fn from_str(text: &str) -> Result<Reasons, String> {
        if text == "none" {
            return Ok(Reasons::default());
        }
        let reason = |word: &str| Reason::ALL.into_iter().find(|it| it.as_str() == word.trim());
        let known = || Reason::ALL.map(Reason::as_str).join(", ");
        let all = text.split(',').map(|it| reason(it).ok_or_else(|| format!("{it:?} is none of {}", known())));
        all.collect::<Result<Vec<Reason>, String>>().map(Reasons)
    }
}

/// What part of Kyverno speaks elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// About a request.
    Admission,
    /// About a stored object.
    Scan,
    /// About an object that a rule makes.
    Generate,
    /// About an object that a rule changes.
    Mutate,
    /// About an object that a policy deletes.
    Cleanup,
}

impl Component {
    /// As events have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Admission => "kyverno-admission",
            Component::Scan => "kyverno-scan",
            Component::Generate => "kyverno-generate",
            Component::Mutate => "kyverno-mutate",
            Component::Cleanup => "kyverno-cleanup",
        }
    }
}

/// An object that a note is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for kinds without.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity, empty where it is not known.
    pub uid: String,
}

impl Reference {
    /// The reference to an object.
    pub fn of(object: &Value) -> Reference {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        Reference {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: meta::namespace(object).unwrap_or_default().to_owned(),
            name: meta::name(object).unwrap_or_default().to_owned(),
            uid: meta::uid(object).unwrap_or_default().to_owned(),
        }
    }

    /// `NAMESPACE/NAME`, or the name.
    fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

/// One thing that somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// Whom it is told with.
    pub about: Reference,
    /// What else has to do with it.
    pub related: Option<Reference>,
    /// Why.
    pub reason: Reason,
    /// What was done.
    pub action: &'static str,
    /// Who tells it.
    pub component: Component,
    /// What is told, in at most 1,024 bytes.
    pub message: String,
}

const PASSED: &str = "Resource Passed";

/// A policy and an object that it met.
pub(crate) struct Meeting<'m> {
    pub(crate) policy: &'m Reference,
    pub(crate) object: &'m Reference,
    pub(crate) component: Component,
}

impl Meeting<'_> {
    fn on_policy(&self, reason: Reason, action: &'static str, message: String) -> Note {
        let (about, related) = (self.policy.clone(), Some(self.object.clone()));
        Note { about, related, reason, action, component: self.component, message: bounded(message) }
    }

    fn on_object(&self, reason: Reason, action: &'static str, message: String) -> Note {
        let about = self.object.clone();
        Note { about, related: None, reason, action, component: self.component, message: bounded(message) }
    }

    /// A rule whose outcome is `word` is violated. Of what was refused there is no object to tell it with.
    pub(crate) fn violated(&self, rule: &str, word: &str, message: &str, blocked: bool) -> Vec<Note> {
        let named = if rule.is_empty() { String::new() } else { format!("[{rule}] ") };
        let mark = if blocked { " (blocked)" } else { "" };
        let why = if message.is_empty() { String::new() } else { format!("; {message}") };
        let told = format!("{} {}: {named}{word}{mark}{why}", self.object.kind, self.object.key());
        let action = if blocked { "Resource Blocked" } else { PASSED };
        let mut notes = vec![self.on_policy(Reason::Violation, action, told)];
        if !blocked {
            let told = format!("policy {}/{rule} {word}: {message}", self.policy.name);
            notes.push(self.on_object(Reason::Violation, PASSED, told));
        }
        notes
    }

    /// Nothing is violated, or the object was changed as the policy wants.
    pub(crate) fn applied(&self, changes: bool) -> Note {
        let subject = format!("{} {}", self.object.kind, self.object.key());
        let (told, action) = match changes {
            true => (format!("{subject} is successfully mutated"), "Resource Mutated"),
            false => (format!("{subject}: pass"), PASSED),
        };
        self.on_policy(Reason::Applied, action, told)
    }

    /// Exceptions let the object pass a rule.
    pub(crate) fn excused(&self, rule: &str, exceptions: &[Reference]) -> Vec<Note> {
        let subject = format!("resource {}/{} was skipped from", self.object.kind, self.object.key());
        let of_each = exceptions.iter().map(|it| Note {
            about: it.clone(),
            ..self.on_policy(Reason::Skipped, PASSED, format!("{subject} policy rule {}/{rule}", self.policy.key()))
        });
        let names: Vec<String> = exceptions.iter().map(Reference::key).collect();
        let told = format!("{subject} rule {rule} due to policy exceptions {}", names.join(", "));
        of_each.chain([self.on_policy(Reason::Skipped, PASSED, told)]).collect()
    }

    /// Work in the background made or changed the object.
    pub(crate) fn worked(&self, rule: &str) -> Vec<Note> {
        match self.component {
            Component::Generate => {
                let (kind, name) = (&self.object.kind, &self.object.name);
                let told = format!("Created {kind} {name} as a result of applying policy {}/{rule}", self.policy.key());
                vec![
                    self.on_policy(Reason::Applied, "Resource Generated", "resource generated".to_owned()),
                    self.on_object(Reason::Applied, "None", told),
                ]
            }
            Component::Cleanup => {
                let (kind, key) = (&self.object.kind, self.object.key());
                let told = format!("successfully cleaned up the target resource {kind}/{key}");
                vec![self.on_policy(Reason::Applied, "Resource Cleaned Up", told)]
            }
            _ => vec![self.on_policy(Reason::Applied, "Resource Mutated", "resource mutated".to_owned())],
        }
    }

    /// Work in the background failed.
    pub(crate) fn failed(&self, rule: &str, why: &str) -> Note {
        let told = match (self.component, rule) {
            (Component::Cleanup, _) => {
                format!("failed to clean up the target resource {}/{}: {why}", self.object.kind, self.object.key())
            }
            (_, "") => format!("policy {} error: {why}", self.policy.name),
            _ => format!("policy {}/{rule} error: {why}", self.policy.name),
        };
        self.on_policy(Reason::Error, "None", told)
    }
}

/// A message as far as events have room for it.
fn bounded(mut message: String) -> String {
    const MORE: &str = "...";
    if message.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX - MORE.len()).rev().find(|it| message.is_char_boundary(*it)).unwrap_or(0);
        message.truncate(end);
        message.push_str(MORE);
    }
    message
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (component, reason) = (self.component.as_str(), self.reason.as_str());
        write!(f, "{component} {reason} {}/{} ({}): {}", self.about.kind, self.about.key(), self.action, self.message)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn told(component: Component, notes: impl FnOnce(&Meeting<'_>) -> Vec<Note>) -> String {
        let policy =
            json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p", "uid": "1"}});
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "o", "namespace": "n", "uid": "2"}});
        let (policy, object) = (Reference::of(&policy), Reference::of(&object));
        let notes = notes(&Meeting { policy: &policy, object: &object, component });
        notes.iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn notes_read_as_kyverno_writes_them() {
        let exception =
            Reference { kind: "PolicyException".into(), namespace: "x".into(), name: "e".into(), ..Default::default() };
        let all = [
            told(Component::Admission, |it| it.violated("r", "fail", "why", true)),
            told(Component::Scan, |it| it.violated("r", "error", "why", false)),
            told(Component::Admission, |it| vec![it.applied(false), it.applied(true)]),
            told(Component::Admission, |it| it.excused("r", std::slice::from_ref(&exception))),
            told(Component::Generate, |it| it.worked("r")),
            told(Component::Mutate, |it| it.worked("r")),
            told(Component::Cleanup, |it| it.worked("")),
            told(Component::Generate, |it| vec![it.failed("r", "why"), it.failed("", "why")]),
            told(Component::Cleanup, |it| vec![it.failed("", "why")]),
        ];
        expect![[r#"
            kyverno-admission PolicyViolation ClusterPolicy/p (Resource Blocked): Pod n/o: [r] fail (blocked); why
            kyverno-scan PolicyViolation ClusterPolicy/p (Resource Passed): Pod n/o: [r] error; why
            kyverno-scan PolicyViolation Pod/n/o (Resource Passed): policy p/r error: why
            kyverno-admission PolicyApplied ClusterPolicy/p (Resource Passed): Pod n/o: pass
            kyverno-admission PolicyApplied ClusterPolicy/p (Resource Mutated): Pod n/o is successfully mutated
            kyverno-admission PolicySkipped PolicyException/x/e (Resource Passed): resource Pod/n/o was skipped from policy rule p/r
            kyverno-admission PolicySkipped ClusterPolicy/p (Resource Passed): resource Pod/n/o was skipped from rule r due to policy exceptions x/e
            kyverno-generate PolicyApplied ClusterPolicy/p (Resource Generated): resource generated
            kyverno-generate PolicyApplied Pod/n/o (None): Created Pod o as a result of applying policy p/r
            kyverno-mutate PolicyApplied ClusterPolicy/p (Resource Mutated): resource mutated
            kyverno-cleanup PolicyApplied ClusterPolicy/p (Resource Cleaned Up): successfully cleaned up the target resource Pod/n/o
            kyverno-generate PolicyError ClusterPolicy/p (None): policy p/r error: why
            kyverno-generate PolicyError ClusterPolicy/p (None): policy p error: why
            kyverno-cleanup PolicyError ClusterPolicy/p (None): failed to clean up the target resource Pod/n/o: why
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn messages_end_where_events_have_no_more_room() {
        let long = bounded("ä".repeat(600));
        assert!(long.len() <= MESSAGE_MAX && long.ends_with("ä..."), "{}", long.len());
        assert_eq!(bounded("short".to_owned()), "short");
    }

    #[test]
    fn reasons_are_named_or_none() {
        let reasons: Reasons = "PolicyViolation, PolicyError".parse().unwrap();
        assert!(reasons.has(Reason::Error) && !reasons.has(Reason::Applied));
        assert_eq!("none".parse::<Reasons>(), Ok(Reasons::default()));
        assert!("PolicyViolation,Oops".parse::<Reasons>().unwrap_err().starts_with("\"Oops\" is none of"));
    }
}
