//! Everything that is in force, compiled: one immutable snapshot.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::{Config, Gvk},
    constraint::Constraint,
    expand::Expansion,
    inventory::Kept,
    matching::Match,
    mutate::Mutator,
    template::Template,
};

/// Groups and kinds that something is about; empty lists are all.
pub(crate) type Interest = (Vec<String>, Vec<String>);

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// By kind.
    pub(crate) templates: BTreeMap<String, Arc<Template>>,
    /// By kind and name.
    pub(crate) constraints: BTreeMap<(String, String), Arc<Constraint>>,
    /// By kind and name: the order in which they are applied.
    pub(crate) mutators: BTreeMap<(String, String), Arc<Mutator>>,
    pub(crate) expansions: BTreeMap<String, Arc<Expansion>>,
    pub(crate) config: Config,
    pub(crate) syncsets: BTreeMap<String, Vec<Gvk>>,
    /// The inventory for the kinds that are asked for by this state.
    pub(crate) kept: Arc<Kept>,
    /// What constraints are about.
    judged: Vec<Interest>,
    /// What mutators are about.
    mutated: Vec<Interest>,
}

impl State {
    /// Brings the indexes up to date.
    pub(crate) fn index(&mut self) {
        self.kept = Arc::default();
        let constraints = self.constraints.values();
        let known = constraints.filter(|it| self.templates.contains_key(&it.kind));
        self.judged = interests(known.map(|it| &it.matching));
        self.mutated = interests(self.mutators.values().map(|it| &it.matching));
    }

    /// Whether a constraint may be about objects of a kind, or about what comes of them.
    pub(crate) fn judges(&self, group: &str, kind: &str) -> bool {
        !self.judged.is_empty()
            && (about(&self.judged, group, kind) || self.expansions.values().any(|it| it.applies(group, kind)))
    }

    /// Whether a mutator may be about objects of a kind.
    pub(crate) fn mutates(&self, group: &str, kind: &str) -> bool {
        about(&self.mutated, group, kind)
    }

    /// The kinds that `data.inventory` holds: what `Config`, `SyncSet`s and templates ask for.
    pub(crate) fn synced(&self) -> Vec<Gvk> {
        let required = self.templates.values().filter(|it| it.policy.looks_up()).flat_map(|it| &it.requires);
        let mut all: Vec<Gvk> =
            self.config.sync.iter().chain(self.syncsets.values().flatten()).chain(required).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

fn interests<'a>(matches: impl Iterator<Item = &'a Match>) -> Vec<Interest> {
    let mut out: Vec<Interest> = Vec::new();
    for it in matches {
        if it.kinds.is_empty() {
            return vec![(Vec::new(), Vec::new())];
        }
        out.extend(it.kinds.iter().cloned());
    }
    out.sort();
    out.dedup();
    out
}

fn about(interests: &[Interest], group: &str, kind: &str) -> bool {
    let holds = |list: &[String], word: &str| list.is_empty() || list.iter().any(|it| it == "*" || it == word);
    interests.iter().any(|(groups, kinds)| holds(kinds, kind) && holds(groups, group))
}
