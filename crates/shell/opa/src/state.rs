//! The policies in force: one snapshot, swapped as a whole. Entry points: [`State`], [`Policies`].
//!
//! A request sees the policies before a change or after it, never neither.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use eyot_dispatch::Way;
use parking_lot::Mutex;

use crate::{
    decider::{DecideError, Decider},
    spec::{Source, Spec, Target, TargetKind},
};

/// One policy in force.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) spec: Arc<Spec>,
    /// What decides, or why nothing does yet.
    pub(crate) decider: Result<Arc<Decider>, String>,
}

impl Policy {
    /// What decides.
    pub(crate) fn decider(&self) -> Result<&Arc<Decider>, DecideError> {
        self.decider.as_ref().map_err(|why| DecideError::Absent(why.clone()))
    }

    /// Whether nothing will decide before somebody writes the policy anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.decider.is_err() && matches!(self.spec.source, Source::Inline { .. })
    }
}

/// All policies, indexed by what they are about.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) policies: BTreeMap<String, Arc<Policy>>,
    pub(crate) admission: Vec<Arc<Policy>>,
    targets: HashMap<(TargetKind, String), Vec<Arc<Policy>>>,
}

impl State {
    fn of(policies: BTreeMap<String, Arc<Policy>>) -> State {
        let admission = policies.values().filter(|it| it.spec.admission.is_some()).cloned().collect();
        let mut targets: HashMap<_, Vec<_>> = HashMap::new();
        for policy in policies.values() {
            for Target { kind, name } in policy.spec.authorization.iter().flat_map(|it| &it.targets) {
                targets.entry((*kind, name.clone())).or_default().push(policy.clone());
            }
        }
        State { policies, admission, targets }
    }

    /// The policies that are about requests that go a way: those of the Gateway first, of the Service last.
    pub(crate) fn on<'a>(&'a self, way: &Way<'a>) -> impl Iterator<Item = &'a Arc<Policy>> {
        let places = [
            (TargetKind::Gateway, way.gateway),
            (TargetKind::HttpRoute, way.route),
            (TargetKind::Ingress, way.ingress),
            (TargetKind::Service, way.service),
        ];
        // A map that nobody is in costs no more than the question.
        let places = if self.targets.is_empty() { [(TargetKind::Gateway, None); 4] } else { places };
        places.into_iter().filter_map(|(kind, name)| self.targets.get(&(kind, name?.to_owned()))).flatten()
    }
}

/// The snapshot and who may change it.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    state: ArcSwap<State>,
    /// Held while a new snapshot is made from the last one.
    changing: Mutex<()>,
}

impl Policies {
    pub(crate) fn load_full(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Puts a policy in force, in place of the one of its name.
    pub(crate) fn put(&self, policy: Policy) {
        self.change(|policies| drop(policies.insert(policy.name.clone(), Arc::new(policy))));
    }

    /// Takes a policy out of force.
    pub(crate) fn remove(&self, name: &str) {
        self.change(|policies| drop(policies.remove(name)));
    }

    /// Gives a policy another decider, unless its object has changed meanwhile. Tells whether it was taken.
    pub(crate) fn renew(&self, name: &str, identity: &str, decider: Arc<Decider>) -> bool {
        let mut taken = false;
        self.change(|policies| {
            let Some(policy) = policies.get(name) else { return };
            let Source::Bundle(source) = &policy.spec.source else { return };
            if source.identity != identity {
                return;
            }
            let Policy { name, generation, spec, .. } = &**policy;
            let renewed =
                Policy { name: name.clone(), generation: *generation, spec: spec.clone(), decider: Ok(decider) };
            policies.insert(name.clone(), Arc::new(renewed));
            taken = true;
        });
        taken
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Policy>>)) {
        let _changing = self.changing.lock();
        let mut policies = self.state.load().policies.clone();
        change(&mut policies);
        self.state.store(Arc::new(State::of(policies)));
    }
}
