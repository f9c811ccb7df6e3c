//! What policies may ask about the cluster.
//!
//! The trait [`Source`] has two implementations: the API server's store, and the files of a test. Deliberately absent:
//! registries of images and services elsewhere; a write does not wait for other machines.

use std::{collections::HashMap, sync::Arc};

use eyot_model::kinds::{builtin, split_api_version};
use eyot_policy::Authorizer;
use serde_json::Value;

/// An answer about something outside of the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// This source cannot tell, and the question is skipped.
    Off,
    /// What it is.
    Found(Value),
    /// Why there is no answer.
    Failed(String),
}

/// The cluster as policies see it.
pub trait Source {
    /// A ConfigMap, as the object that it is.
    fn config_map(&self, namespace: &str, name: &str) -> Lookup;
    /// The answer to a GET (or to a POST with that body) on a path of the API server.
    fn api_call(&self, path: &str, body: Option<&Value>) -> Lookup;
    /// The answer of a service elsewhere.
    fn service(&self, url: &str, body: Option<&Value>) -> Lookup;
    /// What a registry knows of an image.
    fn image(&self, reference: &str) -> Lookup;
    /// The content of a GlobalContextEntry.
    fn global(&self, name: &str) -> Lookup;
    /// An object by its kind (`Group/Version/Kind` in parts) and name.
    ///
    /// # Errors
    /// When it cannot be told.
    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, String>;
    /// Objects of a kind in a namespace, or everywhere where it is empty.
    ///
    /// # Errors
    /// When they cannot be told, or are too many.
    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Arc<Value>>, String>;
    /// The kind behind a plural.
    fn kind_of(&self, group: &str, version: &str, plural: &str) -> Option<String>;
    /// The plural of a kind.
    fn plural_of(&self, group: &str, version: &str, kind: &str) -> Option<String>;
    /// Whether objects of a kind lie in namespaces.
    fn is_namespaced(&self, api_version: &str, kind: &str) -> bool {
        let (group, version) = split_api_version(api_version);
        builtin().by_kind(group, version, kind).is_none_or(|it| it.namespaced)
    }
    /// The JMESPath behind the name of a projection of a GlobalContextEntry, where entries tell.
    fn projection(&self, _entry: &str, _name: &str) -> Option<String> {
        None
    }
    /// Who may do what, where there is a cluster.
    fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        None
    }
}

/// A source with nothing in it but what it was given.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// Objects that can be got and listed.
    pub objects: Vec<Arc<Value>>,
    /// Answers by path, with `POST:` before those to a body.
    pub calls: HashMap<String, Value>,
    /// Contents of GlobalContextEntries.
    pub globals: HashMap<String, Value>,
    /// Whether paths and ConfigMaps are looked up among the objects, too.
    pub is_cluster: bool,
}

impl Fixed {
    fn call(&self, path: &str, body: Option<&Value>) -> Option<&Value> {
        let method = if body.is_some() { "POST" } else { "GET" };
        self.calls.get(&format!("{method}:{path}")).or_else(|| self.calls.get(path))
    }
}

impl Source for Fixed {
    fn config_map(&self, namespace: &str, name: &str) -> Lookup {
        match self.get("v1", "ConfigMap", namespace, name) {
            _ if !self.is_cluster => Lookup::Off,
            Ok(Some(it)) => Lookup::Found(Value::clone(&it)),
            Err(why) => Lookup::Failed(why),
            Ok(None) => Lookup::Failed(format!("configmaps \"{name}\" not found")),
        }
    }

    fn api_call(&self, path: &str, body: Option<&Value>) -> Lookup {
        match self.call(path, body) {
            Some(it) => Lookup::Found(it.clone()),
            None if self.is_cluster && body.is_none() => crate::path::answer(path, self),
            None => Lookup::Off,
        }
    }

    fn service(&self, url: &str, body: Option<&Value>) -> Lookup {
        self.call(url, body).map_or(Lookup::Off, |it| Lookup::Found(it.clone()))
    }

    fn image(&self, _: &str) -> Lookup {
        Lookup::Off
    }

    fn global(&self, name: &str) -> Lookup {
        self.globals.get(name).map_or(Lookup::Off, |it| Lookup::Found(it.clone()))
    }

    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, String> {
        let all = self.list(api_version, kind, namespace)?;
        Ok(all.into_iter().find(|it| it["metadata"]["name"] == name))
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Arc<Value>>, String> {
        let fits = |it: &&Arc<Value>| {
            it["kind"] == kind
                && (api_version.is_empty() || it["apiVersion"] == api_version)
                && (namespace.is_empty() || it["metadata"]["namespace"] == namespace)
        };
        Ok(self.objects.iter().filter(fits).cloned().collect())
    }

    /// A built-in kind, or one that a definition among the objects names.
    fn kind_of(&self, group: &str, version: &str, plural: &str) -> Option<String> {
        if let Some(kind) = builtin().by_plural(group, version, plural) {
            return Some(kind.kind.to_string());
        }
        let name = format!("{plural}.{group}");
        let definition = self.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &name).ok()??;
        definition["spec"]["names"]["kind"].as_str().map(str::to_owned)
    }

    fn plural_of(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        builtin().by_kind(group, version, kind).map(|it| it.plural.to_string())
    }
}
