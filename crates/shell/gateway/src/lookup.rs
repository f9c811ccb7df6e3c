//! Looking names up for requests of guests, a few at a time.
//!
//! The host's resolver takes a thread for as long as no server answers, half a minute usually, and nothing ends it before. The
//! threads it takes are those that the store and files wait on too. So a pod looks [`OF_A_POD`] names up at once and all pods
//! together [`OF_ALL`]; others wait their turn. A lookup that nobody waits for any more counts until its thread is free.
//! Sockets of guests look up by themselves, with bounds of their own.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use eyot_dispatch::Caller;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Lookups of one pod under way at once: as many as a host's resolver usually asks for.
const OF_A_POD: usize = 8;
/// Lookups of all pods under way at once: a sixteenth of the threads that a runtime usually has for what blocks.
const OF_ALL: usize = 32;

/// What asks the servers, and blocks until they answer.
type Ask = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Namespace and name.
type Pod = (Arc<str>, Arc<str>);

/// Has names looked up, by a few threads.
pub(crate) struct Lookups {
    ask: Box<Ask>,
    /// Whose threads are taken. Guests that run long have fewer, which their sockets' lookups need.
    threads: Handle,
    all: Arc<Semaphore>,
    /// The pods that want lookups now.
    pods: Mutex<HashMap<Pod, Turns>>,
}

/// The turns of one pod.
struct Turns {
    free: Arc<Semaphore>,
    /// How many are taken or waited for.
    wanted: usize,
}

impl Lookups {
    /// By the host's resolver, on threads of the runtime that this is called in.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn of_the_host() -> Arc<Self> {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn by(ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            ask: Box::new(ask),
            threads: Handle::current(),
            all: Arc::new(Semaphore::new(OF_ALL)),
            pods: Mutex::default(),
        })
    }

    /// Waits until `caller` may look one name up.
    pub(crate) async fn turn(self: &Arc<Self>, caller: &Caller) -> io::Result<Turn> {
        let (wanted, free) = Wanted::new(self, caller);
        let of_pod = free.acquire_owned().await.map_err(io::Error::other)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok(Turn { wanted, _of_pod: of_pod, _of_all: of_all })
    }
}

/// A turn that is taken or waited for. Pods without any are not remembered.
struct Wanted {
    lookups: Arc<Lookups>,
    pod: Pod,
}

impl Wanted {
    fn new(lookups: &Arc<Lookups>, caller: &Caller) -> (Self, Arc<Semaphore>) {
        let pod = (caller.namespace.clone(), caller.pod.clone());
        let mut pods = lookups.pods.lock();
        let turns = || Turns { free: Arc::new(Semaphore::new(OF_A_POD)), wanted: 0 };
        let turns = pods.entry(pod.clone()).or_insert_with(turns);
        turns.wanted += 1;
        (Self { lookups: lookups.clone(), pod }, turns.free.clone())
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut pods = self.lookups.pods.lock();
        if let Some(turns) = pods.get_mut(&self.pod) {
            turns.wanted -= 1;
            if turns.wanted == 0 {
                pods.remove(&self.pod);
            }
        }
    }
}

/// The right to take one thread.
pub(crate) struct Turn {
    _of_pod: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    /// Goes last: a pod is forgotten when it has given back all that it had.
    wanted: Wanted,
}

