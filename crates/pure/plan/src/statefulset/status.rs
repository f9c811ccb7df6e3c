//! What a StatefulSet reports.

use super::{Pass, Step, Strategy};

/// `status` of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Generation this status speaks of.
    pub observed_generation: i64,
    /// Pods that exist.
    pub replicas: i32,
    /// Ready pods.
    pub ready: i32,
    /// Pods ready for at least `minReadySeconds`.
    pub available: i32,
    /// Pods of the revision before the update under way.
    pub current: i32,
    /// Pods of the present template.
    pub updated: i32,
    /// Name of the revision before the update under way.
    pub current_revision: String,
    /// Name of the present template's revision.
    pub update_revision: String,
    /// How often the name of a new revision was taken by a stranger.
    pub collision_count: Option<i32>,
}

impl Pass<'_> {
    /// The status, with what the steps of this pass are about to do to it.
    pub(super) fn status(&self, steps: &[Step]) -> Status {
        let mut status = Status {
            observed_generation: self.spec.generation,
            current_revision: self.revisions.current.to_owned(),
            update_revision: self.revisions.update.to_owned(),
            collision_count: self.old.collision_count,
            ..Status::default()
        };
        for pod in self.pods {
            status.replicas += 1;
            status.ready += i32::from(self.ready(pod));
            status.available += i32::from(self.available(pod));
            if !pod.deleting {
                status.current += i32::from(pod.revision == self.revisions.current);
                status.updated += i32::from(pod.revision == self.revisions.update);
            }
        }
        for step in steps {
            if let Step::Replace(at) | Step::Remove(at) = step {
                status.current -= i32::from(self.pods[*at].revision == self.revisions.current);
                status.updated -= i32::from(self.pods[*at].revision == self.revisions.update);
            }
        }
        self.complete(&mut status);
        status
    }

    /// Once every pod is of the present template, that is the current one.
    fn complete(&self, status: &mut Status) {
        let wanted = self.spec.replicas;
        let rolling = matches!(self.spec.strategy, Strategy::RollingUpdate { .. });
        if rolling && status.updated == wanted && status.replicas == wanted && status.ready == wanted {
            status.current = status.updated;
            status.current_revision.clone_from(&status.update_revision);
        }
    }
}
