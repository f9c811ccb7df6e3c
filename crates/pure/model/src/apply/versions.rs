//! The versions of a kind: owners of fields may have spoken of another than the request's.

use std::borrow::Cow;

use serde_json::Value;

use super::types::Schema;
use crate::{
    convert,
    kinds::{Kind, Table},
};

/// The versions of one kind, seen from one of them.
pub(super) struct Versions<'a> {
    table: &'a Table,
    kind: &'a Kind,
    api_version: String,
    schema: Schema<'a>,
}

impl<'a> Versions<'a> {
    pub(super) fn new(table: &'a Table, kind: &'a Kind) -> Self {
        Self { table, kind, api_version: kind.api_version(), schema: Schema::of(kind) }
    }

    /// The version of the request.
    pub(super) fn own(&self) -> &str {
        &self.api_version
    }

    /// The schema of the request's version.
    pub(super) fn own_schema(&self) -> &Schema<'a> {
        &self.schema
    }

    /// The schema of a version; `None` when it is not served any more.
    pub(super) fn schema(&self, api_version: &str) -> Option<Schema<'a>> {
        self.find(api_version).map(Schema::of)
    }

    /// An object in another version; `None` when one of the two is not served any more.
    pub(super) fn convert<'v>(&self, object: Cow<'v, Value>, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to {
            return Some(object);
        }
        let (from, to) = (self.find(from)?, self.find(to)?);
        Some(Cow::Owned(convert::from_stored(to, convert::to_stored(from, object.into_owned()))))
    }

    fn find(&self, api_version: &str) -> Option<&'a Kind> {
        if api_version == self.api_version {
            return Some(self.kind);
        }
        let found = self.table.by_api_version(api_version, &self.kind.kind)?;
        (found.storage == self.kind.storage).then_some(&**found)
    }
}
