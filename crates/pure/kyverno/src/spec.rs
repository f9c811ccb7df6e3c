//! Policies as users write them, read strictly: an unknown field is refused.
//!
//! Entry points: [`Spec`], [`Rule`]. Parts that hold patterns or variables stay JSON values; they are checked where they
//! are used. Deliberately absent: evaluation.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use crate::{conditions::Conditions, matching::Match};

/// `spec` of a ClusterPolicy or a Policy; its rules stay JSON until controllers of pods have got theirs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Rules.
    #[serde(default)]
    pub rules: Vec<Value>,
    /// `All`, or `One` to stop at the first rule that applies.
    #[serde(default)]
    pub apply_rules: String,
    /// `Fail` or `Ignore`: what evaluation errors do.
    #[serde(default)]
    pub failure_policy: String,
    /// Deprecated for `failureAction` of the rules.
    #[serde(default)]
    pub validation_failure_action: Option<Action>,
    /// By namespace.
    #[serde(default)]
    pub validation_failure_action_overrides: Vec<ActionOverride>,
    /// Whether changes and audits warn.
    #[serde(default)]
    pub emit_warning: bool,
    /// Whether requests are judged.
    #[serde(default = "yes")]
    pub admission: bool,
    /// Whether stored objects are judged.
    #[serde(default = "yes")]
    pub background: bool,
    /// Without effect here: objects are always checked against their schema.
    #[serde(default, rename = "schemaValidation")]
    pub _schema_validation: Option<bool>,
    /// Without effect here: there is no webhook.
    #[serde(default, rename = "webhookTimeoutSeconds")]
    pub _webhook_timeout_seconds: Option<i64>,
    /// Whether a change of the policy changes existing targets.
    #[serde(default)]
    pub mutate_existing_on_policy_update: bool,
    /// Deprecated name of `generateExisting`.
    #[serde(default)]
    pub generate_existing_on_policy_update: Option<bool>,
    /// Whether objects are generated for existing triggers.
    #[serde(default)]
    pub generate_existing: bool,
    /// Whether generated objects are applied.
    #[serde(default, rename = "useServerSideApply")]
    pub _use_server_side_apply: bool,
    /// Failure policy and conditions.
    #[serde(default)]
    pub webhook_configuration: WebhookConfiguration,
}

/// What concerns the webhook elsewhere, and the request here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfiguration {
    /// `Fail` or `Ignore`.
    #[serde(default)]
    pub failure_policy: String,
    /// Without effect here.
    #[serde(default, rename = "timeoutSeconds")]
    pub _timeout_seconds: Option<i64>,
    /// CEL conditions on the request.
    #[serde(default)]
    pub match_conditions: Vec<NamedExpression>,
}

/// A CEL expression with a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedExpression {
    /// Name.
    pub name: String,
    /// Expression.
    pub expression: String,
}

/// What a violation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// It is reported.
    #[default]
    #[serde(alias = "audit")]
    Audit,
    /// It is refused.
    #[serde(alias = "enforce")]
    Enforce,
}

/// What a violation does in some namespaces.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionOverride {
    /// What it does.
    #[serde(default)]
    pub action: Action,
    /// Where, with globs.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Where, by labels.
    pub namespace_selector: Option<Value>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Name.
    pub name: String,
    /// Values by name.
    #[serde(default)]
    pub context: Vec<ContextEntry>,
    /// Whom it is about.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Whom it is not about.
    pub exclude: Option<Match>,
    /// Where custom kinds keep images.
    pub image_extractors: Option<Value>,
    /// Conditions on the request.
    #[serde(default)]
    pub preconditions: Conditions,
    /// CEL conditions on the request.
    #[serde(default)]
    pub cel_preconditions: Vec<NamedExpression>,
    /// Changes.
    pub mutate: Option<Mutate>,
    /// Demands.
    pub validate: Option<Validate>,
    /// Objects to make.
    pub generate: Option<Generate>,
    /// Signatures of images.
    #[serde(default)]
    pub verify_images: Vec<Value>,
    /// Whether a trigger that a rule made leads to nothing further, as it does unless this is false.
    pub skip_background_requests: Option<bool>,
    /// What reports say in addition.
    #[serde(default)]
    pub report_properties: Map<String, Value>,
}

/// Demands on an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Validate {
    /// What a violation does.
    pub failure_action: Option<Action>,
    /// By namespace.
    #[serde(default)]
    pub failure_action_overrides: Vec<ActionOverride>,
    /// Whether an update may keep a violation that was there.
    pub allow_existing_violations: Option<bool>,
    /// What the user is told.
    #[serde(default)]
    pub message: String,
    /// Signatures of manifests, which are refused.
    pub manifests: Option<Value>,
    /// For each element of lists.
    #[serde(default)]
    pub foreach: Vec<ValidateEach>,
    /// What the object must look like.
    pub pattern: Option<Value>,
    /// One of these it must look like.
    pub any_pattern: Option<Vec<Value>>,
    /// What refuses it.
    pub deny: Option<Deny>,
    /// Pod Security Standards.
    pub pod_security: Option<PodSecurity>,
    /// CEL.
    pub cel: Option<Cel>,
    /// An assertion tree.
    pub assert: Option<Value>,
}

