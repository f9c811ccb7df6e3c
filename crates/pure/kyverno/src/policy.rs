//! A compiled policy, and what becomes of a request under it.
//!
//! Entry points: [`Policy::compile`], then [`Policy::validate`], [`Policy::mutate`], [`Policy::generate`] with a
//! [`Request`] and its [`Context`]. Rules for the controllers of pods are in already. What the outcome of a rule means
//! for the request is decided by [`engine`](crate::engine).

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    autogen, cel,
    context::{Context, Mark},
    exception::{self, Exception},
    flaw::Flaw,
    generate,
    matching::{self, Requester, Subject},
    mutate,
    spec::{Action, ActionOverride, Rule, Spec},
    text, unreadable, validate, variables,
};

/// A policy of either kind.
#[derive(Debug)]
pub struct Policy {
    /// `ClusterPolicy` or `Policy`.
    pub kind: String,
    /// Empty for a ClusterPolicy.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity, once it is stored.
    pub(crate) uid: String,
    /// Annotations: category, severity and so on.
    pub annotations: Map<String, Value>,
    /// Everything but the rules.
    pub spec: Spec,
    /// Rules, with those for controllers of pods.
    pub rules: Vec<Compiled>,
    /// Whether some expression names the roles of who asks.
    pub(crate) names_roles: bool,
    /// Conditions on the request.
    pub(crate) conditions: cel::Conditions,
}

/// A rule and what was compiled of it.
#[derive(Debug)]
pub struct Compiled {
    /// The rule.
    pub rule: Rule,
    /// Conditions in CEL.
    pub(crate) preconditions: cel::Conditions,
    /// Demands in CEL.
    pub(crate) cel: Option<cel::Demands>,
    /// Whether its pattern has nothing to replace.
    pub(crate) has_constant_pattern: bool,
    /// Why nobody knows what it does, where it could not be read.
    pub(crate) unreadable: Option<Arc<str>>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// It demands.
    Validation,
    /// It changes.
    Mutation,
    /// It makes objects.
    Generation,
    /// It wants signatures.
    ImageVerify,
}

/// How a rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is satisfied, or has done its work.
    Pass,
    /// It is not.
    Fail,
    /// It is not, and only warns.
    Warn,
    /// It could not be evaluated.
    Error,
    /// It does not apply.
    Skip,
}

impl Status {
    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Warn => "warn",
            Status::Error => "error",
            Status::Skip => "skip",
        }
    }
}

/// The outcome of one rule.
#[derive(Clone, Debug)]
pub struct RuleResult {
    /// Name of the rule.
    pub rule: String,
    /// What it does.
    pub kind: RuleKind,
    /// How it came out.
    pub status: Status,
    /// Why.
    pub message: String,
    /// Objects to make.
    pub generated: Vec<generate::Made>,
    /// Other objects, as they should become.
    pub targets: Vec<Value>,
    /// Exceptions that applied, as `namespace/name`.
    pub exceptions: Vec<String>,
    /// What reports say in addition.
    pub properties: Map<String, Value>,
}

impl RuleResult {
    pub(crate) fn new(rule: &Rule, kind: RuleKind, status: Status, message: impl Into<String>) -> RuleResult {
        RuleResult {
            rule: rule.name.clone(),
            kind,
            status,
            message: message.into(),
            generated: Vec::new(),
            targets: Vec::new(),
            exceptions: Vec::new(),
            properties: rule.report_properties.clone(),
        }
    }
}

/// A request for admission, or a stored object as if it were just created.
pub struct Request<'a> {
    /// The object; null when it is deleted.
    pub object: &'a Value,
    /// The object before.
    pub old: Option<&'a Value>,
    /// `CREATE` and so on.
    pub operation: &'a str,
    /// Group of the object.
    pub group: &'a str,
    /// Version of the object.
    pub version: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Subresource that is written, or empty.
    pub subresource: &'a str,
    /// The namespace of the object, or null.
    pub namespace: &'a Value,
    /// Who asks; nobody in the background.
    pub requester: Option<&'a Requester>,
    /// The `AdmissionRequest` without its objects.
    pub about: &'a Value,
}

