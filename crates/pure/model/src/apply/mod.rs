//! Server-side apply: who owns which fields, and what follows from it.
//!
//! Start at [`apply`], which merges a configuration into an object, and at [`track`], which notes who changed what by
//! any other write. Both follow Kubernetes' structured-merge-diff: fields are paths ([`Set`]) in which items of lists
//! are named by what identifies them, as the kind's schema says; entries of `metadata.managedFields` hold them.
//!
//! Deliberately absent: the request. Names, options and codes are the API server's.

mod compare;
mod configure;
mod conflict;
mod element;
mod fieldset;
mod kubectl;
mod managed;
mod merge;
mod overlay;
mod remove;
mod reset;
mod set;
#[cfg(test)]
mod tests;
mod types;
mod update;
mod versions;

use jiff::Timestamp;

pub use configure::{ApplyError, apply, canonical};
pub use conflict::Conflict;
pub use element::{Element, Path};
pub use managed::{Entry, ManagedError, Operation, decode, encode, same};
pub use overlay::{overlay, overlay_onto};
pub use set::Set;
pub use update::track;

use crate::meta;

/// Who writes, through what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The owner's name.
    pub manager: &'a str,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// The time of the write.
    pub now: Timestamp,
}

impl Writer<'_> {
    /// The writer's entry, which owns nothing yet.
    fn entry(&self, operation: Operation, api_version: &str) -> Entry {
        Entry {
            manager: if self.manager.is_empty() { "unknown" } else { self.manager }.to_owned(),
            operation,
            subresource: self.subresource.to_owned(),
            api_version: api_version.to_owned(),
            time: Some(meta::format_time(self.now)),
            fields: Set::default(),
        }
    }
}

/// Why `fieldsV1` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// Every part of it must be an object.
    #[error("fieldsV1 holds something that is not an object")]
    NotAnObject,
    /// A step of a path is malformed.
    #[error("fieldsV1 names {element:?}: {why}")]
    Element {
        /// The step as it stands there.
        element: String,
        /// What is wrong.
        why: String,
    },
}
