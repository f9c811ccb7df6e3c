//! Buckets on real files.

use std::{collections::HashSet, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use eyot_bucket::{Bounds, BucketError, Buckets, Swapped, Tenant};

fn bounds() -> Bounds {
    Bounds { tenant_bytes: 1 << 20, value_bytes: 64 << 10, key_bytes: 16, name_bytes: 8, page_keys: 3 }
}

async fn value(tenant: &Arc<Tenant>, bucket: &str, key: &str) -> Option<String> {
    let found = tenant.get(bucket, key.into()).await.unwrap();
    found.map(|it| String::from_utf8(it).unwrap())
}

async fn set(tenant: &Arc<Tenant>, bucket: &str, key: &str, value: &str) {
    tenant.set(bucket, vec![(key.into(), value.into())]).await.unwrap();
}

#[tokio::test]
async fn values_stay_over_a_restart_and_are_the_tenants_own() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("buckets");
    {
        let buckets = Buckets::open(&place, bounds());
        let tenant = buckets.tenant("a").unwrap();
        set(&tenant, "default", "k", "old").await;
        set(&tenant, "default", "k", "new").await;
        set(&tenant, "other", "k", "2").await;
        assert_eq!(value(&buckets.tenant("b").unwrap(), "default", "k").await, None);
    }
    let tenant = Buckets::open(&place, bounds()).tenant("a").unwrap();
    assert_eq!(value(&tenant, "default", "k").await.as_deref(), Some("new"));
    assert_eq!(value(&tenant, "other", "k").await.as_deref(), Some("2"));
    tenant.delete("default", vec!["k".into(), "absent".into()]).await.unwrap();
    assert!(!tenant.exists("default", "k".into()).await.unwrap());
    assert!(tenant.exists("other", "k".into()).await.unwrap());
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn keys_come_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    for key in ["d", "a", "c", "b", "e"] {
        set(&tenant, "", key, key).await;
    }
    let (first, more) = tenant.keys("", None).await.unwrap();
    assert_eq!((first.join(""), more), ("abc".into(), true));
    let (last, more) = tenant.keys("", Some("c".into())).await.unwrap();
    assert_eq!((last.join(""), more), ("de".into(), false));
    let (last, more) = tenant.keys_from("", 3).await.unwrap();
    assert_eq!((last.join(""), more), ("de".into(), false));
    assert_eq!(tenant.keys("empty", None).await.unwrap(), (vec![], false));
    let all = tenant.get_many("", vec!["e".into(), "x".into()]).await.unwrap();
    assert_eq!(all, [("e".to_owned(), Some(b"e".to_vec())), ("x".to_owned(), None)]);
}

#[tokio::test]
async fn counters_add_up_whoever_counts() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    let count = |delta| {
        let tenant = tenant.clone();
        async move { tenant.add("", "n".into(), delta, i64::MIN.into(), i64::MAX.into()).await }
    };
    let all = (0..50).map(|_| tokio::spawn(count(2)));
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(count(-1).await.unwrap(), 99);
    assert!(matches!(count(i64::MAX.into()).await, Err(BucketError::Number { .. })));
    assert_eq!(value(&tenant, "", "n").await.as_deref(), Some("99"), "a refused sum changes nothing");
    set(&tenant, "", "n", "many").await;
    assert_eq!(count(1).await.unwrap_err().to_string(), "the value of \"n\" is no number");
}

