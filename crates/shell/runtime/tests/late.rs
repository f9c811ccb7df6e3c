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
            let mount = Mount { host: self.host.clone(), guest: "/late".into(), read_only: true };
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
    let mounts = vec![Mount { host, guest: "/early".into(), read_only: true }];
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
