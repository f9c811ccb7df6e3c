//! Durable, watchable object store on one SQLite file.
//!
//! Start at [`Store::open`]. Every change appends one row to a log and takes the next [`Revision`]; memory holds the
//! newest value of each [`Key`] and a bounded recent history. A write is visible to [`Store::get`], [`Store::list`] and
//! [`Store::watch`] only after it is on disk, so whatever was seen survives `kill -9`.
//!
//! Deliberately absent: knowledge of what a value means. Selectable attributes come from a callback, and whoever writes
//! puts the resource version into the value through the closure of [`Write`].

mod attributes;
mod batch;
mod checksum;
mod disk;
mod entry;
mod error;
mod history;
mod key;
mod load;
mod lock;
mod queue;
mod store;
mod table;
mod watch;
mod write;
mod writer;

pub use attributes::Attributes;
pub use entry::{Entry, Event, EventKind};
pub use error::{HistoryError, Lagged, OpenError, WriteError};
pub use key::{Key, Revision, Scope};
pub use lock::DirLock;
pub use store::{AttributesFn, List, Options, Page, Store};
pub use watch::Watch;
pub use write::{Operation, Produce, Write};
