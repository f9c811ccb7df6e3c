//! Parses the query options of the API. Entry point: [`Query::parse`].

use eyot_model::{
    schema::FieldValidation,
    status::{ApiError, Cause},
};
use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Query options, as in `metav1.ListOptions`, `CreateOptions`, `PatchOptions` and `DeleteOptions`.
///
/// Options that are not known are left alone, as Kubernetes does.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) watch: bool,
    pub(crate) allow_watch_bookmarks: bool,
    /// Watches only. `Some(false)` begins with what changes from now on.
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// Who owns what the write sets; empty when not said.
    pub(crate) field_manager: String,
    /// Whether an apply takes fields from others.
    pub(crate) force: Option<bool>,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) include_object: Option<String>,
    pub(crate) container: Option<String>,
    /// Of custom metrics: which of a metric's own labels are wanted.
    pub(crate) metric_label_selector: String,
}

impl Query {
    /// Parses the part of a URI after `?`, for a request of that method.
    pub(crate) fn parse(query: Option<&str>, method: &Method) -> Result<Query, ApiError> {
        let mut found = Query::default();
        let mut causes = Vec::new();
        for (key, value) in pairs(query.unwrap_or_default()) {
            found
                .set(&key, value, &mut causes)
                .map_err(|what| ApiError::bad_request(format!("query option {key}: {what}")))?;
        }
        if causes.is_empty() { Ok(found) } else { Err(ApiError::invalid_options(options_kind(method), causes)) }
    }

    fn set(&mut self, key: &str, value: String, causes: &mut Vec<Cause>) -> Result<(), String> {
        match key {
            "labelSelector" => self.label_selector = value,
            "fieldSelector" => self.field_selector = value,
            "limit" => self.limit = number::<i64>(&value)?.and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.watch = flag(&value),
            "allowWatchBookmarks" => self.allow_watch_bookmarks = flag(&value),
            "sendInitialEvents" => self.send_initial_events = Some(flag(&value)),
            "timeoutSeconds" => self.timeout_seconds = number(&value)?.filter(|it| *it > 0),
            "dryRun" => match dry_run(&value) {
                Ok(dry_run) => self.dry_run |= dry_run,
                Err(_) => causes.push(Cause::not_supported("dryRun", &Value::from(value), &["All"])),
            },
            "fieldValidation" => match FieldValidation::parse(&value) {
                Some(validation) => self.field_validation = validation,
                None => {
                    let known = ["Ignore", "Strict", "Warn"];
                    causes.push(Cause::not_supported("fieldValidation", &Value::from(value), &known));
                }
            },
            "fieldManager" => {
                causes.extend(check_manager(&value));
                self.field_manager = value;
            }
            "force" => self.force = Some(flag(&value)),
            "gracePeriodSeconds" => self.grace_period_seconds = number(&value)?,
            "propagationPolicy" => self.propagation_policy = Some(value).filter(|it| !it.is_empty()),
            "orphanDependents" => self.orphan_dependents = Some(flag(&value)),
            "includeObject" => self.include_object = Some(value),
            "metricLabelSelector" => self.metric_label_selector = value,
            "container" => self.container = Some(value).filter(|it| !it.is_empty()),
            _ => {}
        }
        Ok(())
    }

    /// Refuses combinations of options that a patch, or an apply, cannot have.
    pub(crate) fn check_patch(&self, is_apply: bool) -> Result<(), ApiError> {
        let cause = match is_apply {
            true if self.field_manager.is_empty() => Cause::required("fieldManager", "is required for apply patch"),
            false if self.force.is_some() => Cause::forbidden("force", "may not be specified for non-apply patch"),
            _ => return Ok(()),
        };
        Err(ApiError::invalid_options("PatchOptions", vec![cause]))
    }

