//! What lists and watches promise: order, consistency, resumption, bounds.

mod common;

use std::time::Duration;

use common::*;
use eyot_store::{EventKind, HistoryError, Key, Options, Page, Revision, Scope, Store, Watch};

async fn fill(store: &Store) {
    for (namespace, name) in [("b", "x"), ("a", "y"), ("a", "x"), ("c", "x")] {
        create(store, Key::new("/pods", namespace, name), "v").await.unwrap();
    }
}

fn names(store: &Store, scope: &Scope, page: &Page) -> Vec<String> {
    let list = store.list(scope, page).unwrap();
    list.entries.iter().map(|it| format!("{}/{}", it.key.namespace, it.key.name)).collect()
}

async fn next(watch: &mut Watch) -> String {
    let event = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("an event in time");
    match event {
        Some(Ok(it)) => format!("{:?} {}/{} @{}", it.kind, it.key().namespace, it.key().name, it.revision()),
        Some(Err(error)) => error.to_string(),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn lists_are_ordered_scoped_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store).await;
    let all = Scope::all("/pods");
    assert_eq!(names(&store, &all, &Page::default()), ["a/x", "a/y", "b/x", "c/x"]);
    assert_eq!(names(&store, &Scope::namespaced("/pods", "a"), &Page::default()), ["a/x", "a/y"]);
    assert_eq!(names(&store, &all.clone().named("x"), &Page::default()), ["a/x", "b/x", "c/x"]);
    assert_eq!(names(&store, &Scope::all("/secrets"), &Page::default()), [""; 0]);
    let page = |after: Option<(&str, &str)>| Page {
        limit: Some(3),
        after: after.map(|it| (it.0.into(), it.1.into())),
        ..Page::default()
    };
    assert_eq!(names(&store, &all, &page(None)), ["a/x", "a/y", "b/x"]);
    assert_eq!(store.list(&all, &page(None)).unwrap().remaining, 1);
    assert_eq!(names(&store, &all, &page(Some(("b", "x")))), ["c/x"]);
    assert_eq!(store.list(&all, &page(Some(("b", "x")))).unwrap().remaining, 0);
    let inside = Scope::namespaced("/pods", "b");
    assert_eq!(names(&store, &inside, &page(Some(("a", "zzz")))), ["b/x"]);
    assert_eq!(names(&store, &inside, &page(Some(("b", "x")))), [""; 0]);
}

#[tokio::test]
async fn pages_say_how_many_are_left_whether_they_were_told_or_count() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = |it: u64| Key::new("/pods", ["a", "b", "c"][(it % 3) as usize], format!("p{}", it % 29));
    for it in 0..160u64 {
        let key = key(it * 7 + it / 5);
        let done = match store.get(&key) {
            None => create(&store, key, "v").await,
            Some(_) if it % 4 == 0 => delete(&store, key).await,
            Some(old) => update(&store, key, old.revision, "v").await,
        };
        done.unwrap();
    }
    let scopes = [Scope::all("/pods"), Scope::namespaced("/pods", "b"), Scope::namespaced("/pods", "none")];
    for (scope, limit) in scopes.iter().flat_map(|scope| [1, 3, 7, 1000].map(|limit| (scope, limit))) {
        let (mut page, mut seen) = (Page { limit: Some(limit), ..Page::default() }, 0);
        let total = names(&store, scope, &Page::default()).len();
        loop {
            let told = store.list(scope, &page).unwrap();
            let counted = store.list(scope, &Page { left: None, ..page.clone() }).unwrap();
            seen += told.entries.len();
            assert_eq!((told.remaining, counted.remaining), (total - seen, total - seen), "{scope:?} by {limit}");
            let Some(last) = told.entries.last().filter(|_| told.remaining > 0) else { break };
            let after = Some((last.key.namespace.clone(), last.key.name.clone()));
            page = Page { after, at: Some(told.revision), left: Some(told.remaining), ..page };
            // The next page is of the state before this, of which nothing changes for the reader.
            create(&store, Key::new("/pods", "b", format!("later-{}-{limit}-{seen}", scope.namespace.is_some())), "v")
                .await
                .unwrap();
        }
        assert_eq!(seen, total);
    }
    let count: usize = store.list(&Scope::all("/pods"), &Page::default()).unwrap().entries.len();
    assert_eq!(store.count("/pods"), count);
    store.close().await;
    drop(store);
    let again = open(dir.path());
    let first = again.list(&Scope::namespaced("/pods", "b"), &Page { limit: Some(1), ..Page::default() }).unwrap();
    assert_eq!(first.remaining + 1, names(&again, &Scope::namespaced("/pods", "b"), &Page::default()).len());
}

