//! One instance of a policy: data loaded once, then question after question.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use wasmtime::{Memory, Module, Store, StoreLimitsBuilder, Trap, TypedFunc, Val, WasmParams, WasmResults};

use super::{
    OpaBounds, OpaBuiltins, OpaError,
    imports::{Abi, Aborted, Host, c_string, imports},
};

const PAGE: usize = 64 << 10;
/// Memory that an instance may have gained and still be used again.
const GROWN_BYTES_MAX: usize = 8 << 20;

/// `opa_eval`: reserved, entry point, data, input and its length, heap, format of the answer.
type Eval = TypedFunc<(i32, i32, i32, i32, i32, i32, i32), i32>;

/// An instance with the functions that are called for every question.
pub(super) struct Instance {
    store: Store<Host>,
    instance: wasmtime::Instance,
    abi: Abi,
    version: (i32, i32),
    /// What is called on the way to an answer; `None` before ABI 1.2, which needs several calls.
    opa_eval: Option<Eval>,
    data: i32,
    /// Where the heap begins that a question may use.
    heap: i32,
    memory_bytes: usize,
}

impl Instance {
    /// Instantiates a module and learns what it calls.
    pub(super) fn new(
        module: &Module,
        builtins: Arc<dyn OpaBuiltins>,
        bounds: OpaBounds,
    ) -> Result<Instance, OpaError> {
        let limits =
            StoreLimitsBuilder::new().memory_size(bounds.memory_bytes).table_elements(65_536).instances(1).build();
        let host = Host { limits, builtins, names: HashMap::new(), abi: None };
        let mut store = Store::new(module.engine(), host);
        store.limiter(|host| &mut host.limits);
        wind(&mut store, bounds.deadline);
        let imports = imports(&mut store, module)?;
        let instance =
            wasmtime::Instance::new(&mut store, module, &imports).map_err(|error| explain(&error, bounds))?;
        let version = version(&mut store, &instance)?;
        let abi = Abi {
            memory: memory(&mut store, &instance)?,
            malloc: function(&mut store, &instance, "opa_malloc")?,
            value_dump: function(&mut store, &instance, "opa_value_dump")?,
            value_parse: function(&mut store, &instance, "opa_value_parse")?,
        };
        store.data_mut().abi = Some(abi.clone());
        let opa_eval = match version.1 {
            ..=1 => None,
            _ => Some(function(&mut store, &instance, "opa_eval")?),
        };
        let mut this = Instance { store, instance, abi, version, opa_eval, data: 0, heap: 0, memory_bytes: 0 };
        this.learn_builtins(bounds)?;
        Ok(this)
    }

    /// Puts the data in, below the heap of all questions to come.
    pub(super) fn load(&mut self, data: &str, bounds: OpaBounds) -> Result<(), OpaError> {
        let failed = |error: OpaError| match error {
            OpaError::Failed(what) => OpaError::Data(what),
            other => other,
        };
        wind(&mut self.store, bounds.deadline.saturating_mul(20));
        let length = i32::try_from(data.len()).map_err(|_| OpaError::Data("it is larger than 2 GiB".into()))?;
        let at = self.call_abi(bounds, |it| it.malloc.clone(), length).map_err(failed)?;
        self.write(at, data.as_bytes())?;
        let value: i32 = self.call("opa_json_parse", (at, length), bounds).map_err(failed)?;
        if value == 0 {
            return Err(OpaError::Data("the policy does not take it for JSON".into()));
        }
        self.data = value;
        // Blocks freed meanwhile would be lost with every question otherwise; older modules have none.
        if self.instance.get_func(&mut self.store, "opa_heap_blocks_stash").is_some() {
            self.call::<(), ()>("opa_heap_blocks_stash", (), bounds)?;
        }
        self.heap = self.call("opa_heap_ptr_get", (), bounds)?;
        self.memory_bytes = self.abi.memory.data_size(&self.store);
        Ok(())
    }

    /// The ABI: major, minor.
    pub(super) fn abi(&self) -> (i32, i32) {
        self.version
    }

    /// The entry points and their numbers.
    pub(super) fn entrypoints(&mut self, bounds: OpaBounds) -> Result<BTreeMap<String, i32>, OpaError> {
        self.table("entrypoints", bounds)
    }

