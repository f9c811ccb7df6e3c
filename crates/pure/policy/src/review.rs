//! One request for admission. Entry point: [`Review`].

use std::collections::BTreeMap;

use eyot_model::{convert, kinds::Kind};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is being done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It comes to be.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// Somebody opens a session with it.
    Connect,
}

impl Operation {
    /// The word of `admission.k8s.io/v1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// Who asks, as in `authentication.k8s.io/v1 UserInfo`.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// User name.
    pub name: &'a str,
    /// What tells users of one name apart over time; often empty.
    pub uid: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// What else is known.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

impl User<'_> {
    /// As a `UserInfo`.
    pub fn to_value(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The options of a request, such as `CreateOptions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Their kind; empty where the object itself is the options, as for sessions.
    pub kind: &'static str,
    /// Whether nothing of the request will be stored.
    pub dry_run: bool,
    /// Who manages the fields that the request writes.
    pub field_manager: Option<&'a str>,
    /// Of a delete: seconds.
    pub grace_seconds: Option<i64>,
    /// Of a delete: what becomes of dependents.
    pub propagation_policy: Option<&'a str>,
    /// Of a delete: the object must have this uid.
    pub uid: Option<&'a str>,
    /// Of a delete: the object must have this version.
    pub resource_version: Option<&'a str>,
}

impl Options<'_> {
    /// As the object that admission reviews show.
    fn to_value(self) -> Value {
        let mut made = json!({"kind": self.kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            made["dryRun"] = json!(["All"]);
        }
        if let Some(seconds) = self.grace_seconds {
            made["gracePeriodSeconds"] = seconds.into();
        }
        for (field, text) in [("fieldManager", self.field_manager), ("propagationPolicy", self.propagation_policy)] {
            if let Some(text) = text {
                made[field] = text.into();
            }
        }
        for (field, text) in [("uid", self.uid), ("resourceVersion", self.resource_version)] {
            if let Some(text) = text {
                made["preconditions"][field] = text.into();
            }
        }
        made
    }
}

/// One request for admission. Cheap to make and to copy: everything in it belongs to the request.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// When the request is judged.
    pub now: Timestamp,
    /// What is being done.
    pub operation: Operation,
    /// The kind of the resource that is written, in the version in which the objects are shown here. A subresource may carry
    /// objects of another kind ([`Review::carried`]).
    pub resource: &'a Kind,
    /// The same kind in the version that the request came in, where that is another one.
    pub requested: &'a Kind,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for kinds without namespaces; of a Namespace it is its own name.
    pub namespace: &'a str,
    /// Empty only where a whole collection is meant.
    pub name: &'a str,
    /// Who asks.
    pub user: User<'a>,
    /// How.
    pub options: Options<'a>,
    /// The object as it would be; null on a delete, and while [`wants`] is asked.
    ///
    /// [`wants`]: crate::Engine::wants
    pub object: &'a Value,
    /// The object as it is stored, of updates and deletes.
    pub old: Option<&'a Value>,
    /// The Namespace that the object lies in. `None` for kinds without namespaces, and while [`wants`] is asked.
    ///
    /// [`wants`]: crate::Engine::wants
    pub namespace_object: Option<&'a Value>,
}

impl<'a> Review<'a> {
    /// Group, version and kind of the objects that the request carries: of a subresource such as `scale` not those of the
    /// resource.
    pub fn carried(&self) -> (&'a str, &'a str, &'a str) {
        carried(self.resource, self.subresource)
    }

    /// The same request as it looks in another version of its kind.
    pub fn seen_as<'b>(&self, kind: &'b Kind, object: &'b Value, old: Option<&'b Value>) -> Review<'b>
    where
        'a: 'b,
    {
        Review { resource: kind, object, old, ..*self }
    }

    /// Whether it carries objects of the resource's own kind: no Scale, no Binding, no options of a session.
    pub fn carries_its_kind(&self) -> bool {
        let (group, _, kind) = self.carried();
        self.operation != Operation::Connect && self.requested.is(group, kind)
    }

    /// Whether nothing of it will be stored.
    pub fn dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// The object that is judged: the new one, or on a delete the one that goes.
    pub fn subject(&self) -> &'a Value {
        if self.object.is_null() { self.old.unwrap_or(self.object) } else { self.object }
    }

    /// The `AdmissionRequest` of `admission.k8s.io/v1`, with the objects in it.
    pub fn request(&self, uid: &str) -> Value {
        let mut request = self.about(uid);
        request.insert("object".into(), self.object.clone());
        request.insert("oldObject".into(), self.old.cloned().unwrap_or_default());
        Value::Object(request)
    }

    /// The `AdmissionRequest` without its objects.
    pub fn about(&self, uid: &str) -> Map<String, Value> {
        let kind_of = |it| {
            let (group, version, kind) = carried(it, self.subresource);
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource_of = |it: &Kind| json!({"group": it.group, "version": it.version, "resource": it.plural});
        let mut request = Map::new();
        request.insert("uid".into(), uid.into());
        request.insert("kind".into(), kind_of(self.resource));
        request.insert("resource".into(), resource_of(self.resource));
        request.insert("requestKind".into(), kind_of(self.requested));
        request.insert("requestResource".into(), resource_of(self.requested));
        for (field, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.namespace),
        ] {
            if !text.is_empty() {
                request.insert(field.into(), text.into());
            }
        }
        request.insert("operation".into(), self.operation.as_str().into());
        request.insert("userInfo".into(), self.user.to_value());
        request.insert("dryRun".into(), self.dry_run().into());
        let options = if self.options.kind.is_empty() { self.object.clone() } else { self.options.to_value() };
        request.insert("options".into(), options);
        request
    }
}

/// An object in another version of its kind.
pub fn between(from: &Kind, to: &Kind, object: Value) -> Value {
    if object.is_null() { object } else { convert::from_stored(to, convert::to_stored(from, object)) }
}

fn carried<'k>(kind: &'k Kind, subresource: &str) -> (&'k str, &'k str, &'k str) {
    match kind.subresource(subresource).filter(|_| !subresource.is_empty()) {
        Some(it) => (&it.group, &it.version, &it.kind),
        None => (&kind.group, &kind.version, &kind.kind),
    }
}

#[cfg(test)]
mod tests {
    use eyot_model::kinds;

    use super::*;

    #[test]
    fn a_request_reads_as_admission_reviews_do() {
        let pods = kinds::builtin().by_plural("", "v1", "pods").unwrap();
        let (groups, extra) = (vec!["dev".to_owned()], BTreeMap::new());
        let old = json!({"metadata": {"name": "a"}});
        let review = Review {
            now: Timestamp::UNIX_EPOCH,
            operation: Operation::Delete,
            resource: pods,
            requested: pods,
            subresource: "",
            namespace: "n",
            name: "a",
            user: User { name: "eve", uid: "", groups: &groups, extra: &extra },
            options: Options { kind: "DeleteOptions", dry_run: true, uid: Some("u"), ..Options::default() },
            object: &Value::Null,
            old: Some(&old),
            namespace_object: None,
        };
        let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
        let resource = json!({"group": "", "version": "v1", "resource": "pods"});
        assert_eq!(
            review.request("1"),
            json!({
                "uid": "1", "kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
                "name": "a", "namespace": "n", "operation": "DELETE", "dryRun": true,
                "userInfo": {"username": "eve", "groups": ["dev"]}, "object": null, "oldObject": old,
                "options": {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"],
                    "preconditions": {"uid": "u"}},
            })
        );
        assert_eq!(Review { subresource: "eviction", ..review }.carried(), ("policy", "v1", "Eviction"));
        assert_eq!(review.subject(), &old);
    }
}
