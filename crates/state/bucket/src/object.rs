//! Containers and the objects in them: content of any size that the tenant has room for, written and read in pieces.
//!
//! Start at [`Tenant::upload`] and [`Tenant::open`]. Content is kept apart from names: it never changes once it has one, copies
//! share it, and it stays for whoever reads it when its last name is gone. Content that got no name, because its writer gave
//! up or the power failed, goes when the file is next opened.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    BucketError,
    tenant::{Result, Sql, Tenant, check},
};

/// Bytes of a piece.
pub const PIECE_BYTES: usize = 256 << 10;

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created_seconds: u64,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: String,
    /// The container it is in.
    pub container: String,
    /// When it got this content, in seconds since 1970.
    pub created_seconds: u64,
    /// Its bytes.
    pub size: u64,
}

/// Content that has no name yet. Dropping it gives the room back.
#[derive(Debug)]
pub struct Upload {
    content: Content,
    pieces: u64,
    size: u64,
}

/// Content that stays while this is held.
#[derive(Debug)]
pub struct Content {
    tenant: Arc<Tenant>,
    id: i64,
    size: u64,
}

impl Drop for Content {
    fn drop(&mut self) {
        self.tenant.release(self.id);
    }
}

impl Content {
    fn hold(tenant: &Arc<Tenant>, id: i64, size: u64) -> Content {
        Content { tenant: tenant.clone(), id, size }
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset` to the end of the piece that it lies in; none at the end.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn read(&self, offset: u64) -> Result<Vec<u8>> {
        let (id, piece) = (self.id, offset / PIECE_BYTES as u64);
        let text = "SELECT data FROM piece WHERE content = ? AND at = ?";
        let found = self.tenant.run("", move |file, _| {
            file.prepare_cached(text)?.query_row(params![id, signed(piece)], |row| row.get::<_, Vec<u8>>(0)).optional()
        });
        let mut data = found.await?.unwrap_or_default();
        let skipped = usize::try_from(offset % PIECE_BYTES as u64).unwrap_or(PIECE_BYTES).min(data.len());
        data.drain(..skipped);
        Ok(data)
    }
}

impl Upload {
    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a piece: [`PIECE_BYTES`], or less when it is the last.
    ///
    /// # Errors
    ///
    /// When it is too large or follows a short one, the tenant has no room, or the store cannot be written.
    pub async fn append(&mut self, piece: Vec<u8>) -> Result<()> {
        check("a piece", piece.len(), 0, PIECE_BYTES)?;
        if self.size != self.pieces * PIECE_BYTES as u64 {
            return Err(BucketError::Size { what: "a piece after the last", bytes: piece.len(), min: 0, max: 0 });
        }
        let (id, at, bytes) = (self.content.id, signed(self.pieces), piece.len() as u64);
        let text = "INSERT INTO piece (content, at, data) VALUES (?, ?, ?)";
        let added = self
            .content
            .tenant
            .run("", move |file, _| file.prepare_cached(text)?.execute(params![id, at, piece]).map(drop));
        added.await?;
        self.pieces += 1;
        self.size += bytes;
        Ok(())
    }

    /// Names the content: it takes the place of what had that name.
    ///
    /// # Errors
    ///
    /// When there is no such container, the name has a size that is not accepted, or the store cannot be written.
    pub async fn finish(self, container: &str, name: String) -> Result<()> {
        let (tenant, id, size) = (self.content.tenant.clone(), self.content.id, self.size);
        tenant.check_object(&name)?;
        tenant
            .run_in(container, move |file, container| {
                let change = file.transaction()?;
                put(&change, container, &name, id, size)?;
                change.commit()
            })
            .await
    }
}

impl Tenant {
    fn check_object(&self, name: &str) -> Result<()> {
        check("object name", name.len(), 1, self.bounds().key_bytes)
    }

    /// Makes a container.
    ///
    /// # Errors
    ///
    /// When there is one, its name has a size that is not accepted, or the store cannot be written.
    pub async fn create_container(self: &Arc<Self>, name: &str) -> Result<ContainerInfo> {
        check("container name", name.len(), 1, self.bounds().name_bytes)?;
        let now = now();
        let text = "INSERT INTO container (name, created) VALUES (?, ?) ON CONFLICT DO NOTHING";
        let made = self.run(name, move |file, name| file.prepare_cached(text)?.execute(params![name, signed(now)]));
        match made.await? {
            0 => Err(BucketError::ContainerExists(name.to_owned())),
            _ => Ok(ContainerInfo { name: name.to_owned(), created_seconds: now }),
        }
    }

    /// A container, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; so have all that follow.
    pub async fn container(self: &Arc<Self>, name: &str) -> Result<Option<ContainerInfo>> {
        let text = "SELECT created FROM container WHERE name = ?";
        let found = self.run(name, move |file, name| {
            file.prepare_cached(text)?.query_row(params![name], |row| row.get::<_, i64>(0)).optional()
        });
        let info = |created| ContainerInfo { name: name.to_owned(), created_seconds: unsigned(created) };
        Ok(found.await?.map(info))
    }

    /// Takes a container away, with all that is in it, or only empties it.
    ///
    /// # Errors
    ///
    /// When there is none, or the store cannot be written.
    pub async fn clear_container(self: &Arc<Self>, name: &str, and_delete: bool) -> Result<()> {
        self.run_in(name, move |file, name| {
            let change = file.transaction()?;
            change.execute("DELETE FROM object WHERE container = ?", params![name])?;
            if and_delete {
                change.execute("DELETE FROM container WHERE name = ?", params![name])?;
            }
            change.commit()
        })
        .await?;
        self.sweep().await
    }

    /// Room for new content.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn upload(self: &Arc<Self>) -> Result<Upload> {
        // What others gave up may be the room that is wanted now.
        self.sweep().await?;
        let tenant = self.clone();
        let made = self.run("", move |file, _| {
            file.execute("INSERT INTO content DEFAULT VALUES", [])?;
            let id = file.last_insert_rowid();
            // Held before anybody else has a turn.
            tenant.take_hold(id);
            Ok(id)
        });
        let id = made.await?;
        Ok(Upload { content: Content::hold(self, id, 0), pieces: 0, size: 0 })
    }

    /// The content of an object, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn open(self: &Arc<Self>, container: &str, name: String) -> Result<Option<Content>> {
        let tenant = self.clone();
        let found = self.run(container, move |file, container| {
            let text = "SELECT content, size FROM object WHERE container = ? AND name = ?";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let found = file.prepare_cached(text)?.query_row(params![container, name], read).optional()?;
            // Held before anybody else has a turn.
            Ok(found.inspect(|(id, _)| tenant.take_hold(*id)))
        });
        Ok(found.await?.map(|(id, size)| Content::hold(self, id, unsigned(size))))
    }

    /// What is known of an object, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn object(self: &Arc<Self>, container: &str, name: String) -> Result<Option<ObjectInfo>> {
        let (asked, of) = (name.clone(), container.to_owned());
        let found = self.run(container, move |file, container| {
            let text = "SELECT created, size FROM object WHERE container = ? AND name = ?";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            file.prepare_cached(text)?.query_row(params![container, asked], read).optional()
        });
        let info = |(created, size)| {
            let (created_seconds, size) = (unsigned(created), unsigned(size));
            ObjectInfo { name, container: of, created_seconds, size }
        };
        Ok(found.await?.map(info))
    }

    /// At most `max` names of objects after `after`, in the order of their bytes, and whether there are more.
    ///
    /// # Errors
    ///
    /// When there is no such container, or the store cannot be read.
    pub async fn objects(self: &Arc<Self>, container: &str, after: String, max: u64) -> Result<(Vec<String>, bool)> {
        let page = usize::try_from(max).unwrap_or(usize::MAX).min(self.bounds().page_keys);
        let names = self.run_in(container, move |file, container| {
            // One more than is told shows whether there are more.
            let text = "SELECT name FROM object WHERE container = ? AND name > ? ORDER BY name LIMIT ?";
            let limit = signed(page as u64 + 1);
            file.prepare_cached(text)?.query_map(params![container, after, limit], |row| row.get(0))?.collect()
        });
        let mut names: Vec<String> = names.await?;
        let more = names.len() > page;
        names.truncate(page);
        Ok((names, more))
    }

    /// Takes objects away, all or none; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// When there is no such container, or the store cannot be written.
    pub async fn delete_objects(self: &Arc<Self>, container: &str, names: Vec<String>) -> Result<()> {
        self.run_in(container, move |file, container| {
            let change = file.transaction()?;
            for name in &names {
                let text = "DELETE FROM object WHERE container = ? AND name = ?";
                change.prepare_cached(text)?.execute(params![container, name])?;
            }
            change.commit()
        })
        .await?;
        self.sweep().await
    }

    /// Gives an object's content another name too, or instead; it takes the place of what had that name.
    ///
    /// # Errors
    ///
    /// When there is no such object or container, the name has a size that is not accepted, or the store cannot be written.
    pub async fn copy_object(
        self: &Arc<Self>,
        (container, name): (&str, String),
        (to_container, to_name): (&str, String),
        and_delete: bool,
    ) -> Result<()> {
        self.check_object(&to_name)?;
        let (to, missing) = (to_container.to_owned(), BucketError::NoObject(name.clone()));
        self.container(to_container).await?.ok_or_else(|| BucketError::NoContainer(to_container.to_owned()))?;
        let copied = self.run_in(container, move |file, container| {
            let change = file.transaction()?;
            let text = "SELECT content, size FROM object WHERE container = ? AND name = ?";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let Some((id, size)) = change.query_row(text, params![container, name], read).optional()? else {
                return Ok(false);
            };
            if (container, &name) != (to.as_str(), &to_name) {
                put(&change, &to, &to_name, id, unsigned(size))?;
                if and_delete {
                    let text = "DELETE FROM object WHERE container = ? AND name = ?";
                    change.execute(text, params![container, name])?;
                }
            }
            change.commit()?;
            Ok(true)
        });
        if !copied.await? {
            return Err(missing);
        }
        self.sweep().await
    }

    /// Runs `work` in a container that is there.
    async fn run_in<T: Send + 'static>(
        self: &Arc<Self>,
        container: &str,
        work: impl FnOnce(&mut Connection, &str) -> Sql<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.run(container, move |file, container| {
            let text = "SELECT 1 FROM container WHERE name = ?";
            let is_there = file.prepare_cached(text)?.exists(params![container])?;
            if is_there { work(file, container).map(Some) } else { Ok(None) }
        });
        done.await?.ok_or_else(|| BucketError::NoContainer(container.to_owned()))
    }

    /// Removes content that lost its last name and reader.
    async fn sweep(self: &Arc<Self>) -> Result<()> {
        let held = self.clone();
        self.run("", move |file, _| {
            let change = file.transaction()?;
            for id in unnamed(&change)? {
                if !held.is_held(id) {
                    change.execute("DELETE FROM piece WHERE content = ?", params![id])?;
                    change.execute("DELETE FROM content WHERE id = ?", params![id])?;
                }
            }
            change.commit()
        })
        .await
    }
}

fn unnamed(file: &Connection) -> Sql<Vec<i64>> {
    let text = "SELECT id FROM content WHERE id NOT IN (SELECT content FROM object)";
    file.prepare_cached(text)?.query_map([], |row| row.get(0))?.collect()
}

fn put(file: &Connection, container: &str, name: &str, id: i64, size: u64) -> Sql<()> {
    let text = "INSERT INTO object (container, name, created, size, content) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (container, name) DO UPDATE
                SET created = excluded.created, size = excluded.size, content = excluded.content";
    file.prepare_cached(text)?.execute(params![container, name, signed(now()), signed(size), id]).map(drop)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
