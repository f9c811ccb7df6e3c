//! Which names a definition gets, and what its conditions say of it. Entry point: [`settle`].
//!
//! A name goes to the definition that first had it; definitions of one group alone compete. Names once accepted stay,
//! also when the definition asks for others that are taken.

use std::collections::HashSet;

use super::{Condition, Definition, Names};

/// What a definition's status ought to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// `status.acceptedNames`.
    pub accepted: Names,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
}

/// Decides the names and conditions of a definition, given the other definitions of its group.
pub fn settle<'a>(definition: &Definition, others: impl IntoIterator<Item = &'a Definition>, now: &str) -> Settled {
    let (mut resources, mut kinds) = (HashSet::new(), HashSet::new());
    for names in others.into_iter().map(|it| &it.accepted) {
        resources.extend([names.plural.as_str(), names.singular.as_str()]);
        resources.extend(names.short_names.iter().map(String::as_str));
        kinds.extend([names.kind.as_str(), names.list_kind.as_str()]);
    }
    let mut accepted = definition.accepted.clone();
    let conflict = claim(&definition.wanted, &mut accepted, &resources, &kinds);
    let mut conditions = definition.conditions.clone();
    let condition = |of_type: &str, status: bool, reason: &str, message: &str| Condition {
        of_type: of_type.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Some(now.to_owned()),
    };
    let named = match &conflict {
        None => condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, message)) => condition("NamesAccepted", false, reason, message),
    };
    set(&mut conditions, named);
    if !definition.is("Established") {
        set(
            &mut conditions,
            match conflict {
                None => condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
                Some(_) => condition("Established", false, "NotAccepted", "not all names are accepted"),
            },
        );
    }
    Settled { accepted, conditions }
}

/// Takes each wanted name that is free; the last conflict's reason and message otherwise.
fn claim(wanted: &Names, accepted: &mut Names, resources: &HashSet<&str>, kinds: &HashSet<&str>) -> Conflict {
    let plural = take(&wanted.plural, &mut accepted.plural, resources, "PluralConflict");
    let singular = take(&wanted.singular, &mut accepted.singular, resources, "SingularConflict");
    let short = take_all(&wanted.short_names, &mut accepted.short_names, resources);
    let kind = take(&wanted.kind, &mut accepted.kind, kinds, "KindConflict");
    let list_kind = take(&wanted.list_kind, &mut accepted.list_kind, kinds, "ListKindConflict");
    accepted.categories = wanted.categories.clone();
    list_kind.or(kind).or(short).or(singular).or(plural)
}

type Conflict = Option<(&'static str, String)>;

fn take(wanted: &str, accepted: &mut String, taken: &HashSet<&str>, reason: &'static str) -> Conflict {
    if wanted != accepted.as_str() && taken.contains(wanted) {
        return Some((reason, format!("{wanted:?} is already in use")));
    }
    *accepted = wanted.to_owned();
    None
}

/// Takes short names together: all or none.
fn take_all(wanted: &[String], accepted: &mut Vec<String>, taken: &HashSet<&str>) -> Conflict {
    let refused = wanted.iter().filter(|it| taken.contains(it.as_str()) && !accepted.contains(it));
    let refused: Vec<String> = refused.map(|it| format!("{it:?} is already in use")).collect();
    match refused.as_slice() {
        [] => {
            *accepted = wanted.to_vec();
            None
        }
        [one] => Some(("ShortNamesConflict", one.clone())),
        many => Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
}

/// Sets a condition; its time changes only when its status does.
pub fn set(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter_mut().find(|it| it.of_type == condition.of_type) {
        Some(old) => {
            if old.status == condition.status {
                condition.last_transition_time = old.last_transition_time.take();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str], accepted: Value) -> Definition {
        let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short});
        let spec = json!({"group": "x.io", "names": names});
        let text = json!({"metadata": {"name": plural}, "spec": spec, "status": {"acceptedNames": accepted}});
        Definition::parse(&Bytes::from(text.to_string())).expect("reads")
    }

    fn brief(settled: &Settled) -> Vec<String> {
        settled
            .conditions
            .iter()
            .map(|it| format!("{}={} {}: {}", it.of_type, it.status, it.reason, it.message))
            .collect()
    }

    #[test]
    fn free_names_are_accepted_and_establish() {
        let widgets = definition("widgets", "Widget", &["wd"], json!({}));
        let settled = settle(&widgets, [], "now");
        assert_eq!(settled.accepted, widgets.wanted);
        assert_eq!(
            brief(&settled),
            [
                "NamesAccepted=True NoConflicts: no conflicts found",
                "Established=True InitialNamesAccepted: the initial names have been accepted"
            ]
        );
    }

    #[test]
    fn taken_names_are_refused_by_reason() {
        let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["w"]});
        let first = definition("widgets", "Widget", &["w"], names);
        let kind = settle(&definition("gadgets", "Widget", &[], json!({})), [&first], "now");
        assert!(
            brief(&kind)[0].starts_with("NamesAccepted=False ListKindConflict: \"WidgetList\""),
            "{:?}",
            brief(&kind)
        );
        assert_eq!(brief(&kind)[1], "Established=False NotAccepted: not all names are accepted");
        let short = settle(&definition("gadgets", "Gadget", &["w"], json!({})), [&first], "now");
        assert_eq!(brief(&short)[0], "NamesAccepted=False ShortNamesConflict: \"w\" is already in use");
        assert_eq!(short.accepted.plural, "gadgets");
    }

    #[test]
    fn settling_what_is_settled_changes_nothing() {
        let mut definition = definition("widgets", "Widget", &["w"], json!({}));
        let settled = settle(&definition, [], "then");
        (definition.accepted, definition.conditions) = (settled.accepted.clone(), settled.conditions.clone());
        assert_eq!(settle(&definition, [], "now"), settled);
    }
}
