//! What the tests share: values whose integrity shows, and short ways to write them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use eyot_store::{Attributes, Entry, Key, Options, Revision, Store, Write, WriteError};

/// The first line of a value is its label `line`.
pub fn attributes(_: &str, value: &[u8]) -> Attributes {
    let line = value.split(|it| *it == b'\n').next().unwrap_or_default();
    let none: [(&str, &str); 0] = [];
    Attributes::new([("line", String::from_utf8_lossy(line))], none)
}

pub fn options() -> Options {
    Options::new(attributes)
}

pub fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

pub fn pod(name: &str) -> Key {
    Key::new("/pods", "default", name)
}

pub fn produce(text: &str) -> impl FnOnce(Revision) -> Bytes + Send + 'static {
    let text = text.to_owned();
    move |revision| Bytes::from(format!("{text}@{revision}"))
}

pub async fn create(store: &Store, key: Key, text: &str) -> Result<Arc<Entry>, WriteError> {
    store.write(Write::create(key, produce(text))).await
}

pub async fn update(store: &Store, key: Key, expect: Revision, text: &str) -> Result<Arc<Entry>, WriteError> {
    store.write(Write::update(key, expect, produce(text))).await
}

pub async fn delete(store: &Store, key: Key) -> Result<Arc<Entry>, WriteError> {
    store.write(Write::delete(key, None, produce("gone"))).await
}

pub fn text(entry: &Entry) -> String {
    format!("{} = {}", entry.key, String::from_utf8_lossy(&entry.value))
}
