//! Status conditions as Knative keeps them: one that sums up the others. Entry point: [`Conditions`].

use serde_json::{Value, json};

/// What is known of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is being found out.
    Unknown,
}

impl Truth {
    /// As conditions write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        }
    }
}

/// What a condition of another object says, to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it holds.
    pub truth: Truth,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

impl Told {
    /// The condition `kind` in a status; unknown where there is none.
    pub fn of(status: &Value, kind: &str) -> Told {
        let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let found = all.iter().find(|it| it["type"] == kind).unwrap_or(&Value::Null);
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Told { truth: Truth::parse(&text("status")), reason: text("reason"), message: text("message") }
    }

    /// A new one.
    pub fn new(truth: Truth, reason: &str, message: impl Into<String>) -> Told {
        Told { truth, reason: reason.to_owned(), message: message.into() }
    }

    /// One that holds.
    pub fn yes() -> Told {
        Told::new(Truth::True, "", "")
    }

    /// One that nothing is known of yet.
    pub fn unknown() -> Told {
        Told::new(Truth::Unknown, "", "")
    }
}

/// The conditions of one object. `Ready` follows from those given with [`Conditions::must`].
#[derive(Clone, Debug)]
pub struct Conditions<'a> {
    /// As the object has them.
    before: &'a Value,
    now: &'a str,
    made: Vec<(String, Value)>,
    ready: Told,
}

impl<'a> Conditions<'a> {
    /// Begins; `status` is the one before, `now` in RFC 3339.
    pub fn new(status: &'a Value, now: &'a str) -> Self {
        Self { before: status, now, made: Vec::new(), ready: Told::yes() }
    }

    /// A condition that `Ready` depends on.
    pub fn must(&mut self, kind: &str, told: Told) {
        let worse = matches!(
            (self.ready.truth, told.truth),
            (Truth::True, Truth::False | Truth::Unknown) | (Truth::Unknown, Truth::False)
        );
        if worse {
            self.ready = told.clone();
        }
        self.put(kind, told, None);
    }

    /// A condition that only informs.
    pub fn inform(&mut self, kind: &str, told: Told) {
        self.put(kind, told, Some("Info"));
    }

    fn put(&mut self, kind: &str, told: Told, severity: Option<&str>) {
        let old = self.before["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == kind));
        let since =
            old.filter(|it| it["status"] == told.truth.as_str()).and_then(|it| it["lastTransitionTime"].as_str());
        let mut row = json!({
            "type": kind, "status": told.truth.as_str(), "lastTransitionTime": since.unwrap_or(self.now),
        });
        for (field, text) in [("reason", &told.reason), ("message", &told.message)] {
            if !text.is_empty() {
                row[field] = text.as_str().into();
            }
        }
        if let Some(severity) = severity {
            row["severity"] = severity.into();
        }
        self.made.push((kind.to_owned(), row));
    }

    /// Whether it is ready, as far as it is known by now.
    pub fn ready(&self) -> Truth {
        self.ready.truth
    }

    /// All of them, by type, with the one that sums them up.
    pub fn finish(mut self) -> Value {
        let ready = self.ready.clone();
        self.put("Ready", ready, None);
        self.made.sort_by(|a, b| a.0.cmp(&b.0));
        self.made.into_iter().map(|it| it.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_the_worst_of_what_it_depends_on_and_times_stay_while_statuses_do() {
        let before = json!({"conditions": [
            {"type": "B", "status": "Unknown", "lastTransitionTime": "then"},
            {"type": "A", "status": "True", "lastTransitionTime": "then"},
        ]});
        let mut all = Conditions::new(&before, "now");
        all.must("B", Told::new(Truth::Unknown, "Deploying", ""));
        all.must("A", Told::new(Truth::False, "Broken", "it broke"));
        all.inform("C", Told::new(Truth::False, "Quiet", ""));
        assert_eq!(all.ready(), Truth::False);
        assert_eq!(
            all.finish(),
            json!([
                {"type": "A", "status": "False", "reason": "Broken", "message": "it broke", "lastTransitionTime": "now"},
                {"type": "B", "status": "Unknown", "reason": "Deploying", "lastTransitionTime": "then"},
                {"type": "C", "status": "False", "reason": "Quiet", "severity": "Info", "lastTransitionTime": "now"},
                {"type": "Ready", "status": "False", "reason": "Broken", "message": "it broke", "lastTransitionTime": "now"},
            ])
        );
    }
}
