//! Objects that a rule wants to be there.
//!
//! Entry point: [`rule`]. Making them, following their sources and removing them is done in the background; here is only
//! decided what they look like.

use serde_json::{Map, Value, json};

use crate::{
    context::Context,
    matching,
    policy::{Policy, Request, RuleKind, RuleResult, Status},
    spec::{Generate, GeneratePattern, Rule},
    validate, variables,
};

/// Objects that one rule, or one policy, may make for one trigger.
pub(crate) const MADE_MAX: usize = 1_000;

const INTO: &str = "generate into";
const FROM: &str = "copy from";

/// Why a rule of a policy of a namespace is refused that names another namespace. What variables come to is looked at when
/// it is known.
pub(crate) fn stray(own: &str, generate: &Generate) -> Option<String> {
    let patterns = std::iter::once(&generate.pattern).chain(generate.foreach.iter().map(|it| &it.pattern));
    let is_used = |it: &&GeneratePattern| !it.kind.is_empty() || it.clone_list.is_some();
    let named = patterns.filter(is_used).flat_map(|it| {
        let from = it.clone.as_ref().map(|it| it.namespace.as_str());
        let from = from.or(it.clone_list.as_ref().map(|it| it.namespace.as_str()));
        std::iter::once((INTO, it.namespace.as_str())).chain(from.map(|it| (FROM, it)))
    });
    let mut strays = named.filter(|it| variables::is_plain(it.1) && it.1 != own);
    strays
        .next()
        .map(|(what, namespace)| format!("a policy of namespace {own:?} cannot {what} namespace {namespace:?}"))
}

/// An object to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// What it should be.
    pub object: Value,
    /// Where it was copied from, as `apiVersion/kind/namespace/name`.
    pub source: Option<[String; 4]>,
    /// Whether it follows its source and goes with its trigger.
    pub synchronize: bool,
}

/// Labels by which generated objects are found again.
pub mod label {
    /// Who manages the object.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// What stands behind [`MANAGED_BY`].
    pub const KYVERNO: &str = "kyverno";
    /// The policy.
    pub const POLICY: &str = "generate.kyverno.io/policy-name";
    /// Its namespace.
    pub const POLICY_NAMESPACE: &str = "generate.kyverno.io/policy-namespace";
    /// The rule.
    pub const RULE: &str = "generate.kyverno.io/rule-name";
    /// Kind of the trigger.
    pub const TRIGGER_KIND: &str = "generate.kyverno.io/trigger-kind";
    /// Group of the trigger.
    pub const TRIGGER_GROUP: &str = "generate.kyverno.io/trigger-group";
    /// Version of the trigger.
    pub const TRIGGER_VERSION: &str = "generate.kyverno.io/trigger-version";
    /// Namespace of the trigger.
    pub const TRIGGER_NAMESPACE: &str = "generate.kyverno.io/trigger-namespace";
    /// Identity of the trigger.
    pub const TRIGGER_UID: &str = "generate.kyverno.io/trigger-uid";
    /// Marks a copy.
    pub const CLONE_SOURCE: &str = "generate.kyverno.io/clone-source";
    /// Identity of what was copied.
    pub const SOURCE_UID: &str = "generate.kyverno.io/source-uid";
}

/// Whether a rule made an object.
pub(crate) fn is_made(object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    labels[label::MANAGED_BY] == label::KYVERNO && labels[label::POLICY].is_string()
}

/// Labels and annotations are texts, whatever a variable came to.
fn as_texts(object: &mut Value) {
    for place in ["/metadata/labels", "/metadata/annotations"] {
        let all = object.pointer_mut(place).and_then(Value::as_object_mut);
        for (_, value) in all.into_iter().flatten().filter(|it| it.1.is_number() || it.1.is_boolean()) {
            *value = value.to_string().into();
        }
    }
}