    /// Whether it holds so much memory that a fresh one is better.
    pub(super) fn has_grown(&self) -> bool {
        self.abi.memory.data_size(&self.store) > self.memory_bytes + GROWN_BYTES_MAX
    }

    /// Asks an entry point. The answer is a result set in JSON.
    pub(super) fn eval(&mut self, entrypoint: i32, input: Option<&str>, bounds: OpaBounds) -> Result<String, OpaError> {
        wind(&mut self.store, bounds.deadline);
        let at = match self.opa_eval.clone() {
            Some(opa_eval) => self.ask(&opa_eval, entrypoint, input, bounds)?,
            None => self.ask_in_steps(entrypoint, input, bounds)?,
        };
        c_string(self.abi.memory.data(&self.store), at)
            .ok_or_else(|| OpaError::Failed("the answer has no end".to_owned()))
    }

    /// ABI 1.2 and later: everything in one call, whose heap starts behind the input.
    fn ask(
        &mut self,
        opa_eval: &Eval,
        entrypoint: i32,
        input: Option<&str>,
        bounds: OpaBounds,
    ) -> Result<i32, OpaError> {
        let (mut at, mut length) = (0, 0);
        if let Some(input) = input {
            (at, length) = (self.heap, input_length(input)?);
            self.make_room(at, input.len(), bounds)?;
            self.write(at, input.as_bytes())?;
        }
        // Values are aligned, as malloc would have them.
        let heap = self.heap.wrapping_add(length).wrapping_add(7) & !7;
        let arguments = (0, entrypoint, self.data, at, length, heap, 0);
        opa_eval.call(&mut self.store, arguments).map_err(|error| explain(&error, bounds))
    }

    /// ABI 1.1: a context is made, filled and evaluated.
    fn ask_in_steps(&mut self, entrypoint: i32, input: Option<&str>, bounds: OpaBounds) -> Result<i32, OpaError> {
        self.call::<_, ()>("opa_heap_ptr_set", self.heap, bounds)?;
        let context: i32 = self.call("opa_eval_ctx_new", (), bounds)?;
        if let Some(input) = input {
            let length = input_length(input)?;
            let at = self.call_abi(bounds, |it| it.malloc.clone(), length)?;
            self.write(at, input.as_bytes())?;
            let value: i32 = self.call("opa_json_parse", (at, length), bounds)?;
            self.call::<_, ()>("opa_eval_ctx_set_input", (context, value), bounds)?;
        }
        self.call::<_, ()>("opa_eval_ctx_set_data", (context, self.data), bounds)?;
        self.call::<_, ()>("opa_eval_ctx_set_entrypoint", (context, entrypoint), bounds)?;
        let _: i32 = self.call("eval", context, bounds)?;
        let result: i32 = self.call("opa_eval_ctx_get_result", context, bounds)?;
        self.call("opa_json_dump", result, bounds)
    }

    /// Asks which functions the module leaves to its host, and refuses those that there are not.
    fn learn_builtins(&mut self, bounds: OpaBounds) -> Result<(), OpaError> {
        let names = self.table("builtins", bounds)?;
        let host = self.store.data_mut();
        if let Some(missing) = names.keys().find(|it| !host.builtins.knows(it)) {
            return Err(OpaError::Builtin(missing.clone()));
        }
        host.names = names.into_iter().map(|(name, id)| (id, name)).collect();
        Ok(())
    }

    /// A table of numbers by name that a function of the module gives.
    fn table(&mut self, name: &str, bounds: OpaBounds) -> Result<BTreeMap<String, i32>, OpaError> {
        let value: i32 = self.call(name, (), bounds)?;
        let at: i32 = self.call("opa_json_dump", value, bounds)?;
        let text = c_string(self.abi.memory.data(&self.store), at).unwrap_or_default();
        numbers(&text).ok_or_else(|| OpaError::Module(format!("its table of {name} is not understood: {text}")))
    }

    fn make_room(&mut self, at: i32, length: usize, bounds: OpaBounds) -> Result<(), OpaError> {
        let wanted = address(at) + length;
        let missing = wanted.saturating_sub(self.abi.memory.data_size(&self.store));
        if missing > 0 {
            let grown = self.abi.memory.grow(&mut self.store, missing.div_ceil(PAGE) as u64);
            grown.map_err(|_| OpaError::Memory(bounds.memory_bytes))?;
        }
        Ok(())
    }

