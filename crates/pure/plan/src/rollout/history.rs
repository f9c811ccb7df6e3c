//! Forgets the oldest ReplicaSets beyond the history limit.

use super::{Rollout, Step};

impl Rollout<'_> {
    /// Deletes old, empty sets beyond the limit, lowest revision first.
    pub(super) fn trim_history(&mut self) {
        let mut old: Vec<usize> = self.old().into_iter().filter(|index| !self.sets[*index].deleting).collect();
        let surplus = old.len().saturating_sub(usize::try_from(self.spec.history_limit).unwrap_or(0));
        old.sort_by_key(|index| self.sets[*index].revision);
        for index in old.into_iter().take(surplus) {
            let set = &self.sets[index];
            if set.size == 0 && set.replicas == 0 && set.observed {
                self.steps.push(Step::Delete { index });
            }
        }
    }
}
