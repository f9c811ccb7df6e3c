//! Health: `/livez`, `/readyz`, the older `/healthz`, and each of their checks on its own.
//!
//! Liveness asks whether a restart would help; readiness also whether new requests are welcome.

use eyot_model::status::ApiError;
use http::Response;

use super::ask::Ask;
use crate::{Body, respond};

/// One check: its name, and whether it passed.
type Check = (&'static str, bool);

/// Answers `/livez`, `/livez/CHECK` and their kin.
pub(super) fn answer(which: &str, check: Option<&str>, ask: &Ask) -> Result<Response<Body>, ApiError> {
    let checks = checks(which, ask);
    if let Some(name) = check {
        let (name, passed) = *checks.iter().find(|it| it.0 == name).ok_or_else(ApiError::no_such_path)?;
        return Ok(match passed {
            true => respond::text(200, "ok"),
            false => respond::text(500, format!("internal server error: {name} failed\n")),
        });
    }
    let excluded = ask.options("exclude");
    let (text, passed) = report(which, &checks, &excluded);
    Ok(match passed {
        true if ask.options("verbose").is_empty() => respond::text(200, "ok"),
        true => respond::text(200, text),
        false => respond::text(500, text),
    })
}

fn checks(which: &str, ask: &Ask) -> Vec<Check> {
    // Under the name by which tools ask for what keeps the objects.
    let mut checks = vec![("ping", true), ("etcd", ask.store_open)];
    if which == "readyz" {
        checks.push(("shutdown", !ask.stopping));
    }
    checks
}

fn report(which: &str, checks: &[Check], excluded: &[String]) -> (String, bool) {
    let mut text = String::new();
    let mut all = true;
    for &(name, passed) in checks {
        let is_excluded = excluded.iter().any(|it| it == name);
        all &= passed || is_excluded;
        text += &match (is_excluded, passed) {
            (true, _) => format!("[+]{name} excluded: ok\n"),
            (false, true) => format!("[+]{name} ok\n"),
            (false, false) => format!("[-]{name} failed: reason withheld\n"),
        };
    }
    let unknown: Vec<&str> =
        excluded.iter().map(String::as_str).filter(|it| !checks.iter().any(|check| check.0 == *it)).collect();
    if !unknown.is_empty() {
        text += &format!("warn: some health checks cannot be excluded: no matches for {unknown:?}\n");
    }
    text += &format!("{which} check {}\n", if all { "passed" } else { "failed" });
    (text, all)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_failed_check_fails_all_unless_it_is_excluded() {
        let checks = [("ping", true), ("etcd", false)];
        let (text, passed) = report("livez", &checks, &[]);
        assert!(!passed);
        expect![[r#"
            [+]ping ok
            [-]etcd failed: reason withheld
            livez check failed
        "#]]
        .assert_eq(&text);
        let (text, passed) = report("livez", &checks, &["etcd".into(), "x".into()]);
        assert!(passed);
        expect![[r#"
            [+]ping ok
            [+]etcd excluded: ok
            warn: some health checks cannot be excluded: no matches for ["x"]
            livez check passed
        "#]]
        .assert_eq(&text);
    }
}
