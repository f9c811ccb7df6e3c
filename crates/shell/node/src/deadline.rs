//! How long a pod's services may take for a request: as its annotation says, or as is usual. Pure: start at [`of`].

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use crate::served;

/// The time until a response begins, and to each further piece of it that is asked for.
pub(crate) const TIMEOUT: &str = "eyot.io/request-timeout";
/// A label of pods that are instances of functions.
const REVISION: &str = "serving.knative.dev/revision";

/// Of services that say nothing.
const USUAL: Duration = Duration::from_secs(60);
/// Of functions that say nothing: the longest that any may take. The gateway holds each to its own `timeoutSeconds`.
pub(crate) const OF_FUNCTIONS: Duration = Duration::from_secs(600);
/// A request that takes longer had better be a Job.
const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How long services of the pod may take. The error names the annotation.
pub(crate) fn of(pod: &Pod) -> Result<Duration, String> {
    let is_function = pod.metadata.labels.as_ref().is_some_and(|it| it.contains_key(REVISION));
    Ok(named(pod)?.unwrap_or(if is_function { OF_FUNCTIONS } else { USUAL }))
}

/// What its annotation says. The error names it.
pub(crate) fn named(pod: &Pod) -> Result<Option<Duration>, String> {
    pod.metadata.annotations.as_ref().map_or(Ok(None), parse)
}

fn parse(annotations: &BTreeMap<String, String>) -> Result<Option<Duration>, String> {
    let Some(text) = annotations.get(TIMEOUT) else { return Ok(None) };
    let found = served::duration(text).filter(|it| BOUNDS.contains(it));
    let wrong =
        || format!("annotation {TIMEOUT}: {text:?} is no time from 1s to 1h, such as 90s, or number of seconds");
    found.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(labels: &[&str], annotation: Option<&str>) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.labels = Some(labels.iter().map(|it| ((*it).to_owned(), "a-00001".to_owned())).collect());
        pod.metadata.annotations = annotation.map(|it| BTreeMap::from([(TIMEOUT.to_owned(), it.to_owned())]));
        pod
    }

    #[test]
    fn a_service_has_a_minute_and_a_function_as_long_as_the_gateway_may_wait() {
        let seconds = |labels: &[&str], annotation| of(&pod(labels, annotation)).unwrap().as_secs();
        assert_eq!((seconds(&[], None), seconds(&["app"], None), seconds(&["app", REVISION], None)), (60, 60, 600));
        assert_eq!(
            (seconds(&[], Some("5m")), seconds(&[REVISION], Some("90"))),
            (300, 90),
            "who says how long has that"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "0s", "999ms", "61m", "soon"] {
            let wrong =
                format!("annotation {TIMEOUT}: {text:?} is no time from 1s to 1h, such as 90s, or number of seconds");
            assert_eq!(of(&pod(&[], Some(text))), Err(wrong));
        }
    }
}
