//! What a request outside waits for: names, and its turn to look them up.

use std::sync::mpsc;

use arc_swap::ArcSwap;
use eyot_dispatch::empty;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

#[tokio::test]
async fn a_name_of_the_host_alone_is_prohibited() {
    let dialer = Dialer::new(PodNetworks::default(), Arc::default());
    let request = Request::get("http://localhost/").body(empty()).unwrap();
    let caller = Caller { namespace: "ns".into(), pod: "guest".into() };
    let told = dialer.outside(request, &caller).await.map(|it| it.status());
    assert!(matches!(&told, Err(CallError::Prohibited(why)) if why.starts_with("localhost has no")), "{told:?}");
}

/// The one name that is known, and its address.
const KNOWN: &str = "known.example";
const ADDRESS: [u8; 4] = [127, 42, 0, 240];

const OF_A_POD: usize = Lookups::OF_A_POD;
const LONG: Duration = Duration::from_secs(10);

/// A node whose DNS servers say nothing of further names until they are let go.
struct Silent {
    dialer: Arc<Dialer>,
    lookups: Arc<Lookups>,
    /// Further names that they were asked for.
    seen: Arc<Mutex<Vec<String>>>,
    held: mpsc::Sender<()>,
}

impl Silent {
    fn new() -> Self {
        let (held, gate) = mpsc::channel();
        let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(gate));
        let watched = seen.clone();
        let lookups = Lookups::by(move |name| {
            if name == KNOWN {
                return Ok(vec![(ADDRESS, 0).into()]);
            }
            watched.lock().push(name.to_owned());
            // Whoever lets go drops the other end.
            let _ = gate.lock().recv();
            Err(io::ErrorKind::NotFound.into())
        });
        let lookups = Arc::new(lookups);
        let pod_networks = PodNetworks::new(ArcSwap::from_pointee(vec![([127, 42, 0, 0].into(), 16)]));
        let dialer = Arc::new(Dialer::new(pod_networks, lookups.clone()));
        Self { dialer, lookups, seen, held }
    }

    /// Sends a request of a pod to a name.
    fn ask(&self, name: &str, within: Duration) -> JoinHandle<Result<u16, CallError>> {
        let caller = Caller { namespace: "ns".into(), pod: "pod".into() };
        let mut request = Request::get(format!("http://{name}/")).body(empty()).unwrap();
        request.extensions_mut().insert(ConnectWithin(within));
        let dialer = self.dialer.clone();
        tokio::spawn(async move { dialer.outside(request, &caller).await.map(|it| it.status().as_u16()) })
    }

    /// Has the pod look up as many names as it may at once.
    async fn stuck(&self) -> Vec<JoinHandle<Result<u16, CallError>>> {
        let all = (0..OF_A_POD).map(|n| self.ask(&format!("{n}.example"), LONG)).collect();
        until(|| self.seen.lock().len() == OF_A_POD).await;
        all
    }
}

async fn until(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it takes too long");
}

#[tokio::test]
async fn waiting_for_a_turn_is_part_of_connecting() {
    let silent = Silent::new();
    let before = silent.stuck().await;
    let late = silent.ask("late.example", Duration::from_millis(100)).await.unwrap();
    assert!(matches!(late, Err(CallError::ConnectTimeout(_))), "{late:?}");
    let Silent { lookups, seen, held, .. } = silent;
    drop(held);
    for asked in before {
        assert!(matches!(asked.await.unwrap(), Err(CallError::Lookup(_))));
    }
    until(|| lookups.wanted() == 0).await;
    assert_eq!(seen.lock().len(), OF_A_POD, "nobody looks up what nobody waits for");
}

/// Reads the head of a request.
async fn head(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_request_that_is_given_a_kept_connection_waits_for_no_turn_any_more() {
    let silent = Silent::new();
    let listener = TcpListener::bind(SocketAddr::from((ADDRESS, 0))).await.unwrap();
    let name = format!("{KNOWN}:{}", listener.local_addr().unwrap().port());
    let one = silent.ask(&name, LONG);
    let (mut socket, _) = listener.accept().await.unwrap();
    head(&mut socket).await;
    let _stuck = silent.stuck().await;
    let two = silent.ask(&name, LONG);
    until(|| silent.lookups.wanted() == OF_A_POD + 1).await;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    socket.write_all(answer).await.unwrap();
    assert_eq!(one.await.unwrap().unwrap(), 204);
    // Over the same connection. The one that was begun still waits.
    head(&mut socket).await;
    assert_eq!(silent.lookups.wanted(), OF_A_POD + 1);
    socket.write_all(answer).await.unwrap();
    assert_eq!(two.await.unwrap().unwrap(), 204);
    until(|| silent.lookups.wanted() == OF_A_POD).await;
}
