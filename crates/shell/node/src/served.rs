//! Whether a container's command answers requests, an instance each: what its environment says. Pure.
//!
//! The words are those of OpenFaaS' watchdogs, which such an image would start otherwise: `fprocess` names the command, and
//! a few more variables say how. Start at [`Served::of`].

use std::time::Duration;

use eyot_runtime::{OutputForm, PerRequest};
use http::HeaderValue;

/// Names the command and its arguments; where there is one, the command is run for each request.
const PROCESS: &str = "fprocess";

/// How a command is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// The command and its arguments.
    pub(crate) words: Vec<String>,
    pub(crate) terms: PerRequest,
    /// Requests inside at once; the runtime's own bound when absent.
    pub(crate) requests_max: Option<u32>,
}

/// A variable that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {name}={value}: {why}")]
pub(crate) struct ServedError {
    name: &'static str,
    value: String,
    why: &'static str,
}

impl Served {
    /// What this environment says; `None` where it names no command.
    ///
    /// # Errors
    ///
    /// A value that makes no sense, or a way of serving that is not there.
    pub(crate) fn of(env: &[(String, String)]) -> Result<Option<Served>, ServedError> {
        let get = |name: &str| env.iter().rev().find(|it| it.0 == name).map_or("", |it| it.1.trim());
        let refused = |name, why| Err(ServedError { name, value: get(name).to_owned(), why });
        let words: Vec<String> = get(PROCESS).split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Ok(None);
        }
        let output = match get("mode") {
            "" | "classic" | "serializing" => OutputForm::Body,
            "streaming" => OutputForm::Stream,
            "cgi" | "wagi" => OutputForm::Cgi,
            _ => return refused("mode", "only classic, serializing, streaming, cgi and wagi"),
        };
        if is_true(get("marshal_request")) {
            return refused("marshal_request", "the request's head is in the environment, its body on standard input");
        }
        let Ok(content_type) = HeaderValue::from_str(get("content_type")) else {
            return refused("content_type", "it is no header's value");
        };
        let Some(timeout) = duration(get("exec_timeout")) else {
            return refused("exec_timeout", "it is no duration, such as 10s, or number of seconds");
        };
        let requests_max = match get("max_inflight").parse::<u32>() {
            Ok(0) => None,
            Ok(number) => Some(number),
            Err(_) if get("max_inflight").is_empty() => None,
            Err(_) => return refused("max_inflight", "it is no number"),
        };
        let terms = PerRequest {
            output,
            content_type: (!content_type.is_empty()).then_some(content_type),
            combines_output: is_true(get("combine_output")),
            has_watchdog_names: get("cgi_headers") != "false",
            timeout: (!timeout.is_zero()).then_some(timeout),
        };
        Ok(Some(Served { words, terms, requests_max }))
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}

/// Go's notation of durations, or whole seconds; nothing is zero.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return Some(Duration::ZERO);
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|it: char| it.is_ascii_digit()).map_or(rest.len(), |it| digits + it);
        sum += number
            * match &rest[digits..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(sum).ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(env: &[(&str, &str)], want: Expect) {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let got = match Served::of(&env) {
            Ok(None) => "a process".to_owned(),
            Ok(Some(it)) => format!("{:?} {:?} {:?}", it.words, it.terms, it.requests_max),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn fprocess_has_a_command_run_for_each_request() {
        check(&[("mode", "cgi")], expect!["a process"]);
        check(&[("fprocess", " ")], expect!["a process"]);
        check(
            &[("fprocess", "first"), ("fprocess", "wc -l")],
            expect![[
                r#"["wc", "-l"] PerRequest { output: Body, content_type: None, combines_output: false, has_watchdog_names: true, timeout: None } None"#
            ]],
        );
        check(
            &[
                ("fprocess", "wc"),
                ("mode", "wagi"),
                ("content_type", "text/html"),
                ("exec_timeout", "1m30s"),
                ("cgi_headers", "false"),
                ("combine_output", "true"),
                ("max_inflight", "8"),
            ],
            expect![[
                r#"["wc"] PerRequest { output: Cgi, content_type: Some("text/html"), combines_output: true, has_watchdog_names: false, timeout: Some(90s) } Some(8)"#
            ]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let with = |name, value| [("fprocess", "wc"), (name, value)];
        check(
            &with("mode", "http"),
            expect!["environment variable mode=http: only classic, serializing, streaming, cgi and wagi"],
        );
        check(
            &with("marshal_request", "true"),
            expect![
                "environment variable marshal_request=true: the request's head is in the environment, its body on standard input"
            ],
        );
        check(
            &with("content_type", "a\nb"),
            expect!["environment variable content_type=a\nb: it is no header's value"],
        );
        check(
            &with("exec_timeout", "soon"),
            expect!["environment variable exec_timeout=soon: it is no duration, such as 10s, or number of seconds"],
        );
        check(&with("max_inflight", "-1"), expect!["environment variable max_inflight=-1: it is no number"]);
    }
}