impl Turn {
    /// Looks `name` up. The turn is over when the thread is free, also where nobody waits that long.
    pub(crate) async fn look_up(self, name: String) -> io::Result<Vec<SocketAddr>> {
        let threads = self.wanted.lookups.threads.clone();
        let work = move || {
            // All of it comes along, not merely what is named here.
            let turn = self;
            (turn.wanted.lookups.ask)(&name)
        };
        threads.spawn_blocking(work).await?
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use arc_swap::ArcSwap;
    use eyot_dispatch::{CallError, ConnectWithin, empty};
    use http::Request;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{dial::Dialer, gateway::PodNetworks};

    /// Names that a resolver was asked for, and how many threads that takes.
    #[derive(Default)]
    struct Seen {
        names: Vec<String>,
        now: usize,
        most: usize,
    }

    /// The one name that is known, and its address.
    const KNOWN: &str = "known.example";
    const ADDRESS: [u8; 4] = [127, 42, 0, 240];

    /// A node whose DNS servers say nothing of further names until they are let go.
    struct Silent {
        dialer: Arc<Dialer>,
        lookups: Arc<Lookups>,
        seen: Arc<Mutex<Seen>>,
        held: mpsc::Sender<()>,
    }

    impl Silent {
        fn new() -> Self {
            let (held, gate) = mpsc::channel();
            let (seen, gate) = (Arc::new(Mutex::new(Seen::default())), Mutex::new(gate));
            let watched = seen.clone();
            let lookups = Lookups::by(move |name| {
                if name == KNOWN {
                    return Ok(vec![(ADDRESS, 0).into()]);
                }
                let mut seen = watched.lock();
                seen.names.push(name.to_owned());
                seen.now += 1;
                seen.most = seen.most.max(seen.now);
                drop(seen);
                // Whoever lets go drops the other end.
                let _ = gate.lock().recv();
                watched.lock().now -= 1;
                Err(io::ErrorKind::NotFound.into())
            });
            let pod_networks = PodNetworks::new(ArcSwap::from_pointee(vec![([127, 42, 0, 0].into(), 16)]));
            let dialer = Arc::new(Dialer::new(pod_networks, lookups.clone()));
            Self { dialer, lookups, seen, held }
        }

        /// Sends a request of `pod` to a name.
        fn ask(&self, pod: &str, name: &str, within: Duration) -> JoinHandle<Result<u16, CallError>> {
            let caller = Caller { namespace: "ns".into(), pod: pod.into() };
            let mut request = Request::get(format!("http://{name}/")).body(empty()).unwrap();
            request.extensions_mut().insert(ConnectWithin(within));
            let dialer = self.dialer.clone();
            tokio::spawn(async move { dialer.outside(request, &caller).await.map(|it| it.status().as_u16()) })
        }

        /// How many threads are taken once no further ones are.
        async fn taken(&self, at_least: usize) -> usize {
            until(|| self.seen.lock().now >= at_least).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.seen.lock().now
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

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_pod_whose_lookups_get_no_answer_leaves_others_their_turn_and_all_leave_threads() {
        let silent = Silent::new();
        let first: Vec<_> = (0..100).map(|n| silent.ask("first", &format!("{n}.example"), LONG)).collect();
        assert_eq!(silent.taken(OF_A_POD).await, OF_A_POD);
        let second = silent.ask("second", "second.example", LONG);
        assert_eq!(silent.taken(OF_A_POD + 1).await, OF_A_POD + 1);
        assert!(silent.seen.lock().names.iter().any(|it| it == "second.example"));
        // Who gives up gets no further threads for that.
        first.iter().for_each(JoinHandle::abort);
        let again = silent.ask("first", "again.example", LONG);
        assert_eq!(silent.taken(OF_A_POD + 1).await, OF_A_POD + 1);
        let others = (0..OF_ALL).map(|n| silent.ask(&format!("other-{n}"), "other.example", LONG));
        let others: Vec<_> = others.collect();
        assert_eq!(silent.taken(OF_ALL).await, OF_ALL);

        let Silent { lookups, seen, held, .. } = silent;
        drop(held);
        for asked in others.into_iter().chain([second, again]) {
            let told = asked.await.unwrap();
            assert!(matches!(told, Err(CallError::Lookup(_))), "each has its turn: {told:?}");
        }
        until(|| lookups.pods.lock().is_empty()).await;
        assert_eq!(lookups.all.available_permits(), OF_ALL);
        assert_eq!(seen.lock().most, OF_ALL);
    }

    #[tokio::test]
    async fn waiting_for_a_turn_is_part_of_connecting() {
        let silent = Silent::new();
        let before: Vec<_> = (0..OF_A_POD).map(|n| silent.ask("pod", &format!("{n}.example"), LONG)).collect();
        assert_eq!(silent.taken(OF_A_POD).await, OF_A_POD);
        let late = silent.ask("pod", "late.example", Duration::from_millis(100)).await.unwrap();
        assert!(matches!(late, Err(CallError::ConnectTimeout(_))), "{late:?}");
        let Silent { lookups, seen, held, .. } = silent;
        drop(held);
        for asked in before {
            assert!(matches!(asked.await.unwrap(), Err(CallError::Lookup(_))));
        }
        until(|| lookups.pods.lock().is_empty()).await;
        assert_eq!(seen.lock().names.len(), OF_A_POD, "nobody looks up what nobody waits for");
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
        let one = silent.ask("pod", &name, LONG);
        let (mut socket, _) = listener.accept().await.unwrap();
        head(&mut socket).await;
        let _stuck: Vec<_> = (0..OF_A_POD).map(|n| silent.ask("pod", &format!("{n}.example"), LONG)).collect();
        assert_eq!(silent.taken(OF_A_POD).await, OF_A_POD);
        let two = silent.ask("pod", &name, LONG);
        let wanted = || silent.lookups.pods.lock().values().map(|it| it.wanted).sum::<usize>();
        until(|| wanted() == OF_A_POD + 1).await;
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        assert_eq!(one.await.unwrap().unwrap(), 204);
        // Over the same connection. The one that was begun still waits.
        head(&mut socket).await;
        assert_eq!(wanted(), OF_A_POD + 1);
        socket.write_all(answer).await.unwrap();
        assert_eq!(two.await.unwrap().unwrap(), 204);
        until(|| wanted() == OF_A_POD).await;
    }
}
