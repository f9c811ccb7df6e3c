//! The modules and data that clients put in, compiled together after every change. Entry point: [`Workspace`].

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use eyot_rego::{Dialect, Flaw, Program, Source, Value};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};

use super::answer::Failure;

/// Most parts of the path of a document that is put in: each is a level of the data.
const PATH_PARTS_MAX: usize = 100;

/// Modules and data of one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) modules: BTreeMap<String, String>,
    pub(super) data: Json,
    /// The same, as programs read it.
    pub(super) document: Value,
    pub(super) program: Program,
}

/// What clients put in.
#[derive(Debug)]
pub(super) struct Workspace {
    now: ArcSwap<Snapshot>,
    /// Held while a change is made of the last snapshot.
    changing: Mutex<()>,
}

impl Default for Workspace {
    fn default() -> Self {
        let empty = Snapshot::of(BTreeMap::new(), Json::Object(Map::new()));
        // No modules have no flaws.
        let empty = empty.unwrap_or_else(|flaws| unreachable!("an empty program compiles: {flaws:?}"));
        Workspace { now: ArcSwap::from_pointee(empty), changing: Mutex::default() }
    }
}

impl Snapshot {
    fn of(modules: BTreeMap<String, String>, data: Json) -> Result<Snapshot, Vec<Flaw>> {
        let sources = modules.iter();
        let sources =
            sources.map(|(name, text)| Source { name: name.clone(), text: text.clone(), dialect: Dialect::V1 });
        let program = Program::compile(&sources.collect::<Vec<_>>())?;
        Ok(Snapshot { modules, document: Value::from(&data), data, program })
    }

    /// Whether anything is defined at a path or below it.
    pub(super) fn has(&self, path: &[String]) -> bool {
        let ruled = self.program.rules().iter().any(|rule| rule.path.iter().zip(path).all(|(a, b)| a == b));
        path.is_empty() || ruled || lookup(&self.data, path).is_some()
    }
}

/// The document at a path.
pub(super) fn lookup<'a>(data: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(data, |value, part| match value {
        Json::Object(fields) => fields.get(part),
        Json::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

impl Workspace {
    pub(super) fn now(&self) -> Arc<Snapshot> {
        self.now.load_full()
    }

    /// Puts a module in, or takes it out.
    pub(super) fn set_module(&self, id: &str, text: Option<String>) -> Result<(), Failure> {
        let _changing = self.changing.lock();
        let now = self.now.load();
        let mut modules = now.modules.clone();
        match text {
            Some(text) => drop(modules.insert(id.to_owned(), text)),
            None => {
                let gone = modules.remove(id);
                gone.ok_or_else(|| Failure::not_found(&format!("storage_not_found_error: policy id {id:?}")))?;
            }
        }
        let made = Snapshot::of(modules, now.data.clone());
        let made = made.map_err(|flaws| Failure::flaws("error(s) occurred while compiling module(s)", &flaws))?;
        self.now.store(Arc::new(made));
        Ok(())
    }

    /// Changes the data.
    pub(super) fn change_data(&self, change: impl FnOnce(&mut Json) -> Result<(), Failure>) -> Result<(), Failure> {
        let _changing = self.changing.lock();
        let now = self.now.load();
        let mut data = now.data.clone();
        change(&mut data)?;
        let made = Snapshot::of(now.modules.clone(), data);
        let made = made.map_err(|flaws| Failure::flaws("error(s) occurred while compiling module(s)", &flaws))?;
        self.now.store(Arc::new(made));
        Ok(())
    }
}

/// Puts a document at a path, making the objects on the way. `replace` says whether one that is there may go.
pub(super) fn put(data: &mut Json, path: &[String], value: Json) -> Result<(), Failure> {
    if path.len() > PATH_PARTS_MAX {
        return Err(Failure::bad(format!("a path has more than {PATH_PARTS_MAX} parts")));
    }
    let Some((last, parents)) = path.split_last() else {
        if !value.is_object() {
            return Err(Failure::bad("the root document must be an object"));
        }
        *data = value;
        return Ok(());
    };
    let mut at = data;
    for part in parents {
        at = match at {
            Json::Object(fields) => fields.entry(part.clone()).or_insert_with(|| json!({})),
            Json::Array(items) => {
                let item = part.parse::<usize>().ok().and_then(|it| items.get_mut(it));
                item.ok_or_else(|| Failure::not_found(&format!("storage_not_found_error: array index {part}")))?
            }
            _ => return Err(Failure::bad(format!("the parent of /{} is no object", path.join("/")))),
        };
    }
    match at {
        Json::Object(fields) => drop(fields.insert(last.clone(), value)),
        Json::Array(items) => {
            let item = last.parse::<usize>().ok().and_then(|it| items.get_mut(it));
            *item.ok_or_else(|| Failure::not_found(&format!("storage_not_found_error: array index {last}")))? = value;
        }
        _ => return Err(Failure::bad(format!("the parent of /{} is no object", path.join("/")))),
    }
    Ok(())
}

/// Takes the document at a path away.
pub(super) fn remove(data: &mut Json, path: &[String]) -> Result<(), Failure> {
    let missing =
        || Failure::not_found(&format!("storage_not_found_error: /{}: document does not exist", path.join("/")));
    let Some((last, parents)) = path.split_last() else {
        *data = json!({});
        return Ok(());
    };
    let pointer: String = parents.iter().map(|it| format!("/{}", it.replace('~', "~0").replace('/', "~1"))).collect();
    match data.pointer_mut(&pointer).ok_or_else(missing)? {
        Json::Object(fields) => fields.remove(last).map(drop).ok_or_else(missing),
        Json::Array(items) => match last.parse::<usize>() {
            Ok(at) if at < items.len() => {
                items.remove(at);
                Ok(())
            }
            _ => Err(missing()),
        },
        _ => Err(missing()),
    }
}