    /// Refuses combinations of options that a list or watch cannot have.
    pub(crate) fn check_read(&self) -> Result<(), ApiError> {
        let mut causes = Vec::new();
        if self.watch {
            self.check_watch(&mut causes)
        } else {
            self.check_list(&mut causes)
        }
        if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid_options("ListOptions", causes)) }
    }

    fn check_list(&self, causes: &mut Vec<Cause>) {
        let matching = self.resource_version_match.as_str();
        let mut forbid = |why: &str| causes.push(Cause::forbidden(MATCH, why));
        if !matching.is_empty() && self.resource_version.is_empty() {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !matching.is_empty() && !self.continue_token.is_empty() {
            forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        if matching == "Exact" && self.resource_version == "0" {
            forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if !matches!(matching, "" | "Exact" | "NotOlderThan") {
            causes.push(Cause::not_supported(MATCH, &matching.into(), &["Exact", "NotOlderThan", ""]));
        }
        if self.send_initial_events.is_some() {
            causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
    }

    fn check_watch(&self, causes: &mut Vec<Cause>) {
        let matching = self.resource_version_match.as_str();
        if self.send_initial_events.is_some() && matching != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if matching.is_empty() {
            return;
        }
        if self.send_initial_events.is_none() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if matching != "NotOlderThan" {
            causes.push(Cause::not_supported(MATCH, &matching.into(), &["NotOlderThan"]));
        }
        if !self.continue_token.is_empty() {
            causes.push(Cause::forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
}

const MATCH: &str = "resourceVersionMatch";

/// Longest name of an owner in bytes.
pub(crate) const MANAGER_MAX: usize = 128;

fn check_manager(name: &str) -> Option<Cause> {
    if name.len() > MANAGER_MAX {
        return Some(Cause::too_long("fieldManager", MANAGER_MAX));
    }
    let (at, bad) = name.char_indices().find(|(_, it)| it.is_control())?;
    let why = format!("invalid character U+{:04X} (at position {at})", u32::from(bad));
    Some(Cause::invalid("fieldManager", &Value::from(name), &why))
}

/// The kind of options that a method takes.
fn options_kind(method: &Method) -> &'static str {
    match *method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        Method::DELETE => "DeleteOptions",
        _ => "ListOptions",
    }
}

/// The decoded `key=value` pairs of a query, in order.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|it| !it.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// `dryRun` has one value beside none.
pub(crate) fn dry_run(value: &str) -> Result<bool, String> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(format!("{other:?} is not supported, use All")),
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<Option<T>, String> {
    match value {
        "" => Ok(None),
        value => value.parse().map(Some).map_err(|_| format!("{value:?} is not a number in range")),
    }
}

/// As Kubernetes reads flags: whatever does not say no means yes, an empty value too.
fn flag(value: &str) -> bool {
    !(value == "0" || value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Query, ApiError> {
        Query::parse(Some(query), &Method::POST)
    }

    #[test]
    fn decodes_options() {
        let query = parse("labelSelector=app%3Dweb%2Ctier+in+(a)&limit=5&watch=1&dryRun=All").unwrap();
        assert_eq!(query.label_selector, "app=web,tier in (a)");
        assert_eq!(query.limit, Some(5));
        assert!(query.watch && query.dry_run);
        assert_eq!(parse("limit=-1").unwrap().limit, None);
        assert!(parse("watch=").unwrap().watch && !parse("watch=False").unwrap().watch);
    }

    #[test]
    fn names_the_option_that_is_wrong() {
        let long = format!("fieldManager={}", "x".repeat(129));
        for (bad, code) in [
            ("limit=x", 400),
            ("timeoutSeconds=1h", 400),
            ("gracePeriodSeconds=soon", 400),
            ("dryRun=Some", 422),
            ("fieldValidation=strict", 422),
            ("fieldManager=a%0Ab", 422),
            (long.as_str(), 422),
        ] {
            let error = parse(bad).unwrap_err();
            let key = bad.split('=').next().unwrap();
            assert_eq!(error.code, code, "{bad}");
            assert!(error.message.contains(key), "{}", error.message);
        }
    }

    #[test]
    fn an_apply_names_its_manager_and_alone_may_use_force() {
        let check = |query: &str, is_apply| parse(query).unwrap().check_patch(is_apply).map_err(|it| it.message);
        assert_eq!(check("fieldManager=a&force=true", true), Ok(()));
        assert_eq!(check("fieldManager=a", false), Ok(()));
        assert_eq!(
            check("force=true", true),
            Err(r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
                .into())
        );
        assert_eq!(
            check("force=false", false),
            Err(
                r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#
                    .into()
            )
        );
    }

    #[test]
    fn leaves_unknown_options_alone() {
        assert_eq!(parse("a=b&pretty=true&&=").unwrap(), Query::default());
    }

    #[test]
    fn reads_refuse_options_that_contradict_each_other() {
        let check = |query: &str| parse(query).unwrap().check_read().map_err(|it| (it.code, it.message));
        for good in [
            "",
            "resourceVersion=0",
            "resourceVersion=5&resourceVersionMatch=Exact&limit=2",
            "resourceVersion=0&resourceVersionMatch=NotOlderThan",
            "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=7",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("resourceVersionMatch=Exact", "unless resourceVersion is provided"),
            ("resourceVersion=0&resourceVersionMatch=Exact", "forbidden for resourceVersion \"0\""),
            ("resourceVersion=5&resourceVersionMatch=Exact&continue=x", "when continue is provided"),
            ("resourceVersion=5&resourceVersionMatch=exact", "supported values: \"\", \"Exact\", \"NotOlderThan\""),
            ("sendInitialEvents=true", "forbidden for list"),
            ("watch=1&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
            ("watch=1&resourceVersion=5&resourceVersionMatch=NotOlderThan", "unless sendInitialEvents is provided"),
        ] {
            let (code, message) = check(bad).unwrap_err();
            assert!(message.starts_with("ListOptions.meta.k8s.io \"\" is invalid: "), "{message}");
            assert!(code == 422 && message.contains(why), "{bad}: {message}");
        }
    }
}
