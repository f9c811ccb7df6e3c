//! Tells who listens what became of requests and of stored objects. Entry points: [`Account`], [`scanned`].
//!
//! Where nobody listens nothing is gathered, and of what is gathered only what is listened for.

use eyot_model::meta;
use eyot_policy::{Finding, Outcome, Review};

use super::{GROUP, Snapshot};
use crate::{
    Policy, RuleResult, Status,
    celpolicy::{self, CelPolicy},
    note::{Component, Meeting, Note, Reason, Reasons, Reference},
};

/// Who is told, and of what.
pub(super) struct Listener {
    pub(super) reasons: Reasons,
    pub(super) tell: Box<dyn Fn(Note) + Send + Sync>,
}

/// The version in which Kyverno speaks of its policies in CEL.
const CEL_VERSION: &str = "policies.kyverno.io/v1beta1";

/// What policies made of one request, until it is known whether that is refused.
pub(super) struct Account<'a> {
    listener: Option<&'a Listener>,
    entries: Vec<Entry>,
}

struct Entry {
    policy: Reference,
    results: Vec<RuleResult>,
    /// Whether the policy refuses the request.
    blocks: bool,
    changes: bool,
}

impl<'a> Account<'a> {
    /// Of a request nothing is told that leaves no trace.
    pub(super) fn new(listener: Option<&'a Listener>, review: &Review<'_>) -> Account<'a> {
        Account { listener: listener.filter(|_| !review.dry_run()), entries: Vec::new() }
    }

    /// Takes note of how the rules of a policy came out.
    pub(super) fn add(&mut self, policy: &Policy, results: Vec<RuleResult>, blocks: bool, changes: bool) {
        if self.cares(&results) {
            self.entries.push(Entry { policy: of_policy(policy), results, blocks, changes });
        }
    }

    /// The same for a policy in CEL.
    pub(super) fn add_cel(&mut self, policy: &CelPolicy, results: Vec<RuleResult>, blocks: bool) {
        if self.cares(&results) {
            self.entries.push(Entry { policy: of_cel(policy), results, blocks, changes: policy.mutates });
        }
    }

    fn cares(&self, results: &[RuleResult]) -> bool {
        let Some(listener) = self.listener else { return false };
        results.iter().any(|it| match it.status {
            Status::Fail | Status::Error | Status::Warn => listener.reasons.has(Reason::Violation),
            Status::Skip => !it.exceptions.is_empty() && listener.reasons.has(Reason::Skipped),
            Status::Pass => listener.reasons.has(Reason::Applied),
        })
    }

    /// Tells everything.
    pub(super) fn tell(self, review: &Review<'_>, snapshot: &Snapshot) {
        let Some(listener) = self.listener.filter(|_| !self.entries.is_empty()) else { return };
        let object = of_request(review);
        // Kyverno tells nothing of objects whose name is still to be made up.
        if object.name.is_empty() {
            return;
        }
        let blocked = self.entries.iter().any(|it| it.blocks);
        for entry in self.entries.iter().filter(|it| it.blocks || !blocked) {
            let meeting = Meeting { policy: &entry.policy, object: &object, component: Component::Admission };
            for note in entry.notes(&meeting, blocked, snapshot) {
                if listener.reasons.has(note.reason) {
                    (listener.tell)(note);
                }
            }
        }
    }
}

impl Entry {
    fn notes(&self, meeting: &Meeting<'_>, blocked: bool, snapshot: &Snapshot) -> Vec<Note> {
        let is_bad = |it: &&RuleResult| matches!(it.status, Status::Fail | Status::Error | Status::Warn);
        let mut notes: Vec<Note> = self
            .results
            .iter()
            .filter(is_bad)
            .flat_map(|it| meeting.violated(&it.rule, it.status.as_str(), &it.message, blocked))
            .collect();
        if !notes.is_empty() || blocked {
            return notes;
        }
        let skipped = self.results.iter().filter(|it| it.status == Status::Skip);
        for result in skipped.clone().filter(|it| !it.exceptions.is_empty() && is_old(meeting.policy)) {
            notes.extend(meeting.excused(&result.rule, &exceptions(&result.exceptions, snapshot)));
        }
        if skipped.count() == 0 && !self.results.is_empty() {
            notes.push(meeting.applied(self.changes));
        }
        notes
    }
}

