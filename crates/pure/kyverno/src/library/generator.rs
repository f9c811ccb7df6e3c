//! Making objects: `generator.Apply`. They are noted in the [`Host`]; writing them is the business of who asks.

use eyot_rules::{
    cel::{Context, Value, extractors::Arguments},
    to_json,
};
use serde_json::Value as Json;

use super::{Made, asked, fails};
use crate::generate::MADE_MAX;

const NAME: &str = "generator.Apply";

pub(super) fn register(context: &mut Context<'static>) {
    for name in [NAME, "generator.apply"] {
        context.add_function(name, |it: Arguments| apply(&it.0));
    }
}

/// `Apply(namespace, objects)`; a policy with a namespace names none, or its own.
fn apply(arguments: &[Value]) -> Made {
    let host = asked(NAME)?;
    let notes = host.notes.as_ref().ok_or_else(|| fails(NAME, "nothing can be made here"))?;
    let own = host.namespace.as_str();
    let (namespace, objects) = match arguments {
        [Value::String(namespace), Value::List(objects)] => (namespace.as_str(), objects),
        [Value::List(objects)] if !own.is_empty() => (own, objects),
        _ => return Err(fails(NAME, "expected a namespace and a list of objects")),
    };
    if !own.is_empty() && namespace != own {
        return Err(fails(NAME, format!("a policy in namespace {own:?} cannot generate into namespace {namespace:?}")));
    }
    for object in objects.iter() {
        let object = to_json(object).filter(Json::is_object).ok_or_else(|| fails(NAME, "expected objects"))?;
        let is_list = object["kind"].as_str().is_some_and(|it| it.ends_with("List"));
        let all = match object["items"].as_array().filter(|_| is_list) {
            Some(items) => items.clone(),
            None => vec![object],
        };
        let mut notes = notes.borrow_mut();
        if notes.made.len() + all.len() > MADE_MAX {
            return Err(fails(NAME, format!("the policy makes more than {MADE_MAX} objects")));
        }
        notes.made.extend(all.into_iter().map(|it| (namespace.to_owned(), it)));
    }
    Ok(Value::Bool(true))
}
