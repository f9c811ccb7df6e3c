//! The engine: all policies that are in force, and what they say of a request.
//!
//! Entry point: [`Kyverno`]. Compiled policies and exceptions lie in a snapshot that is swapped as a whole. Requests that
//! Kyverno's default configuration leaves alone are left alone here, too: those about events, leases of nodes and
//! ReplicaSets, and those in the namespaces `kube-system`, `kube-public` and `kube-node-lease`.
//!
//! What a policy generates, and which other objects it changes, is told by [`Kyverno::background`]; doing it is the
//! business of who asks.

mod account;
mod background;
mod caution;
mod cel;
mod check;
mod definitions;
mod judge;
mod lookup;
mod message;
mod powers;
mod snapshot;
#[cfg(test)]
mod tests;
mod validity;
mod work;
#[cfg(test)]
mod work_tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use eyot_model::{meta, status::Cause};
use eyot_policy::{Data, Denial, Engine, Finding, Mutation, Operation, Power, Review, Turns, Verdict};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Note, Reasons,
    celpolicy::{self, Role},
    wildcard,
};
use account::{Account, Listener};

pub use background::{Background, Generator, Work};
pub(crate) use snapshot::Snapshot;

type Tell = Box<dyn Fn() + Send + Sync>;

/// What whoever runs the server decides about policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where PolicyExceptions must lie to count: a namespace, or a glob such as `*`. Without one none counts.
    pub exceptions: Option<String>,
    /// What is told of policies.
    pub events: Reasons,
}

/// Kyverno's policies in force.
#[derive(Default)]
pub struct Kyverno {
    settings: Settings,
    snapshot: ArcSwap<Snapshot>,
    /// Makes what is left to chance differ between requests.
    requests: AtomicU64,
    tell: ArcSwapOption<Tell>,
    listener: ArcSwapOption<Listener>,
}

/// Group of policies.
pub(crate) const GROUP: &str = "kyverno.io";
const KINDS: [&str; 6] =
    ["ClusterPolicy", "Policy", "PolicyException", "GlobalContextEntry", "ClusterCleanupPolicy", "CleanupPolicy"];

impl Kyverno {
    /// An engine without policies, whose exceptions do not count.
    pub fn new() -> Kyverno {
        Kyverno::default()
    }

    /// An engine without policies.
    pub fn with(settings: Settings) -> Kyverno {
        let snapshot = Snapshot::with(settings.exceptions.clone());
        Kyverno { settings, snapshot: ArcSwap::from_pointee(snapshot), ..Kyverno::default() }
    }

    /// Why an exception in a namespace does not count, in Kyverno's words and ours; nothing where it does.
    fn uncounted(&self, namespace: &str) -> Option<String> {
        match &self.settings.exceptions {
            None => Some(
                "PolicyException resources would not be processed until it is enabled: no namespace is named by \
                 --kyverno-exceptions"
                    .to_owned(),
            ),
            Some(it) if wildcard::matches(it, namespace) => None,
            Some(it) => Some(format!(
                "PolicyException resource namespace must match the defined namespace: exceptions count in {it:?} only \
                 (--kyverno-exceptions)"
            )),
        }
    }

    /// Has `tell` called whenever something else is in force. It must not block.
    pub fn on_change(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.tell.store(Some(Arc::new(Box::new(tell))));
    }

    /// Has `tell` called with what is told of policies, as far as the settings ask for it. It must not block: requests
    /// wait for it.
    pub fn on_note(&self, tell: impl Fn(Note) + Send + Sync + 'static) {
        let listener = Listener { reasons: self.settings.events.clone(), tell: Box::new(tell) };
        self.listener.store(Some(Arc::new(listener)));
    }

