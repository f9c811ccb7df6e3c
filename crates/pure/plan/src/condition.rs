//! Status conditions, updated the way Kubernetes' controllers do.

use crate::Seconds;

/// One entry of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`, such as `Available`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase word for machines.
    pub reason: String,
    /// Sentence for people.
    pub message: String,
    /// When anything about it was last written.
    pub updated: Seconds,
    /// When `status` last changed.
    pub transitioned: Seconds,
}

impl Condition {
    /// A condition that begins now.
    pub fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>, now: Seconds) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            updated: now,
            transitioned: now,
        }
    }
}

/// The condition of this type.
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.kind == kind)
}

/// True when the condition of this type has status `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|it| it.status == "True")
}

/// Puts `new` in place of the condition of its type; nothing changes when status and reason are as before, and the
/// transition time stays while the status does.
pub fn set(conditions: &mut Vec<Condition>, new: Condition) {
    match get(conditions, &new.kind) {
        Some(old) if old.status == new.status && old.reason == new.reason => {}
        _ => replace(conditions, new),
    }
}

/// Like [`set`], but renews the update time even when status and reason are as before.
pub fn replace(conditions: &mut Vec<Condition>, mut new: Condition) {
    if let Some(old) = get(conditions, &new.kind)
        && old.status == new.status
    {
        new.transitioned = old.transitioned;
    }
    remove(conditions, &new.kind);
    conditions.push(new);
}

/// Drops the condition of this type.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|it| it.kind != kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut all = vec![Condition::new("Progressing", "True", "A", "", 1)];
        set(&mut all, Condition::new("Progressing", "True", "A", "other words", 2));
        assert_eq!((all[0].updated, all[0].message.as_str()), (1, ""));
        set(&mut all, Condition::new("Progressing", "True", "B", "", 3));
        assert_eq!((all[0].updated, all[0].transitioned), (3, 1));
        set(&mut all, Condition::new("Progressing", "False", "C", "", 4));
        assert_eq!((all[0].updated, all[0].transitioned), (4, 4));
        replace(&mut all, Condition::new("Progressing", "False", "C", "", 5));
        assert_eq!((all[0].updated, all[0].transitioned, all.len()), (5, 4, 1));
    }
}
