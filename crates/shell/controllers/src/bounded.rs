//! Many futures, few at once.

use futures::{StreamExt, stream::FuturesUnordered};

/// Runs the futures with at most `width` under way, telling `each` what they came to. Once it answers `false` no
/// further one is begun; those under way are still awaited, since their requests may take effect all the same.
pub(crate) async fn bounded<F: Future>(width: usize, all: Vec<F>, mut each: impl FnMut(F::Output) -> bool) {
    let mut waiting = all.into_iter();
    let mut running: FuturesUnordered<F> = waiting.by_ref().take(width).collect();
    let mut go_on = true;
    while let Some(output) = running.next().await {
        go_on &= each(output);
        if go_on {
            running.extend(waiting.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_beginning_but_awaits_what_runs() {
        let mut seen = Vec::new();
        let all = (0..10).map(|it| async move { it }).collect();
        bounded(3, all, |it| {
            seen.push(it);
            it != 4
        })
        .await;
        assert!(seen.len() >= 5 && seen.len() <= 7, "{seen:?}");
    }
}
