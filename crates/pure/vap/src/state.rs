//! What is in force at one moment. Entry point: [`State`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use eyot_policy::Review;

use crate::{binding::Binding, policy::Policy};

/// All policies and bindings. The key says whether they mutate, then their name.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) policies: BTreeMap<(bool, String), Arc<Policy>>,
    pub(crate) bindings: BTreeMap<(bool, String), Arc<Binding>>,
    judging: Index,
    changing: Index,
}

/// A policy that is bound, with its bindings by name.
pub(crate) struct Bound {
    pub(crate) policy: Arc<Policy>,
    pub(crate) bindings: Vec<Arc<Binding>>,
}

/// Policies by the resources that their rules name.
#[derive(Clone, Default)]
struct Index {
    by_plural: HashMap<String, Vec<Arc<Bound>>>,
    /// Those about all resources; they are in the lists above as well.
    others: Vec<Arc<Bound>>,
}

impl Index {
    fn new(bound: &[Arc<Bound>]) -> Index {
        let mut index = Index::default();
        let plurals = bound.iter().flat_map(|it| it.policy.matching.plurals()).filter(|it| *it != "*");
        for plural in plurals {
            if index.by_plural.contains_key(plural) {
                continue;
            }
            let about = |it: &&Arc<Bound>| it.policy.matching.plurals().any(|it| it == "*" || it == plural);
            index.by_plural.insert(plural.to_owned(), bound.iter().filter(about).cloned().collect());
        }
        let about_all = |it: &&Arc<Bound>| it.policy.matching.plurals().any(|it| it == "*");
        index.others = bound.iter().filter(about_all).cloned().collect();
        index
    }

    fn about(&self, plural: &str) -> &[Arc<Bound>] {
        // Most servers have no policy at all.
        if self.by_plural.is_empty() {
            return &self.others;
        }
        self.by_plural.get(plural).unwrap_or(&self.others)
    }
}

impl State {
    /// Brings the index up to date.
    pub(crate) fn index(&mut self) {
        let of = |mutates: bool| {
            let policies = self.policies.iter().filter(|it| it.0.0 == mutates);
            let bound = policies.filter_map(|((_, name), policy)| {
                let own = self.bindings.iter().filter(|it| it.0.0 == mutates && it.1.policy == *name);
                let bindings: Vec<Arc<Binding>> = own.map(|it| it.1.clone()).collect();
                (!bindings.is_empty()).then(|| Arc::new(Bound { policy: policy.clone(), bindings }))
            });
            Index::new(&bound.collect::<Vec<_>>())
        };
        (self.judging, self.changing) = (of(false), of(true));
    }

    /// Whether any policy may be about a request.
    pub(crate) fn wants(&self, review: &Review<'_>) -> bool {
        let plural = review.requested.plural.as_str();
        !self.judging.about(plural).is_empty() || !self.changing.about(plural).is_empty()
    }

    /// Policies that may judge a resource, by name.
    pub(crate) fn judging(&self, plural: &str) -> &[Arc<Bound>] {
        self.judging.about(plural)
    }

    /// Policies that may change a resource, by name.
    pub(crate) fn changing(&self, plural: &str) -> &[Arc<Bound>] {
        self.changing.about(plural)
    }
}
