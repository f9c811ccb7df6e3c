//! Which revisions a command means, and the targets that follow. Pure.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// One revision of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) name: String,
    /// Its place in the function's history, from 1.
    pub(super) generation: i64,
    pub(super) is_ready: bool,
}

impl Revision {
    pub(super) fn read(object: &Value) -> Option<Revision> {
        let metadata = &object["metadata"];
        let generation = metadata["labels"][eyot_serving::label::GENERATION].as_str()?.parse().ok()?;
        let ready = eyot_serving::Told::of(&object["status"], "Ready").truth == eyot_serving::Truth::True;
        Some(Revision { name: metadata["name"].as_str()?.to_owned(), generation, is_ready: ready })
    }
}

/// The revision called so: by its name, or by its place as `v2`.
pub(super) fn named(name: &str, revisions: &[Revision]) -> Result<String> {
    let place = name.strip_prefix('v').and_then(|it| it.parse::<i64>().ok());
    let found = revisions.iter().find(|it| it.name == name || Some(it.generation) == place);
    found.map(|it| it.name.clone()).with_context(|| {
        let known: Vec<&str> = revisions.iter().map(|it| it.name.as_str()).collect();
        format!("there is no revision {name}; there are: {}", known.join(", "))
    })
}

/// The newest revision that is ready and older than the newest that answers now: one that answers beside that, if there is any.
pub(super) fn before(service: &Value, revisions: &[Revision]) -> Result<String> {
    let shares = service["status"]["traffic"].as_array().map_or(&[][..], Vec::as_slice);
    let shares = shares.iter().filter(|it| it["percent"].as_i64().is_some_and(|it| it > 0));
    let answering: Vec<&str> = shares.filter_map(|it| it["revisionName"].as_str()).collect();
    let answers = |it: &Revision| answering.contains(&it.name.as_str());
    let newest = revisions.iter().rposition(answers).context("no revision answers yet")?;
    let older = || revisions[..newest].iter().rev().filter(|it| it.is_ready);
    let found = older().find(|it| answers(it)).or_else(|| older().next());
    found
        .map(|it| it.name.clone())
        .with_context(|| format!("there is no ready revision before {}", revisions[newest].name))
}

/// Everything to one revision.
pub(super) fn all_to(revision: &str) -> Value {
    json!([{"revisionName": revision, "latestRevision": false, "percent": 100}])
}

/// Targets of shares such as `v1=90`.
pub(super) fn split(shares: &[String], revisions: &[Revision]) -> Result<Value> {
    let (mut targets, mut sum) = (Vec::new(), 0);
    for share in shares {
        let Some((name, percent)) = share.split_once('=') else { bail!("{share}: expected REVISION=PERCENT") };
        let percent: i64 = percent.trim_end_matches('%').parse().with_context(|| format!("{share}: no percentage"))?;
        ensure!((0..=100).contains(&percent), "{share}: a percentage is between 0 and 100");
        sum += percent;
        targets.push(match name {
            "latest" | "@latest" => json!({"latestRevision": true, "percent": percent}),
            name => json!({"revisionName": named(name, revisions)?, "latestRevision": false, "percent": percent}),
        });
    }
    ensure!(sum == 100, "the percentages add up to {sum}, not to 100");
    Ok(targets.into())
}

/// `targets` with the tags that the function has, so that whoever uses their host names still finds what is behind them.
pub(super) fn with_tags(targets: Value, service: &Value) -> Value {
    let Value::Array(mut targets) = targets else { return targets };
    for old in service["spec"]["traffic"].as_array().into_iter().flatten() {
        let Some(tag) = old["tag"].as_str().filter(|it| !it.is_empty()) else { continue };
        let is_same = |new: &Value| {
            new["tag"].is_null()
                && match old["latestRevision"] == true {
                    true => new["latestRevision"] == true,
                    false => new["revisionName"] == old["revisionName"],
                }
        };
        match targets.iter_mut().find(|it| is_same(it)) {
            Some(target) => target["tag"] = tag.into(),
            None => {
                let mut kept = old.clone();
                if let Some(fields) = kept.as_object_mut() {
                    fields.remove("percent");
                    fields.remove("url");
                }
                targets.push(kept);
            }
        }
    }
    targets.into()
}

