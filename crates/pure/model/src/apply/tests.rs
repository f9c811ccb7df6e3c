//! Ownership, as tables: what somebody writes, and who owns what afterwards.

mod applying;
mod owners;
mod properties;
mod sets;

use serde_json::{Value, json};

use super::*;
use crate::{
    kinds::{Kind, builtin},
    schema::{FieldValidation, decode as decode_object},
};

fn kind(api_version: &str, name: &str) -> &'static Kind {
    builtin().by_api_version(api_version, name).expect("known")
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, subresource: "", now: "2026-01-02T03:04:05Z".parse().expect("a time") }
}

/// An object that several managers write, one after another.
struct Live {
    kind: &'static Kind,
    object: Option<Value>,
}

impl Live {
    fn new(api_version: &str, name: &str) -> Self {
        Live { kind: kind(api_version, name), object: None }
    }

    fn deployment() -> Self {
        Live::new("apps/v1", "Deployment")
    }

    fn named(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.kind.api_version().into();
        object["kind"] = self.kind.kind.as_str().into();
        object["metadata"]["name"] = "x".into();
        object
    }

    /// As the server tidies what it is about to write.
    fn decoded(&self, object: Value) -> Value {
        decode_object(self.kind, object, vec![], FieldValidation::Strict).expect("fits the schema").object
    }

    fn apply_as(&mut self, writer: &Writer<'_>, config: Value, force: bool) -> Result<&mut Self, String> {
        let config = self.named(config);
        let applied = apply(builtin(), self.kind, writer, self.object.as_ref(), &config, force);
        self.object = Some(self.decoded(applied.map_err(|e| e.status(self.kind, &config).message)?));
        Ok(self)
    }

    fn apply(&mut self, manager: &str, config: Value) -> &mut Self {
        self.apply_as(&writer(manager), config, false).unwrap_or_else(|e| panic!("{e}"))
    }

    fn force(&mut self, manager: &str, config: Value) -> &mut Self {
        self.apply_as(&writer(manager), config, true).unwrap_or_else(|e| panic!("{e}"))
    }

    fn refused(&mut self, manager: &str, config: Value) -> String {
        self.apply_as(&writer(manager), config, false).map(|_| ()).expect_err("applies")
    }

    /// Replaces the object, keeping what `change` leaves alone.
    fn update_as(&mut self, writer: &Writer<'_>, change: impl FnOnce(&mut Value)) -> &mut Self {
        let mut new = self.object.clone().unwrap_or_else(|| self.named(json!({})));
        change(&mut new);
        let mut new = self.decoded(new);
        track(builtin(), self.kind, writer, self.object.as_ref(), &mut new).expect("well-formed");
        self.object = Some(new);
        self
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) -> &mut Self {
        self.update_as(&writer(manager), change)
    }

    fn spec(&self) -> &Value {
        &self.object.as_ref().expect("applied")["spec"]
    }

    fn entries(&self) -> Vec<Entry> {
        let list = self.object.as_ref().and_then(|it| it.pointer("/metadata/managedFields"));
        decode(list).expect("well-formed")
    }

    /// A line for each owner, and one for each field.
    fn owners(&self) -> String {
        let mut text = String::new();
        for entry in self.entries() {
            text += &format!("{:?} {}\n", entry.operation, entry.shown());
            for path in entry.fields.paths() {
                text += &format!("  {}\n", element::shown(&path));
            }
        }
        text
    }
}