#[tokio::test]
async fn later_pages_see_the_state_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store).await;
    let all = Scope::all("/pods");
    let first = store.list(&all, &Page { limit: Some(1), ..Page::default() }).unwrap();
    assert_eq!((first.revision, first.remaining), (Revision(4), 3));
    // A deletion, an update, a creation and a creation that is undone, all behind the cursor.
    delete(&store, Key::new("/pods", "b", "x")).await.unwrap();
    update(&store, Key::new("/pods", "c", "x"), Revision(4), "new").await.unwrap();
    create(&store, Key::new("/pods", "b", "new"), "v").await.unwrap();
    create(&store, Key::new("/pods", "z", "brief"), "v").await.unwrap();
    delete(&store, Key::new("/pods", "z", "brief")).await.unwrap();
    let rest = Page { after: Some(("a".into(), "x".into())), at: Some(first.revision), ..Page::default() };
    let then = store.list(&all, &rest).unwrap();
    let then: Vec<_> = then.entries.iter().map(|it| text(it)).collect();
    assert_eq!(then, ["/pods a/y = v@2", "/pods b/x = v@1", "/pods c/x = v@4"]);
    assert_eq!(names(&store, &all, &Page::default()), ["a/x", "a/y", "b/new", "c/x"]);
    // Any revision on the way can be read the same.
    let sizes = (0..=store.revision().0)
        .map(|at| store.list(&all, &Page { at: Some(Revision(at)), ..Page::default() }).unwrap().entries.len());
    assert_eq!(sizes.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 3, 3, 4, 5, 4]);
}

#[tokio::test]
async fn watches_replay_then_follow_within_their_scope() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store).await;
    let mut all = store.watch(&Scope::all("/pods"), Revision(2), 100).unwrap();
    let mut inside = store.watch(&Scope::namespaced("/pods", "a"), Revision(0), 100).unwrap();
    let mut other = store.watch(&Scope::all("/secrets"), Revision(0), 1).unwrap();
    assert_eq!(all.progress(), Revision(2));
    delete(&store, Key::new("/pods", "a", "y")).await.unwrap();
    assert_eq!(next(&mut all).await, "Created a/x @3");
    assert_eq!(next(&mut all).await, "Created c/x @4");
    assert_eq!(all.progress(), Revision(4));
    assert_eq!(next(&mut all).await, "Deleted a/y @5");
    let batch = inside.next_batch(10).await.unwrap().unwrap();
    assert_eq!(
        batch.iter().map(|it| it.kind).collect::<Vec<_>>(),
        [EventKind::Created, EventKind::Created, EventKind::Deleted]
    );
    assert_eq!(batch[2].previous.as_ref().unwrap().revision, Revision(2));
    create(&store, Key::new("/pods", "b", "more"), "v").await.unwrap();
    // Others' traffic moves the bookmark of a watcher that sees nothing of it.
    assert_eq!((inside.progress(), other.progress()), (Revision(6), Revision(6)));
    create(&store, Key::new("/secrets", "a", "s"), "v").await.unwrap();
    assert_eq!(next(&mut other).await, "Created a/s @7");
    store.close().await;
    assert_eq!(next(&mut other).await, "end");
    assert_eq!(next(&mut all).await, "Created b/more @6");
    assert_eq!(next(&mut all).await, "end");
}

#[tokio::test]
async fn a_lagging_watcher_is_cut_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut slow = store.watch(&Scope::all("/pods"), Revision(0), 3).unwrap();
    let mut quick = store.watch(&Scope::all("/pods"), Revision(0), 3).unwrap();
    for it in 0..5 {
        create(&store, pod(&it.to_string()), "v").await.unwrap();
        assert_eq!(next(&mut quick).await, format!("Created default/{it} @{}", it + 1));
    }
    for it in 0..3 {
        assert_eq!(next(&mut slow).await, format!("Created default/{it} @{}", it + 1));
    }
    assert_eq!(next(&mut slow).await, "the watcher fell 3 events behind and was cut");
    assert_eq!(next(&mut slow).await, "end");
    // It resumes from where it was, with nothing lost.
    let mut again = store.watch(&Scope::all("/pods"), Revision(3), 3).unwrap();
    assert_eq!(next(&mut again).await, "Created default/3 @4");
}

