//! A few objects that stand for a store. Entry point: [`Objects`].

use std::sync::Arc;

use eyot_model::{
    kinds::{self, Kind, Table},
    meta,
    rbac::Ask,
};
use serde_json::Value;

use crate::{Authorizer, Data, DataError, Decision};

/// Objects in memory, of built-in kinds or of those of a given table; nobody may do anything.
#[derive(Clone)]
pub struct Objects {
    kinds: Arc<Table>,
    objects: Vec<Arc<Value>>,
}

impl Objects {
    /// These objects, of built-in kinds.
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Objects {
        Objects::of(Arc::new(Table::over(kinds::builtin())), objects)
    }

    /// These objects, of the kinds of a table.
    pub fn of(kinds: Arc<Table>, objects: impl IntoIterator<Item = Value>) -> Objects {
        let mut objects: Vec<Arc<Value>> = objects.into_iter().map(Arc::new).collect();
        objects.sort_by(|a, b| place(a).cmp(&place(b)));
        Objects { kinds, objects }
    }

    fn of_kind(&self, kind: &Kind) -> impl Iterator<Item = &Arc<Value>> {
        let (api_version, name) = (kind.api_version(), kind.kind.clone());
        self.objects.iter().filter(move |it| it["apiVersion"] == api_version.as_str() && it["kind"] == name.as_str())
    }
}

fn place(object: &Value) -> (&str, &str) {
    (meta::namespace(object).unwrap_or_default(), meta::name(object).unwrap_or_default())
}

impl Data for Objects {
    fn kinds(&self) -> Arc<Table> {
        self.kinds.clone()
    }

    fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, DataError> {
        Ok(self.of_kind(kind).find(|it| place(it) == (namespace, name)).cloned())
    }

    fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Arc<Value>>, DataError> {
        let wanted = |it: &&Arc<Value>| namespace.is_none_or(|namespace| place(it).0 == namespace);
        Ok(self.of_kind(kind).filter(wanted).cloned().collect())
    }

    fn kept(&self) -> Option<Arc<dyn Data>> {
        Some(Arc::new(self.clone()))
    }

    fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::new(Nobody)
    }
}

struct Nobody;

impl Authorizer for Nobody {
    fn decide(&self, _: &str, _: &[String], _: &Ask<'_>) -> Decision {
        Decision { allowed: false, reason: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_found_by_kind_and_place() {
        let map = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}});
        let data = Objects::new([map("b", "x"), map("a", "y"), map("a", "x")]);
        let maps = ("", "v1", "ConfigMap");
        assert!(data.get(maps, "a", "x").unwrap().is_some() && data.get(maps, "b", "y").unwrap().is_none());
        let names =
            |namespace| data.list(maps, namespace).unwrap().iter().map(|it| place(it).1.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (names(None), names(Some("a"))),
            (vec!["x".into(), "y".into(), "x".into()], vec!["x".into(), "y".into()])
        );
        let error = data.list(("x.io", "v1", "Gone"), None).unwrap_err();
        assert_eq!(error.to_string(), r#"no kind "Gone" is served in "x.io/v1""#);
    }
}
