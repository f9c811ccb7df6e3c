//! Merges an applied configuration into an object. Entry point: [`merge`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::Element,
    types::{Form, List, Type},
};

/// `live` with everything that `config` says; what it does not mention stays.
pub(super) fn merge(of: Type<'_>, live: Value, config: &Value) -> Value {
    match (live, of.form(config), config) {
        (Value::Object(live), Some(Form::Map), Value::Object(config)) => Value::Object(merge_maps(of, live, config)),
        (Value::Array(live), Some(Form::List(list)), Value::Array(config)) => merge_lists(list, live, config),
        // A null takes away a single value, not what others have put into a list or map.
        (live, None, _) if matches!(of.form(&live), Some(Form::Map | Form::List(_))) => live,
        _ => config.clone(),
    }
}

fn merge_maps(of: Type<'_>, mut live: Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    for (name, wanted) in config {
        let merged = match live.remove(name) {
            Some(held) => merge(of.field(name).of, held, wanted),
            None => wanted.clone(),
        };
        live.insert(name.clone(), merged);
    }
    live
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
