//! What one tenant keeps.
//!
//! Calls of one tenant run one after another on a thread that may block, and wait for their turn without one: a tenant cannot
//! take up the threads of others.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::Semaphore;

use crate::{Bounds, BucketError, PIECE_BYTES, schema};

/// The buckets of one tenant. Every bucket is there: one that nothing was put into is empty.
#[derive(Debug)]
pub struct Tenant {
    path: PathBuf,
    bounds: Bounds,
    turn: Arc<Semaphore>,
    /// Opened by the first call.
    connection: Mutex<Option<Connection>>,
    /// How often content is being read or written.
    held: Mutex<HashMap<i64, usize>>,
}

/// What became of a [`Tenant::swap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The new value is there.
    Yes,
    /// It is not: meanwhile somebody had put this one there, or had taken the old one away.
    No(Option<Vec<u8>>),
}

pub(crate) type Result<T> = std::result::Result<T, BucketError>;
pub(crate) type Sql<T> = rusqlite::Result<T>;

impl Tenant {
    pub(crate) fn new(path: PathBuf, bounds: Bounds) -> Tenant {
        Tenant { path, bounds, turn: Arc::new(Semaphore::new(1)), connection: Mutex::new(None), held: Mutex::default() }
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Keeps content from being removed until [`Tenant::release`].
    pub(crate) fn take_hold(&self, content: i64) {
        *self.held.lock().entry(content).or_default() += 1;
    }

    pub(crate) fn release(&self, content: i64) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&content) {
            *count -= 1;
            if *count == 0 {
                held.remove(&content);
            }
        }
    }

    pub(crate) fn is_held(&self, content: i64) -> bool {
        self.held.lock().contains_key(&content)
    }

    /// Checks that `name` can be a bucket's.
    ///
    /// # Errors
    ///
    /// When it is too long. The empty name is that of a bucket too.
    pub fn check_bucket(&self, name: &str) -> Result<()> {
        check("bucket name", name.len(), 0, self.bounds.name_bytes)
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; so have all that follow.
    pub async fn get(self: &Arc<Self>, bucket: &str, key: String) -> Result<Option<Vec<u8>>> {
        self.check_keys([&key])?;
        self.run(bucket, move |file, bucket| get(file, bucket, &key)).await
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    ///
    /// As [`Tenant::get`].
    pub async fn exists(self: &Arc<Self>, bucket: &str, key: String) -> Result<bool> {
        self.check_keys([&key])?;
        let text = "SELECT 1 FROM entry WHERE bucket = ? AND key = ?";
        self.run(bucket, move |file, bucket| file.prepare_cached(text)?.exists(params![bucket, key])).await
    }

    /// The values of `keys`, in their order.
    ///
    /// # Errors
    ///
    /// As [`Tenant::get`]; also when they have more bytes together than one call may carry.
    pub async fn get_many(self: &Arc<Self>, bucket: &str, keys: Vec<String>) -> Result<Vec<(String, Option<Vec<u8>>)>> {
        self.check_keys(&keys)?;
        let max = self.bounds.value_bytes;
        let found = self.run(bucket, move |file, bucket| {
            let (mut out, mut bytes) = (Vec::new(), 0usize);
            for key in keys {
                let value = get(file, bucket, &key)?;
                bytes = bytes.saturating_add(value.as_ref().map_or(0, Vec::len));
                if bytes > max {
                    break;
                }
                out.push((key, value));
            }
            Ok((out, bytes))
        });
        let (out, bytes) = found.await?;
        check("the values together", bytes, 0, max)?;
        Ok(out)
    }

    /// Gives keys their values, all or none.
    ///
    /// # Errors
    ///
    /// When a key or value has a size that is not accepted, the tenant has no room, or the store cannot be written.
    pub async fn set(self: &Arc<Self>, bucket: &str, entries: Vec<(String, Vec<u8>)>) -> Result<()> {
        for (key, value) in &entries {
            self.check_entry(key, value)?;
        }
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        check("the entries together", bytes, 0, self.bounds.value_bytes + self.bounds.key_bytes)?;
        self.run(bucket, move |file, bucket| {
            let change = file.transaction()?;
            for (key, value) in &entries {
                put(&change, bucket, key, value)?;
            }
            change.commit()
        })
        .await
    }

    /// Takes keys away, all or none; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn delete(self: &Arc<Self>, bucket: &str, keys: Vec<String>) -> Result<()> {
        self.check_keys(&keys)?;
        self.run(bucket, move |file, bucket| {
            let change = file.transaction()?;
            for key in &keys {
                let text = "DELETE FROM entry WHERE bucket = ? AND key = ?";
                change.prepare_cached(text)?.execute(params![bucket, key])?;
            }
            change.commit()
        })
        .await
    }

    /// The first keys after `after` in the order of their bytes, and whether there are more.
    ///
    /// # Errors
    ///
    /// As [`Tenant::get`].
    pub async fn keys(self: &Arc<Self>, bucket: &str, after: Option<String>) -> Result<(Vec<String>, bool)> {
        let text = "SELECT key FROM entry WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?";
        // No key is empty.
        let after = after.unwrap_or_default();
        self.check_keys([&after])?;
        self.page(bucket, move |file, bucket, limit| {
            file.prepare_cached(text)?.query_map(params![bucket, after, limit], |row| row.get(0))?.collect()
        })
        .await
    }

    /// The keys that follow the first `skipped`, and whether there are more.
    ///
    /// # Errors
    ///
    /// As [`Tenant::get`].
    pub async fn keys_from(self: &Arc<Self>, bucket: &str, skipped: u64) -> Result<(Vec<String>, bool)> {
        let text = "SELECT key FROM entry WHERE bucket = ? ORDER BY key LIMIT ? OFFSET ?";
        let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
        self.page(bucket, move |file, bucket, limit| {
            file.prepare_cached(text)?.query_map(params![bucket, limit, skipped], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Adds `delta` to the decimal number that is the value of `key`, 0 when it has none, and returns the sum. `min` and `max`
    /// bound it.
    ///
    /// # Errors
    ///
    /// When the value is no such number or the sum not within bounds; else as [`Tenant::set`].
    pub async fn add(self: &Arc<Self>, bucket: &str, key: String, delta: i128, min: i128, max: i128) -> Result<i128> {
        self.check_entry(&key, &[])?;
        let name = key.clone();
        let added = self.run(bucket, move |file, bucket| {
            let change = file.transaction()?;
            let old = get(&change, bucket, &key)?.unwrap_or_else(|| b"0".to_vec());
            let Some(old) = std::str::from_utf8(&old).ok().and_then(|it| it.trim().parse::<i128>().ok()) else {
                return Ok(Err("is no number"));
            };
            let sum = old.checked_add(delta).filter(|it| (min..=max).contains(it));
            let Some(sum) = sum else { return Ok(Err("would leave the range of a number")) };
            put(&change, bucket, &key, sum.to_string().as_bytes())?;
            change.commit()?;
            Ok(Ok(sum))
        });
        added.await?.map_err(|why| BucketError::Number { key: name, why })
    }

    /// Gives `key` the value `new` if `is_old` knows the one it has.
    ///
    /// # Errors
    ///
    /// As [`Tenant::set`].
    pub async fn swap(
        self: &Arc<Self>,
        bucket: &str,
        key: String,
        is_old: impl FnOnce(Option<&[u8]>) -> bool + Send + 'static,
        new: Vec<u8>,
    ) -> Result<Swapped> {
        self.check_entry(&key, &new)?;
        self.run(bucket, move |file, bucket| {
            let change = file.transaction()?;
            let found = get(&change, bucket, &key)?;
            if !is_old(found.as_deref()) {
                return Ok(Swapped::No(found));
            }
            put(&change, bucket, &key, &new)?;
            change.commit()?;
            Ok(Swapped::Yes)
        })
        .await
    }

    async fn page(
        self: &Arc<Self>,
        bucket: &str,
        work: impl FnOnce(&mut Connection, &str, i64) -> Sql<Vec<String>> + Send + 'static,
    ) -> Result<(Vec<String>, bool)> {
        let page = self.bounds.page_keys;
        // One more than is told shows whether there are more.
        let limit = i64::try_from(page + 1).unwrap_or(i64::MAX);
        let mut keys = self.run(bucket, move |file, bucket| work(file, bucket, limit)).await?;
        let more = keys.len() > page;
        keys.truncate(page);
        Ok((keys, more))
    }

    fn check_entry(&self, key: &str, value: &[u8]) -> Result<()> {
        check("key", key.len(), 1, self.bounds.key_bytes)?;
        check("value", value.len(), 0, self.bounds.value_bytes)
    }

    /// Checks keys that are looked for; nothing is there under an empty one.
    fn check_keys<'a>(&self, keys: impl IntoIterator<Item = &'a String>) -> Result<()> {
        keys.into_iter().try_for_each(|key| check("key", key.len(), 0, self.bounds.key_bytes))
    }

    /// Runs `work` when it is this call's turn.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        bucket: &str,
        work: impl FnOnce(&mut Connection, &str) -> Sql<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| BucketError::Closing)?;
        let (tenant, bucket) = (self.clone(), bucket.to_owned());
        let work = move || {
            let _turn = turn;
            let mut connection = tenant.connection.lock();
            if connection.is_none() {
                let opened = schema::open(&tenant.path, tenant.bounds.tenant_bytes);
                *connection = Some(opened.map_err(|source| (source, None))?);
            }
            let Some(connection) = connection.as_mut() else { return Err((rusqlite::Error::InvalidQuery, None)) };
            let done = work(connection, &bucket);
            // Until the end of the turn nobody else changes how much there is.
            done.map_err(|source| (source, schema::pages_left(connection)))
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| BucketError::Closing)?;
        done.map_err(|(source, pages_left)| self.explain(source, pages_left))
    }

    /// What an error says to the guest, where `pages_left` may still be added to the file.
    fn explain(&self, source: rusqlite::Error, pages_left: Option<u64>) -> BucketError {
        let path = self.path.clone();
        if source.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            // SQLite has one word for both, and what the call had added is undone: where the largest call would have fitted,
            // it was the disk.
            let call_bytes = (self.bounds.value_bytes + self.bounds.key_bytes).max(PIECE_BYTES) as u64;
            if pages_left.is_some_and(|it| it <= schema::pages(call_bytes)) {
                return BucketError::Full { bytes_max: self.bounds.tenant_bytes };
            }
            tracing::warn!(path = %path.display(), "no space left on the disk for a namespace's key-value store");
            return BucketError::DiskFull { path };
        }
        tracing::warn!(path = %path.display(), error = %source, "a namespace's key-value store failed");
        BucketError::Sql { path, source }
    }
}

pub(crate) fn check(what: &'static str, bytes: usize, min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&bytes) { Ok(()) } else { Err(BucketError::Size { what, bytes, min, max }) }
}

fn get(file: &Connection, bucket: &str, key: &str) -> Sql<Option<Vec<u8>>> {
    let text = "SELECT value FROM entry WHERE bucket = ? AND key = ?";
    file.prepare_cached(text)?.query_row(params![bucket, key], |row| row.get(0)).optional()
}

fn put(file: &Connection, bucket: &str, key: &str, value: &[u8]) -> Sql<()> {
    let text = "INSERT INTO entry (bucket, key, value) VALUES (?, ?, ?)
                ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value";
    file.prepare_cached(text)?.execute(params![bucket, key, value]).map(drop)
}
