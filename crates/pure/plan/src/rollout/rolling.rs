//! The two strategies: overlap within bounds, or all old before the first new.

use super::{Rollout, Step};

impl Rollout<'_> {
    /// One pass of a rolling update: grow the new set if there is room, else shrink old ones if that is safe.
    pub(super) fn roll(&mut self) {
        let Some(new) = self.new else {
            let size = self.room_for_new(0);
            return self.steps.push(Step::Create { size });
        };
        let present = self.sizes[new];
        let wanted = match present.cmp(&self.spec.replicas) {
            std::cmp::Ordering::Less => self.room_for_new(present),
            _ => self.spec.replicas,
        };
        if wanted != present {
            return self.resize(new, wanted);
        }
        self.shrink_old(new);
    }

    /// One pass of a recreate: old sets to zero, wait until their pods are gone, then the new one at full size.
    pub(super) fn recreate(&mut self, old_pods_run: bool) {
        let active: Vec<usize> = self.old().into_iter().filter(|index| self.sizes[*index] > 0).collect();
        if !active.is_empty() {
            for index in active {
                self.resize(index, 0);
            }
            return;
        }
        if old_pods_run {
            return;
        }
        match self.new {
            None => self.steps.push(Step::Create { size: self.spec.replicas }),
            Some(new) if self.sizes[new] != self.spec.replicas => self.resize(new, self.spec.replicas),
            Some(_) => {}
        }
    }

    /// Size the new set may have, given its present one and what the others take of the allowed total.
    fn room_for_new(&self, present: i32) -> i32 {
        if matches!(self.spec.strategy, super::Strategy::Recreate) {
            return self.spec.replicas;
        }
        // Pods that a smaller size has not removed yet take room as well.
        let taken: i32 = self.sets.iter().zip(&self.sizes).map(|(set, size)| set.replicas.max(*size)).sum();
        let room = self.spec.replicas + self.spec.max_surge() - taken;
        present + room.clamp(0, (self.spec.replicas - present).max(0))
    }

    fn shrink_old(&mut self, new: usize) {
        let old = self.old();
        if old.iter().all(|index| self.sizes[*index] == 0) {
            return;
        }
        let least_available = self.spec.replicas - self.spec.max_unavailable();
        let new_unavailable = (self.sizes[new] - self.sets[new].available).max(0);
        let may_go = self.total() - least_available - new_unavailable;
        if may_go <= 0 {
            return;
        }
        self.drop_unhealthy(&old, may_go);
        self.drop_healthy(&old, least_available);
    }

    /// Pods that serve nobody go first: they cost no availability.
    fn drop_unhealthy(&mut self, old: &[usize], mut may_go: i32) {
        for &index in old {
            let unhealthy = self.sizes[index] - self.sets[index].available;
            let drop = unhealthy.min(may_go);
            if self.sizes[index] > 0 && drop > 0 {
                may_go -= drop;
                self.resize(index, self.sizes[index] - drop);
            }
        }
    }

    fn drop_healthy(&mut self, old: &[usize], least_available: i32) {
        // A set that was made smaller may still report pods that are about to go.
        let available: i32 = self.sets.iter().zip(&self.sizes).map(|(set, size)| set.available.min(*size)).sum();
        let mut may_go = available - least_available;
        for &index in old {
            let drop = self.sizes[index].min(may_go);
            if drop > 0 {
                may_go -= drop;
                self.resize_again(index, self.sizes[index] - drop);
            }
        }
    }

    /// Like `resize`, but folds into a step for the same set that this pass has already planned.
    fn resize_again(&mut self, index: usize, size: i32) {
        let planned = self.steps.iter_mut().find_map(|step| match step {
            Step::Scale { index: at, size } if *at == index => Some(size),
            _ => None,
        });
        match planned {
            Some(planned) => {
                *planned = size;
                self.sizes[index] = size;
            }
            None => self.resize(index, size),
        }
    }
}