    /// What whoever runs the server decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn seed(&self, now: Timestamp) -> u64 {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        (now.as_nanosecond() as u64) ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn swap(&self, change: impl Fn(&mut Snapshot)) {
        self.snapshot.rcu(|old| {
            let mut new = Snapshot::clone(old);
            change(&mut new);
            new.index();
            new
        });
        if let Some(tell) = &*self.tell.load() {
            tell();
        }
    }
}

impl Engine for Kyverno {
    fn name(&self) -> &'static str {
        "kyverno"
    }

    fn definitions(&self) -> Vec<Value> {
        definitions::all()
    }

    fn governs(&self, group: &str, kind: &str) -> bool {
        match group {
            GROUP => KINDS.contains(&kind),
            celpolicy::GROUP => Role::of(kind).is_some(),
            _ => false,
        }
    }

    fn check(&self, object: &mut Value, old: Option<&Value>, data: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        let mut warnings = check::check(object, old, data)?;
        if object["kind"] == "PolicyException" {
            warnings.extend(self.uncounted(meta::namespace(object).unwrap_or_default()));
        }
        Ok(warnings)
    }

    fn doubted(&self, object: &Value, causes: &[Cause]) -> Option<Value> {
        check::doubted(object, causes)
    }

    fn powers(&self, object: &Value, data: &dyn Data) -> Vec<Power> {
        powers::powers(object, &data.kinds())
    }

    fn put(&self, object: &Value) {
        if self.snapshot.load().knows(object) {
            return;
        }
        match check::is_cel(object) {
            true => self.swap(|it| it.put_cel(object)),
            false => self.swap(|it| it.put(object)),
        }
    }

    fn remove(&self, group: &str, kind: &str, namespace: &str, name: &str) {
        match group == celpolicy::GROUP {
            true => self.swap(|it| it.remove_cel(kind, namespace, name)),
            false => self.swap(|it| it.remove(kind, namespace, name)),
        }
    }

    fn wants(&self, review: &Review<'_>) -> bool {
        let snapshot = self.snapshot.load();
        if snapshot.is_empty() || snapshot::is_left_alone(review) {
            return false;
        }
        let (_, _, kind) = review.carried();
        let kind = if review.subresource.is_empty() { kind } else { &review.resource.kind };
        snapshot.concerns(kind, review.subresource) || snapshot.concerns_plural(&review.requested.plural)
    }

    fn mutate(
        &self,
        review: &Review<'_>,
        object: &mut Value,
        turns: &mut Turns,
        data: &dyn Data,
    ) -> Result<Mutation, Denial> {
        if !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(Mutation::default());
        }
        let (snapshot, seed, listener) = (self.snapshot.load_full(), self.seed(review.now), self.listener.load());
        let mut account = Account::new(listener.as_deref(), review);
        let made = judge::mutate(&snapshot, review, object, turns, data, seed, &mut account).and_then(|mut made| {
            made.changed |= cel::mutate(&snapshot, review, object, turns, data, seed, &mut account)?;
            Ok(made)
        });
        account.tell(review, &snapshot);
        made
    }

    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict {
        let (snapshot, seed, listener) = (self.snapshot.load_full(), self.seed(review.now), self.listener.load());
        let mut account = Account::new(listener.as_deref(), review);
        let mut verdict = judge::validate(&snapshot, review, data, seed, &mut account);
        cel::validate(&snapshot, review, data, seed, &mut verdict, &mut account);
        account.tell(review, &snapshot);
        verdict
    }

    fn audit(&self, object: &Value, namespace: Option<&Value>, now: Timestamp, data: &dyn Data) -> Vec<Finding> {
        let (snapshot, seed) = (self.snapshot.load_full(), self.seed(now));
        let mut findings = background::audit(&snapshot, object, namespace, now, data, seed);
        cel::audit(&snapshot, object, namespace, now, data, seed, &mut findings);
        findings
    }
}

impl Kyverno {
    /// What is to be done in the background.
    pub fn background(&self) -> Background {
        Background::new(Arc::clone(&self.snapshot.load()))
    }
}