/// Conditions under which something is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deny {
    /// Without any, always.
    #[serde(default)]
    pub conditions: Conditions,
}

/// Demands on the elements of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidateEach {
    /// An expression for the list.
    pub list: String,
    /// Whether patterns are about the element.
    pub element_scope: Option<bool>,
    /// Values by name.
    #[serde(default)]
    pub context: Vec<ContextEntry>,
    /// Conditions on the element.
    #[serde(default)]
    pub preconditions: Conditions,
    /// What the element must look like.
    pub pattern: Option<Value>,
    /// One of these it must look like.
    pub any_pattern: Option<Vec<Value>>,
    /// What refuses it.
    pub deny: Option<Deny>,
    /// Lists inside.
    #[serde(default)]
    pub foreach: Vec<ValidateEach>,
}

/// A Pod Security Standard.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSecurity {
    /// `privileged`, `baseline`, `restricted`.
    #[serde(default)]
    pub level: String,
    /// `latest` or `v1.N`.
    #[serde(default)]
    pub version: String,
    /// What is let pass.
    #[serde(default)]
    pub exclude: Vec<PodSecurityExclude>,
}

/// A control that is let pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSecurityExclude {
    /// Name of the control.
    pub control_name: String,
    /// For these images only, with globs.
    #[serde(default)]
    pub images: Vec<String>,
    /// For this field only.
    #[serde(default)]
    pub restricted_field: String,
    /// For these values only.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Demands in CEL.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cel {
    /// Without effect here: no ValidatingAdmissionPolicy is made.
    #[serde(default, rename = "generate")]
    pub _generate: Option<bool>,
    /// Demands.
    #[serde(default)]
    pub expressions: Vec<CelExpression>,
    /// Kind of parameters.
    pub param_kind: Option<ParamKind>,
    /// Which parameters.
    pub param_ref: Option<ParamRef>,
    /// What the audit log says in addition; not kept.
    #[serde(default, rename = "auditAnnotations")]
    pub _audit_annotations: Vec<Value>,
    /// Expressions by name.
    #[serde(default)]
    pub variables: Vec<NamedExpression>,
}

/// A demand in CEL.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CelExpression {
    /// Must be true.
    pub expression: String,
    /// What the user is told.
    #[serde(default)]
    pub message: String,
    /// What the user is told, computed.
    #[serde(default)]
    pub message_expression: String,
    /// Ignored: Kyverno answers with one reason.
    #[serde(default, rename = "reason")]
    pub _reason: Option<String>,
}

/// Kind of a parameter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamKind {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
}

/// Which objects are parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamRef {
    /// By name.
    #[serde(default)]
    pub name: String,
    /// In this namespace, or in the object's.
    #[serde(default)]
    pub namespace: String,
    /// By labels.
    pub selector: Option<Value>,
    /// `Allow` or `Deny` without any.
    #[serde(default)]
    pub parameter_not_found_action: String,
}

impl Spec {
    /// Whether evaluation errors let a request pass.
    pub(crate) fn ignores_errors(&self) -> bool {
        let own = [&self.webhook_configuration.failure_policy, &self.failure_policy];
        own.into_iter().find(|it| !it.is_empty()).is_some_and(|it| it == "Ignore")
    }
}

/// Changes to an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mutate {
    /// Whether a change of the policy changes existing targets.
    pub mutate_existing_on_policy_update: Option<bool>,
    /// Which other objects are changed, instead of the one at hand.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// A patch in the shape of the object, with anchors.
    pub patch_strategic_merge: Option<Value>,
    /// Operations (RFC 6902), as YAML or JSON in a text.
    #[serde(default)]
    pub patches_json6902: String,
    /// For each element of lists.
    #[serde(default)]
    pub foreach: Vec<MutateEach>,
}

/// Another object to change.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Group and version.
    #[serde(default)]
    pub api_version: String,
    /// Kind, perhaps with a subresource.
    #[serde(default)]
    pub kind: String,
    /// Namespace, with globs.
    #[serde(default)]
    pub namespace: String,
    /// Name, with globs.
    #[serde(default)]
    pub name: String,
    /// By its identity.
    #[serde(default)]
    pub uid: String,
    /// By labels.
    pub selector: Option<Value>,
    /// Values by name.
    #[serde(default)]
    pub context: Vec<ContextEntry>,
    /// Conditions on the target.
    #[serde(default)]
    pub preconditions: Conditions,
}

/// Changes for the elements of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MutateEach {
    /// An expression for the list.
    #[serde(default)]
    pub list: String,
    /// `Ascending` or `Descending`.
    pub order: Option<Order>,
    /// Values by name.
    #[serde(default)]
    pub context: Vec<ContextEntry>,
    /// Conditions on the element.
    #[serde(default)]
    pub preconditions: Conditions,
    /// A patch in the shape of the object, with anchors.
    pub patch_strategic_merge: Option<Value>,
    /// Operations.
    #[serde(default)]
    pub patches_json6902: String,
    /// Lists inside.
    #[serde(default)]
    pub foreach: Vec<MutateEach>,
}

