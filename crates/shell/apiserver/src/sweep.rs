//! Removes events when they are an hour old, as Kubernetes does. Entry point: [`run`].

use std::time::Duration;

use eyot_model::meta;
use eyot_store::{Entry, Page, Scope};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{ApiServer, commit};

/// How long an event is kept after it last happened.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How often old events are looked for.
const PERIOD: Duration = Duration::from_secs(300);
/// Events looked at before other tasks get their turn, and deletes that wait for the disk together.
const AT_ONCE: usize = 64;

/// Sweeps from time to time; never returns.
pub(crate) async fn run(server: ApiServer) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let swept = sweep(&server, Timestamp::now()).await;
        if swept > 0 {
            tracing::debug!(swept, "removed old events");
        }
    }
}

/// Removes what is too old at `now`, and says how many.
pub(crate) async fn sweep(server: &ApiServer, now: Timestamp) -> usize {
    let mut page = Page { limit: Some(AT_ONCE), ..Page::default() };
    let mut swept = 0;
    loop {
        let Ok(list) = server.0.store.list(&Scope::all("/events"), &page) else { return swept };
        let Some(last) = list.entries.last() else { return swept };
        page.after = Some((last.key.namespace.clone(), last.key.name.clone()));
        let old = list.entries.into_iter().filter(|it| is_old(it, now));
        let removals = old.map(|it| {
            let server = server.clone();
            async move { commit::remove(&server.0, &it, None).await }
        });
        // One that changed meanwhile is not old any more.
        swept += join_all(removals).await.iter().filter(|it| it.is_ok()).count();
        tokio::task::yield_now().await;
    }
}

fn is_old(entry: &Entry, now: Timestamp) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(&entry.value) else { return false };
    last_seen(&event).is_some_and(|it| now.duration_since(it) > KEPT)
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
