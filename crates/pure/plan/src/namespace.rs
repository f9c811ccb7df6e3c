//! How a namespace that is being deleted gets emptied.
//!
//! Entry point: [`next`]. Pods go first, so that nothing they still use vanishes under them.

use crate::{
    Seconds,
    condition::{self, Condition},
};

/// What one pass over the namespace's content found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Pods left, after asking for their deletion.
    pub pods: usize,
    /// Other objects left by resource (`deployments.apps`), after asking for their deletion.
    pub others: Vec<(String, usize)>,
    /// Finalizers that hold the objects left, with how many objects each holds.
    pub finalizers: Vec<(String, usize)>,
    /// API groups that could not be listed, with the reason.
    pub undiscovered: Vec<String>,
    /// Deletions the API refused, with the reason.
    pub refused: Vec<String>,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Objects are on their way out: look again after so many milliseconds.
    Wait {
        /// Pause in milliseconds.
        milliseconds: u64,
    },
    /// Nothing is left: remove the `kubernetes` finalizer.
    Finalize,
}

/// Longest pause between two looks at a namespace that does not empty.
const LONGEST_WAIT_MS: u64 = 5_000;

/// Decides after the `pass`-th look (the first is 0).
pub fn next(found: &Found, pass: u32) -> Next {
    let left = found.pods + found.others.iter().map(|it| it.1).sum::<usize>();
    if left == 0 && found.undiscovered.is_empty() && found.refused.is_empty() {
        return Next::Finalize;
    }
    Next::Wait { milliseconds: (20 << pass.min(8)).min(LONGEST_WAIT_MS) }
}

/// The conditions that tell a user why a namespace is still there.
pub fn conditions(found: &Found, old: &[Condition], now: Seconds) -> Vec<Condition> {
    let mut all = old.to_vec();
    let mut put = |kind: &str, bad: &str, good: &str, trouble: Option<String>, fine: &str| {
        let new = match trouble {
            Some(message) => Condition::new(kind, "True", bad, message, now),
            None => Condition::new(kind, "False", good, fine, now),
        };
        condition::set(&mut all, new);
    };
    let listed = |items: &[String]| (!items.is_empty()).then(|| items.join("; "));
    let undiscovered = listed(&found.undiscovered).map(|it| format!("Discovery failed for some groups: {it}"));
    put(
        "NamespaceDeletionDiscoveryFailure",
        "DiscoveryFailed",
        "ResourcesDiscovered",
        undiscovered,
        "All resources successfully discovered",
    );
    let refused = listed(&found.refused).map(|it| format!("Failed to delete all resource types: {it}"));
    put(
        "NamespaceDeletionContentFailure",
        "ContentDeletionFailed",
        "ContentDeleted",
        refused,
        "All content successfully deleted, may be waiting on finalization",
    );
    put(
        "NamespaceContentRemaining",
        "SomeResourcesRemain",
        "ContentRemoved",
        remaining(found),
        "All content successfully removed",
    );
    let holding: Vec<String> =
        found.finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let holding = (!holding.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", holding.join(", ")));
    put(
        "NamespaceFinalizersRemaining",
        "SomeFinalizersRemain",
        "ContentHasNoFinalizers",
        holding,
        "All content-preserving finalizers finished",
    );
    all
}

fn remaining(found: &Found) -> Option<String> {
    let pods = (found.pods > 0).then(|| ("pods.".to_owned(), found.pods));
    let rows: Vec<String> = pods
        .iter()
        .chain(&found.others)
        .filter(|(_, count)| *count > 0)
        .map(|(resource, count)| format!("{resource} has {count} resource instances"))
        .collect();
    (!rows.is_empty()).then(|| format!("Some resources are remaining: {}", rows.join(", ")))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn waits_longer_each_time_and_finalizes_only_when_empty() {
        let some = Found { pods: 1, ..Found::default() };
        assert_eq!(next(&some, 0), Next::Wait { milliseconds: 20 });
        assert_eq!(next(&some, 99), Next::Wait { milliseconds: LONGEST_WAIT_MS });
        let hidden = Found { undiscovered: vec!["metrics.k8s.io/v1".into()], ..Found::default() };
        assert_eq!(next(&hidden, 1), Next::Wait { milliseconds: 40 });
        assert_eq!(next(&Found::default(), 3), Next::Finalize);
    }

    #[test]
    fn conditions_name_what_is_left() {
        let found = Found {
            pods: 2,
            others: vec![("widgets.example.com".into(), 1)],
            finalizers: vec![("example.com/hold".into(), 1)],
            ..Found::default()
        };
        let rows: Vec<String> =
            conditions(&found, &[], 7).iter().map(|it| format!("{}={} {}\n", it.kind, it.status, it.message)).collect();
        expect![[r#"
            NamespaceDeletionDiscoveryFailure=False All resources successfully discovered
            NamespaceDeletionContentFailure=False All content successfully deleted, may be waiting on finalization
            NamespaceContentRemaining=True Some resources are remaining: pods. has 2 resource instances, widgets.example.com has 1 resource instances
            NamespaceFinalizersRemaining=True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances
        "#]]
        .assert_eq(&rows.concat());
    }
}
