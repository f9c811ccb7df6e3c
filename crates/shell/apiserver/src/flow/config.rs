//! The flow schemas and priority levels that are stored. Entry points: [`Flows::get`], [`Config::classify`].

use std::sync::Arc;

use eyot_model::meta;
use eyot_store::{Entry, Store};
use serde_json::Value;

use super::{
    level::{Level, Limits},
    presets,
    schema::{Asked, Schema},
};
use crate::{Identity, memo::Memo, object};

pub(super) const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
pub(super) const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";

/// Requests worked on at once, over all levels: far more than two cores have use for, few enough that each request's
/// memory (a body of 3 MiB and what is made of it) stays within what a small machine has.
const SEATS: u32 = 240;

/// What is stored now.
pub(crate) struct Flows {
    schemas: Memo<Vec<Schema>>,
    levels: Memo<Vec<Arc<Level>>>,
}

/// Schemas in the order in which they are asked, and levels.
pub(super) struct Config {
    schemas: Arc<Vec<Schema>>,
    levels: Arc<Vec<Arc<Level>>>,
}

impl Default for Flows {
    fn default() -> Self {
        Flows { schemas: Memo::new(SCHEMAS), levels: Memo::new(LEVELS) }
    }
}

impl Flows {
    pub(super) fn get(&self, store: &Store) -> Config {
        Config { schemas: self.schemas.get(store, schemas), levels: self.levels.get(store, levels) }
    }
}

impl Config {
    /// The first schema that matches, and its level. What matches none, or names a level that is not there, is caught.
    pub(super) fn classify(&self, identity: &Identity, asked: &Asked<'_>) -> (&Schema, &Arc<Level>) {
        let level = |schema: &Schema| self.levels.iter().find(|it| *it.name == *schema.level);
        let found = self.schemas.iter().filter(|it| it.matches(identity, asked)).find_map(|it| Some((it, level(it)?)));
        // The last of each is the one that catches all: they are added when nobody stored them.
        found.unwrap_or_else(|| (&self.schemas[self.schemas.len() - 1], &self.levels[self.levels.len() - 1]))
    }
}

fn schemas(entries: &[Arc<Entry>]) -> Vec<Schema> {
    let stored = with_presets(entries, "FlowSchema");
    let mut schemas: Vec<Schema> = stored.iter().map(Schema::read).collect();
    schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    schemas
}

fn levels(entries: &[Arc<Entry>]) -> Vec<Arc<Level>> {
    let mut stored = with_presets(entries, "PriorityLevelConfiguration");
    stored.sort_by_key(|it| meta::name(it) == Some(presets::CATCH_ALL));
    let shares = |level: &Value| match level["spec"]["type"].as_str() {
        Some("Limited") => level["spec"]["limited"]["nominalConcurrencyShares"].as_u64().unwrap_or(0),
        _ => 0,
    };
    let sum: u64 = stored.iter().map(shares).sum::<u64>().max(1);
    let level = |it: &Value| {
        let seats = (u64::from(SEATS) * shares(it)).div_ceil(sum);
        Arc::new(Level::new(meta::name(it).unwrap_or_default(), meta::uid(it).unwrap_or_default(), limits(it, seats)))
    };
    stored.iter().map(level).collect()
}

fn limits(level: &Value, seats: u64) -> Option<Limits> {
    let limited = level["spec"].get("limited").filter(|_| level["spec"]["type"] == "Limited")?;
    let response = &limited["limitResponse"];
    let number = |field: &str, otherwise: u64| response["queuing"][field].as_u64().unwrap_or(otherwise);
    let queues = response["type"] == "Queue";
    // What an administrator writes is bounded here once more: queues are made beforehand.
    Some(Limits {
        seats: usize::try_from(seats).unwrap_or(usize::MAX),
        queues: if queues { number("queues", 64).clamp(1, 10_000) as usize } else { 0 },
        hand: number("handSize", 8).clamp(1, 16) as usize,
        length: number("queueLengthLimit", 50).clamp(1, 10_000) as usize,
    })
}

/// Stored objects and those that must be there but are not: the exempt ones and those that catch all.
fn with_presets(entries: &[Arc<Entry>], kind: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = entries.iter().filter_map(|it| object::parse(it).ok()).collect();
    for preset in presets::objects().into_iter().filter(|it| it["kind"] == kind) {
        let name = meta::name(&preset);
        let mandatory = matches!(name, Some(presets::EXEMPT | presets::CATCH_ALL));
        if mandatory && !objects.iter().any(|it| meta::name(it) == name) {
            objects.push(preset);
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiServer, Config as ServerConfig, bootstrap};

    #[tokio::test]
    async fn requests_of_a_level_share_its_seats() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), eyot_store::Options::new(crate::attributes)).unwrap();
        let config = ServerConfig { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
        let server = ApiServer::new(store.clone(), config);
        bootstrap(&server).await.unwrap();
        let jane = Identity::new("jane", []);
        let level = || server.0.flows.get(&store).classify(&jane, &Asked::default()).1.clone();
        let first = level();
        assert!(Arc::ptr_eq(&first, &level()));
        assert_eq!(&*first.name, "global-default");
    }
}
