//! Conditions of objects.

use serde_json::{Value, json};

/// One condition that should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) type_: &'static str,
    pub(super) status: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Condition {
    pub(super) fn yes(type_: &'static str, reason: &'static str) -> Self {
        Self { type_, status: true, reason, message: String::new() }
    }

    pub(super) fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: false, reason, message: message.into() }
    }
}

/// The list of conditions for a status. A condition keeps the time of its last transition while its status stays;
/// conditions of types not in `wanted` stay as they are.
pub(super) fn merge(before: &Value, wanted: &[Condition], generation: i64, now: &str) -> Value {
    let before = before.as_array().map_or(&[][..], Vec::as_slice);
    let others = before.iter().filter(|it| !wanted.iter().any(|wanted| it["type"] == wanted.type_));
    let ours = wanted.iter().map(|wanted| {
        let status = if wanted.status { "True" } else { "False" };
        let same = before.iter().find(|it| it["type"] == wanted.type_ && it["status"] == status);
        let since = same.and_then(|it| it["lastTransitionTime"].as_str()).unwrap_or(now);
        json!({
            "type": wanted.type_,
            "status": status,
            "reason": wanted.reason,
            "message": wanted.message,
            "observedGeneration": generation,
            "lastTransitionTime": since,
        })
    });
    ours.chain(others.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let first = merge(&Value::Null, &[Condition::yes("Accepted", "Accepted")], 1, "t1");
        let second = merge(&first, &[Condition::yes("Accepted", "Accepted")], 2, "t2");
        assert_eq!(second[0]["lastTransitionTime"], "t1");
        assert_eq!(second[0]["observedGeneration"], 2);
        let third = merge(&second, &[Condition::no("Accepted", "UnsupportedValue", "because")], 3, "t3");
        assert_eq!(third[0]["lastTransitionTime"], "t3");
        assert_eq!(third[0]["message"], "because");
        assert_eq!(third.as_array().unwrap().len(), 1);
    }
}
