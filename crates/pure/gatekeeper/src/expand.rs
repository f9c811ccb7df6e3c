//! Expansion templates: what will come of an object, judged before it does. Entry points: [`Expansion::read`] and
//! [`expand`].

use eyot_model::{meta, status::Cause};
use serde_json::{Value, json};

use crate::{
    constraint::Action,
    matching::{Source, group_of, texts},
    mutate,
    state::State,
};

/// How many times what was expanded may be expanded again.
const DEPTH_MAX: usize = 30;

/// A compiled ExpansionTemplate.
#[derive(Clone, Debug)]
pub(crate) struct Expansion {
    pub(crate) name: String,
    /// Groups, versions and kinds of the objects that are expanded.
    apply: Vec<[Vec<String>; 3]>,
    /// Fields that lead to the template in them.
    path: Vec<String>,
    api_version: String,
    kind: String,
    action: Option<Action>,
}

/// What an object would bring about.
pub(crate) struct Resultant {
    pub(crate) object: Value,
    /// The expansion template.
    pub(crate) template: String,
    /// What to do instead of what constraints say.
    pub(crate) action: Option<Action>,
}

/// An object that could not be expanded, and what would have come of it.
#[derive(Debug)]
pub(crate) struct Unexpanded {
    /// The expansion template.
    pub(crate) template: String,
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) why: String,
}

impl Expansion {
    /// Reads an ExpansionTemplate.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(object: &Value) -> Result<Expansion, Vec<Cause>> {
        let mut causes = Vec::new();
        let spec = &object["spec"];
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let name = meta::name(object).unwrap_or_default().to_owned();
        if name.len() >= 64 {
            causes.push(Cause::too_long("metadata.name", 63));
        }
        let source = text(&spec["templateSource"]);
        if source.is_empty() {
            causes.push(Cause::required("spec.templateSource", ""));
        }
        let made = &spec["generatedGVK"];
        let (group, version, kind) = (text(&made["group"]), text(&made["version"]), text(&made["kind"]));
        if version.is_empty() || kind.is_empty() {
            causes.push(Cause::required("spec.generatedGVK", "version and kind are required"));
        }
        let apply: Vec<[Vec<String>; 3]> = meta::list(spec.get("applyTo"))
            .iter()
            .map(|it| [texts(&it["groups"]), texts(&it["versions"]), texts(&it["kinds"])])
            .collect();
        if apply.is_empty() {
            causes.push(Cause::required("spec.applyTo", ""));
        }
        let word = text(&spec["enforcementAction"]);
        let action = Action::parse(&word);
        if action.is_none() && !word.is_empty() {
            let known = ["deny", "dryrun", "warn"];
            causes.push(Cause::not_supported("spec.enforcementAction", &spec["enforcementAction"], &known));
        }
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        let path = source.split('.').map(str::to_owned).collect();
        let expansion = Expansion { name, apply, path, api_version, kind, action };
        if expansion.takes(&group, &version, &expansion.kind) {
            causes.push(Cause::forbidden("spec.applyTo", "generates the kind that it also applies to"));
        }
        if causes.is_empty() { Ok(expansion) } else { Err(causes) }
    }

    fn takes(&self, group: &str, version: &str, kind: &str) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|it| it == word);
        self.apply
            .iter()
            .any(|[groups, versions, kinds]| has(groups, group) && has(versions, version) && has(kinds, kind))
    }

    /// Whether it may expand objects of a kind.
    pub(crate) fn applies(&self, group: &str, kind: &str) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|it| it == word);
        self.apply.iter().any(|[groups, _, kinds]| has(groups, group) && has(kinds, kind))
    }

    fn failed(&self, why: String) -> Unexpanded {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        Unexpanded { template: self.name.clone(), group, kind: self.kind.clone(), why }
    }

    fn make(&self, object: &Value, namespace: Option<&Value>) -> Result<Value, String> {
        let name = meta::name(object).or_else(|| meta::generate_name(object)).unwrap_or_default();
        let found = self.path.iter().try_fold(object, |value, field| value.get(field)).filter(|it| it.is_object());
        let mut made = found
            .cloned()
            .ok_or_else(|| format!("could not find source field {:?} in resource {name}", self.path.join(".")))?;
        made["apiVersion"] = self.api_version.as_str().into();
        made["kind"] = self.kind.as_str().into();
        let metadata = meta::metadata_mut(&mut made);
        let space = namespace.and_then(meta::name).or_else(|| meta::namespace(object));
        if let Some(space) = space {
            metadata.insert("namespace".to_owned(), space.into());
        }
        metadata.insert("name".to_owned(), format!("{name}-{}", self.kind).to_lowercase().into());
        let owner = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": name});
        match metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            Some(owners) => owners.push(owner),
            None => drop(metadata.insert("ownerReferences".to_owned(), json!([owner]))),
        }
        Ok(made)
    }
}

/// Everything that comes of an object, with mutators applied.
///
/// # Errors
/// When an object that is to be expanded has no template in it, or a mutator fails.
pub(crate) fn expand(state: &State, object: &Value, namespace: Option<&Value>) -> Result<Vec<Resultant>, Unexpanded> {
    let mut out = Vec::new();
    expand_into(state, object, namespace, 0, &mut out)?;
    Ok(out)
}

fn expand_into(
    state: &State,
    object: &Value,
    namespace: Option<&Value>,
    depth: usize,
    out: &mut Vec<Resultant>,
) -> Result<(), Unexpanded> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let version = api_version.split_once('/').map_or(api_version, |(_, version)| version);
    let kind = object["kind"].as_str().unwrap_or_default();
    for expansion in state.expansions.values().filter(|it| it.takes(group_of(object), version, kind)) {
        if depth >= DEPTH_MAX {
            return Err(expansion.failed(format!("maximum recursion depth of {DEPTH_MAX} reached")));
        }
        let mut made = expansion.make(object, namespace).map_err(|why| expansion.failed(why))?;
        let changed = mutate::apply(state, &mut made, namespace, Source::Generated, "CREATE");
        changed.map_err(|why| expansion.failed(why))?;
        expand_into(state, &made, namespace, depth + 1, out)?;
        out.push(Resultant { object: made, template: expansion.name.clone(), action: expansion.action });
    }
    Ok(())
}
