//! What variables are looked up in while a policy is evaluated.
//!
//! Entry points: [`Context::new`], [`Context::query`]. The context holds the request, what a rule's `context` adds, and
//! the element of a loop. Entries are loaded when something first names them; [`Context::mark`] and
//! [`Context::restore`] bracket what a rule or a loop's round adds.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    image,
    jmespath::{Env, Expression, SearchError},
    path,
    source::{Lookup, Source},
    spec::{ContextEntry, EntrySource},
    text, variables,
};

/// Bytes of JSON that the entries of one evaluation may hold together.
const ENTRIES_BYTES_MAX: usize = 2 << 20;
/// Expressions that each thread keeps compiled.
const COMPILED_MAX: usize = 2_048;

/// Why a query has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A field is not there.
    #[error("JMESPath query failed: Unknown key \"{0}\" in path")]
    NotFound(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl QueryError {
    /// Whether a field is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, QueryError::NotFound(_))
    }
}

/// Where to return to.
#[derive(Debug)]
pub struct Mark {
    undo: usize,
    pending: Vec<ContextEntry>,
    bytes: usize,
}

/// What something was before.
enum Undo {
    Name(String, Option<Value>),
    /// The request's object.
    Object(Value),
}

const IMAGES: &str = "images";

/// Values by name, and how to get more of them.
pub struct Context<'a> {
    root: Value,
    /// Entries that nothing has named yet.
    pending: Vec<ContextEntry>,
    /// What names stood for before.
    undo: Vec<Undo>,
    bytes: usize,
    /// The environment of expressions.
    pub env: &'a Env,
    /// The cluster.
    pub source: &'a dyn Source,
    /// Set for policies that belong to a namespace.
    pub policy_namespace: Option<String>,
    /// Where custom kinds keep images, as the rule says.
    pub(crate) extractors: Option<Value>,
    /// Values that a test gives to rules, by the rule's name and a dotted path.
    pub given: Vec<(String, String, Value)>,
}

thread_local! {
    static COMPILED: RefCell<HashMap<String, Arc<Expression>>> = RefCell::default();
}

/// A compiled expression, from this thread's cache if it is there.
pub(crate) fn compiled(text: &str) -> Result<Arc<Expression>, QueryError> {
    COMPILED.with_borrow_mut(|cache| {
        if let Some(it) = cache.get(text) {
            return Ok(it.clone());
        }
        let expression = Expression::compile(text)
            .map_err(|it| QueryError::Failed(format!("incorrect query {text}: SyntaxError: {it}")))?;
        if cache.len() >= COMPILED_MAX {
            cache.clear();
        }
        let expression = Arc::new(expression);
        cache.insert(text.to_owned(), expression.clone());
        Ok(expression)
    })
}

/// Applies an expression to a value.
pub(crate) fn search(text: &str, value: &Value, env: &Env) -> Result<Value, QueryError> {
    let found = compiled(text)?.search(value, env).map(std::borrow::Cow::into_owned);
    found.map_err(|it| match it {
        SearchError::NotFound(key) => QueryError::NotFound(key),
        other => QueryError::Failed(format!("JMESPath query failed: {other}")),
    })
}

