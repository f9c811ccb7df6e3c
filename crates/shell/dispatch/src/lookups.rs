//! Looking names up for guests by the host's resolver, a few at a time.
//!
//! The resolver takes a thread for as long as no server answers, half a minute usually, and nothing ends it before. The
//! threads it takes are those that the store and files wait on too. So a pod looks [`Lookups::OF_A_POD`] names up at once, for
//! its sockets and its requests together, and all pods [`Lookups::OF_ALL`]; others wait their turn. A lookup that nobody waits
//! for any more counts until its thread is free.

use std::{
    collections::HashMap,
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::Caller;

/// What asks the servers, and blocks until they answer.
type Ask = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Namespace and name.
type Pod = (Arc<str>, Arc<str>);

/// Has names looked up, by a few threads. By default those of whoever asks.
pub struct Lookups {
    ask: Box<Ask>,
    /// Whose threads are taken.
    threads: Option<Handle>,
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
    /// Lookups of one pod under way at once: as many as a host's resolver usually asks for.
    pub const OF_A_POD: usize = 8;
    /// Lookups of all pods under way at once: a sixteenth of the threads that a tokio runtime usually has for what blocks.
    pub const OF_ALL: usize = 32;

    /// By the host's resolver, on `threads`, which should be many: guests that run long have few.
    pub fn on(threads: Handle) -> Self {
        Self { threads: Some(threads), ..Self::default() }
    }

    /// By `ask`, which may block, on threads of whoever asks.
    pub fn by(ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask), threads: None, all: Arc::new(Semaphore::new(Self::OF_ALL)), pods: Mutex::default() }
    }

    /// Waits until `caller` may look one name up.
    ///
    /// # Errors
    ///
    /// None that is known of: nobody ends the waiting.
    pub async fn turn(self: &Arc<Self>, caller: &Caller) -> io::Result<Turn> {
        let (wanted, free) = Wanted::new(self, caller);
        let of_pod = free.acquire_owned().await.map_err(io::Error::other)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok(Turn { wanted, _of_pod: of_pod, _of_all: of_all })
    }

    /// How many turns are taken or waited for, by all pods.
    pub fn wanted(&self) -> usize {
        self.pods.lock().values().map(|it| it.wanted).sum()
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lookups").field("wanted", &self.wanted()).finish_non_exhaustive()
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
        let turns = || Turns { free: Arc::new(Semaphore::new(Lookups::OF_A_POD)), wanted: 0 };
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
pub struct Turn {
    _of_pod: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    /// Goes last: a pod is forgotten when it has given back all that it had.
    wanted: Wanted,
}

impl fmt::Debug for Turn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Turn").field("pod", &self.wanted.pod).finish_non_exhaustive()
    }
}

impl Turn {
    /// Looks `name` up. The turn is over when the thread is free, also where nobody waits that long.
    ///
    /// # Errors
    ///
    /// What the resolver says: usually that it knows no address.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, where these lookups have no threads of their own.
    pub async fn look_up(self, name: String) -> io::Result<Vec<SocketAddr>> {
        let threads = self.wanted.lookups.threads.clone();
        let work = move || {
            // All of it comes along, not merely what is named here.
            let turn = self;
            (turn.wanted.lookups.ask)(&name)
        };
        match threads {
            Some(threads) => threads.spawn_blocking(work).await?,
            None => tokio::task::spawn_blocking(work).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::task::JoinHandle;

    use super::*;

    /// Names that a resolver was asked for, and how many threads that takes.
    #[derive(Default)]
    struct Seen {
        names: Vec<String>,
        now: usize,
        most: usize,
    }

    /// A node whose DNS servers say nothing until they are let go.
    struct Silent {
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
            Self { lookups: Arc::new(lookups), seen, held }
        }

        /// Has `pod` look a name up.
        fn ask(&self, pod: &str, name: &str) -> JoinHandle<io::Result<Vec<SocketAddr>>> {
            let caller = Caller { namespace: "ns".into(), pod: pod.into() };
            let (lookups, name) = (self.lookups.clone(), name.to_owned());
            tokio::spawn(async move { lookups.turn(&caller).await?.look_up(name).await })
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

    #[tokio::test]
    async fn a_pod_whose_lookups_get_no_answer_leaves_others_their_turn_and_all_leave_threads() {
        const OF_A_POD: usize = Lookups::OF_A_POD;
        let silent = Silent::new();
        let first: Vec<_> = (0..100).map(|n| silent.ask("first", &format!("{n}.example"))).collect();
        assert_eq!(silent.taken(OF_A_POD).await, OF_A_POD);
        let second = silent.ask("second", "second.example");
        assert_eq!(silent.taken(OF_A_POD + 1).await, OF_A_POD + 1);
        assert!(silent.seen.lock().names.iter().any(|it| it == "second.example"));
        // Who gives up gets no further threads for that.
        first.iter().for_each(JoinHandle::abort);
        let again = silent.ask("first", "again.example");
        assert_eq!(silent.taken(OF_A_POD + 1).await, OF_A_POD + 1);
        let others = (0..Lookups::OF_ALL).map(|n| silent.ask(&format!("other-{n}"), "other.example"));
        let others: Vec<_> = others.collect();
        assert_eq!(silent.taken(Lookups::OF_ALL).await, Lookups::OF_ALL);

        let Silent { lookups, seen, held } = silent;
        drop(held);
        for asked in others.into_iter().chain([second, again]) {
            let told = asked.await.unwrap().map_err(|error| error.kind());
            assert_eq!(told, Err(io::ErrorKind::NotFound), "each has its turn");
        }
        until(|| lookups.pods.lock().is_empty()).await;
        assert_eq!(lookups.all.available_permits(), Lookups::OF_ALL);
        assert_eq!(seen.lock().most, Lookups::OF_ALL);
    }

    #[test]
    fn they_take_threads_of_the_runtime_they_were_given() {
        let runtime = |name: &str| tokio::runtime::Builder::new_multi_thread().thread_name(name).build().unwrap();
        let (many, few) = (runtime("many"), runtime("few"));
        let ask = |_: &str| Err(io::Error::other(std::thread::current().name().unwrap_or_default().to_owned()));
        let lookups = Arc::new(Lookups { ask: Box::new(ask), ..Lookups::on(many.handle().clone()) });
        let caller = Caller { namespace: "ns".into(), pod: "pod".into() };
        let told = few.block_on(async { lookups.turn(&caller).await?.look_up("any.example".into()).await });
        assert_eq!(told.unwrap_err().to_string(), "many");
    }
}