    fn write(&mut self, at: i32, bytes: &[u8]) -> Result<(), OpaError> {
        let written = self.abi.memory.write(&mut self.store, address(at), bytes);
        written.map_err(|_| OpaError::Failed("the policy gave an address outside of its memory".into()))
    }

    fn call_abi<P: WasmParams>(
        &mut self,
        bounds: OpaBounds,
        function: impl Fn(&Abi) -> TypedFunc<P, i32>,
        arguments: P,
    ) -> Result<i32, OpaError> {
        function(&self.abi).call(&mut self.store, arguments).map_err(|error| explain(&error, bounds))
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        arguments: P,
        bounds: OpaBounds,
    ) -> Result<R, OpaError> {
        let function: TypedFunc<P, R> = function(&mut self.store, &self.instance, name)?;
        function.call(&mut self.store, arguments).map_err(|error| explain(&error, bounds))
    }
}

fn address(at: i32) -> usize {
    at.cast_unsigned() as usize
}

fn input_length(input: &str) -> Result<i32, OpaError> {
    i32::try_from(input.len()).map_err(|_| OpaError::Failed("the input is larger than 2 GiB".into()))
}

/// Gives the next call its time. A tick may be about to come, so one more is granted.
fn wind(store: &mut Store<Host>, deadline: Duration) {
    let ticks = deadline.as_millis().div_ceil(crate::epoch::TICK.as_millis().max(1));
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2) + 1);
}

fn memory(store: &mut Store<Host>, instance: &wasmtime::Instance) -> Result<Memory, OpaError> {
    instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| OpaError::Module("it is none of OPA's: it exports no memory".into()))
}

fn function<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    instance: &wasmtime::Instance,
    name: &str,
) -> Result<TypedFunc<P, R>, OpaError> {
    let found = instance.get_typed_func(&mut *store, name);
    found.map_err(|error| OpaError::Module(format!("it is none of OPA's: function {name}: {error:#}")))
}

fn version(store: &mut Store<Host>, instance: &wasmtime::Instance) -> Result<(i32, i32), OpaError> {
    let mut number = |name: &str| {
        let global = instance.get_global(&mut *store, name);
        match global.map(|it| it.get(&mut *store)) {
            Some(Val::I32(number)) => Ok(number),
            _ => Err(OpaError::Module(format!("it is none of OPA's: it exports no {name}"))),
        }
    };
    let version = (number("opa_wasm_abi_version")?, number("opa_wasm_abi_minor_version")?);
    match version {
        (1, 1..) => Ok(version),
        (major, minor) => Err(OpaError::Abi(format!("{major}.{minor}"))),
    }
}

/// What became of a call, for a user.
fn explain(error: &wasmtime::Error, bounds: OpaBounds) -> OpaError {
    if let Some(aborted) = error.downcast_ref::<Aborted>() {
        // The policy's own allocator says so when the memory it asked for was refused.
        if aborted.0.contains("opa_malloc") || aborted.0.contains("out of memory") {
            return OpaError::Memory(bounds.memory_bytes);
        }
        return OpaError::Failed(aborted.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => OpaError::Deadline(bounds.deadline),
        Some(trap) => OpaError::Failed(trap.to_string()),
        None => OpaError::Failed(error.root_cause().to_string()),
    }
}

/// Reads `{"name": 1, …}`. Names of functions and entry points hold no escapes.
fn numbers(json: &str) -> Option<BTreeMap<String, i32>> {
    let body = json.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut table = BTreeMap::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start().strip_prefix(':')?;
        let (number, after) = after.split_once(',').unwrap_or((after, ""));
        table.insert(name.to_owned(), number.trim().parse().ok()?);
        rest = after.trim_start();
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_nothing_else() {
        assert_eq!(numbers("{}").unwrap().len(), 0);
        let table = numbers(r#"{"sprintf": 0, "a/b":12}"#).unwrap();
        assert_eq!(table.into_iter().collect::<Vec<_>>(), [("a/b".to_owned(), 12), ("sprintf".to_owned(), 0)]);
        for bad in ["", "[]", r#"{"a"}"#, r#"{"a":x}"#, "{a:1}"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }
}
