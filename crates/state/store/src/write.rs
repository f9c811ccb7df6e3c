//! What a writer asks for.

use std::fmt;

use bytes::Bytes;

use crate::{Attributes, Key, Revision};

/// Makes the value once the revision is known. Runs on the writer's thread: keep it short, and never block in it.
pub type Produce = Box<dyn FnOnce(Revision) -> Bytes + Send>;

/// What is to happen to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Fails when the key is taken.
    Create,
    /// Fails unless the newest version is the expected one.
    Update {
        /// Version the new value was made from.
        expect: Revision,
    },
    /// Fails when the key is free or, with an expectation, at another version.
    Delete {
        /// Version to delete; any when `None`.
        expect: Option<Revision>,
    },
}

/// One change to one key.
pub struct Write {
    /// Whose change.
    pub key: Key,
    /// What to do.
    pub operation: Operation,
    /// The new value; for a delete the last value that watchers see.
    pub produce: Produce,
    /// Saves extracting them from the value when the writer knows them.
    pub attributes: Option<Attributes>,
}

impl Write {
    /// Creates an object.
    pub fn create(key: Key, produce: impl FnOnce(Revision) -> Bytes + Send + 'static) -> Write {
        Write { key, operation: Operation::Create, produce: Box::new(produce), attributes: None }
    }

    /// Replaces version `expect` of an object.
    pub fn update(key: Key, expect: Revision, produce: impl FnOnce(Revision) -> Bytes + Send + 'static) -> Write {
        Write { key, operation: Operation::Update { expect }, produce: Box::new(produce), attributes: None }
    }

    /// Deletes an object.
    pub fn delete(
        key: Key,
        expect: Option<Revision>,
        produce: impl FnOnce(Revision) -> Bytes + Send + 'static,
    ) -> Write {
        Write { key, operation: Operation::Delete { expect }, produce: Box::new(produce), attributes: None }
    }

    /// Hands over the attributes of the new value.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Write {
        Write { attributes: Some(attributes), ..self }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Write({:?} {})", self.operation, self.key)
    }
}
