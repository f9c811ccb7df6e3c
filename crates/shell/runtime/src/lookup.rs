//! Looking up for guests what the cluster does not know, a few names at a time.
//!
//! The C library's resolver takes a thread for as long as no server answers, half a minute usually, and nothing ends it before. The
//! threads it takes are those that files, buckets and compiled code wait on too. So a guest looks [`OF_A_GUEST`] names up at once
//! and all guests together [`OF_ALL`], fewer than there are threads; others wait their turn. A lookup that nobody waits for any
//! more counts until its thread is free.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::sync::Semaphore;
use url::Host;

/// Lookups of one guest under way at once: as many as a host's resolver usually asks for.
const OF_A_GUEST: usize = 8;

/// Lookups of all guests under way at once: half of the threads that guests which run long have for what blocks.
const OF_ALL: usize = 32;

/// The longest name, as a guest writes it. In the form in which servers are asked names have 253 characters at most.
const NAME_BYTES_MAX: usize = 1024;

static ALL: Semaphore = Semaphore::const_new(OF_ALL);

/// Why a guest gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// That is no name.
    Invalid,
    /// Nobody knows it, or the guest is not to.
    Unknown,
}

/// What a guest looks up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// There is nothing to look up.
    Known(Vec<IpAddr>),
    /// Servers must be asked for it.
    Name(String),
}

/// Checks what a guest wants to look up, which may be an address.
pub(crate) fn sought(name: &str) -> Result<Sought, NotFound> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NotFound::Invalid);
    }
    match Host::parse(name) {
        Ok(Host::Domain(name)) => Ok(Sought::Name(name)),
        Ok(Host::Ipv4(address)) => Ok(Sought::Known(vec![address.into()])),
        Ok(Host::Ipv6(address)) => Ok(Sought::Known(vec![address.into()])),
        // Without brackets.
        Err(_) => match name.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Sought::Known(vec![address.into()])),
            Err(_) => Err(NotFound::Invalid),
        },
    }
}

/// The lookups of one guest.
#[derive(Clone)]
pub(crate) struct Lookups(Arc<Semaphore>);

impl Lookups {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(OF_A_GUEST)))
    }

    /// Asks the host's resolver for `name` when it is its turn.
    pub(crate) async fn ask(&self, name: String) -> Result<Vec<IpAddr>, NotFound> {
        let found = self.run(move || (name.as_str(), 0).to_socket_addrs()).await;
        let found = found.and_then(Result::ok).ok_or(NotFound::Unknown)?;
        Ok(found.map(|it: SocketAddr| it.ip().to_canonical()).collect())
    }

    /// Does `work`, which blocks, when it is its turn.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let of_guest = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let of_all = ALL.acquire().await.ok()?;
        let work = move || {
            let _turn = (of_guest, of_all);
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
        time::Duration,
    };

    use super::*;

    #[test]
    fn an_address_is_not_asked_for_and_no_name_is_refused() {
        let known = |address: &str| Ok(Sought::Known(vec![address.parse().unwrap()]));
        assert_eq!(sought("10.0.0.7"), known("10.0.0.7"));
        assert_eq!(sought("::1"), known("::1"));
        assert_eq!(sought("[::1]"), known("::1"));
        assert_eq!(sought("Bücher.example"), Ok(Sought::Name("xn--bcher-kva.example".into())));
        assert_eq!(sought("no name"), Err(NotFound::Invalid));
        assert_eq!(sought(&"a".repeat(NAME_BYTES_MAX + 1)), Err(NotFound::Invalid));
    }

    /// Lookups that get no answer until they are let go.
    struct Silent {
        begun: Arc<AtomicUsize>,
        gates: Vec<mpsc::Sender<()>>,
    }

    impl Silent {
        fn new() -> Self {
            Self { begun: Arc::default(), gates: Vec::new() }
        }

        fn ask(&mut self, guest: &Lookups) -> tokio::task::JoinHandle<Option<()>> {
            let (open, gate) = mpsc::channel();
            self.gates.push(open);
            let (guest, begun) = (guest.clone(), Arc::clone(&self.begun));
            let work = move || {
                begun.fetch_add(1, SeqCst);
                // Whoever lets go drops the other end.
                let _ = gate.recv();
            };
            tokio::spawn(async move { guest.run(work).await })
        }

        /// How many are under way once no more begin.
        async fn under_way(&self, at_least: usize) -> usize {
            for _ in 0..500 {
                if self.begun.load(SeqCst) >= at_least {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.begun.load(SeqCst)
        }
    }

    #[tokio::test]
    async fn a_guest_whose_lookups_get_no_answer_has_a_few_threads_and_all_such_guests_not_all() {
        let mut silent = Silent::new();
        let guest = Lookups::new();
        let asked: Vec<_> = (0..3 * OF_A_GUEST).map(|_| silent.ask(&guest)).collect();
        assert_eq!(silent.under_way(OF_A_GUEST).await, OF_A_GUEST);
        // Who gives up gets no further ones for that.
        asked.iter().for_each(tokio::task::JoinHandle::abort);
        let again = silent.ask(&guest);
        assert_eq!(silent.under_way(OF_A_GUEST).await, OF_A_GUEST);
        let others: Vec<_> = (0..OF_ALL).map(|_| Lookups::new()).collect();
        let theirs: Vec<_> = others.iter().map(|it| silent.ask(it)).collect();
        assert_eq!(silent.under_way(OF_ALL).await, OF_ALL);
        silent.gates.clear();
        for lookup in theirs.into_iter().chain([again]) {
            assert_eq!(lookup.await.unwrap(), Some(()), "each has its turn");
        }
    }
}
