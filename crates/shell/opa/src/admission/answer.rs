//! What an admission decision says.
//!
//! Taken are the forms that policies for OPA have: a set of messages (`deny`), a package with `deny` and `warn`, a whole
//! `AdmissionReview` or its `response`, and a boolean that allows.

use eyot_rego::Value;

/// What a decision comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Reasons to refuse; none lets the request pass.
    pub(super) denials: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Reads a decision. The error tells why it is none.
pub(super) fn read(value: &Value) -> Result<Answer, String> {
    match value {
        Value::Bool(true) => Ok(Answer::default()),
        Value::Bool(false) => Ok(denied("the policy does not allow it")),
        Value::Set(_) | Value::Array(_) => Ok(Answer { denials: messages(value)?, ..Answer::default() }),
        Value::Object(_) => object(value),
        other => Err(format!("the decision is {}, which says nothing about a request", other.type_name())),
    }
}

fn denied(why: &str) -> Answer {
    Answer { denials: vec![why.to_owned()], ..Answer::default() }
}

fn object(value: &Value) -> Result<Answer, String> {
    let response = value.field("response").unwrap_or(value);
    if let Some(allowed) = response.field("allowed") {
        let Value::Bool(allowed) = allowed else {
            return Err(format!("\"allowed\" is {}, not a boolean", allowed.type_name()));
        };
        if response.field("patch").is_some() {
            return Err("the decision carries a patch, and policies here only judge".to_owned());
        }
        let status = response.field("status").unwrap_or(response);
        let message = ["message", "reason"].iter().find_map(|it| status.field(it)?.as_str());
        let mut answer =
            if *allowed { Answer::default() } else { denied(message.unwrap_or("the policy does not allow it")) };
        answer.warnings = response.field("warnings").map_or(Ok(Vec::new()), messages)?;
        // A package may have more to say than whether it allows.
        answer.denials.extend(listed(value, &["deny", "violation"])?.unwrap_or_default());
        return Ok(answer);
    }
    let (denials, warnings) = (listed(value, &["deny", "violation"])?, listed(value, &["warn"])?);
    if denials.is_none() && warnings.is_none() {
        return Err("the decision is an object without allowed, response, deny, violation or warn".to_owned());
    }
    Ok(Answer { denials: denials.unwrap_or_default(), warnings: warnings.unwrap_or_default() })
}

/// The messages of all of these fields; nothing where there are none of them.
fn listed(value: &Value, names: &[&str]) -> Result<Option<Vec<String>>, String> {
    let mut all: Option<Vec<String>> = None;
    for found in names.iter().filter_map(|it| value.field(it)) {
        all.get_or_insert_default().extend(messages(found)?);
    }
    Ok(all)
}

/// The messages of a set or array: texts, or objects that have one as `msg` or `message`.
fn messages(value: &Value) -> Result<Vec<String>, String> {
    let one = |it: &Value| match it {
        Value::String(text) => text.to_string(),
        other => match other.field("msg").or_else(|| other.field("message")).and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => other.to_string(),
        },
    };
    match value {
        Value::Set(items) => Ok(items.iter().map(one).collect()),
        Value::Array(items) => Ok(items.iter().map(one).collect()),
        Value::Object(fields) => Ok(fields.keys().map(one).collect()),
        other => Err(format!("reasons are {}, not a set", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn every_form_that_policies_have_is_read() {
        let judged = |json: Json| match read(&Value::from(&json)) {
            Ok(answer) => format!("{:?} {:?}", answer.denials, answer.warnings),
            Err(error) => error,
        };
        let decisions = [
            json!(true),
            json!(false),
            json!([]),
            json!(["no root", {"msg": "no latest", "details": {}}]),
            json!({"deny": ["x"], "warn": ["y"]}),
            json!({"deny": [], "violation": [{"msg": "z"}]}),
            json!({"allowed": true, "deny": ["x"]}),
            json!({"warn": []}),
            json!({"response": {"allowed": false, "status": {"message": "why"}, "warnings": ["w"]}}),
            json!({"allowed": true}),
            json!({"allowed": 1}),
            json!({"allowed": true, "patch": "W10="}),
            json!({"denied": true}),
            json!("no"),
        ];
        let lines: Vec<String> = decisions.map(judged).into();
        expect![[r#"
            [] []
            ["the policy does not allow it"] []
            [] []
            ["no root", "no latest"] []
            ["x"] ["y"]
            ["z"] []
            ["x"] []
            [] []
            ["why"] ["w"]
            [] []
            "allowed" is number, not a boolean
            the decision carries a patch, and policies here only judge
            the decision is an object without allowed, response, deny, violation or warn
            the decision is string, which says nothing about a request"#]]
        .assert_eq(&lines.join("\n"));
    }
}
