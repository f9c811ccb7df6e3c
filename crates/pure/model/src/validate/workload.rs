//! Checks of what makes pods.

use serde_json::Value;

use super::{at::At, names, pod};
use crate::{cron::Schedule, selector::LabelSelector, status::Cause};

pub(super) fn deployment(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("replicas").at_least(0, causes);
    spec.get("minReadySeconds").at_least(0, causes);
    spec.get("revisionHistoryLimit").at_least(0, causes);
    spec.get("progressDeadlineSeconds").at_least(0, causes);
    selected_template(spec, causes);
    pod::restart_policy(&spec.at("template.spec"), &["Always"], causes);
    let strategy = spec.get("strategy");
    strategy.get("type").one_of(&["Recreate", "RollingUpdate"], causes);
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if !rolling.is_absent() => {
            causes.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
        }
        "RollingUpdate" => rolling_update(&rolling, causes),
        _ => {}
    }
    let (deadline, ready) = (spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds"));
    if deadline.number().is_some_and(|it| it <= ready.number().unwrap_or(0)) {
        causes.push(deadline.invalid("must be greater than minReadySeconds"));
    }
}

fn rolling_update(rolling: &At<'_>, causes: &mut Vec<Cause>) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    int_or_percent(&unavailable, causes);
    int_or_percent(&surge, causes);
    let zero = |it: &At<'_>| it.number() == Some(0) || it.text() == "0%" || it.is_absent();
    if zero(&unavailable) && zero(&surge) {
        causes.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
    }
    if percent(unavailable.text()).is_some_and(|it| it > 100) {
        causes.push(unavailable.invalid("must not be greater than 100%"));
    }
}

fn int_or_percent(at: &At<'_>, causes: &mut Vec<Cause>) {
    match at.value {
        Value::String(text) if percent(text).is_none() => {
            causes.push(at.invalid("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"));
        }
        _ => at.at_least(0, causes),
    }
}

fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    Some(digits).filter(|it| it.bytes().all(|it| it.is_ascii_digit()))?.parse().ok()
}

pub(super) fn replica_set(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("replicas").at_least(0, causes);
    spec.get("minReadySeconds").at_least(0, causes);
    selected_template(spec, causes);
    pod::restart_policy(&spec.at("template.spec"), &["Always"], causes);
}

pub(super) fn replication_controller(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("replicas").at_least(0, causes);
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_empty() {
        causes.push(selector.required(""));
    }
    if template.is_absent() {
        causes.push(template.required(""));
        return;
    }
    let labels = template.at("metadata.labels");
    let matches = LabelSelector::from_labels(selector.value).is_ok_and(|it| it.matches_labels(labels.value));
    if !selector.is_empty() && !matches {
        causes.push(labels.invalid("`selector` does not match template `labels`"));
    }
    pod::template(&template, causes);
    pod::restart_policy(&template.get("spec"), &["Always"], causes);
}

pub(super) fn stateful_set(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("replicas").at_least(0, causes);
    spec.get("minReadySeconds").at_least(0, causes);
    spec.get("podManagementPolicy").one_of(&["OrderedReady", "Parallel"], causes);
    spec.at("updateStrategy.type").one_of(&["OnDelete", "RollingUpdate"], causes);
    spec.at("updateStrategy.rollingUpdate.partition").at_least(0, causes);
    selected_template(spec, causes);
    pod::restart_policy(&spec.at("template.spec"), &["Always"], causes);
}

pub(super) fn daemon_set(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("minReadySeconds").at_least(0, causes);
    spec.at("updateStrategy.type").one_of(&["OnDelete", "RollingUpdate"], causes);
    selected_template(spec, causes);
    pod::restart_policy(&spec.at("template.spec"), &["Always"], causes);
}

/// A selector that selects something, and a template that it selects.
fn selected_template(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_absent() {
        causes.push(selector.required(""));
    } else {
        label_selector(&selector, causes);
        if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
            causes.push(selector.invalid("empty selector is invalid for deployment"));
        }
    }
    let labels = template.at("metadata.labels");
    if let Ok(parsed) = LabelSelector::from_value(selector.value)
        && !parsed.is_empty()
        && !parsed.selects_nothing()
        && !parsed.matches_labels(labels.value)
    {
        causes.push(labels.invalid("`selector` does not match template `labels`"));
    }
    // In a template that a workload runs for ever, volumes of claims are named by their templates.
    pod_template(&template, spec, causes);
}

