//! Guests that keep values (`wasi:keyvalue`) and read settings (`wasi:config`).

mod common;

use std::sync::Arc;

use common::Bench;
use expect_test::expect;
use eyot_bucket::{Bounds, Buckets, Tenant};
use eyot_runtime::{GuestSpec, Process};

/// A command that does `run` with the buckets of `tenant`.
async fn spawn(bench: &Bench, run: &str, change: impl FnOnce(&mut GuestSpec)) -> Process {
    let wat = include_str!("guests/keeper.wat").replace(";;RUN;;", run);
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    assert!(program.keeps_values());
    let mut spec = bench.spec();
    change(&mut spec);
    program.spawn(spec).unwrap()
}

fn tenant(bench: &Bench, id: &str) -> Arc<Tenant> {
    Buckets::open(bench.dir.path().join("buckets"), Bounds::default()).tenant(id).unwrap()
}

async fn code(bench: &Bench, tenant: &Arc<Tenant>, run: &str) -> i32 {
    spawn(bench, run, |it| it.buckets = Some(tenant.clone())).await.wait().await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_guest_sets_another_of_its_tenant_gets() {
    let bench = Bench::new();
    let (one, other) = (tenant(&bench, "one"), tenant(&bench, "other"));
    let set = "(local.set $bucket (call $default))
        (call $set (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 1056) (i32.const 6) (i32.const 16))
        (i32.load8_u (i32.const 16))";
    assert_eq!(code(&bench, &one, set).await, 0);
    assert_eq!(one.get("default", "first".into()).await.unwrap().as_deref(), Some(&b"second"[..]));
    // 6 bytes of value, or none.
    let get = |bytes: u32, present: u32| {
        format!(
            "(local.set $bucket (call $default))
            (call $get (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then (unreachable)))
            (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const {present})) (then (unreachable)))
            (if (i32.load8_u (i32.const 20)) (then
                (if (i32.ne (i32.load (i32.const 28)) (i32.const {bytes})) (then (unreachable)))))
            (i32.const 0)"
        )
    };
    assert_eq!(code(&bench, &one, &get(6, 1)).await, 0);
    assert_eq!(code(&bench, &other, &get(0, 0)).await, 0, "another tenant has its own");
    let delete = "(local.set $bucket (call $default))
        (call $delete (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 16))
        (i32.load8_u (i32.const 16))";
    assert_eq!(code(&bench, &one, delete).await, 0);
    assert_eq!(code(&bench, &one, &get(0, 0)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_batches_tell_what_is_there() {
    let bench = Bench::new();
    let tenant = tenant(&bench, "one");
    tenant.set("default", vec![("second".into(), b"x".to_vec())]).await.unwrap();
    let list = "(local.set $bucket (call $default))
        (call $list (local.get $bucket) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16))
        ;; Not refused, one key, no cursor.
        (i32.or (i32.load8_u (i32.const 16))
            (i32.or (i32.ne (i32.load (i32.const 24)) (i32.const 1)) (i32.load8_u (i32.const 28))))";
    assert_eq!(code(&bench, &tenant, list).await, 0);
    let many = "(local.set $bucket (call $default))
        (call $get-many (local.get $bucket) (i32.const 1104) (i32.const 2) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 24)) (i32.const 2)) (then (unreachable)))
        ;; Of entries of 20 bytes: the first has no value, the second has one.
        (i32.or (i32.load8_u offset=8 (i32.load (i32.const 20)))
            (i32.eqz (i32.load8_u offset=28 (i32.load (i32.const 20)))))";
    assert_eq!(code(&bench, &tenant, many).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_swaps_are_atomic() {
    let bench = Bench::new();
    let tenant = tenant(&bench, "one");
    let add = "(local.set $bucket (call $default))
        (call $add (local.get $bucket) (i32.const 1040) (i32.const 5) (i64.const -3) (i32.const 16))
        (i32.or (i32.load8_u (i32.const 16)) (i64.ne (i64.load (i32.const 24)) (i64.const -3)))";
    assert_eq!(code(&bench, &tenant, add).await, 0);
    assert_eq!(tenant.get("default", "first".into()).await.unwrap().as_deref(), Some(&b"-3"[..]));
    // Looked, then somebody else wrote: the swap fails once and the handle it gives succeeds.
    let swap = "(local.set $bucket (call $default))
        (call $cas (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (unreachable)))
        (local.set $cas (i32.load (i32.const 20)))
        (call $set (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 1040) (i32.const 5) (i32.const 64))
        (call $swap (local.get $cas) (i32.const 1056) (i32.const 6) (i32.const 16))
        (if (i32.eqz (i32.load8_u (i32.const 16))) (then (unreachable)))
        (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const 1)) (then (unreachable)))
        (call $swap (i32.load (i32.const 24)) (i32.const 1056) (i32.const 6) (i32.const 16))
        (i32.load8_u (i32.const 16))";
    assert_eq!(code(&bench, &tenant, swap).await, 0);
    assert_eq!(tenant.get("default", "first".into()).await.unwrap().as_deref(), Some(&b"second"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_buckets_is_denied_them() {
    let bench = Bench::new();
    let open = "(call $open (i32.const 1024) (i32.const 7) (i32.const 0))
        ;; Refused, by the case access-denied.
        (i32.or (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1)) (i32.ne (i32.load8_u (i32.const 4)) (i32.const 1)))";
    assert_eq!(spawn(&bench, open, |_| {}).await.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_the_environment() {
    let bench = Bench::new();
    let get = "(call $config (i32.const 1072) (i32.const 8) (i32.const 16))
        ;; Not refused, present, 5 bytes.
        (if (i32.load8_u (i32.const 16)) (then (unreachable)))
        (if (i32.eqz (i32.load8_u (i32.const 20))) (then (return (i32.const 1))))
        (if (i32.ne (i32.load (i32.const 28)) (i32.const 5)) (then (unreachable)))
        (call $config-all (i32.const 16))
        (i32.or (i32.load8_u (i32.const 16)) (i32.ne (i32.load (i32.const 24)) (i32.const 2)))";
    let env = vec![("other".to_owned(), "x".to_owned()), ("greeting".to_owned(), "hello".to_owned())];
    assert_eq!(spawn(&bench, get, |it| it.env = env).await.wait().await.code, 0);
    assert_eq!(spawn(&bench, get, |_| {}).await.wait().await.code, 1, "a key that is not there has no value");
}

#[tokio::test]
async fn the_first_draft_is_offered_in_its_own_shape() {
    let first = r#"(component
        (import "wasi:keyvalue/store@0.2.0-draft" (instance $store
            (export "bucket" (type $b (sub resource)))
            (type $e1 (variant (case "no-such-store") (case "access-denied") (case "other" string)))
            (export "error" (type $e (eq $e1)))
            (type $k1 (record (field "keys" (list string)) (field "cursor" (option u64))))
            (export "key-response" (type $k (eq $k1)))
            (export "open" (func (param "identifier" string) (result (result (own $b) (error $e)))))
            (export "[method]bucket.list-keys"
                (func (param "self" (borrow $b)) (param "cursor" (option u64)) (result (result $k (error $e)))))))
        (alias export $store "bucket" (type $bucket))
        (alias export $store "error" (type $error))
        (import "wasi:keyvalue/atomics@0.2.0-draft" (instance
            (alias outer 1 $bucket (type $b1)) (export "bucket" (type $b (eq $b1)))
            (alias outer 1 $error (type $e1)) (export "error" (type $e (eq $e1)))
            (export "increment" (func (param "bucket" (borrow $b)) (param "key" string) (param "delta" u64)
                (result (result u64 (error $e)))))))
        (import "wasi:keyvalue/batch@0.2.0-draft" (instance
            (alias outer 1 $bucket (type $b1)) (export "bucket" (type $b (eq $b1)))
            (alias outer 1 $error (type $e1)) (export "error" (type $e (eq $e1)))
            (export "get-many" (func (param "bucket" (borrow $b)) (param "keys" (list string))
                (result (result (list (option (tuple string (list u8)))) (error $e)))))))
        (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $command (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $command)))"#;
    let bench = Bench::new();
    bench.load(&wat::parse_str(first).unwrap()).await.unwrap();
    let unknown = first.replace("0.2.0-draft", "0.3.0");
    let error = bench.load(&wat::parse_str(unknown).unwrap()).await.unwrap_err();
    expect![[r#"unknown import: interface "wasi:keyvalue/store@0.3.0""#]].assert_eq(&error.to_string());
}
