//! Removes events when they are an hour old, and requests for certificates that are done with, as Kubernetes does. Entry
//! point: [`run`].

use std::time::Duration;

use eyot_model::meta;
use eyot_store::{Entry, Page, Scope};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{ApiServer, commit, csr};

/// How long an event is kept after it last happened.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How often old objects are looked for.
const PERIOD: Duration = Duration::from_secs(300);
/// Objects looked at before other tasks get their turn, and deletes that wait for the disk together.
const AT_ONCE: usize = 64;

/// Whether an object has had its time.
type Over = fn(&Value, Timestamp) -> bool;

/// What is swept, and when it has had its time.
const SWEPT: [(&str, Over); 2] = [("/events", is_old), (csr::STORAGE, csr::is_over)];

/// Sweeps from time to time; never returns.
pub(crate) async fn run(server: ApiServer) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let swept = sweep(&server, Timestamp::now()).await;
        if swept > 0 {
            tracing::debug!(swept, "removed old objects");
        }
    }
}

/// Removes what is too old at `now`, and says how many.
pub(crate) async fn sweep(server: &ApiServer, now: Timestamp) -> usize {
    let mut swept = 0;
    for (resource, is_over) in SWEPT {
        let is_over = |it: &Entry| serde_json::from_slice(&it.value).is_ok_and(|it| is_over(&it, now));
        swept += sweep_one(server, resource, is_over).await;
    }
    swept
}

async fn sweep_one(server: &ApiServer, resource: &'static str, is_over: impl Fn(&Entry) -> bool) -> usize {
    let mut page = Page { limit: Some(AT_ONCE), ..Page::default() };
    let mut swept = 0;
    loop {
        let Ok(list) = server.0.store.list(&Scope::all(resource), &page) else { return swept };
        let Some(last) = list.entries.last() else { return swept };
        page.after = Some((last.key.namespace.clone(), last.key.name.clone()));
        // How many there are is of no interest here; counting them for each page would be.
        page.left = Some(list.remaining);
        let old = list.entries.into_iter().filter(|it| is_over(it));
        let removals = old.map(|it| {
            let server = server.clone();
            async move { commit::remove(&server.0, &it, None).await }
        });
        // One that changed meanwhile is not old any more.
        swept += join_all(removals).await.iter().filter(|it| it.is_ok()).count();
        tokio::task::yield_now().await;
    }
}

fn is_old(event: &Value, now: Timestamp) -> bool {
    last_seen(event).is_some_and(|it| now.duration_since(it) > KEPT)
}

/// When an event last happened, by the newest of its times.
fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = ["/lastTimestamp", "/eventTime", "/series/lastObservedTime", "/firstTimestamp"];
    let times = times.iter().filter_map(|it| meta::time(event.pointer(it)));
    times.chain(meta::created(event)).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_time_counts() {
        let event = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "lastTimestamp": "2026-01-01T02:00:00Z", "firstTimestamp": null,
        });
        assert_eq!(last_seen(&event), Some("2026-01-01T02:00:00Z".parse().unwrap()));
        assert_eq!(last_seen(&json!({})), None);
    }
}