/// Kyverno tells of exceptions from these only.
fn is_old(policy: &Reference) -> bool {
    policy.api_version != CEL_VERSION
}

fn exceptions(keys: &[String], snapshot: &Snapshot) -> Vec<Reference> {
    let found = keys.iter().map(|key| {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let uid = snapshot.exception(namespace, name).map_or_else(String::new, |it| it.uid.clone());
        Reference {
            api_version: format!("{GROUP}/v2"),
            kind: "PolicyException".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
        }
    });
    found.collect()
}

/// The object of a request; its identity only where the request carries it.
fn of_request(review: &Review<'_>) -> Reference {
    let subject = review.subject();
    let uid = meta::uid(subject).filter(|_| review.carries_its_kind()).unwrap_or_default();
    Reference {
        api_version: review.resource.api_version(),
        kind: review.resource.kind.clone(),
        namespace: if review.resource.namespaced { review.namespace.to_owned() } else { String::new() },
        name: review.name.to_owned(),
        uid: uid.to_owned(),
    }
}

pub(super) fn of_policy(policy: &Policy) -> Reference {
    Reference {
        api_version: format!("{GROUP}/v1"),
        kind: policy.kind.clone(),
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
    }
}

fn of_cel(policy: &CelPolicy) -> Reference {
    Reference {
        api_version: CEL_VERSION.to_owned(),
        kind: policy.kind.clone(),
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
    }
}

/// The reference to a policy by group, kind, namespace and name.
pub(super) fn named(snapshot: &Snapshot, [group, kind, namespace, name]: [&str; 4]) -> Reference {
    let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    let (api_version, uid) = match group {
        celpolicy::GROUP => {
            let uid = snapshot.cel.get(&key).map(|it| &it.uid);
            (CEL_VERSION.to_owned(), uid.or(snapshot.generating.get(&key).map(|it| &it.uid)).cloned())
        }
        _ => (format!("{GROUP}/v1"), snapshot.policies.get(&key).map(|it| it.uid.clone())),
    };
    let (kind, namespace, name) = key;
    Reference { api_version, kind, namespace, name, uid: uid.unwrap_or_default() }
}

/// What is told of a stored object after it was judged, for these reasons.
pub(super) fn scanned(snapshot: &Snapshot, object: &Reference, findings: &[Finding], reasons: &Reasons) -> Vec<Note> {
    let is_wanted = |it: &&Finding| match it.outcome {
        Outcome::Fail | Outcome::Warn | Outcome::Error => reasons.has(Reason::Violation),
        Outcome::Skip => reasons.has(Reason::Skipped),
        Outcome::Pass => reasons.has(Reason::Applied),
    };
    let mut notes = Vec::new();
    for finding in findings.iter().filter(is_wanted) {
        let [group, kind, namespace, name] = finding.policy.each_ref().map(String::as_str);
        let policy = named(snapshot, [group, kind, namespace, name]);
        let meeting = Meeting { policy: &policy, object, component: Component::Scan };
        let keys = finding.details["properties"]["exceptions"].as_str().unwrap_or_default();
        match finding.outcome {
            Outcome::Fail | Outcome::Warn => {
                notes.extend(meeting.violated(&finding.rule, Status::Fail.as_str(), &finding.message, false));
            }
            Outcome::Error => {
                notes.extend(meeting.violated(&finding.rule, Status::Error.as_str(), &finding.message, false));
            }
            Outcome::Skip if !keys.is_empty() && is_old(&policy) => {
                let keys: Vec<String> = keys.split(',').map(str::to_owned).collect();
                notes.extend(meeting.excused(&finding.rule, &exceptions(&keys, snapshot)));
            }
            Outcome::Pass => notes.push(meeting.applied(false)),
            Outcome::Skip => {}
        }
    }
    notes
}
