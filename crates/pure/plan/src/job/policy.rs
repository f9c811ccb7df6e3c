//! What a failed pod means for its Job: pod failure policies and success policies.
//!
//! Entry points: [`judge`] and [`met`].

use super::{Pod, indexes::Indexes};

/// One rule of `podFailurePolicy`; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a match means.
    pub action: Action,
    /// What it looks at.
    pub on: On,
}

/// What a rule does about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The whole Job fails.
    FailJob,
    /// The pod's index fails, without another try.
    FailIndex,
    /// The failure does not count.
    Ignore,
    /// The failure counts, as it does without any rule.
    Count,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Exit codes other than 0.
    ExitCodes {
        /// Of this container only.
        container: Option<String>,
        /// One of `values`, or none of them.
        among: bool,
        /// The codes.
        values: Vec<i32>,
    },
    /// Conditions of the pod, as type and status; any will do.
    Conditions(Vec<(String, String)>),
}

/// How a container of a failed pod ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its name.
    pub container: String,
    /// Its exit code.
    pub code: i32,
}

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// Its index fails.
    FailIndex,
    /// The Job fails, with this message.
    FailJob(String),
}

/// Applies the rules to a failed pod.
pub fn judge(rules: &[Rule], pod: &Pod) -> Judgement {
    for (at, rule) in rules.iter().enumerate() {
        let Some(what) = rule.on.find(pod) else { continue };
        return match rule.action {
            Action::Count => Judgement::Count,
            Action::Ignore => Judgement::Ignore,
            Action::FailIndex => Judgement::FailIndex,
            Action::FailJob => Judgement::FailJob(format!("{what} matching FailJob rule at index {at}")),
        };
    }
    Judgement::Count
}

impl On {
    /// What of the pod matches, in words.
    fn find(&self, pod: &Pod) -> Option<String> {
        match self {
            On::ExitCodes { container, among, values } => {
                let asked = |it: &&Exit| it.code != 0 && container.as_ref().is_none_or(|name| *name == it.container);
                let exit = pod.exits.iter().filter(asked).find(|it| values.contains(&it.code) == *among)?;
                Some(format!("Container {} for pod {} failed with exit code {}", exit.container, pod.name, exit.code))
            }
            On::Conditions(wanted) => {
                let found = wanted.iter().find(|it| pod.conditions.contains(it))?;
                Some(format!("Pod {} has condition {}", pod.name, found.0))
            }
        }
    }
}

/// One rule of `successPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criterion {
    /// Only these indexes count.
    pub indexes: Option<Indexes>,
    /// So many have to succeed; all of `indexes` when absent.
    pub count: Option<i32>,
}

/// Position of the first rule that the completed indexes meet.
pub fn met(rules: &[Criterion], completed: &Indexes) -> Option<usize> {
    rules.iter().position(|rule| {
        let counted = rule.indexes.as_ref().map_or(completed.len(), |it| it.shared(completed));
        let wanted = rule.count.or_else(|| rule.indexes.as_ref().map(Indexes::len));
        wanted.is_some_and(|it| counted >= it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Phase;

    fn pod(exits: &[(&str, i32)], conditions: &[(&str, &str)]) -> Pod {
        let exits = exits.iter().map(|it| Exit { container: it.0.into(), code: it.1 }).collect();
        let conditions = conditions.iter().map(|it| (it.0.into(), it.1.into())).collect();
        Pod { name: "ns/p".into(), phase: Phase::Failed, exits, conditions, ..Pod::default() }
    }

    fn codes(action: Action, container: Option<&str>, among: bool, values: &[i32]) -> Rule {
        Rule { action, on: On::ExitCodes { container: container.map(Into::into), among, values: values.to_vec() } }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let disrupted = On::Conditions(vec![("DisruptionTarget".into(), "True".into())]);
        let rules = [
            Rule { action: Action::Ignore, on: disrupted },
            codes(Action::FailJob, Some("main"), true, &[42]),
            codes(Action::FailIndex, None, true, &[3, 4]),
            codes(Action::Count, None, false, &[9]),
            codes(Action::Ignore, None, true, &[9]),
        ];
        let failed = "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 1";
        for (pod, want) in [
            (pod(&[("main", 42)], &[("DisruptionTarget", "True")]), Judgement::Ignore),
            (pod(&[("main", 42)], &[("DisruptionTarget", "False")]), Judgement::FailJob(failed.into())),
            (pod(&[("side", 42)], &[]), Judgement::Count),
            (pod(&[("main", 0), ("side", 4)], &[]), Judgement::FailIndex),
            (pod(&[("main", 9)], &[]), Judgement::Ignore),
            (pod(&[("main", 0)], &[]), Judgement::Count),
            (pod(&[], &[]), Judgement::Count),
        ] {
            assert_eq!(judge(&rules, &pod), want, "{pod:?}");
        }
    }

    #[test]
    fn success_asks_for_indexes_for_a_number_or_for_both() {
        let rule =
            |indexes: Option<&str>, count| Criterion { indexes: indexes.map(|it| Indexes::parse(it, 10)), count };
        let done = Indexes::parse("0-2,5", 10);
        for (rules, want) in [
            (vec![rule(Some("0-2"), None)], Some(0)),
            (vec![rule(Some("0-3"), None)], None),
            (vec![rule(Some("0-3"), Some(3))], Some(0)),
            (vec![rule(None, Some(5)), rule(None, Some(4))], Some(1)),
            (vec![rule(None, None)], None),
            (vec![], None),
        ] {
            assert_eq!(met(&rules, &done), want, "{rules:?}");
        }
    }
}