/// Says on an object who made it (policy, its namespace, rule), and for which trigger.
pub(crate) fn mark(object: &mut Value, [policy, namespace, rule]: [&str; 3], trigger: &Value) {
    as_texts(object);
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    let labels = &mut object["metadata"]["labels"];
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let api_version = text(&trigger["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    for (key, value) in [
        (label::MANAGED_BY, label::KYVERNO),
        (label::POLICY, policy),
        (label::POLICY_NAMESPACE, namespace),
        (label::RULE, rule),
        (label::TRIGGER_KIND, &text(&trigger["kind"])),
        (label::TRIGGER_GROUP, group),
        (label::TRIGGER_VERSION, version),
        (label::TRIGGER_NAMESPACE, &text(&trigger["metadata"]["namespace"])),
        (label::TRIGGER_UID, &text(&trigger["metadata"]["uid"])),
    ] {
        labels[key] = value.into();
    }
}

/// Decides what a rule makes for a request.
pub(crate) fn rule(
    policy: &Policy,
    rule: &Rule,
    generate: &Generate,
    request: &Request<'_>,
    context: &mut Context<'_>,
) -> RuleResult {
    let mut result = RuleResult::new(rule, RuleKind::Generation, Status::Pass, "resource generated");
    let mut maker = Maker { policy, rule, synchronize: generate.synchronize, trigger: request.subject(), context };
    match maker.all(generate) {
        Ok(made) => result.generated = made,
        Err(why) => (result.status, result.message) = (Status::Error, why),
    }
    result
}

struct Maker<'m, 'c> {
    policy: &'m Policy,
    rule: &'m Rule,
    synchronize: bool,
    trigger: &'m Value,
    context: &'m mut Context<'c>,
}

impl Maker<'_, '_> {
    fn all(&mut self, generate: &Generate) -> Result<Vec<Made>, String> {
        if generate.foreach.is_empty() {
            return self.pattern(&generate.pattern);
        }
        let mut made = Vec::new();
        for each in &generate.foreach {
            let elements = validate::elements(&each.list, self.context)
                .map_err(|it| format!("failed to evaluate list {}: {it}", each.list))?;
            let mark = self.context.mark();
            for (at, element) in elements.iter().enumerate().filter(|it| !it.1.is_null()) {
                self.context.restore(&mark);
                self.context.set_element(element, at, 0);
                self.context.add_entries(&each.context);
                if each.preconditions.evaluate(self.context)?.0 {
                    made.extend(self.pattern(&each.pattern)?);
                }
                if made.len() > MADE_MAX {
                    return Err(format!("the rule makes more than {MADE_MAX} objects"));
                }
            }
            self.context.restore(&mark);
        }
        Ok(made)
    }

    fn text(&mut self, text: &str) -> Result<String, String> {
        self.context.substituted_text(text).map_err(|it| format!("variable substitution failed: {it}"))
    }

    /// Refuses what a policy of a namespace would make, or copy from, elsewhere.
    fn confine(&self, what: &str, namespace: &str) -> Result<(), String> {
        let own = self.policy.namespace.as_str();
        if own.is_empty() || namespace == own {
            return Ok(());
        }
        Err(format!("a policy of namespace {own:?} cannot {what} namespace {namespace:?}"))
    }

    fn pattern(&mut self, pattern: &GeneratePattern) -> Result<Vec<Made>, String> {
        let namespace = self.text(&pattern.namespace)?;
        self.confine(INTO, &namespace)?;
        if let Some(list) = &pattern.clone_list {
            let source = self.text(&list.namespace)?;
            self.confine(FROM, &source)?;
            let selector = list.selector.as_ref().map(|it| variables::substitute(self.context, it)).transpose();
            let selector = selector.map_err(|it| it.to_string())?;
            let mut made = Vec::new();
            for kind in &list.kinds {
                made.extend(self.clones(kind, &source, selector.as_ref(), &namespace)?);
            }
            return Ok(made);
        }
        let (api_version, kind) = (self.text(&pattern.api_version)?, self.text(&pattern.kind)?);
        let name = self.text(&pattern.name)?;
        if let Some(clone) = &pattern.clone {
            let (from, source) = (self.text(&clone.namespace)?, self.text(&clone.name)?);
            self.confine(FROM, &from)?;
            if from == namespace && source == name {
                return Ok(Vec::new());
            }
            let found = self.context.source.get(&api_version, &kind, &from, &source)?;
            let found =
                found.ok_or_else(|| format!("source resource {api_version}/{kind}/{from}/{source} not found"))?;
            return Ok(vec![self.copy(&found, &namespace, &name)]);
        }
        let mut object = match &pattern.data {
            Some(data) => {
                variables::substitute(self.context, data).map_err(|it| format!("variable substitution failed: {it}"))?
            }
            None => Value::Object(Map::new()),
        };
        if !object.is_object() {
            return Err("generate.data is no map".to_owned());
        }
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["name"] = name.into();
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        self.label(&mut object);
        Ok(vec![Made { object, source: None, synchronize: self.synchronize }])
    }

    fn clones(
        &mut self,
        kind: &str,
        from: &str,
        selector: Option<&Value>,
        namespace: &str,
    ) -> Result<Vec<Made>, String> {
        let (group, version, kind, _) = matching::parse_kind(kind);
        let api_version = match group.as_str() {
            "" | "*" => version,
            group => format!("{group}/{version}"),
        };
        let all = self.context.source.list(&api_version, &kind, from)?;
        let chosen = all
            .iter()
            .filter(|it| selector.is_none_or(|selector| matching::selector_fits(selector, &it["metadata"]["labels"])))
            .filter(|it| it["metadata"]["namespace"] != namespace);
        Ok(chosen.map(|it| self.copy(it, namespace, it["metadata"]["name"].as_str().unwrap_or_default())).collect())
    }

    fn copy(&self, source: &Value, namespace: &str, name: &str) -> Made {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let metadata = &source["metadata"];
        let place =
            [text(&source["apiVersion"]), text(&source["kind"]), text(&metadata["namespace"]), text(&metadata["name"])];
        let mut object = source.clone();
        let mut kept = Map::new();
        for field in ["labels", "annotations"] {
            if let Some(value) = metadata.get(field) {
                kept.insert(field.to_owned(), value.clone());
            }
        }
        kept.insert("name".to_owned(), name.into());
        if !namespace.is_empty() {
            kept.insert("namespace".to_owned(), namespace.into());
        }
        object["metadata"] = Value::Object(kept);
        if let Value::Object(all) = &mut object {
            all.remove("status");
        }
        self.label(&mut object);
        object["metadata"]["labels"][label::CLONE_SOURCE] = "".into();
        if let Some(uid) = metadata["uid"].as_str() {
            object["metadata"]["labels"][label::SOURCE_UID] = uid.into();
        }
        Made { object, source: Some(place), synchronize: self.synchronize }
    }

    /// Says who made the object, and for whom.
    fn label(&self, object: &mut Value) {
        mark(object, [&self.policy.name, &self.policy.namespace, &self.rule.name], self.trigger);
    }
}
