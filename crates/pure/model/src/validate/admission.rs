//! Checks of webhook configurations, flow schemas and priority levels.

use super::{at::At, names};
use crate::{selector::LabelSelector, status::Cause};

const CONDITIONS_MAX: usize = 64;

pub(super) fn webhooks(object: &At<'_>, mutating: bool, causes: &mut Vec<Cause>) {
    let hooks = object.get("webhooks");
    hooks.unique("name", causes);
    for hook in hooks.items() {
        let name = hook.get("name");
        name.grammar(names::dns1123_subdomain, causes);
        if name.text().split('.').count() < 3 {
            causes.push(name.invalid("should be a domain with at least three segments separated by dots"));
        }
        hook.get("failurePolicy").one_of(&["Fail", "Ignore"], causes);
        hook.get("matchPolicy").one_of(&["Equivalent", "Exact"], causes);
        hook.get("sideEffects").one_of(&["None", "NoneOnDryRun"], causes);
        if mutating {
            hook.get("reinvocationPolicy").one_of(&["IfNeeded", "Never"], causes);
        }
        let timeout = hook.get("timeoutSeconds");
        if timeout.number().is_some_and(|it| !(1..=30).contains(&it)) {
            causes.push(timeout.invalid("the timeout value must be between 1 and 30 seconds"));
        }
        let versions = hook.get("admissionReviewVersions");
        if !versions.is_empty() && !versions.items().any(|it| matches!(it.text(), "v1" | "v1beta1")) {
            causes.push(versions.invalid("must include at least one of v1, v1beta1"));
        }
        for selector in ["namespaceSelector", "objectSelector"].map(|it| hook.get(it)) {
            if !selector.is_absent()
                && let Err(error) = LabelSelector::from_value(selector.value)
            {
                causes.push(selector.invalid(&error.to_string()));
            }
        }
        client(&hook.get("clientConfig"), causes);
        hook.get("rules").items().for_each(|it| rule(&it, causes));
        conditions(&hook.get("matchConditions"), causes);
    }
}

fn client(config: &At<'_>, causes: &mut Vec<Cause>) {
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_absent() == service.is_absent() {
        causes.push(Cause::required(&config.path, "exactly one of url or service is required"));
    }
    if !url.is_absent() {
        const FORM: &str = "desired format: https://host[/path]";
        match url.text().split_once("://") {
            Some(("https", rest)) if rest.is_empty() || rest.starts_with('/') => {
                causes.push(url.invalid(&format!("host must be specified; {FORM}")));
            }
            Some(("https", rest)) => {
                for (mark, what) in
                    [('@', "user information is"), ('#', "fragments are"), ('?', "query parameters are")]
                {
                    if rest.contains(mark) {
                        causes.push(url.invalid(&format!("{what} not permitted in the URL")));
                    }
                }
            }
            _ => causes.push(url.invalid(&format!("'https' is the only allowed URL scheme; {FORM}"))),
        }
    }
    if !service.is_absent() {
        for field in ["name", "namespace"].map(|it| service.get(it)).iter().filter(|it| it.is_empty()) {
            causes.push(field.required("service name and namespace are required"));
        }
        service.get("port").port(causes);
        let path = service.get("path");
        if !path.is_empty() && !path.text().starts_with('/') {
            causes.push(path.invalid("must start with a '/'"));
        }
    }
}

fn rule(rule: &At<'_>, causes: &mut Vec<Cause>) {
    let operations = rule.get("operations");
    for field in ["operations", "apiGroups", "apiVersions", "resources"].map(|it| rule.get(it)) {
        if field.is_empty() {
            causes.push(field.required(""));
        }
        if field.items().count() > 1
            && field.path.rsplit('.').next() != Some("resources")
            && field.items().any(|it| it.text() == "*")
        {
            causes.push(field.invalid("if '*' is present, must not specify other values"));
        }
    }
    for operation in operations.items() {
        operation.one_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], causes);
    }
    rule.get("scope").one_of(&["*", "Cluster", "Namespaced"], causes);
}

fn conditions(conditions: &At<'_>, causes: &mut Vec<Cause>) {
    let count = conditions.items().count();
    if count > CONDITIONS_MAX {
        causes.push(Cause::too_many(&conditions.path, count, CONDITIONS_MAX));
    }
    conditions.unique("name", causes);
    for condition in conditions.items() {
        condition.get("name").grammar(names::qualified_name, causes);
        for field in ["name", "expression"].map(|it| condition.get(it)).iter().filter(|it| it.is_empty()) {
            causes.push(field.required(""));
        }
    }
}

pub(super) fn flow_schema(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let precedence = spec.get("matchingPrecedence");
    if precedence.number().is_some_and(|it| !(1..=10_000).contains(&it)) {
        causes.push(precedence.invalid("must be between 1 and 10000"));
    }
    let level = spec.at("priorityLevelConfiguration.name");
    if level.is_empty() {
        causes.push(level.required("must reference a priority level"));
    }
    spec.at("distinguisherMethod.type").one_of(&["ByNamespace", "ByUser"], causes);
    for rule in spec.get("rules").items() {
        if rule.get("subjects").is_empty() {
            causes.push(rule.get("subjects").required("subjects must contain at least one value"));
        }
        for subject in rule.get("subjects").items() {
            subject.get("kind").one_of(&["Group", "ServiceAccount", "User"], causes);
        }
        if rule.get("resourceRules").is_empty() && rule.get("nonResourceRules").is_empty() {
            causes.push(Cause::required(
                &rule.path,
                "at least one of resourceRules and nonResourceRules has to be non-empty",
            ));
        }
    }
}

pub(super) fn priority_level(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let of_type = spec.get("type");
    of_type.one_of(&["Exempt", "Limited"], causes);
    let limited = spec.get("limited");
    match of_type.text() {
        "Exempt" if !limited.is_absent() => {
            causes.push(limited.forbidden("must be nil if the type is not Limited"));
        }
        "Limited" if limited.is_absent() => causes.push(limited.required("must not be empty when type is Limited")),
        _ => {}
    }
    limited.get("nominalConcurrencyShares").at_least(0, causes);
    limited.get("lendablePercent").at_least(0, causes);
    let response = limited.get("limitResponse");
    response.get("type").one_of(&["Queue", "Reject"], causes);
    let queuing = response.get("queuing");
    if response.get("type").text() == "Reject" && !queuing.is_absent() {
        causes.push(queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"));
    }
    for field in ["queues", "handSize", "queueLengthLimit"].map(|it| queuing.get(it)) {
        if field.number().is_some_and(|it| it < 1) {
            causes.push(field.invalid("must be positive"));
        }
    }
    let (queues, hand) = (queuing.get("queues"), queuing.get("handSize"));
    if let (Some(queues), Some(number)) = (queues.number(), hand.number())
        && number > queues
    {
        causes.push(hand.invalid(&format!("should not be greater than queues ({queues})")));
    }
}
