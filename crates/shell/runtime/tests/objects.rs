//! Guests that keep objects (`wasi:blobstore`).

mod common;

use std::sync::Arc;

use common::Bench;
use eyot_bucket::{Bounds, Buckets, Tenant};

fn tenant(bench: &Bench, id: &str) -> Arc<Tenant> {
    Buckets::open(bench.dir.path().join("buckets"), Bounds::default()).tenant(id).unwrap()
}

/// Exit code of a command that does `run` with the containers of `tenant`.
async fn code(bench: &Bench, tenant: Option<&Arc<Tenant>>, run: &str) -> i32 {
    let wat = include_str!("guests/shelf.wat").replace(";;RUN;;", run);
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    assert!(program.keeps_values());
    let mut spec = bench.spec();
    spec.buckets = tenant.cloned();
    program.spawn(spec).unwrap().wait().await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_guest_finishes_another_of_its_tenant_reads_in_any_part() {
    let bench = Bench::new();
    let (one, other) = (tenant(&bench, "one"), tenant(&bench, "other"));
    assert_eq!(code(&bench, Some(&one), "(call $store (call $made) (i32.const 7)) (i32.const 0)").await, 0);
    assert_eq!(one.object("shelf", "object".into()).await.unwrap().unwrap().size, 7);
    // "conte" of "content": both ends are included.
    let part =
        "(call $whole (call $load (call $found) (i64.const 0) (i64.const 4)) (i32.const 96)) (call $ok (i32.const 96))
        (i32.or (i32.ne (i32.load (i32.const 104)) (i32.const 5))
            (i32.ne (i32.load8_u offset=4 (i32.load (i32.const 100))) (i32.const 101)))";
    assert_eq!(code(&bench, Some(&one), part).await, 0);
    let find = "(call $find (i32.const 1024) (i32.const 5) (i32.const 0)) (i32.load8_u (i32.const 0))";
    assert_eq!(code(&bench, Some(&other), find).await, 1, "another tenant has its own");
    let create = "(call $create (i32.const 1024) (i32.const 5) (i32.const 0)) (i32.load8_u (i32.const 0))";
    assert_eq!(code(&bench, Some(&one), create).await, 1, "it is there already");
    assert_eq!(code(&bench, None, create).await, 1, "without a tenant there are none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_streams_in_and_out_and_is_no_list() {
    let bench = Bench::new();
    let tenant = tenant(&bench, "one");
    // 2,500,000 bytes: nine pieces and a rest.
    let write = "(i32.store8 (i32.const 3500000) (i32.const 7))
        (call $store (call $made) (i32.const 2500000)) (i32.const 0)";
    assert_eq!(code(&bench, Some(&tenant), write).await, 0);
    let content = tenant.open("shelf", "object".into()).await.unwrap().unwrap();
    assert_eq!(content.size(), 2_500_000);
    let at = 3_500_000 - 1_048_576;
    assert_eq!(content.read(at).await.unwrap()[0], 7);
    let read = "(call $stream (call $load (call $found) (i64.const 0) (i64.const -1)) (i32.const 96)) (call $ok (i32.const 96))
        (local.set $it (i32.load (i32.const 100)))
        (block $done (loop $more
            (call $read (local.get $it) (i64.const 16384) (i32.const 112))
            (br_if $done (i32.load8_u (i32.const 112)))
            (local.set $bytes (i32.add (local.get $bytes) (i32.load (i32.const 120))))
            (br $more)))
        (i32.ne (local.get $bytes) (i32.const 2500000))";
    assert_eq!(code(&bench, Some(&tenant), read).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_writes_a_bounded_number_of_contents_at_once() {
    let bench = Bench::new();
    let tenant = tenant(&bench, "one");
    // Begins contents until it may not, and exits with their number.
    let begin = "(loop $more
            (call $body (call $new) (i32.const 96))
            (if (i32.eqz (i32.load8_u (i32.const 96)))
                (then (local.set $it (i32.add (local.get $it) (i32.const 1))) (br $more))))
        (i32.ne (local.get $it) (i32.const 128))";
    assert_eq!(code(&bench, Some(&tenant), begin).await, 0);
    assert_eq!(code(&bench, Some(&tenant), begin).await, 0, "what an instance had ends with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_lists_and_containers_that_go() {
    let bench = Bench::new();
    let tenant = tenant(&bench, "one");
    let run = "(call $store (call $made) (i32.const 7))
        (call $copy (i32.const 1024) (i32.const 5) (i32.const 1040) (i32.const 6)
            (i32.const 1024) (i32.const 5) (i32.const 1056) (i32.const 5) (i32.const 128)) (call $ok (i32.const 128))
        (call $list (call $found) (i32.const 144)) (call $ok (i32.const 144))
        (local.set $it (i32.load (i32.const 148)))
        (call $names (local.get $it) (i64.const 1) (i32.const 160)) (call $ok (i32.const 160))
        ;; One name, and there are more.
        (if (i32.ne (i32.load (i32.const 168)) (i32.const 1)) (then (unreachable)))
        (if (i32.load8_u (i32.const 172)) (then (unreachable)))
        (call $names (local.get $it) (i64.const 9) (i32.const 160)) (call $ok (i32.const 160))
        (if (i32.ne (i32.load (i32.const 168)) (i32.const 1)) (then (unreachable)))
        (if (i32.eqz (i32.load8_u (i32.const 172))) (then (unreachable)))
        (call $info (call $found) (i32.const 1056) (i32.const 5) (i32.const 176)) (call $ok (i32.const 176))
        ;; Of the copy: 7 bytes.
        (if (i64.ne (i64.load (i32.const 208)) (i64.const 7)) (then (unreachable)))
        (call $delete-container (i32.const 1024) (i32.const 5) (i32.const 224)) (call $ok (i32.const 224))
        (call $exists (i32.const 1024) (i32.const 5) (i32.const 240)) (call $ok (i32.const 240))
        (i32.load8_u (i32.const 244))";
    let exit = code(&bench, Some(&tenant), run).await;
    assert_eq!(exit, 0);
}
