//! The kinds that are served: the built-in ones, and what stored CustomResourceDefinitions add to them.
//!
//! Entry points: [`Definitions::load`] at start, [`follow`] inside each write of a definition. The table is replaced as a
//! whole, before the write's status can be seen, so that whoever sees `Established` can use the kind.

mod cleanup;
pub(crate) mod conversion;
mod install;
pub(crate) mod rules;
mod status;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
pub(crate) use cleanup::{mark, run as clean_up};
use eyot_model::{
    custom::{self, DEFINITIONS, Definition, version},
    kinds::{self, Kind, Table},
};
use eyot_store::{Entry, Key, Page, Scope, Store};
pub(crate) use install::install;
use serde_json::Value;
use tokio::sync::{Mutex, Notify};

use crate::{call::Call, server::Shared};

/// Where definitions are stored.
pub(crate) const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// The definitions by name.
type Catalog = BTreeMap<String, Known>;

/// What serving needs of a definition.
#[derive(Clone)]
struct Known {
    definition: Arc<Definition>,
    /// Its rows of the table; the same ones in every table until it changes, so that what is made of them can be kept.
    kinds: Vec<Arc<Kind>>,
}

impl Known {
    fn new(definition: Definition) -> Known {
        let definition = Arc::new(definition);
        let shadowed = is_built_in(&definition.group, &definition.accepted.plural, &definition.accepted.kind);
        let kinds = if shadowed { Vec::new() } else { custom::kinds(&definition) };
        Known { definition, kinds: kinds.into_iter().map(Arc::new).collect() }
    }
}

impl std::ops::Deref for Known {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

/// The kinds that are served.
pub(crate) struct Definitions {
    table: ArcSwap<Table>,
    /// Held while a definition's consequences are worked out, so that names go to one definition each.
    catalog: Mutex<Catalog>,
    /// Told when a definition begins to go away.
    ending: Notify,
}

impl Definitions {
    /// The kinds of a store as it was left.
    pub(crate) fn load(store: &Store) -> Definitions {
        let entries = store.list(&Scope::all(STORAGE), &Page::default()).map(|it| it.entries).unwrap_or_default();
        let catalog: Catalog = entries.iter().filter_map(|it| parse(it)).map(|it| (it.name.clone(), it)).collect();
        Definitions {
            table: ArcSwap::from_pointee(table(&catalog)),
            catalog: Mutex::new(catalog),
            ending: Notify::new(),
        }
    }

    /// The table as of now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }
}

/// Whether the built-in kinds already have this group's kind or resource: then they go on serving it.
pub(crate) fn is_built_in(group: &str, plural: &str, kind: &str) -> bool {
    kinds::builtin().iter().any(|it| it.group == group && (it.plural == plural || it.kind == kind))
}

/// Works out what a change of a definition means: its names, its conditions, and the table of kinds.
///
/// Returns when other requests see the outcome. A status that could not be written is worked out again at the next
/// change; the table is right at once.
pub(crate) async fn follow(server: &Shared, name: &str) {
    let definitions = &server.definitions;
    let mut catalog = definitions.catalog.lock().await;
    refresh(server, &mut catalog, name);
    // Names that one definition gives up may be what another waits for.
    let group = name.split_once('.').map_or("", |it| it.1).to_owned();
    let mut waiting: Vec<String> = catalog.values().filter(|it| it.group == group).map(|it| it.name.clone()).collect();
    waiting.sort_by_key(|it| catalog.get(it).map(|it| it.created.clone()));
    definitions.table.store(Arc::new(table(&catalog)));
    for name in waiting {
        if let Err(error) = status::settle(server, &mut catalog, &name).await {
            tracing::error!(definition = name, %error, "writing the status of a CustomResourceDefinition");
        }
    }
    if catalog.get(name).is_some_and(|it| it.deleting) {
        definitions.ending.notify_one();
    }
}

/// [`follow`], unless that was done already.
async fn catch_up(server: &Shared, name: &str) {
    let known = server.definitions.catalog.lock().await.get(name).map(|it| it.revision);
    let stored = server.store.get(&Key::new(STORAGE, "", name)).map(|it| it.revision.0);
    let settled = |it: &Catalog| it.get(name).is_none_or(|it| it.condition("NamesAccepted").is_some());
    if known != stored || !settled(&*server.definitions.catalog.lock().await) {
        follow(server, name).await;
    }
}

/// Reads a definition again.
fn refresh(server: &Shared, catalog: &mut Catalog, name: &str) {
    match server.store.get(&Key::new(STORAGE, "", name)).and_then(|it| parse(&it)) {
        Some(definition) => drop(catalog.insert(name.to_owned(), definition)),
        None => drop(catalog.remove(name)),
    }
}

fn parse(entry: &Entry) -> Option<Known> {
    match Definition::parse(&entry.value) {
        Ok(definition) => Some(Known::new(definition)),
        Err(error) => {
            tracing::error!(definition = &*entry.key.name, %error, "a stored CustomResourceDefinition is left out");
            None
        }
    }
}

/// The built-in kinds and those of the definitions, in discovery order.
fn table(catalog: &Catalog) -> Table {
    let mut kinds: Vec<&Arc<Kind>> = catalog.values().flat_map(|it| &it.kinds).collect();
    kinds.sort_by(|a, b| {
        let by_version = || version::compare(&a.version, &b.version);
        a.group.cmp(&b.group).then_with(by_version).then_with(|| a.plural.cmp(&b.plural))
    });
    let mut table = Table::over(kinds::builtin());
    kinds.into_iter().for_each(|it| table.insert(it.clone()));
    table
}

/// Tells what users of a custom kind ought to know: that its version is deprecated.
pub(crate) fn warn(call: &mut Call) {
    let warning = call.kind.custom.as_ref().and_then(|it| it.version().warning.clone());
    call.warnings.extend(warning);
}

/// What to tell who writes a definition whose kind is built in, so that the definition changes nothing.
pub(crate) fn warning_of(kind: &Kind, definition: &Value) -> Option<String> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, plural, of_kind) = (text("/spec/group"), text("/spec/names/plural"), text("/spec/names/kind"));
    (is_definition(kind) && is_built_in(group, plural, of_kind)).then(|| {
        format!(
            "{plural}.{group} is built in here: the definition is stored, and the built-in kind goes on being served"
        )
    })
}

/// The kind of the definitions themselves.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    kind.is(DEFINITIONS.0, DEFINITIONS.2)
}
