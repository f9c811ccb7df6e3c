//! Sockets of commands: where they really bind, and what they may reach.

mod common;

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use common::Bench;
use eyot_dispatch::{Caller, Transport};
use eyot_runtime::{Exit, ExitReason, GuestSpec, LogStream, Names, Process};

const POD: &str = "127.42.0.5";

async fn spawn(bench: &Bench, run: &str, change: impl FnOnce(&mut GuestSpec)) -> Process {
    let wat = include_str!("guests/socket.wat").replace(";;RUN;;", run);
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    let mut spec = bench.spec();
    spec.ip = Some(POD.parse().unwrap());
    change(&mut spec);
    program.spawn(spec).unwrap()
}

/// A port that was free a moment ago on every loopback address.
fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

fn bind(a: u8, d: u8, port: u16) -> String {
    format!("(call $bind (local.get $socket) (local.get $network) (i32.const {a}) (i32.const {d}) (i32.const {port}))")
}

fn completed(code: i32) -> Exit {
    Exit { code, reason: ExitReason::Completed }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_bind_listens_on_the_pod_address_alone() {
    let (bench, port) = (Bench::new(), free_port());
    let run = format!(
        "(if {} (then (return (i32.const 1))))
        (if (call $listen (local.get $socket)) (then (return (i32.const 1))))
        (call $nap (i64.const 60000000000))
        (i32.const 0)",
        bind(0, 0, port)
    );
    let process = spawn(&bench, &run, |_| {}).await;
    let pod: SocketAddr = format!("{POD}:{port}").parse().unwrap();
    let started = Instant::now();
    while TcpStream::connect(pod).is_err() {
        assert!(started.elapsed() < Duration::from_secs(5) && process.exit().is_none(), "{:?}", process.exit());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nothing listens beside the pod's address");
    process.kill();
    process.wait().await;
    assert!(TcpStream::connect(pod).is_err(), "a killed guest no longer listens");
}

#[tokio::test]
async fn a_bind_elsewhere_is_refused_and_so_is_any_without_an_address() {
    let bench = Bench::new();
    let port = free_port();
    assert_eq!(spawn(&bench, &bind(127, 1, port), |_| {}).await.wait().await, completed(1));
    assert_eq!(spawn(&bench, &bind(0, 0, port), |it| it.ip = None).await.wait().await, completed(1));
    assert_eq!(spawn(&bench, &bind(0, 0, 0), |_| {}).await.wait().await, completed(0), "any port of its own is fine");
}

#[tokio::test]
async fn datagram_sockets_bind_where_streams_do() {
    let bench = Bench::new();
    let port = free_port();
    let run = format!("(call $bind-udp (local.get $network) (i32.const {port}))");
    // A wildcard bind that were not rewritten would be refused.
    assert_eq!(spawn(&bench, &run, |_| {}).await.wait().await, completed(0));
    assert_eq!(spawn(&bench, &run, |it| it.ip = None).await.wait().await, completed(1));
}

#[tokio::test]
async fn the_cluster_answers_for_its_names() {
    let bench = Bench::new();
    let run = "(call $resolve (local.get $network) (i32.const 1024) (i32.const 30) (i32.const 16)) (call $failed)";
    let names = Arc::new(Service("127.0.0.1:1".parse().unwrap()));
    // The cluster knows at once that the name does not exist; the host would still be asking.
    assert_eq!(spawn(&bench, run, |it| it.names = Some(names)).await.wait().await, completed(1));
    assert_eq!(spawn(&bench, run, |_| {}).await.wait().await, completed(0));
}

/// Sends Service address 10.0.0.7 to where the test listens, and knows of a Service that is gone.
struct Service(SocketAddr);

impl Names for Service {
    fn resolve(&self, _: &Caller, name: &str) -> Option<Vec<IpAddr>> {
        (name == "gone.default.svc.cluster.local").then(Vec::new)
    }

    fn route(&self, _: &Caller, address: SocketAddr) -> SocketAddr {
        if address.ip().to_string() == "10.0.0.7" { self.0 } else { address }
    }

    fn permits(&self, _: &Caller, _: Transport, address: SocketAddr) -> Result<(), String> {
        if address.ip().to_string() == "127.42.0.66" { Err(format!("{address} is off limits")) } else { Ok(()) }
    }
}

/// Connects to port 80 of 10.0.0.7, and stays.
const TO_SERVICE: &str = "(call $start-connect (local.get $socket) (local.get $network) (i32.const 0) (i32.const 80)
        (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16))
    (if (call $failed) (then (return (i32.const 1))))
    (call $block (call $subscribe (local.get $socket)))
    (call $nap (i64.const 60000000000))
    (i32.const 0)";

#[tokio::test]
async fn what_policies_deny_is_not_connected_to_and_is_told_in_the_log() {
    let bench = Bench::new();
    let listener = tokio::net::TcpListener::bind("127.42.0.66:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap();
    let process = spawn(&bench, TO_SERVICE, |it| it.names = Some(Arc::new(Service(endpoint)))).await;
    let told = format!("connection denied: {endpoint} is off limits\n");
    for _ in 0..500 {
        if bench.log.text(LogStream::Stderr) == told {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.log.text(LogStream::Stderr), told, "{:?}", process.exit());
    let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "{accepted:?}");
}

#[tokio::test]
async fn a_service_address_is_routed_to_its_endpoint() {
    let bench = Bench::new();
    let listener = tokio::net::TcpListener::bind("127.42.0.9:0").await.unwrap();
    let names = Arc::new(Service(listener.local_addr().unwrap()));
    let process = spawn(&bench, TO_SERVICE, |it| it.names = Some(names)).await;
    let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await;
    assert!(accepted.is_ok(), "the connection arrives at the endpoint: {:?}", process.exit());
}
