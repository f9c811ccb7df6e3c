//! Specs of Gateway API objects and Ingresses, as far as they are served. A field that is not here is refused by name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClassSpec {
    pub(super) controller_name: String,
    pub(super) parameters_ref: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GatewaySpec {
    /// Read before, to tell whose Gateway it is.
    #[serde(rename = "gatewayClassName")]
    pub(super) _class: String,
    pub(super) listeners: Vec<ListenerSpec>,
    #[serde(default)]
    pub(super) addresses: Vec<Value>,
    /// Labels and annotations of objects made for a Gateway; there are none here.
    #[serde(default, rename = "infrastructure")]
    pub(super) _infrastructure: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListenerSpec {
    pub(super) name: String,
    pub(super) hostname: Option<String>,
    pub(super) port: u16,
    pub(super) protocol: String,
    pub(super) tls: Option<Value>,
    #[serde(default)]
    pub(super) allowed_routes: AllowedRoutes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct AllowedRoutes {
    pub(super) namespaces: RouteNamespaces,
    pub(super) kinds: Vec<RouteKind>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RouteNamespaces {
    pub(super) from: Option<String>,
    pub(super) selector: Option<Selector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Selector {
    pub(super) match_labels: BTreeMap<String, String>,
    pub(super) match_expressions: Vec<Requirement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Selector {
    /// Whether an object with these labels is selected. An unknown operator selects nothing.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|it| {
                let value = labels.get(&it.key);
                match it.operator.as_str() {
                    "In" => value.is_some_and(|value| it.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !it.values.contains(value)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RouteKind {
    pub(super) group: Option<String>,
    pub(super) kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RouteSpec {
    /// Read before, each for itself.
    #[serde(default, rename = "parentRefs")]
    pub(super) _parents: serde::de::IgnoredAny,
    #[serde(default)]
    pub(super) hostnames: Vec<String>,
    #[serde(default)]
    pub(super) rules: Vec<RuleSpec>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ParentRef {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) section_name: Option<String>,
    pub(super) port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RuleSpec {
    #[serde(default, rename = "name")]
    pub(super) _name: Option<String>,
    #[serde(default)]
    pub(super) matches: Vec<MatchSpec>,
    #[serde(default)]
    pub(super) filters: Vec<FilterSpec>,
    #[serde(default)]
    pub(super) backend_refs: Vec<BackendRef>,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) request: Option<String>,
    pub(super) backend_request: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct MatchSpec {
    pub(super) path: Option<PathSpec>,
    pub(super) headers: Vec<ValueMatch>,
    pub(super) query_params: Vec<ValueMatch>,
    pub(super) method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PathSpec {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ValueMatch {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) name: String,
    pub(super) value: String,
}

/// One filter; exactly the member that `type` names is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterSpec {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) request_header_modifier: Option<HeaderModifier>,
    pub(super) response_header_modifier: Option<HeaderModifier>,
    pub(super) request_redirect: Option<RedirectSpec>,
    pub(super) url_rewrite: Option<RewriteSpec>,
    pub(super) request_mirror: Option<MirrorSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MirrorSpec {
    pub(super) backend_ref: BackendRef,
    pub(super) percent: Option<u32>,
    pub(super) fraction: Option<FractionSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FractionSpec {
    pub(super) numerator: u32,
    pub(super) denominator: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct HeaderModifier {
    pub(super) set: Vec<HeaderSpec>,
    pub(super) add: Vec<HeaderSpec>,
    pub(super) remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderSpec {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RedirectSpec {
    pub(super) scheme: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) path: Option<PathChangeSpec>,
    pub(super) port: Option<u16>,
    pub(super) status_code: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RewriteSpec {
    pub(super) hostname: Option<String>,
    pub(super) path: Option<PathChangeSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PathChangeSpec {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) replace_full_path: Option<String>,
    pub(super) replace_prefix_match: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BackendRef {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) port: Option<u16>,
    pub(super) weight: Option<u32>,
    #[serde(default)]
    pub(super) filters: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GrantSpec {
    pub(super) from: Vec<GrantFrom>,
    pub(super) to: Vec<GrantTo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantFrom {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantTo {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct IngressSpec {
    pub(super) ingress_class_name: Option<String>,
    pub(super) default_backend: Option<IngressBackend>,
    pub(super) rules: Vec<IngressRule>,
    pub(super) tls: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IngressRule {
    pub(super) host: Option<String>,
    pub(super) http: Option<IngressHttp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IngressHttp {
    pub(super) paths: Vec<IngressPath>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IngressPath {
    pub(super) path: Option<String>,
    pub(super) path_type: String,
    pub(super) backend: IngressBackend,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IngressBackend {
    pub(super) service: Option<IngressService>,
    pub(super) resource: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IngressService {
    pub(super) name: String,
    #[serde(default)]
    pub(super) port: IngressPort,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IngressPort {
    pub(super) name: Option<String>,
    pub(super) number: Option<u16>,
}
