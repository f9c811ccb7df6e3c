//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy, with their bindings, as an engine of policy.
//!
//! Start at [`AdmissionPolicies`]. Policies and bindings are compiled when they are written; what is in force is one
//! immutable [`state::State`] that is swapped as a whole, indexed by the resources that rules name. A request meets
//! [`request::Request`], which shows its objects to expressions in the version that a policy asks for; [`judge`] and
//! [`change`] evaluate.
//!
//! What is public beside the engine lets other engines compile and evaluate policies that are written like these, in a
//! [`Language`] of their own: [`Policy`], [`Request`], [`conditions`], [`mutated`].
//!
//! Deliberately absent: an audit log (audit annotations are handed to the server), and background evaluation, which
//! Kubernetes does not have either.

mod binding;
mod change;
pub mod flaws;
mod judge;
mod matching;
mod params;
mod policy;
mod request;
mod state;
#[cfg(test)]
mod tests;
mod types;

use std::sync::Arc;

use arc_swap::ArcSwap;
use eyot_model::{meta, status::Cause};
use eyot_policy::{Data, Denial, Engine, Mutation, Review, Turns, Verdict};
use serde_json::Value;

pub use change::mutated;
pub use judge::conditions;
pub use matching::{Matching, Version};
pub use policy::{Expression, Language, Policy, Validation};
pub use request::{Request, Shown};
pub use types::check as type_check;

use binding::Binding;
use state::State;

/// API group of policies and bindings.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

/// The engine. Begins without policies.
#[derive(Default)]
pub struct AdmissionPolicies {
    state: ArcSwap<State>,
}

impl AdmissionPolicies {
    /// An engine without policies.
    pub fn new() -> AdmissionPolicies {
        AdmissionPolicies::default()
    }

    fn change(&self, edit: impl FnOnce(&mut State)) {
        // One at a time, as the seam promises.
        let mut state = State::clone(&self.state.load());
        edit(&mut state);
        state.index();
        self.state.store(Arc::new(state));
    }
}

/// What kind of object something is, by its `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Policy { mutates: bool },
    Binding { mutates: bool },
}

impl Role {
    fn of(kind: &str) -> Option<Role> {
        Some(match kind {
            "ValidatingAdmissionPolicy" => Role::Policy { mutates: false },
            "MutatingAdmissionPolicy" => Role::Policy { mutates: true },
            "ValidatingAdmissionPolicyBinding" => Role::Binding { mutates: false },
            "MutatingAdmissionPolicyBinding" => Role::Binding { mutates: true },
            _ => return None,
        })
    }
}

impl Engine for AdmissionPolicies {
    fn name(&self) -> &'static str {
        "admission-policies"
    }

    fn governs(&self, group: &str, kind: &str) -> bool {
        group == GROUP && Role::of(kind).is_some()
    }

    fn check(&self, object: &mut Value, old: Option<&Value>, data: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        let role = Role::of(object["kind"].as_str().unwrap_or_default());
        let unchanged = old.is_some_and(|old| old.get("spec") == object.get("spec"));
        let flaws = match role {
            // What was stored once is not refused for what an older server let pass.
            _ if unchanged => Vec::new(),
            Some(Role::Policy { mutates }) => flaws::policy(object, mutates, Language::of_kubernetes(&object["spec"])),
            Some(Role::Binding { mutates }) => flaws::binding(object, mutates),
            None => Vec::new(),
        };
        if !flaws.is_empty() {
            return Err(flaws);
        }
        if role == Some(Role::Policy { mutates: false }) && !unchanged {
            let checked = types::check(object, data);
            let generation = meta::generation(object);
            let status = meta::entry(object, "status");
            status.insert("observedGeneration".into(), generation.into());
            status.insert("typeChecking".into(), checked);
        }
        Ok(Vec::new())
    }

    fn put(&self, object: &Value) {
        let name = meta::name(object).unwrap_or_default().to_owned();
        match Role::of(object["kind"].as_str().unwrap_or_default()) {
            Some(Role::Policy { mutates }) => {
                let policy = Arc::new(Policy::compile(object, mutates, Language::of_kubernetes(&object["spec"])));
                self.change(|it| drop(it.policies.insert((mutates, name), policy)));
            }
            Some(Role::Binding { mutates }) => {
                let binding = Arc::new(Binding::read(object));
                self.change(|it| drop(it.bindings.insert((mutates, name), binding)));
            }
            None => {}
        }
    }

    fn remove(&self, _: &str, kind: &str, _: &str, name: &str) {
        match Role::of(kind) {
            Some(Role::Policy { mutates }) => self.change(|it| drop(it.policies.remove(&(mutates, name.to_owned())))),
            Some(Role::Binding { mutates }) => self.change(|it| drop(it.bindings.remove(&(mutates, name.to_owned())))),
            None => {}
        }
    }

    fn wants(&self, review: &Review<'_>) -> bool {
        self.state.load().wants(review)
    }

    fn mutate(
        &self,
        review: &Review<'_>,
        object: &mut Value,
        turns: &mut Turns,
        data: &dyn Data,
    ) -> Result<Mutation, Denial> {
        let state = self.state.load();
        change::change(&state, review, object, turns, data)
    }

    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict {
        let state = self.state.load();
        let request = Request::new(review, data);
        judge::judge(&state, &request)
    }
}
