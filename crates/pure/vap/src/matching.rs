//! Which requests a policy or binding is about. Entry point: [`Matching`].

use std::sync::Arc;

use eyot_model::{
    kinds::{Kind, Table},
    meta,
    selector::LabelSelector,
};
use eyot_policy::{
    Review,
    rule::{self, Rule},
};
use serde_json::Value;

/// `MatchResources`.
#[derive(Debug)]
pub struct Matching {
    namespaces: LabelSelector,
    objects: LabelSelector,
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether other versions of the same objects are meant too.
    equivalent: bool,
}

impl Matching {
    /// Reads what was checked when it was written.
    pub fn read(matching: &Value) -> Matching {
        let selector = |field: &str| match matching[field].is_object() {
            true => LabelSelector::from_value(&matching[field]).unwrap_or_default(),
            false => LabelSelector::default(),
        };
        let rules = |field: &str| meta::list(matching.get(field)).iter().map(Rule::read).collect();
        Matching {
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: matching["matchPolicy"] != "Exact",
        }
    }

    /// The resources that its rules name, `*` among them.
    pub fn plurals(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(Rule::plurals)
    }

    /// The version of the request's kind in which it is about the request; `None` when it is not.
    ///
    /// A binding without rules is about everything that its policy is about.
    pub fn version(&self, review: &Review<'_>, kinds: &Table) -> Option<Version> {
        if !rule::selects_namespace(&self.namespaces, review) || !rule::selects_object(&self.objects, review) {
            return None;
        }
        if self.find(&self.excluded, review, kinds).is_some() {
            return None;
        }
        if self.rules.is_empty() { Some(Version::Requested) } else { self.find(&self.rules, review, kinds) }
    }

    fn find(&self, rules: &[Rule], review: &Review<'_>, kinds: &Table) -> Option<Version> {
        let is_about =
            |kind: &Kind| rules.iter().any(|it| it.matches(review.operation, kind, review.subresource, review.name));
        if is_about(review.requested) {
            return Some(Version::Requested);
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let storage = &review.requested.storage;
        let mut others = kinds.iter().filter(|it| it.storage == *storage && !it.create_only());
        others.find(|it| is_about(it)).map(|it| Version::Other(it.clone()))
    }
}

/// A version of a request's kind.
#[derive(Debug)]
pub enum Version {
    /// The request's own.
    Requested,
    /// One that means the same objects.
    Other(Arc<Kind>),
}
