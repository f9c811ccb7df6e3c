//! Which fields policies and exceptions have. Entry point: [`unknown`].

use serde_json::Value;

use crate::Flaw;

/// Fields by where they lie; `[]` stands for any place in a list. What has no entry may hold anything.
type Fields = &'static [(&'static str, &'static str)];

const CONDITION: &str = "name expression";
const SELECTOR: &str = "matchLabels matchExpressions";
const MATCHING: &str = "resourceRules excludeResourceRules namespaceSelector objectSelector matchPolicy";
const RULE: &str = "operations apiGroups apiVersions resources resourceNames scope";

const VALIDATING: Fields = &[
    (
        "spec",
        "matchConstraints validations failurePolicy auditAnnotations matchConditions variables autogen validationActions \
         webhookConfiguration evaluation",
    ),
    ("spec.matchConstraints", MATCHING),
    ("spec.matchConstraints.resourceRules[]", RULE),
    ("spec.matchConstraints.excludeResourceRules[]", RULE),
    ("spec.matchConstraints.namespaceSelector", SELECTOR),
    ("spec.matchConstraints.objectSelector", SELECTOR),
    ("spec.validations[]", "expression message messageExpression reason"),
    ("spec.auditAnnotations[]", "key valueExpression"),
    ("spec.matchConditions[]", CONDITION),
    ("spec.variables[]", CONDITION),
    ("spec.autogen", "podControllers validatingAdmissionPolicy"),
    ("spec.autogen.podControllers", "controllers"),
    ("spec.autogen.validatingAdmissionPolicy", "enabled"),
    ("spec.webhookConfiguration", "timeoutSeconds"),
    ("spec.evaluation", "mode admission background"),
    ("spec.evaluation.admission", "enabled"),
    ("spec.evaluation.background", "enabled"),
];

const MUTATING: Fields = &[
    (
        "spec",
        "matchConstraints mutations failurePolicy auditAnnotations matchConditions variables autogen webhookConfiguration \
         evaluation reinvocationPolicy targetMatchConstraints targetMatchConditions",
    ),
    (
        "spec.targetMatchConstraints",
        "expression resourceRules excludeResourceRules namespaceSelector objectSelector matchPolicy",
    ),
    ("spec.targetMatchConstraints.resourceRules[]", RULE),
    ("spec.targetMatchConstraints.excludeResourceRules[]", RULE),
    ("spec.targetMatchConstraints.namespaceSelector", SELECTOR),
    ("spec.targetMatchConstraints.objectSelector", SELECTOR),
    ("spec.targetMatchConditions[]", CONDITION),
    ("spec.matchConstraints", MATCHING),
    ("spec.matchConstraints.resourceRules[]", RULE),
    ("spec.matchConstraints.excludeResourceRules[]", RULE),
    ("spec.matchConstraints.namespaceSelector", SELECTOR),
    ("spec.matchConstraints.objectSelector", SELECTOR),
    ("spec.mutations[]", "patchType applyConfiguration jsonPatch"),
    ("spec.mutations[].applyConfiguration", "expression"),
    ("spec.mutations[].jsonPatch", "expression"),
    ("spec.auditAnnotations[]", "key valueExpression"),
    ("spec.matchConditions[]", CONDITION),
    ("spec.variables[]", CONDITION),
    ("spec.autogen", "podControllers mutatingAdmissionPolicy"),
    ("spec.autogen.podControllers", "controllers"),
    ("spec.autogen.mutatingAdmissionPolicy", "enabled"),
    ("spec.webhookConfiguration", "timeoutSeconds"),
    ("spec.evaluation", "mode admission background mutateExisting skipBackgroundRequests useServerSideApply"),
    ("spec.evaluation.admission", "enabled"),
    ("spec.evaluation.background", "enabled"),
    ("spec.evaluation.mutateExisting", "enabled"),
];

const GENERATING: Fields = &[
    (
        "spec",
        "matchConstraints generate matchConditions variables auditAnnotations evaluation webhookConfiguration \
         useServerSideApply",
    ),
    ("spec.matchConstraints", MATCHING),
    ("spec.matchConstraints.resourceRules[]", RULE),
    ("spec.matchConstraints.excludeResourceRules[]", RULE),
    ("spec.matchConstraints.namespaceSelector", SELECTOR),
    ("spec.matchConstraints.objectSelector", SELECTOR),
    ("spec.generate[]", "expression template"),
    ("spec.generate[].template", "interpolate value"),
    ("spec.matchConditions[]", CONDITION),
    ("spec.variables[]", CONDITION),
    ("spec.auditAnnotations[]", "key valueExpression"),
    ("spec.webhookConfiguration", "timeoutSeconds"),
    ("spec.evaluation", "admission generateExisting synchronize orphanDownstreamOnPolicyDelete skipBackgroundRequests"),
    ("spec.evaluation.admission", "enabled"),
    ("spec.evaluation.generateExisting", "enabled"),
    ("spec.evaluation.synchronize", "enabled"),
    ("spec.evaluation.orphanDownstreamOnPolicyDelete", "enabled"),
];

const DELETING: Fields = &[
    ("spec", "matchConstraints conditions variables schedule deletionPropagationPolicy"),
    ("spec.matchConstraints", MATCHING),
    ("spec.matchConstraints.resourceRules[]", RULE),
    ("spec.matchConstraints.excludeResourceRules[]", RULE),
    ("spec.matchConstraints.namespaceSelector", SELECTOR),
    ("spec.matchConstraints.objectSelector", SELECTOR),
    ("spec.conditions[]", CONDITION),
    ("spec.variables[]", CONDITION),
];

const EXCEPTION: Fields = &[
    ("spec", "policyRefs matchConditions images allowedValues reportResult"),
    ("spec.policyRefs[]", "name kind"),
    ("spec.matchConditions[]", CONDITION),
];

/// The fields that a kind of object has.
pub(super) fn of(role: super::Role) -> Fields {
    match role {
        super::Role::Policy { mutates: false } => VALIDATING,
        super::Role::Policy { mutates: true } => MUTATING,
        super::Role::Generator => GENERATING,
        super::Role::Deleter => DELETING,
        super::Role::Exception => EXCEPTION,
        super::Role::Refused(_) => &[],
    }
}

/// Fields of an object that are not among those.
pub(super) fn unknown(object: &Value, fields: Fields) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    walk(&object["spec"], "spec", "spec", fields, &mut flaws);
    flaws
}

fn walk(value: &Value, pattern: &str, path: &str, fields: Fields, flaws: &mut Vec<Flaw>) {
    match value {
        Value::Object(all) => {
            let known = fields.iter().find(|it| it.0 == pattern).map(|it| it.1);
            for (name, value) in all {
                let here = format!("{path}.{name}");
                match known {
                    Some(known) if !known.split_whitespace().any(|it| it == name) => {
                        flaws.push(Flaw::new(here, "unknown field"));
                    }
                    _ => walk(value, &format!("{pattern}.{name}"), &here, fields, flaws),
                }
            }
        }
        Value::Array(all) => {
            for (at, value) in all.iter().enumerate() {
                walk(value, &format!("{pattern}[]"), &format!("{path}[{at}]"), fields, flaws);
            }
        }
        _ => {}
    }
}
