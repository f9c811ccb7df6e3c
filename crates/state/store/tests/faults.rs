//! Bad days: a second process, a full disk, a damaged file.

mod common;

use std::{fs, path::Path, process::Command};

use common::*;
use eyot_store::{OpenError, Page, Scope, Store, WriteError};

#[tokio::test]
async fn a_second_open_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), options()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { holder, .. } if *holder == format!("process {}", std::process::id())));
    assert!(error.to_string().contains("is in use by process"), "{error}");
    store.close().await;
    open(dir.path());
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("new"));
    create(&store, pod("a"), "secret").await.unwrap();
    for file in ["store.db", "store.db-wal"] {
        let mode = fs::metadata(dir.path().join("new").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

/// Runs itself again on a tiny file system of its own.
#[test]
fn a_full_disk_fails_writes_until_there_is_space() {
    const DIR: &str = "EYOT_STORE_TEST_TINY_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(fill_up(dir.as_ref()));
    }
    let isolated = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]);
        command
    };
    if !isolated("mount -t tmpfs none /mnt").status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: no file system may be mounted here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = isolated(
        r#"mount -t tmpfs -o size=4m none "$DIR" && exec "$EXE" --exact a_full_disk_fails_writes_until_there_is_space --nocapture"#,
    )
    .env("DIR", dir.path())
    .env("EXE", std::env::current_exe().unwrap())
    .env(DIR, dir.path())
    .status();
    assert!(run.unwrap().success());
}

async fn fill_up(dir: &Path) {
    fs::write(dir.join("ballast"), vec![0; 1 << 20]).unwrap();
    let store = open(&dir.join("store"));
    let text = "x".repeat(100_000);
    let mut written = 0;
    let error = loop {
        match create(&store, pod(&format!("p{written}")), &text).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(written > 3, "{written}");
    assert!(matches!(&error, WriteError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("no space left for"), "{error}");
    // Nothing of it shows, and reads go on.
    let count = || store.list(&Scope::all("/pods"), &Page::default()).unwrap().entries.len();
    assert_eq!((count(), store.revision().0), (written, written as u64));
    assert!(create(&store, pod("q"), &text).await.is_err());
    fs::remove_file(dir.join("ballast")).unwrap();
    create(&store, pod("q"), &text).await.expect("a write after space was made");
    assert_eq!(store.revision().0, written as u64 + 1);
    store.close().await;
    let store = open(&dir.join("store"));
    assert_eq!(store.list(&Scope::all("/pods"), &Page::default()).unwrap().entries.len(), written + 1);
}

fn content(store: &Store) -> Vec<String> {
    store.list(&Scope::all("/pods"), &Page::default()).unwrap().entries.iter().map(|it| text(it)).collect()
}

#[tokio::test]
async fn damage_is_found_at_open_or_did_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for it in 0..60 {
        create(&store, pod(&format!("p{it:03}")), &"content ".repeat(it * 3)).await.unwrap();
    }
    for it in (0..60).step_by(7) {
        delete(&store, pod(&format!("p{it:03}"))).await.unwrap();
    }
    let want = content(&store);
    store.close().await;
    drop(store);
    let file = dir.path().join("store.db");
    let good = fs::read(&file).unwrap();
    assert!(!dir.path().join("store.db-wal").exists(), "a clean close leaves one file");
    let mut found = 0;
    for at in (0..good.len()).step_by(127) {
        let mut bad = good.clone();
        bad[at] ^= 0x11;
        fs::write(&file, &bad).unwrap();
        match Store::open(dir.path(), options()) {
            Ok(store) => {
                assert_eq!(content(&store), want, "byte {at}");
                store.close().await;
            }
            Err(error) => {
                found += 1;
                assert!(error.to_string().contains("store.db"), "{error}");
            }
        }
    }
    assert!(found > good.len() / 127 / 2, "{found} of {}", good.len() / 127);
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    let check = |content: &[u8], want: &str| {
        fs::write(&file, content).unwrap();
        let error = Store::open(dir.path(), options()).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("store.db"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), content);
    };
    check(&[b'x'; 8192], "is damaged (file is not a database)");
    let store = Store::open(dir.path().join("other"), options()).unwrap();
    store.close().await;
    let other = dir.path().join("other/store.db");
    let conn = rusqlite::Connection::open(&other).unwrap();
    conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99").unwrap();
    drop(conn);
    let error = Store::open(dir.path().join("other"), options()).unwrap_err().to_string();
    assert!(error.contains("has schema 99, and this release understands 1"), "{error}");
}
