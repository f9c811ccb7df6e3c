//! Policies that OPA compiled to WebAssembly (its ABI 1.x), with their own instances and bounds.
//!
//! Entry point: [`Runtime::opa_policy`]; then [`OpaPolicy::eval`], which takes an instance that has the data loaded, lets it
//! answer one question and puts it back with its heap where it was. An instance that trapped, was stopped or grew is not
//! used again.
//!
//! Values cross as text: JSON, or OPA's notation of values where sets must survive. What they mean, and what the built-in
//! functions do that a module leaves to its host, is [`OpaBuiltins`]' to say: this crate knows no Rego.

mod imports;
mod instance;
mod load;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{Runtime, runtime::Core};
use instance::Instance;

/// Functions that modules leave to their host.
pub trait OpaBuiltins: Send + Sync + 'static {
    /// Whether a function of this name exists.
    fn knows(&self, name: &str) -> bool;

    /// Calls a function. Arguments and result are in OPA's notation of values, in which sets are `{1, 2}` and `set()`.
    /// `Ok(None)` is undefined.
    ///
    /// # Errors
    ///
    /// What ends the evaluation, as opposed to making the call undefined.
    fn call(&self, name: &str, arguments: &[&str]) -> Result<Option<String>, String>;
}

/// How far one evaluation may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpaBounds {
    /// Most linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Longest evaluation. Time is told in ticks of a millisecond.
    pub deadline: Duration,
}

impl Default for OpaBounds {
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, deadline: Duration::from_millis(250) }
    }
}

/// Why a module is no policy, or an evaluation gave nothing. Fit for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpaError {
    /// The file is no valid module.
    #[error("the policy module is not usable: {0}")]
    Module(String),
    /// The module speaks another ABI.
    #[error("the module has OPA ABI {0}; 1.1 to 1.x are supported")]
    Abi(String),
    /// The module needs what this host does not have.
    #[error("the module imports {0}, which no OPA policy does")]
    Import(String),
    /// The module calls a function that does not exist here.
    #[error("the module needs the built-in function {0:?}, which is not available")]
    Builtin(String),
    /// The data cannot be loaded.
    #[error("loading the data: {0}")]
    Data(String),
    /// There is no such entry point.
    #[error("the module has no entry point {wanted:?}; it has {has}")]
    Entrypoint {
        /// What was asked for.
        wanted: String,
        /// What there is.
        has: String,
    },
    /// The evaluation took too long and was stopped.
    #[error("the evaluation was stopped after {0:?}")]
    Deadline(Duration),
    /// The evaluation needed more memory than it may have.
    #[error("the evaluation needs more than {0} bytes of memory")]
    Memory(usize),
    /// The policy aborted or trapped.
    #[error("the evaluation failed: {0}")]
    Failed(String),
}

/// A loaded policy. Clones share instances; many threads may evaluate at once.
#[derive(Clone)]
pub struct OpaPolicy {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    module: wasmtime::Module,
    data: String,
    builtins: Arc<dyn OpaBuiltins>,
    bounds: OpaBounds,
    abi: (i32, i32),
    entrypoints: BTreeMap<String, i32>,
    idle: Mutex<Vec<Instance>>,
}

/// Instances kept for the next question: as many as can run at once on a board or small server.
const IDLE_MAX: usize = 4;

impl OpaPolicy {
    /// What can be asked, as `a/b` for `data.a.b`.
    pub fn entrypoints(&self) -> impl Iterator<Item = &str> {
        self.shared.entrypoints.keys().map(String::as_str)
    }

    /// The ABI that the module speaks: major, minor.
    pub fn abi(&self) -> (i32, i32) {
        self.shared.abi
    }

    /// Asks `entrypoint` with an input in JSON. The answer is the result set in JSON: `[{"result": …}]`, or `[]` where the
    /// decision is undefined.
    ///
    /// # Errors
    ///
    /// When there is no such entry point, the policy fails, or a bound is met.
    pub fn eval(&self, entrypoint: &str, input: Option<&str>) -> Result<String, OpaError> {
        let shared = &*self.shared;
        let Some(id) = shared.entrypoints.get(entrypoint) else {
            let has: Vec<&str> = self.entrypoints().collect();
            return Err(OpaError::Entrypoint { wanted: entrypoint.to_owned(), has: has.join(", ") });
        };
        let idle = shared.idle.lock().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => shared.instance()?,
        };
        let running = shared.core.ticker.enter();
        let answer = instance.eval(*id, input, shared.bounds);
        drop(running);
        if answer.is_ok() && !instance.has_grown() {
            let mut idle = shared.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(instance);
            }
        }
        answer
    }
}

impl Shared {
    fn instance(&self) -> Result<Instance, OpaError> {
        let _running = self.core.ticker.enter();
        let builtins = Arc::clone(&self.builtins);
        let mut instance = Instance::new(&self.module, builtins, self.bounds)?;
        instance.load(&self.data, self.bounds)?;
        Ok(instance)
    }
}

impl fmt::Debug for OpaPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entrypoints: Vec<&str> = self.entrypoints().collect();
        f.debug_struct("OpaPolicy").field("abi", &self.shared.abi).field("entrypoints", &entrypoints).finish()
    }
}

impl Runtime {
    /// Loads a policy module with its data (a JSON object). Compiles it unless that was done before; that can take tens
    /// of milliseconds and blocks.
    ///
    /// # Errors
    ///
    /// When the module is not one of OPA's, needs functions that `builtins` does not know, or cannot take the data.
    pub fn opa_policy(
        &self,
        wasm: &[u8],
        data: &str,
        builtins: Arc<dyn OpaBuiltins>,
        bounds: OpaBounds,
    ) -> Result<OpaPolicy, OpaError> {
        let (core, module) = self.opa_module(wasm)?;
        let running = core.ticker.clone();
        let _running = running.enter();
        let mut first = Instance::new(&module, Arc::clone(&builtins), bounds)?;
        first.load(data, bounds)?;
        let (abi, entrypoints) = (first.abi(), first.entrypoints(bounds)?);
        let (data, idle) = (data.to_owned(), Mutex::new(vec![first]));
        Ok(OpaPolicy { shared: Arc::new(Shared { core, module, data, builtins, bounds, abi, entrypoints, idle }) })
    }
}