impl Request<'_> {
    /// The object, or when it is deleted the one that goes.
    pub fn subject(&self) -> &Value {
        if self.object.is_null() { self.old.unwrap_or(self.object) } else { self.object }
    }

    /// What a context holds of it.
    pub fn variables(&self) -> Map<String, Value> {
        let mut all = self.about.as_object().cloned().unwrap_or_default();
        all.insert("object".to_owned(), self.object.clone());
        if let Some(old) = self.old {
            all.insert("oldObject".to_owned(), old.clone());
        }
        all.insert("operation".to_owned(), self.operation.into());
        if let Some(requester) = self.requester {
            all.insert("roles".to_owned(), requester.roles.clone().into());
            all.insert("clusterRoles".to_owned(), requester.cluster_roles.clone().into());
        }
        all
    }

    fn as_subject<'s>(&'s self, object: &'s Value) -> Subject<'s> {
        Subject {
            object,
            group: self.group,
            version: self.version,
            kind: self.kind,
            subresource: self.subresource,
            namespace_labels: &self.namespace["metadata"]["labels"],
            operation: self.operation,
            requester: self.requester,
        }
    }

    /// Whether an exception's or a rule's filters fit.
    pub(crate) fn with_subject<T>(&self, test: impl Fn(&Subject<'_>) -> T) -> T {
        test(&self.as_subject(self.subject()))
    }
}

impl Policy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(policy: &Value) -> Result<Policy, Vec<Flaw>> {
        let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let spec = policy.get("spec").cloned().unwrap_or_default();
        let spec: Spec = crate::flaw::read(spec, "spec").map_err(|it| vec![it])?;
        let mut flaws = Vec::new();
        let own = spec.rules.len();
        let mut rules = Vec::new();
        for (at, rule) in autogen::rules(policy).into_iter().enumerate() {
            // What is wrong with a rule that was made is wrong with the one it was made from.
            match compile_rule(rule, &format!("spec.rules[{at}]"), spec.ignores_errors()) {
                Ok(rule) => rules.push(rule),
                Err(flaw) if at < own => flaws.push(flaw),
                Err(_) => {}
            }
        }
        if own == 0 {
            flaws.push(Flaw::new("spec.rules", "a policy needs at least one rule"));
        }
        let conditions = cel::Conditions::compile(&spec.webhook_configuration.match_conditions)
            .map_err(|it| flaws.push(it.below("spec.webhookConfiguration.matchConditions")));
        match (conditions, flaws.is_empty()) {
            (Ok(conditions), true) => Ok(Policy {
                kind: text("/kind"),
                namespace: if policy["kind"] == "Policy" { text("/metadata/namespace") } else { String::new() },
                name: text("/metadata/name"),
                uid: text("/metadata/uid"),
                annotations: policy["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
                spec: Spec { rules: Vec::new(), ..spec },
                rules,
                names_roles: names_roles(policy),
                conditions,
            }),
            _ => Err(flaws),
        }
    }

    /// `namespace/name`, or the name alone.
    pub fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Whether evaluation errors let a request pass.
    pub fn ignores_errors(&self) -> bool {
        self.spec.ignores_errors()
    }

    /// Whether it counts in reports; what does not only warns.
    pub fn is_scored(&self) -> bool {
        self.annotations.get("policies.kyverno.io/scored").is_none_or(|it| it != "false")
    }

    /// What a violation of a rule does to an object in this namespace.
    pub fn action(&self, rule: &str, namespace: &Value) -> Action {
        let validate = self.rules.iter().find(|it| it.rule.name == rule).and_then(|it| it.rule.validate.as_ref());
        let overrides = match validate {
            Some(it) if !it.failure_action_overrides.is_empty() => &it.failure_action_overrides,
            _ => &self.spec.validation_failure_action_overrides,
        };
        let concerned = overrides.iter().find(|it| override_applies(it, namespace));
        let own = validate.and_then(|it| it.failure_action).or(self.spec.validation_failure_action);
        concerned.map(|it| it.action).or(own).unwrap_or_default()
    }

    /// Whether the policy is about the request at all.
    fn concerns(&self, request: &Request<'_>) -> Result<bool, String> {
        if self.kind == "Policy" {
            let own = if self.namespace.is_empty() { "default" } else { &self.namespace };
            if request.subject()["metadata"]["namespace"] != own {
                return Ok(false);
            }
        }
        self.conditions.hold(request)
    }

