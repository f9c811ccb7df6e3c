//! Spreads a changed Deployment size over its ReplicaSets in proportion, as when scaled in the middle of a rollout.

use super::{Rollout, Strategy};

impl Rollout<'_> {
    /// Gives the ReplicaSets their share of the Deployment's new size.
    pub(super) fn scale(&mut self) {
        if let Some(only) = self.only_active() {
            return self.resize(only, self.spec.replicas);
        }
        if let Some(new) = self.new.filter(|new| self.saturated(*new)) {
            for index in self.old() {
                if index != new && self.sizes[index] > 0 {
                    self.resize(index, 0);
                }
            }
            return;
        }
        if matches!(self.spec.strategy, Strategy::RollingUpdate { .. }) {
            self.scale_in_proportion();
        }
    }

    /// The one set with pods, or the latest when none has any; `None` when several have.
    fn only_active(&self) -> Option<usize> {
        let mut active = (0..self.sizes.len()).filter(|index| self.sizes[*index] > 0);
        match (active.next(), active.next()) {
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) => None,
            (None, _) => self.new.or_else(|| self.old().last().copied()),
        }
    }

    fn saturated(&self, new: usize) -> bool {
        let set = &self.sets[new];
        set.size == self.spec.replicas && set.desired == Some(self.spec.replicas) && set.available == self.spec.replicas
    }

    fn scale_in_proportion(&mut self) {
        let allowed = if self.spec.replicas > 0 { self.spec.replicas + self.spec.max_surge() } else { 0 };
        let to_add = allowed - self.total();
        let order = self.largest_first(to_add > 0);
        let mut added = 0;
        let mut sizes: Vec<(usize, i32)> = Vec::new();
        for &index in &order {
            let share = self.share(index, to_add, added);
            added += share;
            sizes.push((index, self.sizes[index] + share));
        }
        if let Some((_, first)) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (index, size) in sizes {
            self.resize(index, size);
        }
    }

    /// Sets with pods, largest first; among equals the newer first when growing, the older first when shrinking.
    fn largest_first(&self, growing: bool) -> Vec<usize> {
        let mut active: Vec<usize> = (0..self.sizes.len()).filter(|index| self.sizes[*index] > 0).collect();
        active.sort_by(|a, b| {
            let by_age = super::by_age(&self.sets[*a], &self.sets[*b]);
            self.sizes[*b].cmp(&self.sizes[*a]).then(if growing { by_age.reverse() } else { by_age })
        });
        active
    }

    /// How many of `to_add` pods (negative: to remove) fall to this set, when `added` are given out already.
    fn share(&self, index: usize, to_add: i32, added: i32) -> i32 {
        let left = to_add - added;
        if self.sizes[index] == 0 || left == 0 {
            return 0;
        }
        let fraction = self.fraction(index);
        if to_add > 0 { fraction.clamp(0, left.max(0)) } else { fraction.clamp(left.min(0), 0) }
    }

    /// Change that keeps this set's part of the whole, rounded to the nearest pod.
    fn fraction(&self, index: usize) -> i32 {
        let size = self.sizes[index];
        if self.spec.replicas == 0 {
            return -size;
        }
        let before = match self.sets[index].max {
            Some(max) if max > 0 => max,
            _ => self.sets.iter().map(|it| it.replicas).sum(),
        };
        if before <= 0 {
            return 0;
        }
        let now = f64::from(self.spec.replicas + self.spec.max_surge());
        let ideal = f64::from(size) * now / f64::from(before);
        // The counts fit in i32, so their product over a count does after clamping.
        ideal.round().clamp(0.0, f64::from(i32::MAX)) as i32 - size
    }
}