#[tokio::test]
async fn a_swap_needs_the_value_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    let swap = |old: Option<&[u8]>, new: &[u8]| {
        let (old, new, tenant) = (old.map(<[u8]>::to_vec), new.to_vec(), tenant.clone());
        async move { tenant.swap("", "k".into(), move |it| it == old.as_deref(), new).await.unwrap() }
    };
    assert_eq!(swap(None, b"1").await, Swapped::Yes);
    assert_eq!(swap(None, b"2").await, Swapped::No(Some(b"1".to_vec())));
    assert_eq!(swap(Some(b"1"), b"2").await, Swapped::Yes);
    assert_eq!(value(&tenant, "", "k").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_a_full_tenant_can_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    let refusal = |key: &str, bytes: usize| {
        let (tenant, key) = (tenant.clone(), key.to_owned());
        async move { tenant.set("", vec![(key, vec![7; bytes])]).await.unwrap_err().to_string() }
    };
    assert_eq!(refusal("k", 70_000).await, "value has 70000 bytes; from 0 to 65536 are accepted");
    assert_eq!(refusal("", 1).await, "key has 0 bytes; from 1 to 16 are accepted");
    assert_eq!(refusal("01234567890123456", 1).await, "key has 17 bytes; from 1 to 16 are accepted");
    tenant.check_bucket("12345678").unwrap();
    tenant.check_bucket("123456789").unwrap_err();
    let mut written = 0;
    let full = loop {
        match tenant.set("", vec![(format!("k{written}"), vec![7; 60_000])]).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.to_string(), "the namespace's 1048576 bytes are full");
    assert!((10..=17).contains(&written), "{written}");
    tenant.delete("", vec!["k0".into()]).await.unwrap();
    tenant.set("", vec![("again".into(), vec![7; 50_000])]).await.unwrap();
}

#[tokio::test]
async fn tenants_that_are_gone_leave_nothing_unless_somebody_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let buckets = Buckets::open(dir.path(), bounds());
    let used = buckets.tenant("used").unwrap();
    for id in ["gone", "lives"] {
        set(&buckets.tenant(id).unwrap(), "", "k", "v").await;
    }
    set(&used, "", "k", "v").await;
    let living = HashSet::from(["lives".to_owned()]);
    buckets.retain(&living, Duration::from_secs(3600)).unwrap();
    assert!(dir.path().join("gone.db").exists(), "it was written to just now");
    buckets.retain(&living, Duration::ZERO).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.retain(|it| it.to_string_lossy().ends_with(".db"));
    left.sort();
    assert_eq!(left, ["lives.db", "used.db"]);
    for id in ["../up", "", "a/b"] {
        assert!(matches!(buckets.tenant(id), Err(BucketError::Tenant(_))), "{id}");
    }
}

#[tokio::test]
async fn nothing_larger_than_a_call_may_carry_is_taken_or_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    let long = "k".repeat(17);
    let is_size = |error: BucketError| matches!(error, BucketError::Size { .. });
    assert!(is_size(tenant.get("", long.clone()).await.unwrap_err()));
    assert!(is_size(tenant.exists("", long.clone()).await.unwrap_err()));
    assert!(is_size(tenant.get_many("", vec!["k".into(), long.clone()]).await.unwrap_err()));
    assert!(is_size(tenant.delete("", vec![long.clone()]).await.unwrap_err()));
    assert!(is_size(tenant.keys("", Some(long)).await.unwrap_err()));
    let half = || ("k".to_owned(), vec![0; 40 << 10]);
    assert!(is_size(tenant.set("", vec![half(), half()]).await.unwrap_err()), "together they are too large");
    tenant.set("", vec![half()]).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_not_said_to_be_a_full_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let mut mount = std::process::Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(dir.path()).status();
    if !mounted.is_ok_and(|it| it.success()) {
        eprintln!("not run: this process may not mount file systems");
        return;
    }
    let tenant = Buckets::open(dir.path(), bounds()).tenant("a").unwrap();
    set(&tenant, "", "k", "v").await;
    let filler = dir.path().join("filler");
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    // The end of the log's last page may still take one.
    let mut refused = Ok(());
    for _ in 0..4 {
        refused = refused.and(tenant.set("", vec![("x".into(), vec![7; 8 << 10])]).await);
    }
    let other = Buckets::open(dir.path(), bounds()).tenant("b").unwrap();
    let opening = other.set("", vec![("x".into(), vec![7; 200])]).await;
    let freed = std::fs::remove_file(&filler);
    let again = tenant.set("", vec![("x".into(), vec![7; 8 << 10])]).await;
    drop((tenant, other));
    let _ = std::process::Command::new("umount").arg("-l").arg(dir.path()).status();
    freed.unwrap();
    assert!(matches!(refused, Err(BucketError::DiskFull { .. })), "{refused:?}");
    assert!(matches!(opening, Err(BucketError::DiskFull { .. })), "{opening:?}");
    again.unwrap();
}
