//! Parses the query options of the API. Entry point: [`Query::parse`].

use eyot_model::{schema::FieldValidation, status::ApiError};
use percent_encoding::percent_decode_str;

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
    pub(crate) send_initial_events: bool,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) include_object: Option<String>,
    pub(crate) container: Option<String>,
}

impl Query {
    /// Parses the part of a URI after `?`.
    pub(crate) fn parse(query: Option<&str>) -> Result<Query, ApiError> {
        let mut found = Query::default();
        for (key, value) in pairs(query.unwrap_or_default()) {
            found.set(&key, value).map_err(|what| ApiError::bad_request(format!("query option {key}: {what}")))?;
        }
        Ok(found)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "labelSelector" => self.label_selector = value,
            "fieldSelector" => self.field_selector = value,
            "limit" => self.limit = number::<usize>(&value)?.filter(|it| *it > 0),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.watch = flag(&value)?,
            "allowWatchBookmarks" => self.allow_watch_bookmarks = flag(&value)?,
            "sendInitialEvents" => self.send_initial_events = flag(&value)?,
            "timeoutSeconds" => self.timeout_seconds = number(&value)?.filter(|it| *it > 0),
            "dryRun" => self.dry_run = dry_run(&value)? || self.dry_run,
            "fieldValidation" => self.field_validation = field_validation(&value)?,
            "gracePeriodSeconds" => self.grace_period_seconds = number(&value)?,
            "propagationPolicy" => self.propagation_policy = Some(value).filter(|it| !it.is_empty()),
            "orphanDependents" => self.orphan_dependents = Some(flag(&value)?),
            "includeObject" => self.include_object = Some(value),
            "container" => self.container = Some(value).filter(|it| !it.is_empty()),
            _ => {}
        }
        Ok(())
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

fn field_validation(value: &str) -> Result<FieldValidation, String> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Strict" => Ok(FieldValidation::Strict),
        "Ignore" => Ok(FieldValidation::Ignore),
        other => Err(format!("{other:?} is not one of Ignore, Warn, Strict")),
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<Option<T>, String> {
    match value {
        "" => Ok(None),
        value => value.parse().map(Some).map_err(|_| format!("{value:?} is not a number in range")),
    }
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "" | "0" | "false" | "False" | "f" | "F" => Ok(false),
        "1" | "true" | "True" | "t" | "T" => Ok(true),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_options() {
        let query = Query::parse(Some("labelSelector=app%3Dweb%2Ctier+in+(a)&limit=5&watch=1&dryRun=All")).unwrap();
        assert_eq!(query.label_selector, "app=web,tier in (a)");
        assert_eq!(query.limit, Some(5));
        assert!(query.watch && query.dry_run);
    }

    #[test]
    fn names_the_option_that_is_wrong() {
        for bad in ["limit=x", "watch=maybe", "dryRun=Some", "fieldValidation=strict", "limit=-1"] {
            let error = Query::parse(Some(bad)).unwrap_err();
            let key = bad.split('=').next().unwrap();
            assert_eq!(error.code, 400);
            assert!(error.message.contains(key), "{}", error.message);
        }
    }

    #[test]
    fn leaves_unknown_options_alone() {
        assert_eq!(Query::parse(Some("a=b&pretty=true&&=")).unwrap(), Query::default());
    }
}
