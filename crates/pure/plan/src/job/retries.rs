//! Retries of single indexes (`backoffLimitPerIndex`).
//!
//! How often an index has failed is written on its pods: each replacement carries the count on. So the last failed pod of
//! an index is held until its replacement is there.

use super::{BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS, Create, Pass, Phase, Pod, policy::Judgement};
use crate::Seconds;

impl Pass<'_> {
    /// Takes in the indexes that will not be tried again.
    pub(super) fn fail_indexes(&mut self) {
        let Some(limit) = self.spec.backoff_limit_per_index else { return };
        for pod in self.pods.iter().filter(|it| it.phase == Phase::Failed) {
            let Some(index) = pod.index.filter(|it| !self.old.completed_indexes.contains(*it)) else { continue };
            let spent = match self.judge(pod) {
                Judgement::FailIndex => true,
                Judgement::Ignore => false,
                Judgement::Count | Judgement::FailJob(_) => pod.failures >= limit,
            };
            if spent && (0..self.spec.completions.unwrap_or(0)).contains(&index) {
                self.plan.status.failed_indexes.insert(index);
            }
        }
    }

    /// The pod keeps its finalizer, since it carries the count for a replacement that is not there yet.
    pub(super) fn held(&self, pod: &Pod) -> bool {
        let Some(index) = pod.index.filter(|_| self.spec.backoff_limit_per_index.is_some()) else { return false };
        let status = &self.plan.status;
        let open = !status.failed_indexes.contains(index) && !status.completed_indexes.contains(index);
        let newer = |it: &Pod| it.index == Some(index) && (it.phase != Phase::Failed || it.tries() > pod.tries());
        open && pod.phase == Phase::Failed && !self.ending() && !self.pods.iter().any(newer)
    }

    /// Creates pods for indexes that are free and not held back by earlier failures.
    pub(super) fn create_indexes(&mut self, count: usize) {
        let mut left = count;
        for index in self.free_indexes() {
            if left == 0 {
                return;
            }
            let failed = self.pods.iter().filter(|it| it.index == Some(index) && it.phase == Phase::Failed);
            let Some(last) = failed.max_by_key(|it| it.tries()) else {
                self.plan.create.push(Create { index: Some(index), ..Create::default() });
                left -= 1;
                continue;
            };
            let ignored = self.judge(last) == Judgement::Ignore;
            let next = Create {
                index: Some(index),
                failures: last.failures + i32::from(!ignored),
                ignored: last.ignored + i32::from(ignored),
            };
            let pause = last.finished.map_or(0, |it| it + pause(last.tries()) - self.now);
            if pause > 0 {
                self.plan.wait = Some(self.plan.wait.map_or(pause, |it| it.min(pause)));
            } else {
                self.plan.create.push(next);
                left -= 1;
            }
        }
    }
}

impl Pod {
    /// How many pods of its index failed before it.
    fn tries(&self) -> i32 {
        self.failures.saturating_add(self.ignored)
    }
}

/// Doubling with each try.
fn pause(tries: i32) -> Seconds {
    (BACKOFF_BASE_SECONDS << tries.clamp(0, 10)).min(BACKOFF_MAX_SECONDS)
}
