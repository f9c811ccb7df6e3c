//! Replaces pods of old templates, a few nodes at a time.

use super::{Pass, Strategy, Why};
use crate::amount::Rounding;

/// What a node has, of pods that are not being deleted.
enum Stock {
    /// Nothing, or more than an update may look at.
    Unclear,
    New(usize),
    Old(usize),
    Both {
        new: usize,
        old: usize,
    },
}

impl Pass<'_> {
    pub(super) fn update(&mut self) {
        let Strategy::RollingUpdate { max_unavailable, .. } = self.spec.strategy else { return };
        match self.surge() {
            0 => {
                // As Kubernetes does, at least one node may be without; else nothing would ever move.
                let away = max_unavailable.of(self.desired(), Rounding::Up).max(1);
                self.replace(away);
            }
            surge => self.surge_ahead(surge),
        }
    }

    fn stock(&self, pods: &[usize]) -> Stock {
        let staying = || pods.iter().copied().filter(|it| !self.pods[*it].deleting);
        let new: Vec<usize> = staying().filter(|it| self.pods[*it].updated).collect();
        let old: Vec<usize> = staying().filter(|it| !self.pods[*it].updated).collect();
        match (new.as_slice(), old.as_slice()) {
            ([new], []) => Stock::New(*new),
            ([], [old]) => Stock::Old(*old),
            ([new], [old]) => Stock::Both { new: *new, old: *old },
            _ => Stock::Unclear,
        }
    }

    /// Deletes old pods; those that serve nobody first, they cost nothing.
    fn replace(&mut self, away: i32) {
        let (mut unavailable, mut idle, mut serving) = (0, Vec::new(), Vec::new());
        for node in self.nodes.iter().filter(|it| it.place.wanted) {
            match self.stock(&node.pods) {
                Stock::Old(old) if self.available(&self.pods[old]) => serving.push(old),
                Stock::Old(old) => {
                    idle.push(old);
                    unavailable += 1;
                }
                Stock::New(new) => unavailable += i32::from(!self.available(&self.pods[new])),
                Stock::Both { .. } | Stock::Unclear => unavailable += 1,
            }
        }
        let room = usize::try_from(away - unavailable).unwrap_or(0);
        let gone = idle.into_iter().chain(serving.into_iter().take(room));
        self.plan.delete.extend(gone.map(|it| (it, Why::Outdated)));
    }

    /// Creates new pods beside old ones; an old one goes when its node has an available new one. Where the old one serves
    /// nobody, the new one does not count against the surge.
    fn surge_ahead(&mut self, surge: i32) {
        let (mut extra, mut idle, mut serving) = (0, Vec::new(), Vec::new());
        for (at, node) in self.nodes.iter().enumerate().filter(|it| it.1.place.wanted) {
            match self.stock(&node.pods) {
                Stock::Old(old) if self.available(&self.pods[old]) => serving.push(at),
                Stock::Old(_) => idle.push(at),
                Stock::Both { new, old } if self.available(&self.pods[new]) => {
                    self.plan.delete.push((old, Why::Outdated));
                }
                Stock::Both { .. } | Stock::Unclear => extra += 1,
                Stock::New(_) => {}
            }
        }
        let room = usize::try_from(surge - extra).unwrap_or(0);
        self.plan.create.extend(idle.into_iter().chain(serving.into_iter().take(room)));
    }
}
