//! What autoscalers made of it: the last decision on each thing that scales by requests. Entry point: [`Scales`].

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// The last decision about one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    /// Instances that it shall have.
    pub desired: i32,
    /// Instances that it was asked to have before.
    pub asked: i32,
    /// Instances that take requests.
    pub ready: i32,
    /// Whether the decision followed a rush.
    pub panics: bool,
    /// What one instance shall have of the metric.
    pub target: f64,
    /// Requests under way.
    pub in_flight: u32,
}

/// The last decisions, by `namespace/name`, and what was done because of measurements.
///
/// Written at decisions, never for requests: a lock is cheap enough.
#[derive(Debug, Default)]
pub struct Scales {
    last: Mutex<BTreeMap<Box<str>, Scale>>,
    rollbacks: Mutex<BTreeMap<Box<str>, u64>>,
    decisions: AtomicU64,
}

impl Scales {
    /// Notes a decision.
    pub fn note(&self, name: &str, scale: Scale) {
        self.decisions.fetch_add(1, Relaxed);
        self.last.lock().insert(name.into(), scale);
    }

    /// Forgets what is gone.
    pub fn forget(&self, name: &str) {
        self.last.lock().remove(name);
    }

    /// Counts that a route went back to an earlier revision.
    pub fn rolled_back(&self, route: &str) {
        *self.rollbacks.lock().entry(route.into()).or_default() += 1;
    }

    /// Forgets a route that is gone.
    pub fn forget_route(&self, route: &str) {
        self.rollbacks.lock().remove(route);
    }

    /// The last decisions.
    pub(crate) fn read(&self) -> Vec<(Box<str>, Scale)> {
        self.last.lock().iter().map(|(name, it)| (name.clone(), *it)).collect()
    }

    pub(crate) fn rollbacks(&self) -> Vec<(Box<str>, u64)> {
        self.rollbacks.lock().iter().map(|(name, it)| (name.clone(), *it)).collect()
    }

    pub(crate) fn decisions(&self) -> u64 {
        self.decisions.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_no_more() {
        let scales = Scales::default();
        scales.note("ns/a", Scale::default());
        scales.rolled_back("ns/a");
        scales.rolled_back("ns/a");
        assert_eq!((scales.rollbacks(), scales.read().len()), (vec![("ns/a".into(), 2)], 1));
        scales.forget("ns/a");
        scales.forget_route("ns/a");
        assert!(scales.rollbacks().is_empty() && scales.read().is_empty());
    }
}
