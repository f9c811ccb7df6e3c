//! The threads that compile, and when a guest is compiled in a hurry.
//!
//! Start at [`Effort::run`]. wasmtime spreads a compilation over a pool of threads that the whole process shares and that take
//! work in turn: a guest that somebody waits for would stand behind one that is only being improved. So every compilation
//! brings its own threads, of its own priority, and they end with it.

use rayon::ThreadPoolBuilder;
use tokio::sync::oneshot;

use crate::{LoadError, ProgramKind};

/// Most threads of one compilation: the functions they hold at once are what it needs of memory besides its result.
const THREADS_MAX: usize = 8;

/// How much of the machine a compilation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Somebody waits for it: every core, below those who serve.
    Awaited,
    /// Nobody waits: all cores but one, below everything else.
    Behind,
}

impl Effort {
    fn threads(self, cores: usize) -> usize {
        let wanted = match self {
            Effort::Awaited => cores,
            Effort::Behind => cores.saturating_sub(1),
        };
        wanted.clamp(1, THREADS_MAX)
    }

    fn nice(self) -> i32 {
        match self {
            Effort::Awaited => 10,
            Effort::Behind => 19,
        }
    }

    /// Runs `work`, and all that wasmtime compiles in it, on threads of its own. It goes on when the returned future is dropped.
    ///
    /// # Errors
    ///
    /// What `work` returns, or that it panicked, or that there are no threads to be had.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads(cores))
            .thread_name(|_| "eyot-compile".to_owned())
            .start_handler(move |_| {
                // Refused only to whoever runs at a lower priority already.
                let _ = rustix::process::setpriority_process(None, self.nice());
            })
            // The one who waits is told by the channel, which is dropped.
            .panic_handler(|_| tracing::error!("a compilation panicked"))
            .build()
            .map_err(|error| LoadError::Compile(format!("starting the compiler's threads: {error}")))?;
        let (tell, told) = oneshot::channel();
        pool.spawn(move || {
            let _ = tell.send(work());
        });
        // What was spawned ends before its threads do.
        drop(pool);
        told.await.unwrap_or_else(|_| Err(LoadError::Compile("the compiler panicked".into())))
    }
}

/// Whether a program of `kind` with `code_bytes` of code is first compiled in a hurry, where that is done from
/// `early_code_bytes` on.
///
/// Only what is instantiated anew for each request can change its code later; and what the optimising compiler is done with in
/// a moment (some 50 ms at the usual bound) needs no second compiler.
pub(crate) fn is_hurried(kind: ProgramKind, code_bytes: u64, early_code_bytes: Option<u64>) -> bool {
    kind == ProgramKind::HttpComponent && early_code_bytes.is_some_and(|it| code_bytes >= it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_leaves_a_core_alone() {
        let threads = |cores| (Effort::Awaited.threads(cores), Effort::Behind.threads(cores));
        assert_eq!([1, 2, 4, 64].map(threads), [(1, 1), (2, 1), (4, 3), (8, 8)]);
    }

    #[tokio::test]
    async fn work_ends_though_nobody_waits_and_a_panic_is_an_error() {
        assert_eq!(Effort::Awaited.run(|| Ok(rayon::current_num_threads() > 0)).await, Ok(true));
        let panicked = Effort::Behind.run(|| -> Result<(), LoadError> { panic!("as a compiler might") }).await;
        assert_eq!(panicked, Err(LoadError::Compile("the compiler panicked".into())));
        let (tell, told) = oneshot::channel();
        let unwanted = Effort::Behind.run(move || Ok(tell.send(7)));
        let _ = tokio::time::timeout(std::time::Duration::ZERO, unwanted).await;
        assert_eq!(told.await, Ok(7));
    }

    #[test]
    fn only_large_services_are_hurried() {
        let hurried = |kind, bytes| is_hurried(kind, bytes, Some(1000));
        assert!(hurried(ProgramKind::HttpComponent, 1000));
        assert!(!hurried(ProgramKind::HttpComponent, 999));
        assert!(!hurried(ProgramKind::CommandComponent, 5000) && !hurried(ProgramKind::CommandModule, 5000));
        assert!(!is_hurried(ProgramKind::HttpComponent, u64::MAX, None));
    }
}
