//! How far instances of a pod's services are reused, by the pod's annotations. Pure: start at [`of`].

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use eyot_runtime::Reuse;
use k8s_openapi::api::core::v1::Pod;

use crate::served;

/// How many requests one instance answers.
pub(crate) const REQUESTS: &str = "eyot.io/instance-reuse";
/// How long an instance is kept without a request.
pub(crate) const IDLE: &str = "eyot.io/instance-reuse-idle";

/// Beyond this many an instance's start is no part of what a request costs, and what it piles up must end some time.
const REQUESTS_MAX: u32 = 1_000_000;
/// Long enough for a load with pauses, short enough for a pod that nobody asks any more.
const IDLE_USUAL: Duration = Duration::from_secs(30);
const IDLE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// What the pod's annotations say. The error names the annotation.
pub(crate) fn of(pod: &Pod) -> Result<Option<Reuse>, String> {
    pod.metadata.annotations.as_ref().map_or(Ok(None), parse)
}

fn parse(annotations: &BTreeMap<String, String>) -> Result<Option<Reuse>, String> {
    let idle = match annotations.get(IDLE) {
        None => IDLE_USUAL,
        Some(text) => served::duration(text).filter(|it| IDLE_BOUNDS.contains(it)).ok_or_else(|| {
            format!("annotation {IDLE}: {text:?} is no time from 1s to 1h, such as 30s, or number of seconds")
        })?,
    };
    match annotations.get(REQUESTS) {
        None if annotations.contains_key(IDLE) => Err(format!("annotation {IDLE} has no effect without {REQUESTS}")),
        None => Ok(None),
        Some(text) => {
            let number = text.parse().ok().filter(|it| (1..=REQUESTS_MAX).contains(it));
            let wrong = || format!("annotation {REQUESTS}: {text:?} is no number of requests from 1 to {REQUESTS_MAX}");
            Ok(Some(Reuse { requests_max: number.ok_or_else(wrong)?, idle }))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(annotations: &[(&str, &str)], want: Expect) {
        let annotations = annotations.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        want.assert_eq(&match parse(&annotations) {
            Ok(None) => "an instance each".to_owned(),
            Ok(Some(Reuse { requests_max, idle })) => format!("{requests_max} requests, idle for {idle:?}"),
            Err(why) => why,
        });
    }

    #[test]
    fn instances_are_reused_where_an_annotation_says_how_often() {
        check(&[], expect!["an instance each"]);
        check(&[("eyot.io/allowed-hosts", "")], expect!["an instance each"]);
        check(&[(REQUESTS, "1000")], expect!["1000 requests, idle for 30s"]);
        check(&[(REQUESTS, "1"), (IDLE, "1m30s")], expect!["1 requests, idle for 90s"]);
        check(&[(REQUESTS, "1000000"), (IDLE, "3600")], expect!["1000000 requests, idle for 3600s"]);
    }

    #[test]
    fn what_is_no_number_or_no_time_is_refused() {
        for text in ["", "0", "-1", "many", "1000001", "1.5"] {
            let wrong = format!("annotation {REQUESTS}: {text:?} is no number of requests from 1 to 1000000");
            assert_eq!(parse(&BTreeMap::from([(REQUESTS.to_owned(), text.to_owned())])), Err(wrong));
        }
        for text in ["", "0s", "999ms", "61m", "soon"] {
            let annotations = [(REQUESTS, "5"), (IDLE, text)].map(|(key, text)| (key.to_owned(), text.to_owned()));
            let wrong =
                format!("annotation {IDLE}: {text:?} is no time from 1s to 1h, such as 30s, or number of seconds");
            assert_eq!(parse(&BTreeMap::from(annotations)), Err(wrong));
        }
        check(
            &[(IDLE, "5s")],
            expect!["annotation eyot.io/instance-reuse-idle has no effect without eyot.io/instance-reuse"],
        );
    }
}