/// In which order elements come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Order {
    /// First to last.
    Ascending,
    /// Last to first.
    Descending,
}

/// Objects to make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generate {
    /// Whether for existing triggers, too.
    pub generate_existing: Option<bool>,
    /// Whether what was made follows its source and its trigger.
    #[serde(default)]
    pub synchronize: bool,
    /// Whether what was made outlives the policy.
    #[serde(default)]
    pub orphan_downstream_on_policy_delete: bool,
    /// For each element of lists.
    #[serde(default)]
    pub foreach: Vec<GenerateEach>,
    /// What to make.
    #[serde(flatten, deserialize_with = "pattern_of")]
    pub pattern: GeneratePattern,
}

/// Objects to make for the elements of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerateEach {
    /// An expression for the list.
    #[serde(default)]
    pub list: String,
    /// Values by name.
    #[serde(default)]
    pub context: Vec<ContextEntry>,
    /// Conditions on the element.
    #[serde(default)]
    pub preconditions: Conditions,
    /// What to make.
    #[serde(flatten, deserialize_with = "pattern_of")]
    pub pattern: GeneratePattern,
}

/// One object to make, or several to copy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratePattern {
    /// Group and version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Namespace; a variable, as a rule.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// By its identity.
    #[serde(default, rename = "uid")]
    pub _uid: String,
    /// Its content.
    pub data: Option<Value>,
    /// What it is a copy of.
    pub clone: Option<CloneFrom>,
    /// What to copy, by kind.
    pub clone_list: Option<CloneList>,
}

/// An object to copy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloneFrom {
    /// Where it is.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// Objects to copy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloneList {
    /// Where they are.
    #[serde(default)]
    pub namespace: String,
    /// `v1/Secret` and so on.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// By labels.
    pub selector: Option<Value>,
}

/// A value by name.
#[derive(Clone, Debug)]
pub struct ContextEntry {
    /// Name.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: Arc<EntrySource>,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum EntrySource {
    /// A value, or an expression over other values.
    Variable {
        /// The value, with variables.
        value: Option<Value>,
        /// An expression on it, or on the context.
        jmes_path: Option<String>,
        /// If the expression finds nothing.
        default: Option<Value>,
    },
    /// A ConfigMap.
    ConfigMap {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// An answer of the API server, or of a service.
    ApiCall {
        /// A path of the API server.
        url_path: String,
        /// A service elsewhere, which is refused.
        service: Option<String>,
        /// A body.
        data: Option<Value>,
        /// An expression on the answer.
        jmes_path: Option<String>,
        /// If there is no answer.
        default: Option<Value>,
    },
    /// A GlobalContextEntry.
    Global {
        /// Its name.
        name: String,
        /// An expression on it.
        jmes_path: Option<String>,
    },
    /// Metadata of an image, which is refused.
    ImageRegistry {
        /// The image.
        reference: String,
    },
}

impl<'de> Deserialize<'de> for ContextEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawEntry::deserialize(deserializer)?;
        let name = raw.name;
        let sources = [
            raw.variable.map(|it| EntrySource::Variable {
                value: it.value,
                jmes_path: it.jmes_path,
                default: it.default,
            }),
            raw.config_map.map(|it| EntrySource::ConfigMap { name: it.name, namespace: it.namespace }),
            raw.api_call.map(|it| EntrySource::ApiCall {
                url_path: it.url_path,
                service: it.service.map(|it| it["url"].as_str().unwrap_or_default().to_owned()),
                data: (it.method == "POST" || !it.data.is_empty()).then(|| body(&it.data)),
                jmes_path: it.jmes_path,
                default: it.default,
            }),
            raw.global_reference.map(|it| EntrySource::Global { name: it.name, jmes_path: it.jmes_path }),
            raw.image_registry.map(|it| EntrySource::ImageRegistry {
                reference: it["reference"].as_str().unwrap_or_default().to_owned(),
            }),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => Ok(ContextEntry { name: name.into(), source: source.into() }),
            _ => Err(D::Error::custom(format!(
                "context entry {name:?} needs one of variable, configMap, apiCall, globalReference, imageRegistry"
            ))),
        }
    }
}

/// The body of a call from its `data` list.
fn body(data: &[RawData]) -> Value {
    Value::Object(data.iter().map(|it| (it.key.clone(), it.value.clone())).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawEntry {
    name: String,
    variable: Option<RawVariable>,
    config_map: Option<RawConfigMap>,
    api_call: Option<RawApiCall>,
    global_reference: Option<RawGlobal>,
    image_registry: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawVariable {
    value: Option<Value>,
    jmes_path: Option<String>,
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfigMap {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawApiCall {
    #[serde(default)]
    url_path: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    data: Vec<RawData>,
    service: Option<Value>,
    jmes_path: Option<String>,
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawData {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawGlobal {
    name: String,
    #[serde(default)]
    jmes_path: Option<String>,
}

fn yes() -> bool {
    true
}

/// Reads what is left of a map strictly, which a flattened structure does not do by itself.
fn pattern_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GeneratePattern, D::Error> {
    let rest = Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(rest)).map_err(D::Error::custom)
}