/// Targets of a function that is deployed: all to the new revision, or, where it is to have no traffic, those there are,
/// pinned to the revisions that they lead to now. A tag is given to the new revision.
pub(crate) fn on_deploy(existing: Option<&Value>, no_traffic: bool, tag: Option<&str>) -> Result<Value> {
    let latest = json!([{"latestRevision": true, "percent": 100}]);
    let mut targets = match (existing, no_traffic) {
        (None, true) => bail!("--no-traffic: there is nothing yet that requests could go on to"),
        (None, false) => latest,
        (Some(service), false) => with_tags(latest, service),
        (Some(service), true) => {
            let now = service["status"]["traffic"].as_array().map_or(&[][..], Vec::as_slice);
            ensure!(!now.is_empty(), "--no-traffic: the function answers nothing yet");
            let pinned = now.iter().map(|it| {
                let mut target =
                    json!({"revisionName": it["revisionName"], "latestRevision": false, "percent": it["percent"]});
                if let Some(tag) = it["tag"].as_str() {
                    target["tag"] = tag.into();
                }
                target
            });
            Value::Array(pinned.collect())
        }
    };
    if let (Some(tag), Some(targets)) = (tag, targets.as_array_mut()) {
        for target in targets.iter_mut().filter(|it| it["tag"] == tag) {
            if let Some(fields) = target.as_object_mut() {
                fields.remove("tag");
            }
        }
        targets.retain(|it| !it["tag"].is_null() || it["percent"].as_i64().is_some_and(|it| it > 0));
        match targets.iter_mut().find(|it| it["latestRevision"] == true && it["tag"].is_null()) {
            Some(target) => target["tag"] = tag.into(),
            None => targets.push(json!({"latestRevision": true, "tag": tag})),
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions() -> Vec<Revision> {
        let one = |generation: i64, is_ready| Revision { name: format!("hello-{generation:05}"), generation, is_ready };
        vec![one(1, true), one(2, true), one(3, false), one(4, true)]
    }

    #[test]
    fn shares_name_revisions_by_place_by_name_or_as_the_latest() {
        let split = |shares: &[&str]| {
            let shares: Vec<String> = shares.iter().map(ToString::to_string).collect();
            split(&shares, &revisions()).map_err(|it| it.to_string())
        };
        assert_eq!(
            split(&["v1=90", "hello-00002=5%", "latest=5"]).unwrap(),
            json!([
                {"revisionName": "hello-00001", "latestRevision": false, "percent": 90},
                {"revisionName": "hello-00002", "latestRevision": false, "percent": 5},
                {"latestRevision": true, "percent": 5},
            ])
        );
        assert_eq!(split(&["v1=90", "v2=5"]).unwrap_err(), "the percentages add up to 95, not to 100");
        assert_eq!(split(&["v1"]).unwrap_err(), "v1: expected REVISION=PERCENT");
        assert!(split(&["v9=100"]).unwrap_err().starts_with("there is no revision v9; there are: hello-00001, "));
        assert!(split(&["v1=101"]).unwrap_err().ends_with("between 0 and 100"));
    }

    #[test]
    fn tags_stay_where_they_are() {
        let service = json!({"spec": {"traffic": [
            {"revisionName": "hello-00001", "percent": 100, "tag": "stable"},
            {"latestRevision": true, "tag": "canary", "url": "http://x"},
        ]}});
        assert_eq!(
            with_tags(all_to("hello-00001"), &service),
            json!([
                {"revisionName": "hello-00001", "latestRevision": false, "percent": 100, "tag": "stable"},
                {"latestRevision": true, "tag": "canary"},
            ])
        );
        assert_eq!(
            with_tags(all_to("hello-00002"), &service),
            json!([
                {"revisionName": "hello-00002", "latestRevision": false, "percent": 100},
                {"revisionName": "hello-00001", "tag": "stable"},
                {"latestRevision": true, "tag": "canary"},
            ])
        );
        let twice =
            json!({"spec": {"traffic": [{"latestRevision": true, "tag": "a"}, {"latestRevision": true, "tag": "b"}]}});
        assert_eq!(
            with_tags(json!([{"latestRevision": true, "percent": 100}]), &twice),
            json!([{"latestRevision": true, "percent": 100, "tag": "a"}, {"latestRevision": true, "tag": "b"}])
        );
    }

    #[test]
    fn a_deployment_takes_the_traffic_unless_it_is_not_to() {
        let service = json!({
            "spec": {"traffic": [{"latestRevision": true, "percent": 100, "tag": "live"}]},
            "status": {"traffic": [{"revisionName": "hello-00001", "latestRevision": true, "percent": 100, "tag": "live"}]},
        });
        let latest = json!([{"latestRevision": true, "percent": 100}]);
        assert_eq!(on_deploy(None, false, None).unwrap(), latest);
        assert!(on_deploy(None, true, None).is_err());
        assert_eq!(
            on_deploy(Some(&service), false, None).unwrap(),
            json!([{"latestRevision": true, "percent": 100, "tag": "live"}])
        );
        assert_eq!(
            on_deploy(Some(&service), true, Some("canary")).unwrap(),
            json!([
                {"revisionName": "hello-00001", "latestRevision": false, "percent": 100, "tag": "live"},
                {"latestRevision": true, "tag": "canary"},
            ])
        );
        assert_eq!(
            on_deploy(Some(&service), true, Some("live")).unwrap(),
            json!([
                {"revisionName": "hello-00001", "latestRevision": false, "percent": 100},
                {"latestRevision": true, "tag": "live"},
            ])
        );
    }

    #[test]
    fn rolling_back_skips_what_never_was_ready() {
        let back = |shares: &[(&str, i64)]| {
            let shares = shares.iter().map(|(name, percent)| json!({"revisionName": name, "percent": percent}));
            let service = json!({"status": {"traffic": shares.collect::<Vec<_>>()}});
            before(&service, &revisions()).map_err(|it| it.to_string())
        };
        assert_eq!(back(&[("hello-00004", 100)]).unwrap(), "hello-00002");
        assert_eq!(back(&[("hello-00002", 100), ("hello-00004", 0)]).unwrap(), "hello-00001");
        assert_eq!(back(&[("hello-00001", 90), ("hello-00002", 10)]).unwrap(), "hello-00001", "away from a canary");
        assert_eq!(
            back(&[("hello-00004", 90), ("hello-00001", 10)]).unwrap(),
            "hello-00001",
            "to what answers beside it"
        );
        assert_eq!(back(&[("hello-00001", 100)]).unwrap_err(), "there is no ready revision before hello-00001");
        assert_eq!(back(&[]).unwrap_err(), "no revision answers yet");
    }
}