    /// Holds the object against all demands.
    pub fn validate(
        &self,
        request: &Request<'_>,
        context: &mut Context<'_>,
        exceptions: &[Arc<Exception>],
    ) -> Vec<RuleResult> {
        let mut results = Vec::new();
        for compiled in &self.rules {
            let rule = &compiled.rule;
            if rule.validate.is_none() && rule.verify_images.is_empty() {
                continue;
            }
            let kind = if rule.validate.is_some() { RuleKind::Validation } else { RuleKind::ImageVerify };
            let result = self.run(compiled, kind, request, context, |context| {
                let excused = exception::applying(exceptions, self, rule, request, context);
                let beyond = compiled.unreadable.as_deref().or(rule.validate.is_none().then_some(NO_SIGNATURES));
                match beyond {
                    None => validate::rule(self, compiled, request, context, &excused),
                    Some(why) => Some(match exception::skip(&excused, rule, kind) {
                        Some(skipped) => skipped,
                        None => RuleResult::new(rule, kind, Status::Error, why),
                    }),
                }
            });
            let applied = result.as_ref().is_some_and(|it| it.status != Status::Skip);
            results.extend(result);
            if applied && self.spec.apply_rules == "One" {
                break;
            }
        }
        results
    }

    /// Changes the object, which stands for that of the request. Says whether it did.
    pub fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        context: &mut Context<'_>,
        exceptions: &[Arc<Exception>],
    ) -> (Vec<RuleResult>, bool) {
        let mut results = Vec::new();
        let mut changed = false;
        for compiled in &self.rules {
            let rule = &compiled.rule;
            let Some(mutate) = &rule.mutate else { continue };
            let seen = Request { object: &*object, ..*request };
            let begun = self.begin(compiled, RuleKind::Mutation, &seen, context);
            let excused = match &begun {
                Begun::Runs(_) => exception::applying(exceptions, self, rule, &seen, context),
                Begun::Done(_) => Vec::new(),
            };
            let mut made = None;
            let result = self.end(begun, context, |context| {
                if let Some(skipped) = exception::skip(&excused, rule, RuleKind::Mutation) {
                    return Some(skipped);
                }
                if !mutate.targets.is_empty() {
                    return Some(mutate::targets(self, rule, mutate, context));
                }
                let (result, did) = mutate::object(rule, mutate, object, context);
                made = did;
                Some(result)
            });
            let applied = result.as_ref().is_some_and(|it| it.status != Status::Skip);
            results.extend(result);
            if let Some(made) = made {
                made.show(object, context);
                changed = true;
            }
            if applied && self.spec.apply_rules == "One" {
                break;
            }
        }
        (results, changed)
    }

    /// Tells which objects the request makes necessary.
    pub fn generate(
        &self,
        request: &Request<'_>,
        context: &mut Context<'_>,
        exceptions: &[Arc<Exception>],
    ) -> Vec<RuleResult> {
        let mut results = Vec::new();
        for compiled in &self.rules {
            let rule = &compiled.rule;
            let Some(generate) = &rule.generate else { continue };
            results.extend(self.run(compiled, RuleKind::Generation, request, context, |context| {
                let excused = exception::applying(exceptions, self, rule, request, context);
                let skipped = exception::skip(&excused, rule, RuleKind::Generation);
                Some(skipped.unwrap_or_else(|| generate::rule(self, rule, generate, request, context)))
            }));
        }
        results
    }

    /// Brackets a rule: whether it applies, its context, its conditions; then the rule itself.
    fn run(
        &self,
        compiled: &Compiled,
        kind: RuleKind,
        request: &Request<'_>,
        context: &mut Context<'_>,
        body: impl FnOnce(&mut Context<'_>) -> Option<RuleResult>,
    ) -> Option<RuleResult> {
        let begun = self.begin(compiled, kind, request, context);
        self.end(begun, context, body)
    }

    /// What comes before a rule.
    fn begin(&self, compiled: &Compiled, kind: RuleKind, request: &Request<'_>, context: &mut Context<'_>) -> Begun {
        let rule = &compiled.rule;
        let error = |message: String| RuleResult::new(rule, kind, Status::Error, message);
        if !compiled.applies(request) {
            return Begun::Done(None);
        }
        match self.concerns(request) {
            Ok(true) => {}
            Ok(false) => return Begun::Done(None),
            Err(why) => return Begun::Done(Some(error(format!("failed to evaluate match conditions: {why}")))),
        }
        let mark = context.mark();
        context.policy_namespace = Some(self.namespace.clone()).filter(|it| !it.is_empty());
        context.extractors.clone_from(&rule.image_extractors);
        context.set_given(&rule.name);
        context.add_entries(&rule.context);
        let result = match compiled.conditions_hold(request, context) {
            Ok((true, _)) => return Begun::Runs(mark),
            Ok((false, message)) => {
                let message = text::join_filled(["preconditions not met", &message], "; ");
                RuleResult::new(rule, kind, Status::Skip, message)
            }
            Err(why) => error(format!("failed to evaluate preconditions: {why}")),
        };
        context.restore(&mark);
        Begun::Done(Some(with_properties(result, context)))
    }

    /// The rule itself, and what comes after it.
    fn end(
        &self,
        begun: Begun,
        context: &mut Context<'_>,
        body: impl FnOnce(&mut Context<'_>) -> Option<RuleResult>,
    ) -> Option<RuleResult> {
        let mark = match begun {
            Begun::Done(result) => return result,
            Begun::Runs(mark) => mark,
        };
        let result = body(context);
        context.restore(&mark);
        result.map(|it| with_properties(it, context))
    }
}

/// How far a rule is before it is evaluated.
enum Begun {
    /// It is not to be.
    Done(Option<RuleResult>),
    /// It is; the mark is where its context began.
    Runs(Mark),
}

fn names_roles(policy: &Value) -> bool {
    let text = policy["spec"].to_string();
    text.contains("request.roles") || text.contains("request.clusterRoles")
}

const NO_SIGNATURES: &str = "verifyImages is not available here: signatures lie in registries, which are not asked";

/// Values of report properties may have variables.
fn with_properties(mut result: RuleResult, context: &mut Context<'_>) -> RuleResult {
    for value in result.properties.values_mut() {
        if let Ok(substituted) = crate::variables::substitute(context, value) {
            *value = substituted;
        }
    }
    result
}

fn override_applies(it: &ActionOverride, namespace: &Value) -> bool {
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
    let named = crate::wildcard::any(it.namespaces.iter().map(String::as_str), name);
    match &it.namespace_selector {
        Some(selector) if it.namespaces.is_empty() => {
            matching::selector_fits(selector, &namespace["metadata"]["labels"])
        }
        Some(selector) => named && matching::selector_fits(selector, &namespace["metadata"]["labels"]),
        None => named,
    }
}

impl Compiled {
    /// Whether the rule is about the request.
    pub fn applies(&self, request: &Request<'_>) -> bool {
        let fits = |subject: &Subject<'_>| {
            self.rule.matches.applies(subject) && !self.rule.exclude.as_ref().is_some_and(|it| it.excludes(subject))
        };
        let spared = self.unreadable.is_some() && unreadable::spares(&self.rule, request);
        !spared && fits(&request.as_subject(request.subject()))
    }

    pub(crate) fn conditions_hold(
        &self,
        request: &Request<'_>,
        context: &mut Context<'_>,
    ) -> Result<(bool, String), String> {
        if !self.preconditions.hold(request)? {
            return Ok((false, String::new()));
        }
        self.rule.preconditions.evaluate(context)
    }
}

