//! `com.openfaas.scale.*`: how labels say that a function scales, and the autoscaler's annotations that follow.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

const PREFIX: &str = "com.openfaas.scale.";

/// The annotations of a revision with these labels. A function keeps an instance unless it says that it may have none.
///
/// # Errors
///
/// A label that cannot be honoured.
pub(super) fn annotations(labels: &BTreeMap<String, String>) -> Result<Map<String, Value>, String> {
    for (key, value) in labels {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let is_known = ["min", "max", "zero", "zero-duration", "target", "type", "target-proportion"].contains(&name);
        if !is_known {
            return Err(format!("label {key}={value}: there is no such way to scale here"));
        }
    }
    let get = |name: &str| labels.get(&format!("{PREFIX}{name}")).map(|it| it.trim());
    let number = |name: &str| match get(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("label {PREFIX}{name}={text}: it is no number")),
        },
    };
    let is_zero = match get("zero") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(format!("label {PREFIX}zero={other}: it is neither true nor false")),
    };
    let (least, most) = (number("min")?.unwrap_or(1), number("max")?);
    if let Some(most) = most.filter(|it| *it > 0 && *it < least) {
        return Err(format!("label {PREFIX}max={most}: it is less than {PREFIX}min={least}"));
    }
    let mut out = Map::new();
    let mut set = |key: &str, value: String| drop(out.insert(format!("autoscaling.knative.dev/{key}"), value.into()));
    if is_zero {
        set("min-scale", "0".to_owned());
        if least > 1 {
            set("activation-scale", least.to_string());
        }
    } else {
        set("min-scale", least.to_string());
    }
    if let Some(most) = most {
        set("max-scale", most.to_string());
    }
    if let Some(idle) = get("zero-duration") {
        if !is_zero {
            return Err(format!("label {PREFIX}zero-duration={idle}: only with {PREFIX}zero=true"));
        }
        set("scale-to-zero-pod-retention-period", idle.to_owned());
    }
    let target = get("target");
    match (get("type"), target) {
        (None, None) => {}
        (None | Some("rps"), _) => set("metric", "rps".to_owned()),
        (Some("capacity"), _) => set("metric", "concurrency".to_owned()),
        (Some("cpu"), _) if is_zero => {
            return Err(format!("label {PREFIX}type=cpu: it never leads to zero, which {PREFIX}zero=true asks for"));
        }
        (Some("cpu"), _) => {
            set("class", "hpa.autoscaling.knative.dev".to_owned());
            set("metric", "cpu".to_owned());
        }
        (Some(other), _) => return Err(format!("label {PREFIX}type={other}: only rps, capacity and cpu")),
    }
    if let Some(target) = target {
        set("target", target.to_owned());
    }
    if let Some(text) = get("target-proportion") {
        let part = text.parse::<f64>().ok().filter(|it| (0.01..=1.0).contains(it));
        let part =
            part.ok_or_else(|| format!("label {PREFIX}target-proportion={text}: it is not between 0.01 and 1"))?;
        set("target-utilization-percentage", format!("{}", (part * 100.0).round()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(labels: &[(&str, &str)], want: Expect) {
        let labels = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
        let got = match annotations(&labels) {
            Ok(all) => {
                let all = all.iter().map(|(key, value)| format!("{} {}", key.rsplit('/').next().unwrap(), value));
                all.collect::<Vec<_>>().join(", ")
            }
            Err(why) => why,
        };
        want.assert_eq(&got);
    }

    #[test]
    fn labels_become_annotations_of_the_autoscaler() {
        check(&[], expect![[r#"min-scale "1""#]]);
        check(&[("zero", "true"), ("min", "3")], expect![[r#"activation-scale "3", min-scale "0""#]]);
        check(
            &[
                ("zero", "true"),
                ("zero-duration", "15m"),
                ("max", "20"),
                ("target", "50"),
                ("target-proportion", "0.9"),
            ],
            expect![[
                r#"max-scale "20", metric "rps", min-scale "0", scale-to-zero-pod-retention-period "15m", target "50", target-utilization-percentage "90""#
            ]],
        );
        check(
            &[("type", "capacity"), ("target", "5")],
            expect![[r#"metric "concurrency", min-scale "1", target "5""#]],
        );
        check(
            &[("type", "cpu"), ("target", "50")],
            expect![[r#"class "hpa.autoscaling.knative.dev", metric "cpu", min-scale "1", target "50""#]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_told() {
        check(&[("type", "queue")], expect!["label com.openfaas.scale.type=queue: only rps, capacity and cpu"]);
        check(&[("factor", "20")], expect!["label com.openfaas.scale.factor=20: there is no such way to scale here"]);
        check(&[("min", "x")], expect!["label com.openfaas.scale.min=x: it is no number"]);
        check(
            &[("min", "5"), ("max", "2")],
            expect!["label com.openfaas.scale.max=2: it is less than com.openfaas.scale.min=5"],
        );
        check(&[("zero", "yes")], expect!["label com.openfaas.scale.zero=yes: it is neither true nor false"]);
        check(
            &[("zero-duration", "1m")],
            expect!["label com.openfaas.scale.zero-duration=1m: only with com.openfaas.scale.zero=true"],
        );
        check(
            &[("target-proportion", "2")],
            expect!["label com.openfaas.scale.target-proportion=2: it is not between 0.01 and 1"],
        );
    }
}
