//! Which revisions get which part of the requests. Entry point: [`assign`].

use serde_json::{Value, json};

use crate::{Told, Truth};

/// What a Route may refer to.
pub trait Candidates {
    /// The status of a Configuration. `None` if there is none.
    fn configuration(&self, name: &str) -> Option<Value>;
    /// The status of a Revision. `None` if there is none.
    fn revision(&self, name: &str) -> Option<Value>;
}

/// One revision's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Name of the revision.
    pub revision: String,
    /// Percent of the requests, where the target says so.
    pub percent: Option<i64>,
    /// Name under which it is reached by itself.
    pub tag: Option<String>,
    /// Whether it is the newest that is ready, whichever that is.
    pub is_latest: bool,
}

/// Why requests cannot be assigned, as condition `AllTrafficAssigned` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(pub Told);

impl Problem {
    fn new(truth: Truth, reason: &str, message: String) -> Self {
        Problem(Told::new(truth, reason, message))
    }
}

/// The targets of a Route or Service; everything to the latest revision where it names none.
pub fn targets(spec: &Value) -> Vec<Value> {
    match spec["traffic"].as_array().filter(|it| !it.is_empty()) {
        Some(targets) => targets.clone(),
        None => vec![json!({"latestRevision": true, "percent": 100})],
    }
}

/// Finds the revision of each target.
///
/// # Errors
/// The first target whose revision is missing or takes no requests.
pub fn assign(targets: &[Value], from: &impl Candidates) -> Result<Vec<Assigned>, Problem> {
    targets.iter().map(|it| one(it, from)).collect()
}

fn one(target: &Value, from: &impl Candidates) -> Result<Assigned, Problem> {
    let percent = target["percent"].as_i64();
    let tag = target["tag"].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    let (revision, is_latest) = match target["revisionName"].as_str().filter(|it| !it.is_empty()) {
        Some(name) => (named(name, from)?, false),
        None => (latest(target["configurationName"].as_str().unwrap_or_default(), from)?, true),
    };
    Ok(Assigned { revision, percent, tag, is_latest })
}

fn named(name: &str, from: &impl Candidates) -> Result<String, Problem> {
    let Some(status) = from.revision(name) else {
        let message = format!("Revision {name:?} referenced in traffic not found.");
        return Err(Problem::new(Truth::False, "RevisionMissing", message));
    };
    match Told::of(&status, "Ready").truth {
        Truth::True => Ok(name.to_owned()),
        Truth::False => {
            let message = format!("Revision {name:?} failed to become ready.");
            Err(Problem::new(Truth::False, "RevisionMissing", message))
        }
        Truth::Unknown => {
            let message = format!("Revision {name:?} is not yet ready.");
            Err(Problem::new(Truth::Unknown, "RevisionMissing", message))
        }
    }
}

fn latest(configuration: &str, from: &impl Candidates) -> Result<String, Problem> {
    let Some(status) = from.configuration(configuration) else {
        let message = format!("Configuration {configuration:?} referenced in traffic not found.");
        return Err(Problem::new(Truth::False, "ConfigurationMissing", message));
    };
    if let Some(ready) = status["latestReadyRevisionName"].as_str().filter(|it| !it.is_empty()) {
        return Ok(ready.to_owned());
    }
    if Told::of(&status, "Ready").truth == Truth::False {
        let message = format!("Configuration {configuration:?} does not have any ready Revision.");
        return Err(Problem::new(Truth::False, "RevisionMissing", message));
    }
    let message = format!("Configuration {configuration:?} is waiting for a Revision to become ready.");
    Err(Problem::new(Truth::Unknown, "RevisionMissing", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Few;

    impl Candidates for Few {
        fn configuration(&self, name: &str) -> Option<Value> {
            match name {
                "web" => Some(json!({"latestReadyRevisionName": "web-00002"})),
                "new" => Some(json!({})),
                "bad" => Some(json!({"conditions": [{"type": "Ready", "status": "False"}]})),
                _ => None,
            }
        }

        fn revision(&self, name: &str) -> Option<Value> {
            let status = match name {
                "web-00001" => "True",
                "web-00003" => "Unknown",
                "web-00004" => "False",
                _ => return None,
            };
            Some(json!({"conditions": [{"type": "Ready", "status": status}]}))
        }
    }

    #[test]
    fn targets_find_their_revisions_or_say_why_not() {
        let targets = [
            json!({"configurationName": "web", "latestRevision": true, "percent": 90}),
            json!({"revisionName": "web-00001", "percent": 10, "tag": "old"}),
        ];
        let found = assign(&targets, &Few).unwrap();
        assert_eq!((found[0].revision.as_str(), found[0].is_latest), ("web-00002", true));
        assert_eq!((found[1].revision.as_str(), found[1].tag.as_deref()), ("web-00001", Some("old")));
        for (target, truth, message) in [
            (json!({"revisionName": "web-00003"}), Truth::Unknown, "Revision \"web-00003\" is not yet ready."),
            (json!({"revisionName": "web-00004"}), Truth::False, "Revision \"web-00004\" failed to become ready."),
            (json!({"revisionName": "x"}), Truth::False, "Revision \"x\" referenced in traffic not found."),
            (json!({"configurationName": "x"}), Truth::False, "Configuration \"x\" referenced in traffic not found."),
            (
                json!({"configurationName": "new"}),
                Truth::Unknown,
                "Configuration \"new\" is waiting for a Revision to become ready.",
            ),
            (
                json!({"configurationName": "bad"}),
                Truth::False,
                "Configuration \"bad\" does not have any ready Revision.",
            ),
        ] {
            let Problem(told) = assign(&[target], &Few).unwrap_err();
            assert_eq!((told.truth, told.message.as_str()), (truth, message));
        }
    }
}
