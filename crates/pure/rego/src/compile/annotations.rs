//! Metadata in comments, as `rego.metadata.rule()` and `rego.metadata.chain()` tell it.
//!
//! Entry points: [`Annotations::read`] and [`Annotations::of`]. Both calls become constants while compiling, so nothing is
//! read unless a module makes one. Absent: schemas, which only a type checker looks at, are carried as they are.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::text;
use crate::ast::{Module, Rule};
use crate::program::Source;
use crate::value::Value;

/// What begins the names of both functions.
const CALLS: &str = "rego.metadata.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Rule,
    Document,
    Package,
    Subpackages,
}

/// A block of metadata.
#[derive(Debug)]
struct Annotation {
    scope: Scope,
    module: usize,
    /// The line of what it is about.
    line: u32,
    /// Below `data`, what it is about.
    path: Vec<Arc<str>>,
    value: Json,
}

/// The metadata of modules that are compiled together.
#[derive(Debug, Default)]
pub(super) struct Annotations(Vec<Annotation>);

/// What the two functions give in one rule.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) rule: Value,
    pub(crate) chain: Value,
}

impl Annotations {
    /// The metadata of modules, if any of them asks for it.
    pub(super) fn read(sources: &[Source], modules: &[Module]) -> Option<Annotations> {
        if !sources.iter().any(|it| it.text.contains(CALLS)) {
            return None;
        }
        let mut all = Vec::new();
        for (at, (source, module)) in sources.iter().zip(modules).enumerate() {
            for (line, value) in blocks(&source.text) {
                all.extend(annotation(at, module, line, value));
            }
        }
        Some(Annotations(all))
    }

    /// What a rule of a module sees.
    pub(super) fn of(&self, at: usize, module: &Module, rule: &Rule) -> Metadata {
        let path = path(module, rule);
        let own: Vec<&Annotation> = self.0.iter().filter(|it| it.is_of(at, rule)).collect();
        let entry = |it: &Annotation| json!({"annotations": it.value, "path": listed(&it.path)});
        let mut chain: Vec<Json> = match own.as_slice() {
            [] => vec![json!({"path": listed(&path)})],
            own => own.iter().map(|it| entry(it)).collect(),
        };
        let scoped = |scope: Scope, path: &[Arc<str>]| {
            let found = self.0.iter().find(|it| it.scope == scope && it.path == path);
            found.map(entry)
        };
        chain.extend(scoped(Scope::Document, &path));
        chain.extend(scoped(Scope::Package, &module.package));
        let above = (0..=module.package.len()).rev();
        chain.extend(above.filter_map(|length| scoped(Scope::Subpackages, &module.package[..length])));
        let rule = own.first().map_or_else(|| json!({}), |it| it.value.clone());
        Metadata { rule: Value::from(&rule), chain: Value::from(&Json::Array(chain)) }
    }
}

impl Annotation {
    fn is_of(&self, module: usize, rule: &Rule) -> bool {
        self.scope == Scope::Rule && self.module == module && self.line == rule.position.line
    }
}

fn listed(path: &[Arc<str>]) -> Json {
    path.iter().map(|it| Json::from(&**it)).collect()
}

/// The fixed beginning of a rule's path below `data`.
fn path(module: &Module, rule: &Rule) -> Vec<Arc<str>> {
    module.package.iter().cloned().chain([rule.name.clone()]).chain(rule.path.iter().map_while(text)).collect()
}

/// The blocks of a text: each with the line of the statement after it. What is no YAML is a comment.
fn blocks(text: &str) -> Vec<(u32, Json)> {
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((_, line)) = lines.next() {
        if line.trim().strip_prefix('#').map(str::trim) != Some("METADATA") {
            continue;
        }
        let mut yaml = String::new();
        while let Some(comment) = lines.peek().and_then(|it| it.1.trim_start().strip_prefix('#')) {
            yaml.push_str(comment.strip_prefix(' ').unwrap_or(comment));
            yaml.push('\n');
            lines.next();
        }
        // Other comments may stand between, but not another block.
        let is_passed = |it: &str| it.trim().is_empty() || it.trim_start().starts_with('#');
        let is_block = |it: &str| it.trim().strip_prefix('#').map(str::trim) == Some("METADATA");
        while lines.next_if(|(_, it)| is_passed(it) && !is_block(it)).is_some() {}
        let Some((next, _)) = lines.peek() else { break };
        if let Ok(value @ Json::Object(_)) = serde_saphyr::from_str::<Json>(&yaml) {
            out.push((u32::try_from(next + 1).unwrap_or(u32::MAX), value));
        }
    }
    out
}

fn annotation(at: usize, module: &Module, line: u32, mut value: Json) -> Option<Annotation> {
    let rule = module.rules.iter().find(|it| it.position.line == line);
    let scope = match value["scope"].as_str() {
        Some("rule") => Scope::Rule,
        Some("document") => Scope::Document,
        Some("package") => Scope::Package,
        Some("subpackages") => Scope::Subpackages,
        Some(_) => return None,
        None if rule.is_some() && value["entrypoint"] == true => Scope::Document,
        None if rule.is_some() => Scope::Rule,
        None => Scope::Package,
    };
    let path = match (scope, rule) {
        (Scope::Rule | Scope::Document, rule) => path(module, rule?),
        (Scope::Package | Scope::Subpackages, _) => module.package.clone(),
    };
    value["scope"] = match scope {
        Scope::Rule => "rule",
        Scope::Document => "document",
        Scope::Package => "package",
        Scope::Subpackages => "subpackages",
    }
    .into();
    each(&mut value, "authors", author);
    each(&mut value, "related_resources", |it| json!({"ref": it}));
    Some(Annotation { scope, module: at, line, path, value })
}

/// Puts what stands as a text in a list into its long form.
fn each(value: &mut Json, field: &str, long: impl Fn(&str) -> Json) {
    for item in value.get_mut(field).and_then(Json::as_array_mut).into_iter().flatten() {
        if let Some(text) = item.as_str() {
            *item = long(text);
        }
    }
}

/// `Name <mail>`, either of which may be missing.
fn author(text: &str) -> Json {
    let (name, mail) = match text.trim().strip_suffix('>').and_then(|it| it.split_once('<')) {
        Some((name, mail)) => (name.trim(), mail),
        None => (text.trim(), ""),
    };
    let mut out = json!({});
    for (field, given) in [("name", name), ("email", mail)] {
        if !given.is_empty() {
            out[field] = given.into();
        }
    }
    out
}
