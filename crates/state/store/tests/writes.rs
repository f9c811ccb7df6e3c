//! What writes promise: preconditions, order, all or nothing, survival of a restart.

mod common;

use bytes::Bytes;
use common::*;
use eyot_store::{EventKind, Key, Page, Revision, Scope, Write, WriteError};

#[tokio::test]
async fn preconditions_hold_and_failures_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(update(&store, pod("a"), Revision(1), "x").await, Err(WriteError::NotFound { .. })));
    assert!(matches!(delete(&store, pod("a")).await, Err(WriteError::NotFound { .. })));
    let first = create(&store, pod("a"), "one").await.unwrap();
    assert_eq!((first.revision, first.created, &first.value[..]), (Revision(1), Revision(1), &b"one@1"[..]));
    assert!(
        matches!(create(&store, pod("a"), "x").await, Err(WriteError::Exists { current }) if current.revision == first.revision)
    );
    let second = update(&store, pod("a"), first.revision, "two").await.unwrap();
    assert_eq!((second.revision, second.created), (Revision(2), Revision(1)));
    let stale = update(&store, pod("a"), first.revision, "x").await;
    assert!(
        matches!(stale, Err(WriteError::Conflict { current, expected }) if current.revision == second.revision && expected == first.revision)
    );
    let stale = store.write(Write::delete(pod("a"), Some(first.revision), produce("x"))).await;
    assert!(matches!(stale, Err(WriteError::Conflict { .. })));
    assert_eq!(store.get(&pod("a")).unwrap().value, second.value);
    let gone = delete(&store, pod("a")).await.unwrap();
    assert_eq!((gone.revision, &gone.value[..]), (Revision(3), &b"gone@3"[..]));
    assert!(store.get(&pod("a")).is_none());
    let again = create(&store, pod("a"), "three").await.unwrap();
    assert_eq!((again.revision, again.created), (Revision(4), Revision(4)));
    assert_eq!(store.revision(), Revision(4));
}

#[tokio::test]
async fn of_racing_updates_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let base = create(&store, pod("a"), "base").await.unwrap().revision;
    let racers = (0..50).map(|it| {
        let store = store.clone();
        tokio::spawn(async move { update(&store, pod("a"), base, &format!("racer {it}")).await })
    });
    let mut won = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            Ok(entry) => won.push(entry),
            Err(error) => assert!(matches!(error, WriteError::Conflict { .. }), "{error}"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(store.get(&pod("a")).unwrap().value, won[0].value);
}

#[tokio::test]
async fn a_group_of_writes_happens_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = create(&store, pod("a"), "a").await.unwrap().revision;
    let group = |key: Key| {
        vec![
            Write::update(pod("a"), first, produce("a2")),
            Write::create(pod("b"), produce("b")),
            Write::delete(pod("b"), None, produce("b gone")),
            Write::create(key, produce("c")),
        ]
    };
    assert!(matches!(store.write_all(group(pod("a"))).await, Err(WriteError::Exists { .. })));
    assert_eq!(store.revision(), first);
    assert_eq!(&store.get(&pod("a")).unwrap().value[..], b"a@1");
    let done = store.write_all(group(pod("c"))).await.unwrap();
    assert_eq!(done.iter().map(|it| it.revision.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(&store.get(&pod("a")).unwrap().value[..], b"a2@2");
    assert!(store.get(&pod("b")).is_none() && store.get(&pod("c")).is_some());
}

#[tokio::test]
async fn oversized_and_panicking_values_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = eyot_store::Store::open(dir.path(), eyot_store::Options { value_bytes_max: 10, ..options() }).unwrap();
    let large = store.write(Write::create(pod("a"), |_| Bytes::from(vec![b'x'; 11]))).await;
    assert!(matches!(large, Err(WriteError::TooLarge { bytes: 11, max: 10, .. })));
    let panicked = store.write(Write::create(pod("a"), |_| panic!("a value that cannot be made"))).await;
    assert!(matches!(panicked, Err(WriteError::Value { .. })));
    assert_eq!(create(&store, pod("a"), "ok").await.unwrap().revision, Revision(1));
}

#[tokio::test]
async fn everything_is_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["a", "b", "c"] {
        create(&store, pod(name), name).await.unwrap();
    }
    let at = store.get(&pod("b")).unwrap().revision;
    update(&store, pod("b"), at, "b2").await.unwrap();
    delete(&store, pod("a")).await.unwrap();
    create(&store, Key::new("/namespaces", "", "default"), "ns").await.unwrap();
    store.close().await;
    assert!(matches!(create(&store, pod("z"), "z").await, Err(WriteError::Closed)));

    let store = open(dir.path());
    let list = store.list(&Scope::all("/pods"), &Page::default()).unwrap();
    assert_eq!(
        list.entries.iter().map(|it| text(it)).collect::<Vec<_>>(),
        ["/pods default/b = b2@4", "/pods default/c = c@3"]
    );
    assert_eq!((list.revision, list.entries[0].created), (Revision(6), Revision(2)));
    let mut resources = store.resources();
    resources.sort();
    assert_eq!(resources, [("/namespaces".into(), 1), ("/pods".into(), 2)]);
    // Watchers resume where they were before the restart.
    let mut watch = store.watch(&Scope::all("/pods"), Revision(3), 10).unwrap();
    let updated = watch.next().await.unwrap().unwrap();
    assert_eq!((updated.kind, updated.previous.as_ref().unwrap().revision), (EventKind::Updated, at));
    let deleted = watch.next().await.unwrap().unwrap();
    assert_eq!((deleted.kind, deleted.revision()), (EventKind::Deleted, Revision(5)));
    assert_eq!(create(&store, pod("z"), "z").await.unwrap().revision, Revision(7));
}

#[tokio::test]
async fn attributes_come_from_the_writer_or_from_the_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let entry = create(&store, pod("a"), "hello").await.unwrap();
    assert_eq!(entry.attributes().label("line"), Some("hello@1"));
    let none: [(&str, &str); 0] = [];
    let given = eyot_store::Attributes::new(none, [("status.phase", "Running")]);
    let entry = store.write(Write::create(pod("b"), produce("b")).with_attributes(given)).await.unwrap();
    assert_eq!(entry.attributes().field("status.phase"), Some("Running"));
}
