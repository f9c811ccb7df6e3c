//! A pod, or what claims to be one, is held against pod security, limits and quotas.
#![no_main]

use eyot_model::{
    limits,
    podsecurity::{self, Level, Standard, Version},
    quota::{self, Quota},
    resources::Amounts,
    schema,
};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let Ok((mut object, _)) = schema::parse(bytes) else { return };
    for version in [Version::Minor(0), Version::Minor(30), Version::Latest] {
        let baseline = podsecurity::violations(Standard { level: Level::Baseline, version }, &object);
        let restricted = podsecurity::violations(Standard { level: Level::Restricted, version }, &object);
        // What the laxer level forbids the stricter one does too.
        assert!(baseline.is_empty() || !restricted.is_empty());
    }
    // The object is its own limit and its own quota: whatever it says, nothing may break.
    let range = object.clone();
    limits::check_pod(&range, &object);
    limits::check_claim(&range, &object);
    if object.is_object() {
        limits::complete(&range, &mut object);
        let once = object.clone();
        limits::complete(&range, &mut object);
        assert_eq!(object, once);
    }
    let quota = Quota::parse(&object);
    for resource in ["/pods", "/services", "/persistentvolumeclaims", "apps/deployments"] {
        let used = quota::usage(resource, &object);
        let part = quota.part(&used);
        quota.exceeded(&part, &part);
    }
    quota.missing(&object);
    quota::status(&quota, &Amounts::new());
    podsecurity::check_labels(&json!({"metadata": object}));
});