#[tokio::test]
async fn forgotten_history_is_refused_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let few = Options { history_events_max: 2, ..options() };
    let store = Store::open(dir.path(), few).unwrap();
    fill(&store).await;
    let all = Scope::all("/pods");
    let old = HistoryError::Compacted { requested: Revision(1), oldest: Revision(2) };
    assert_eq!(store.watch(&all, Revision(1), 1).unwrap_err(), old);
    assert_eq!(store.list(&all, &Page { at: Some(Revision(1)), ..Page::default() }).unwrap_err(), old);
    assert!(store.watch(&all, Revision(2), 1).is_ok());
    let future = HistoryError::Future { requested: Revision(9), current: Revision(4) };
    assert_eq!(store.watch(&all, Revision(9), 1).unwrap_err(), future);
    store.compact(Revision(3)).await.unwrap();
    assert!(store.watch(&all, Revision(2), 1).is_err() && store.watch(&all, Revision(3), 1).is_ok());
    assert_eq!(names(&store, &all, &Page::default()).len(), 4);
}

#[tokio::test]
async fn compaction_empties_the_disk_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut at = create(&store, pod("kept"), "v").await.unwrap().revision;
    for _ in 0..600 {
        at = update(&store, pod("kept"), at, "v").await.unwrap().revision;
    }
    create(&store, pod("brief"), "v").await.unwrap();
    let last = delete(&store, pod("brief")).await.unwrap().revision;
    store.compact(last).await.unwrap();
    // Rows are deleted in pauses, in several steps.
    tokio::time::sleep(Duration::from_millis(800)).await;
    store.close().await;
    drop(store);
    let rows = |sql| {
        let conn = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
        conn.query_row(sql, [], |it| it.get::<_, i64>(0)).unwrap()
    };
    // The object, and the newest row, which always stays.
    assert_eq!(rows("SELECT count(*) FROM log"), 2);
    let store = open(dir.path());
    assert_eq!(store.revision(), last);
    assert_eq!(store.get(&pod("kept")).unwrap().revision, at);
    assert!(matches!(store.watch(&Scope::all("/pods"), at, 1), Err(HistoryError::Compacted { .. })));
    assert!(store.watch(&Scope::all("/pods"), last, 1).is_ok());
    assert!(create(&store, pod("next"), "v").await.unwrap().revision > last);
}

#[tokio::test]
async fn age_forgets_history_without_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let brief = Options { history_age: Duration::from_millis(100), ..options() };
    let store = Store::open(dir.path(), brief).unwrap();
    fill(&store).await;
    assert!(store.watch(&Scope::all("/pods"), Revision(0), 1).is_ok());
    tokio::time::timeout(Duration::from_secs(10), async {
        while store.watch(&Scope::all("/pods"), Revision(3), 1).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("history is forgotten in time");
    assert_eq!(names(&store, &Scope::all("/pods"), &Page::default()).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replaying_a_watch_equals_the_list_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let scope = Scope::all("/pods");
    let watchers: Vec<_> = (0..8)
        .map(|it| {
            let (store, scope) = (store.clone(), scope.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(it * 5)).await;
                // Start from a list like any informer, and end at the sentinel.
                let list = store.list(&scope, &Page::default()).unwrap();
                let mut state: std::collections::BTreeMap<_, _> =
                    list.entries.iter().map(|it| (it.key.clone(), it.value.clone())).collect();
                let mut watch = store.watch(&scope, list.revision, 100_000).unwrap();
                let mut seen = list.revision;
                while !state.contains_key(&pod("sentinel")) {
                    let event = watch.next().await.unwrap().unwrap();
                    assert!(event.revision() > seen);
                    seen = event.revision();
                    assert_eq!(event.previous.as_ref().map(|it| &it.value), state.get(event.key()));
                    match event.kind {
                        EventKind::Deleted => state.remove(event.key()),
                        _ => state.insert(event.key().clone(), event.entry.value.clone()),
                    };
                }
                state
            })
        })
        .collect();
    let writers = (0..16u64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for step in 0..60u64 {
                let key = pod(&format!("p{}", (writer * 31 + step * 17) % 40));
                let done = match store.get(&key) {
                    None => create(&store, key, "v").await.map(drop),
                    Some(_) if step % 3 == 0 => delete(&store, key).await.map(drop),
                    Some(it) => update(&store, key, it.revision, "v").await.map(drop),
                };
                // Writers collide on purpose.
                let _ = done;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    create(&store, pod("sentinel"), "v").await.unwrap();
    let list = store.list(&scope, &Page::default()).unwrap();
    let want: std::collections::BTreeMap<_, _> =
        list.entries.iter().map(|it| (it.key.clone(), it.value.clone())).collect();
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), want);
    }
}
