//! The clock that interrupts guests: one thread that ticks only while a guest runs.
//!
//! Start at [`Ticker::start`]; hold a [`Running`] while guest code is on a thread. With no guest running the thread parks,
//! so a node full of idle guests wakes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use eyot_dispatch::serving::PerThread;
use parking_lot::RwLock;
use wasmtime::Engine;

/// Longest turn of guest code before it yields to others.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running guest after which the thread parks. Waking it costs a system call, so requests that follow each
/// other closely should not pay it.
const IDLE_TICKS: u32 = 20;

/// Starts and stops with the runtime. Clones share one thread.
#[derive(Clone)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    running: PerThread<Box<AtomicUsize>>,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
    engines: RwLock<Vec<Engine>>,
}

/// Guest code is on this thread until this is dropped.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Ticker {
    /// Starts the thread that advances the epoch of `engines`.
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: PerThread::default(),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
            engines: RwLock::new(engines),
        });
        let inner = Arc::clone(&shared);
        thread::Builder::new().name("eyot-epoch".into()).spawn(move || inner.run())?;
        Ok(Self { shared })
    }

    /// Advances the epoch of `engine` too from now on.
    pub(crate) fn add(&self, engine: Engine) {
        self.shared.engines.write().push(engine);
    }

    /// Marks guest code as running on this thread.
    pub(crate) fn enter(&self) -> Running<'_> {
        // Pairs with `Shared::run`: either it sees the count, or we see it parked.
        let running = self.shared.running.here(Box::default);
        if running.fetch_add(1, SeqCst) == 0 && self.shared.parked.load(SeqCst) {
            self.shared.unpark();
        }
        Running(running)
    }

    /// Interrupts every guest now instead of at the next tick.
    pub(crate) fn tick_now(&self) {
        self.shared.tick();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, SeqCst);
        self.shared.unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn run(&self) {
        // Set before the first park, so whoever sees `parked` also finds the thread to wake.
        let _ = self.thread.set(thread::current());
        let mut idle = 0;
        while !self.stopped.load(SeqCst) {
            if self.is_running() {
                idle = 0;
                self.tick();
            } else if idle < IDLE_TICKS {
                idle += 1;
            } else {
                self.parked.store(true, SeqCst);
                while !self.is_running() && !self.stopped.load(SeqCst) {
                    thread::park();
                }
                self.parked.store(false, SeqCst);
                idle = 0;
            }
            thread::sleep(TICK);
        }
    }

    /// Whether guest code is on any thread.
    fn is_running(&self) -> bool {
        self.running.all().any(|it| it.load(SeqCst) > 0)
    }

    fn tick(&self) {
        for engine in self.engines.read().iter() {
            engine.increment_epoch();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(parked: bool, ticker: &Ticker) {
        let started = std::time::Instant::now();
        while ticker.shared.parked.load(SeqCst) != parked {
            assert!(started.elapsed() < Duration::from_secs(10), "parked: {}", !parked);
            thread::sleep(TICK);
        }
    }

    #[test]
    fn the_thread_parks_when_no_guest_runs_and_wakes_when_one_does() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        let ticker = Ticker::start(vec![engine.clone(), engine]).unwrap();
        wait_for(true, &ticker);
        let running = ticker.enter();
        wait_for(false, &ticker);
        drop(running);
        wait_for(true, &ticker);
        ticker.stop();
    }
}
