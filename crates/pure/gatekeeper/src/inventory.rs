//! `data.inventory`: the objects that templates may look up, by namespace, version, kind and name.

use std::{collections::BTreeMap, sync::Arc};

use eyot_model::meta;
use eyot_policy::{Data, DataError};
use eyot_rego::Value as Rego;
use parking_lot::Mutex;
use serde_json::Value;

use crate::config::{Config, Gvk, Process};

type Level<T> = BTreeMap<String, T>;
/// Version, kind, name.
type Objects = Level<Level<Level<Rego>>>;

/// Objects on their way into the inventory.
#[derive(Default)]
pub(crate) struct Inventory {
    namespaces: Level<Objects>,
    cluster: Objects,
}

impl Inventory {
    /// Adds an object under its own names.
    pub(crate) fn add(&mut self, object: &Value) {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let objects = match meta::namespace(object).filter(|it| !it.is_empty()) {
            Some(namespace) => self.namespaces.entry(namespace.to_owned()).or_default(),
            None => &mut self.cluster,
        };
        let name = meta::name(object).unwrap_or_default().to_owned();
        let kinds = objects.entry(text("apiVersion")).or_default();
        kinds.entry(text("kind")).or_default().insert(name, Rego::from(object));
    }

    /// As templates see it.
    pub(crate) fn finish(self) -> Rego {
        let objects = |it: Objects| level(it, |it| level(it, |it| level(it, |object| object)));
        Rego::record([("cluster", objects(self.cluster)), ("namespace", level(self.namespaces, objects))])
    }
}

fn level<T>(from: Level<T>, make: impl Fn(T) -> Rego) -> Rego {
    Rego::object(from.into_iter().map(|(name, it)| (Rego::string(&name), make(it))))
}

/// The inventory that was made last, and what of. Who lists objects gets the same ones again until something changes.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<(Vec<Arc<Value>>, Rego)>>);

/// The inventory of these kinds as they are stored now. Kinds that are not served have no objects.
///
/// # Errors
/// When the objects of one can not all be read.
pub(crate) fn read(kinds: &[Gvk], config: &Config, kept: &Kept, data: &dyn Data) -> Result<Rego, String> {
    let mut objects: Vec<Arc<Value>> = Vec::new();
    for (group, version, kind) in kinds {
        match data.list((group, version, kind), None) {
            Ok(listed) => objects.extend(listed),
            Err(DataError::NotServed { .. }) => {}
            Err(error) => return Err(format!("data.inventory: {error}")),
        }
    }
    let same = |old: &[Arc<Value>]| {
        old.len() == objects.len() && old.iter().zip(&objects).all(|(old, new)| Arc::ptr_eq(old, new))
    };
    if let Some((old, made)) = &*kept.0.lock()
        && same(old)
    {
        return Ok(made.clone());
    }
    let mut inventory = Inventory::default();
    let excluded = |it: &Value| meta::namespace(it).is_some_and(|it| config.excludes(Process::Sync, it));
    objects.iter().filter(|it| !excluded(it)).for_each(|it| inventory.add(it));
    let made = inventory.finish();
    *kept.0.lock() = Some((objects, made.clone()));
    Ok(made)
}
