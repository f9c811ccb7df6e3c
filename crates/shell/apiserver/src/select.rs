//! Which objects of a scope a list or watch is about. Decides on attributes, never on bytes.

use std::sync::Arc;

use eyot_model::{
    fields,
    kinds::Kind,
    selector::{FieldSelector, LabelSelector},
    status::ApiError,
};
use eyot_store::{Attributes, Entry, Event, EventKind, Scope};

use crate::{call::Call, definitions::conversion::Converted, request::query::Query};

/// Label and field selectors of one request.
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    custom: bool,
    /// What webhooks made of the objects that are looked into.
    converted: Converted,
}

/// What a change means to somebody who sees the selected objects only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Added,
    Modified,
    Deleted,
}

impl Selection {
    pub(crate) fn parse(kind: &Kind, query: &Query) -> Result<Selection, ApiError> {
        let bad = |it: &dyn std::fmt::Display| ApiError::bad_request(it.to_string());
        let labels = LabelSelector::parse(&query.label_selector).map_err(|it| bad(&it))?;
        let fields = FieldSelector::parse(&query.field_selector).map_err(|it| bad(&it))?;
        fields::check(kind, &fields)?;
        Ok(Selection { labels, fields, custom: kind.custom.is_some(), converted: Converted::default() })
    }

    /// The selection of a request: it looks at custom objects as they are in the version of that request.
    pub(crate) fn of(call: &Call) -> Result<Selection, ApiError> {
        Ok(Selection { converted: call.converted.clone(), ..Selection::parse(&call.kind, &call.query)? })
    }

    /// Whether it looks into objects, which must then be converted before.
    pub(crate) fn looks_inside(&self) -> bool {
        self.custom && self.fields.requirements().iter().any(|it| !it.field.starts_with("metadata."))
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        if self.is_everything() {
            return true;
        }
        if self.custom {
            return self.matches_custom(entry);
        }
        let by_field = |field: &str| match field {
            "metadata.name" => Some(&*entry.key.name),
            "metadata.namespace" => Some(&*entry.key.namespace),
            // Events of both groups are stored as one kind, whose fields have these names.
            "reportingController" => entry.attributes().field("reportingComponent"),
            field => match field.strip_prefix("regarding.") {
                Some(rest) => entry.attributes().field(&format!("involvedObject.{rest}")),
                None => entry.attributes().field(field),
            },
        };
        self.fields.matches(by_field) && (self.labels.is_empty() || self.matches_labels(entry.attributes()))
    }

    /// Which fields of a custom object can be selected by depends on its definition, so that they are not kept beside it.
    fn matches_custom(&self, entry: &Entry) -> bool {
        if !self.labels.is_empty() && !self.matches_labels(entry.attributes()) {
            return false;
        }
        let object = match self.looks_inside() {
            true => {
                let shown = self.converted.get(&entry.value);
                serde_json::from_slice(shown.as_ref().unwrap_or(&entry.value)).unwrap_or_default()
            }
            false => serde_json::Value::Null,
        };
        let holds = |field: &str| match field {
            "metadata.name" => entry.key.name.to_string(),
            "metadata.namespace" => entry.key.namespace.to_string(),
            field => fields::of_custom(&object, field),
        };
        self.fields.requirements().iter().all(|it| (holds(&it.field) == it.value) == it.equal)
    }

    fn matches_labels(&self, attributes: &Attributes) -> bool {
        self.labels.matches(|key| attributes.label(key))
    }

    /// What a change is to a watcher; `None` when it concerns objects outside the selection only.
    pub(crate) fn seen(&self, event: &Event) -> Option<Seen> {
        let before = event.previous.as_ref().is_some_and(|it| self.matches(it));
        let after = event.kind != EventKind::Deleted && self.matches(&event.entry);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(Seen::Added),
            (true, true) => Some(Seen::Modified),
            (true, false) => Some(Seen::Deleted),
        }
    }

    /// The part of the store to look at: one object when the selector names it.
    pub(crate) fn scope(&self, call: &Call) -> Scope {
        let resource: Arc<str> = call.kind.storage.as_str().into();
        let namespace = call.namespace.as_deref().or_else(|| self.fields.required_value("metadata.namespace"));
        let scope = match namespace.filter(|_| call.kind.namespaced) {
            Some(namespace) => Scope::namespaced(resource, namespace),
            None => Scope::all(resource),
        };
        match self.fields.required_value("metadata.name") {
            Some(name) => scope.named(name),
            None => scope,
        }
    }
}
