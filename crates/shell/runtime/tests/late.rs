//! Directories that are made when a guest first looks for them.

mod common;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use common::{Bench, command};
use eyot_runtime::{LateMounts, Mount};
use futures::future::BoxFuture;

/// Makes one directory, from the second time on that it is asked.
struct Slow {
    asked: AtomicUsize,
    refusals: usize,
    host: PathBuf,
}

impl LateMounts for Slow {
    fn mounts(self: Arc<Self>) -> BoxFuture<'static, Option<Vec<Mount>>> {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let asked = self.asked.fetch_add(1, Relaxed);
            std::fs::create_dir_all(&self.host).unwrap();
            let mount = Mount { host: self.host.clone(), held: None, guest: "/late".into(), read_only: true };
            (asked >= self.refusals).then(|| vec![mount])
        })
    }
}

fn slow(bench: &Bench, refusals: usize) -> Arc<Slow> {
    Arc::new(Slow { asked: AtomicUsize::new(0), refusals, host: bench.dir.path().join("late") })
}

/// A component that asks for its directories `times` times, and fails unless there are `count` the last time.
fn counter(times: u32, count: u32) -> String {
    let asks = "(call $list (i32.const 0))".repeat(times as usize);
    format!(
        r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $types (export "descriptor" (type (sub resource)))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $d1))
    (export "descriptor" (type $d (eq $d1)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next
        (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
  (core instance $libc (instantiate $libc))
  (core func $list (canon lower (func $preopens "get-directories")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "list" (func $list (param i32)))
    (func (export "run") (result i32)
      {asks}
      (i32.ne (i32.load (i32.const 4)) (i32.const {count}))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc)) (with "host" (instance (export "list" (func $list))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))"#
    )
}

async fn run(bench: &Bench, wat: &str, late: &Arc<Slow>) -> i32 {
    let host = bench.dir.path().to_owned();
    let mounts = vec![Mount { host, held: None, guest: "/early".into(), read_only: true }];
    let late: Arc<dyn LateMounts> = late.clone();
    let process = bench.spawn_with(wat, |it| (it.mounts, it.late_mounts) = (mounts, Some(late))).await;
    process.wait().await.code
}

#[tokio::test]
async fn a_component_waits_for_its_directories_when_it_asks_for_any() {
    let bench = Bench::new();
    let late = slow(&bench, 0);
    assert_eq!(run(&bench, &counter(0, 0), &late).await, 0);
    assert_eq!(late.asked.load(Relaxed), 0, "a guest that never looks costs nothing");
    assert_eq!(run(&bench, &counter(1, 2), &late).await, 0);
    assert_eq!(late.asked.load(Relaxed), 1);
    assert_eq!(run(&bench, &counter(2, 2), &late).await, 0);
    assert_eq!(late.asked.load(Relaxed), 2, "once for each guest");
}

#[tokio::test]
async fn without_its_late_directories_a_guest_goes_on_and_asks_again() {
    let bench = Bench::new();
    assert_eq!(run(&bench, &counter(1, 1), &slow(&bench, 1)).await, 0);
    assert_eq!(run(&bench, &counter(2, 2), &slow(&bench, 1)).await, 0);
}

#[tokio::test]
async fn a_module_waits_before_it_starts_if_it_can_open_files() {
    let bench = Bench::new();
    let late = slow(&bench, 0);
    let blind = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    assert_eq!(run(&bench, blind, &late).await, 0);
    assert_eq!(late.asked.load(Relaxed), 0);
    assert_eq!(run(&bench, &command(""), &late).await, 0);
    assert_eq!(late.asked.load(Relaxed), 1);
}

/// Puts a link in the place of a directory that a guest has already.
struct Swap {
    early: PathBuf,
    elsewhere: PathBuf,
}

impl LateMounts for Swap {
    fn mounts(self: Arc<Self>) -> BoxFuture<'static, Option<Vec<Mount>>> {
        Box::pin(async move {
            std::fs::remove_dir(&self.early).unwrap();
            std::os::unix::fs::symlink(&self.elsewhere, &self.early).unwrap();
            Some(Vec::new())
        })
    }
}

#[tokio::test]
async fn directories_stay_what_they_were_when_the_guest_was_given_them() {
    let bench = Bench::new();
    let (early, elsewhere) = (bench.dir.path().join("early"), bench.dir.path().join("elsewhere"));
    for directory in [&early, &elsewhere] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(elsewhere.join("secret"), "not for guests").unwrap();
    let opened = std::fs::File::open(&early).unwrap();
    // Ends with what opening `secret` below its first directory came to.
    let opener = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 8) "secret")
        (func (export "_start")
            (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 6) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 100)))))"#;
    let mounts =
        |host: &PathBuf| vec![Mount { host: host.clone(), held: None, guest: "/early".into(), read_only: true }];
    let late: Arc<dyn LateMounts> = Arc::new(Swap { early: early.clone(), elsewhere: elsewhere.clone() });
    let held = bench.spawn_with(opener, |it| (it.mounts, it.late_mounts) = (mounts(&early), Some(late))).await;
    assert_eq!(held.wait().await.code, 44, "no such file");
    let mount = Mount { held: Some(Arc::new(opened.into())), ..mounts(&early).remove(0) };
    let given = bench.spawn_with(opener, |it| it.mounts = vec![mount]).await;
    assert_eq!(given.wait().await.code, 44, "what was opened before is given, not what is there now");
    let open = bench.spawn_with(opener, |it| it.mounts = mounts(&elsewhere)).await;
    assert_eq!(open.wait().await.code, 0);
}
