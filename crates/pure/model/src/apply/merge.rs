//! Merges an applied configuration into an object. Entry point: [`merge`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    element::Element,
    types::{Form, List, Type},
};

/// `live` with everything that `config` says; what it does not mention stays.
pub(super) fn merge(of: Type<'_>, mut live: Value, config: &Value) -> Value {
    merge_onto(of, &mut live, config);
    live
}

/// The same in place. Says whether that changed anything; what stays as it is is not touched.
pub(super) fn merge_onto(of: Type<'_>, live: &mut Value, config: &Value) -> bool {
    let changes = match (&mut *live, of.form(config), config) {
        (Value::Object(live), Some(Form::Map), Value::Object(config)) => {
            return config.iter().fold(false, |changed, (name, wanted)| {
                let changes = match live.get_mut(name) {
                    Some(held) => merge_onto(of.field(name).of, held, wanted),
                    None => {
                        live.insert(name.clone(), wanted.clone());
                        true
                    }
                };
                changed | changes
            });
        }
        (Value::Array(held), Some(Form::List(list)), Value::Array(config)) => {
            let merged = merge_lists(list, held.clone(), config);
            let changes = merged != *live;
            *live = merged;
            return changes;
        }
        // A null takes away a single value, not what others have put into a list or map.
        (live, None, _) => !matches!(of.form(live), Some(Form::Map | Form::List(_))) && live != config,
        (live, _, config) => live != config,
    };
    if changes {
        *live = config.clone();
    }
    changes
}

/// Items of both lists. Those of the configuration come in its order; an item that it does not name keeps its place
/// before the next one that it does.
fn merge_lists(list: List<'_>, live: Vec<Value>, config: &[Value]) -> Value {
    let named = |items: &[Value]| items.iter().map(|it| list.element(it)).collect::<Result<Vec<_>, _>>();
    let (Ok(held), Ok(wanted)) = (named(&live), named(config)) else { return config.into() };
    let is_wanted: BTreeMap<&Element, usize> = wanted.iter().enumerate().map(|(i, it)| (it, i)).collect();
    let mut matching: BTreeMap<&Element, Option<Value>> = BTreeMap::new();
    let mut others = Vec::with_capacity(live.len());
    for (element, item) in held.iter().zip(live) {
        match is_wanted.get(element) {
            // Of several alike none is the one to merge with.
            Some(_) => {
                let alike = matching.contains_key(element);
                matching.insert(element, Some(item).filter(|_| !alike));
                others.push(None);
            }
            None => others.push(Some(item)),
        }
    }
    let mut merged = Vec::with_capacity(held.len() + wanted.len());
    let mut take = |at: usize, merged: &mut Vec<Value>| {
        let before = matching.get_mut(&wanted[at]).and_then(Option::take);
        merged.push(before.map_or_else(|| config[at].clone(), |it| merge(list.item, it, &config[at])));
    };
    let mut next = 0;
    for (element, other) in held.iter().zip(others) {
        match (other, is_wanted.get(element)) {
            (Some(other), _) => merged.push(other),
            (None, Some(&at)) => {
                while next <= at && next < wanted.len() {
                    take(next, &mut merged);
                    next += 1;
                }
            }
            (None, None) => {}
        }
    }
    (next..wanted.len()).for_each(|at| take(at, &mut merged));
    merged.into()
}