pub(crate) fn compile_rule(rule: Value, path: &str, ignores_errors: bool) -> Result<Compiled, Flaw> {
    let rule: Rule = crate::flaw::read(rule, path)?;
    let bodies =
        [rule.validate.is_some(), rule.mutate.is_some(), rule.generate.is_some(), !rule.verify_images.is_empty()];
    if bodies.iter().filter(|it| **it).count() != 1 {
        return Err(Flaw::new(path, "a rule has one of validate, mutate, generate, verifyImages"));
    }
    let preconditions = cel::Conditions::compile(&rule.cel_preconditions)
        .map_err(|it| it.below(&format!("{path}.celPreconditions")))?;
    let cel = match rule.validate.as_ref().and_then(|it| it.cel.as_ref()) {
        Some(cel) => {
            let demands = cel::Demands::compile(cel, ignores_errors);
            Some(demands.map_err(|it| it.below(&format!("{path}.validate.cel")))?)
        }
        None => None,
    };
    if let Some(mutate) = &rule.mutate
        && mutate.patch_strategic_merge.is_none()
        && mutate.patches_json6902.is_empty()
        && mutate.foreach.is_empty()
    {
        return Err(Flaw::new(format!("{path}.mutate"), "must have patchStrategicMerge, patchesJson6902 or foreach"));
    }
    let pattern = rule.validate.as_ref().and_then(|it| it.pattern.as_ref());
    let has_constant_pattern = pattern.is_some_and(variables::is_constant);
    Ok(Compiled { rule, preconditions, cel, has_constant_pattern, unreadable: None })
}