impl<'a> Context<'a> {
    /// A context with a request in it.
    pub fn new(request: Map<String, Value>, env: &'a Env, source: &'a dyn Source) -> Context<'a> {
        let mut root = Map::new();
        let user = request.get("userInfo").and_then(|it| it["username"].as_str()).unwrap_or_default();
        let (namespace, name) =
            user.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':')).unwrap_or_default();
        root.insert("serviceAccountName".to_owned(), name.into());
        root.insert("serviceAccountNamespace".to_owned(), namespace.into());
        root.insert("request".to_owned(), Value::Object(request));
        let (pending, undo) = (Vec::new(), Vec::new());
        Context {
            root: Value::Object(root),
            pending,
            undo,
            bytes: 0,
            env,
            source,
            policy_namespace: None,
            extractors: None,
            given: Vec::new(),
        }
    }

    /// What is being done: `CREATE` and so on.
    pub fn operation(&self) -> &str {
        self.root["request"]["operation"].as_str().unwrap_or_default()
    }

    /// Gives a name a value.
    pub fn set(&mut self, name: &str, value: Value) {
        let old = match &mut self.root {
            Value::Object(all) => all.insert(name.to_owned(), value),
            _ => None,
        };
        self.undo.push(Undo::Name(name.to_owned(), old));
    }

    /// Gives a dotted path a value and keeps what stands beside it.
    pub fn set_path(&mut self, path: &str, value: Value) {
        let parts = split_path(path);
        let Some((first, rest)) = parts.split_first() else { return };
        let mut top = self.root.get(first.as_str()).cloned().unwrap_or_default();
        let mut at = &mut top;
        for part in rest {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[part.as_str()];
        }
        merge(at, value);
        self.set(first, top);
    }

    /// Puts another object into the request.
    pub fn set_object(&mut self, object: Value) {
        let Value::Object(all) = &mut self.root else { return };
        if let Some(request) = all.get_mut("request") {
            let old = std::mem::replace(&mut request["object"], object);
            self.undo.push(Undo::Object(old));
        }
        // They are worked out anew when something names them.
        let images = all.remove(IMAGES);
        self.undo.push(Undo::Name(IMAGES.to_owned(), images));
    }

    /// Changes the object of the request in place, and for good.
    pub(crate) fn change_object(&mut self, change: impl FnOnce(&mut Value)) {
        let Value::Object(all) = &mut self.root else { return };
        if let Some(object) = all.get_mut("request").and_then(|it| it.get_mut("object")) {
            change(object);
        }
        all.remove(IMAGES);
    }

    /// A field of the request.
    pub fn request(&self, field: &str) -> &Value {
        &self.root["request"][field]
    }

    /// Puts in place what is given to a rule.
    pub(crate) fn set_given(&mut self, rule: &str) {
        let given: Vec<(String, Value)> =
            self.given.iter().filter(|it| it.0 == rule).map(|it| (it.1.clone(), it.2.clone())).collect();
        for (path, value) in given {
            self.set_path(&path, value);
        }
    }

    /// Remembers where things stand.
    pub fn mark(&self) -> Mark {
        Mark { undo: self.undo.len(), pending: self.pending.clone(), bytes: self.bytes }
    }

    /// Forgets everything since the mark.
    pub fn restore(&mut self, mark: &Mark) {
        let Value::Object(all) = &mut self.root else { return };
        while self.undo.len() > mark.undo {
            match self.undo.pop() {
                Some(Undo::Name(name, Some(value))) => drop(all.insert(name, value)),
                Some(Undo::Name(name, None)) => drop(all.remove(&name)),
                Some(Undo::Object(old)) => {
                    if let Some(request) = all.get_mut("request") {
                        request["object"] = old;
                    }
                }
                None => break,
            }
        }
        self.pending.clone_from(&mark.pending);
        self.bytes = mark.bytes;
    }

    /// Adds entries, to be loaded when they are first named.
    pub fn add_entries(&mut self, entries: &[ContextEntry]) {
        self.pending.extend(entries.iter().cloned());
    }

    /// Puts the element of a loop in place.
    pub fn set_element(&mut self, element: &Value, index: usize, nesting: usize) {
        self.set("element", element.clone());
        self.set(&format!("element{nesting}"), element.clone());
        self.set("elementIndex", index.into());
        self.set(&format!("elementIndex{nesting}"), index.into());
    }

    /// Evaluates an expression.
    pub fn query(&mut self, query: &str) -> Result<Value, QueryError> {
        let query = query.trim();
        if query.is_empty() {
            return Err(QueryError::Failed("invalid query (nil)".to_owned()));
        }
        let expression = compiled(query)?;
        self.load_named(query)?;
        let found = expression.search(&self.root, self.env).map(std::borrow::Cow::into_owned);
        found.map_err(|it| match it {
            SearchError::NotFound(key) => QueryError::NotFound(key),
            other => QueryError::Failed(format!("JMESPath query failed: {other}")),
        })
    }

    /// Loads what a query names.
    fn load_named(&mut self, query: &str) -> Result<(), QueryError> {
        if names(query, "images") && self.root.get("images").is_none() {
            self.load_images()?;
        }
        while let Some(at) = self.pending.iter().position(|it| names(query, &it.name)) {
            // What an entry names itself stands before it.
            let behind = self.pending.split_off(at + 1);
            let Some(entry) = self.pending.pop() else { break };
            let loaded = self.load(&entry);
            self.pending.extend(behind);
            loaded.map_err(|why| QueryError::Failed(format!("failed to load context entry {}: {why}", entry.name)))?;
        }
        Ok(())
    }

    fn load_images(&mut self) -> Result<(), QueryError> {
        let request = &self.root["request"];
        let object = Some(&request["object"]).filter(|it| it.is_object()).unwrap_or(&request["oldObject"]);
        let images = match &self.extractors {
            Some(extractors) => image::of_extractors(object, extractors),
            None => image::of_resource(object),
        };
        let images = images.map_err(QueryError::Failed)?;
        if !images.is_null() {
            self.set("images", images);
        }
        Ok(())
    }

    fn load(&mut self, entry: &ContextEntry) -> Result<(), String> {
        let (lookup, default, path) = match &*entry.source {
            EntrySource::Variable { value, jmes_path, default } => {
                let value = self.variable(&entry.name, value.as_ref(), jmes_path.as_deref(), default.as_ref())?;
                return self.store(&entry.name, value);
            }
            EntrySource::ConfigMap { name, namespace } => (self.config_map(name, namespace)?, None, None),
            EntrySource::ApiCall { url_path, service, data, jmes_path, default } => {
                let lookup = match service {
                    Some(url) => {
                        let url = self.substituted_text(url)?;
                        let body = data.as_ref().map(|it| variables::substitute(self, it)).transpose();
                        let body = body.map_err(|it| it.to_string())?;
                        self.source.service(&url, body.as_ref())
                    }
                    None => self.api_call(url_path, data.as_ref())?,
                };
                (lookup, default.as_ref(), jmes_path.as_deref())
            }
            EntrySource::Global { name, jmes_path } => {
                let name = self.substituted_text(name)?;
                (self.source.global(&name), None, jmes_path.as_deref())
            }
            EntrySource::ImageRegistry { reference } => {
                let reference = self.substituted_text(reference)?;
                (self.source.image(&reference), None, None)
            }
        };
        let value = match (lookup, default) {
            (Lookup::Off, _) => return Ok(()),
            (Lookup::Found(it), _) => it,
            (Lookup::Failed(_), Some(default)) => return self.store(&entry.name, default.clone()),
            (Lookup::Failed(why), None) => return Err(why),
        };
        let value = match path {
            None | Some("") => value,
            Some(path) => {
                let path = self.substituted_text(path)?;
                search(&path, &value, self.env)
                    .map_err(|it| format!("failed to apply JMESPath {path} for context entry {}: {it}", entry.name))?
            }
        };
        self.store(&entry.name, value)
    }

    fn store(&mut self, name: &str, value: Value) -> Result<(), String> {
        self.bytes += value.to_string().len();
        if self.bytes > ENTRIES_BYTES_MAX {
            let size = self.bytes;
            return Err(format!(
                "context size limit exceeded: {size} bytes exceeds limit of {ENTRIES_BYTES_MAX} bytes"
            ));
        }
        self.set(name, value);
        Ok(())
    }

    /// An expression that may hold variables, which come to a text.
    fn substituted_path(&mut self, name: &str, path: &str) -> Result<String, String> {
        match variables::substitute(self, &path.into()) {
            Ok(Value::String(it)) => Ok(it),
            Ok(_) => Err(format!("jmespath value must be a string {name} {path}")),
            Err(why) => Err(why.to_string()),
        }
    }

    fn variable(
        &mut self,
        name: &str,
        value: Option<&Value>,
        path: Option<&str>,
        default: Option<&Value>,
    ) -> Result<Value, String> {
        let path = path.filter(|it| !it.is_empty()).map(|it| self.substituted_path(name, it)).transpose()?;
        let default = match default {
            Some(it) => variables::substitute(self, it).map_err(|it| it.to_string())?,
            None => Value::Null,
        };
        let found = match (value, &path) {
            (Some(value), path) => {
                let value = variables::substitute(self, value);
                let value =
                    value.map_err(|it| format!("failed to substitute variables in context entry {name}: {it}"))?;
                match path {
                    Some(path) => search(path, &value, self.env),
                    None => Ok(value),
                }
            }
            (None, Some(path)) => match self.query(path) {
                Ok(Value::Null) => Ok(default.clone()),
                other => other,
            },
            (None, None) => Ok(default.clone()),
        };
        let output = match found {
            Ok(it) => it,
            Err(_) if !default.is_null() => default,
            Err(why) => {
                let path = path.unwrap_or_default();
                return Err(format!("failed to apply jmespath {path} to variable {name}: {why}"));
            }
        };
        if output.is_null() {
            return Err(format!("failed to add context entry for variable {name} since it evaluated to nil"));
        }
        Ok(output)
    }

    fn config_map(&mut self, name: &str, namespace: &str) -> Result<Lookup, String> {
        let name = self.substituted_text(name)?;
        let mut namespace = self.substituted_text(namespace)?;
        if let Some(own) = &self.policy_namespace {
            if namespace.is_empty() {
                namespace.clone_from(own);
            }
            if namespace != *own {
                return Err(format!("configMap namespace {namespace:?} is different from policy namespace {own:?}"));
            }
        }
        let namespace = if namespace.is_empty() { "default" } else { &namespace };
        Ok(match self.source.config_map(namespace, &name) {
            Lookup::Failed(why) => Lookup::Failed(format!("failed to get configmap {namespace}/{name} : {why}")),
            other => other,
        })
    }

    fn api_call(&mut self, written: &str, data: Option<&Value>) -> Result<Lookup, String> {
        let path = self.substituted_text(written)?;
        if let Some(own) = &self.policy_namespace {
            let is_inside = path::parse(&path).is_ok_and(|it| it.is_within(own));
            if !is_inside {
                return Err(format!("path {path} leaves the policy namespace {own}"));
            }
        }
        let body = data.map(|it| variables::substitute(self, it)).transpose().map_err(|it| it.to_string())?;
        Ok(match self.source.api_call(&path, body.as_ref()) {
            Lookup::Found(_) if !path::keeps_to(written, &path) => {
                Lookup::Failed(format!("path {path} is not what {written} asks for"))
            }
            answer => answer,
        })
    }

    /// A text with its variables replaced.
    pub fn substituted_text(&mut self, text: &str) -> Result<String, String> {
        let value = variables::substitute(self, &Value::String(text.to_owned())).map_err(|it| it.to_string())?;
        Ok(text::joined(&value))
    }
}

/// Whether a query has a word in it.
fn names(query: &str, word: &str) -> bool {
    let in_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    query
        .match_indices(word)
        .any(|(at, _)| !query[..at].ends_with(in_word) && !query[at + word.len()..].starts_with(in_word))
}

/// Parts of a dotted path; quotes keep dots together.
fn split_path(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for it in path.chars() {
        match it {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            it => parts.last_mut().expect("there is always one").push(it),
        }
    }
    parts
}

/// Merges maps and replaces everything else.
fn merge(into: &mut Value, value: Value) {
    match (into, value) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value,
    }
}