fn pod_template(template: &At<'_>, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let claims: Vec<&str> = spec.get("volumeClaimTemplates").items().map(|it| it.at("metadata.name").text()).collect();
    let mut found = Vec::new();
    pod::template(template, &mut found);
    let of_claim = |it: &Cause| claims.iter().any(|claim| it.message == format!("Not found: {claim:?}"));
    causes.extend(found.into_iter().filter(|it| !of_claim(it)));
}

/// Reports what is wrong with a LabelSelector object.
pub(super) fn label_selector(selector: &At<'_>, causes: &mut Vec<Cause>) {
    for (key, value) in selector.get("matchLabels").entries() {
        let at = selector.get("matchLabels").path;
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&at, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&at, value.value, &why));
        }
    }
    for expression in selector.get("matchExpressions").items() {
        expression.get("key").grammar(names::qualified_name, causes);
        let values = expression.get("values");
        match expression.get("operator").text() {
            "In" | "NotIn" if values.is_empty() => {
                causes.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                causes.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Exists" | "DoesNotExist" => {}
            _ => causes.push(expression.get("operator").invalid("not a valid selector operator")),
        }
    }
}

pub(super) fn job(spec: &At<'_>, causes: &mut Vec<Cause>) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.get(field).at_least(0, causes);
    }
    spec.get("activeDeadlineSeconds").at_least(1, causes);
    spec.get("completionMode").one_of(&["Indexed", "NonIndexed"], causes);
    spec.get("podReplacementPolicy").one_of(&["Failed", "TerminatingOrFailed"], causes);
    if spec.get("completionMode").text() == "Indexed" && spec.get("completions").is_absent() {
        causes.push(spec.get("completions").required("when completion mode is Indexed"));
    }
    let template = spec.get("template");
    pod::template(&template, causes);
    let policy = template.at("spec.restartPolicy");
    match policy.text() {
        "OnFailure" | "Never" => {}
        "Always" | "" => causes.push(policy.required("valid values: \"OnFailure\", \"Never\"")),
        _ => causes.push(Cause::not_supported(&policy.path, policy.value, &["OnFailure", "Never"])),
    }
    let selector = spec.get("selector");
    let labels = template.at("metadata.labels");
    if let Ok(parsed) = LabelSelector::from_value(selector.value)
        && !parsed.selects_nothing()
        && !parsed.matches_labels(labels.value)
    {
        causes.push(labels.invalid("`selector` does not match template `labels`"));
    }
}

pub(super) fn cron_job(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.get("spec");
    schedule(&spec.get("schedule"), causes);
    time_zone(&spec.get("timeZone"), causes);
    spec.get("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], causes);
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.get(field).at_least(0, causes);
    }
    job(&spec.at("jobTemplate.spec"), causes);
}

fn schedule(schedule: &At<'_>, causes: &mut Vec<Cause>) {
    let text = schedule.text();
    if text.is_empty() {
        causes.push(schedule.required(""));
    } else if text.contains("TZ") {
        causes.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    } else if let Err(why) = Schedule::parse(text) {
        causes.push(schedule.invalid(&why));
    }
}

/// A name of the time zone database; `Local` would mean the server's own, which is what no name means.
fn time_zone(zone: &At<'_>, causes: &mut Vec<Cause>) {
    if zone.is_absent() {
        return;
    }
    match zone.text() {
        "" => causes.push(zone.invalid("timeZone must be nil or non-empty string")),
        text if text.eq_ignore_ascii_case("local") => causes
            .push(zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")),
        text if jiff::tz::TimeZone::get(text).is_err() => {
            causes.push(zone.invalid(&format!("unknown time zone {text}")))
        }
        _ => {}
    }
}

pub(super) fn autoscaler(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("minReplicas").at_least(1, causes);
    let (low, high) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    high.at_least(1, causes);
    if high.number().zip(low.number()).is_some_and(|(high, low)| high < low) {
        causes.push(high.invalid("must be greater than or equal to `minReplicas`"));
    }
}

pub(super) fn disruption_budget(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (low, high) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if !low.is_absent() && !high.is_absent() {
        causes.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    int_or_percent(&low, causes);
    int_or_percent(&high, causes);
    label_selector(&spec.get("selector"), causes);
}
