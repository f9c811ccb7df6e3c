//! Bindings: where a policy is in force, with which parameters, and to what effect. Entry point: [`Binding::read`].

use eyot_model::{meta, selector::LabelSelector};
use serde_json::Value;

use crate::matching::Matching;

/// A binding of either kind.
pub(crate) struct Binding {
    pub(crate) name: String,
    /// The policy's name.
    pub(crate) policy: String,
    pub(crate) params: Option<ParamRef>,
    /// Narrows what the policy is about; `None` when it does not.
    pub(crate) matching: Option<Matching>,
    /// What follows from a validation that does not hold.
    pub(crate) denies: bool,
    pub(crate) warns: bool,
    pub(crate) audits: bool,
}

/// Which objects are a policy's parameters.
pub(crate) struct ParamRef {
    /// Empty where a selector chooses.
    pub(crate) name: String,
    /// Empty for that of the request.
    pub(crate) namespace: String,
    pub(crate) selector: Option<LabelSelector>,
    /// Whether a request is refused when there are none.
    pub(crate) must_exist: bool,
}

impl Binding {
    /// Reads what was checked when it was written.
    pub(crate) fn read(object: &Value) -> Binding {
        let spec = &object["spec"];
        let acts = |action: &str| meta::list(spec.get("validationActions")).iter().any(|it| it == action);
        let reference = &spec["paramRef"];
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        let params = reference.is_object().then(|| ParamRef {
            name: text("name"),
            namespace: text("namespace"),
            selector: reference.get("selector").filter(|it| it.is_object()).map(|it| {
                // A selector that cannot be read selects nothing.
                let nothing = || LabelSelector::from_value(&Value::Null).unwrap_or_default();
                LabelSelector::from_value(it).unwrap_or_else(|_| nothing())
            }),
            must_exist: reference["parameterNotFoundAction"] == "Deny",
        });
        Binding {
            name: meta::name(object).unwrap_or_default().to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            params,
            matching: spec.get("matchResources").filter(|it| it.is_object()).map(Matching::read),
            denies: acts("Deny"),
            warns: acts("Warn"),
            audits: acts("Audit"),
        }
    }
}
