//! Why a guest's call ended, from wasmtime's error.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::state::{MemoryExceeded, MemoryTaken};

/// How a call into a guest ended, other than by returning.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It called exit with this code.
    Exit(i32),
    /// It passed its memory limit.
    OutOfMemory(String),
    /// There was no room for another instance; the guest never ran.
    NoRoom(String),
    /// Anything else.
    Trap {
        /// One line.
        message: String,
        /// The guest's stack, innermost call first; may be empty.
        backtrace: String,
    },
}

impl Ending {
    pub(crate) fn new(error: &wasmtime::Error) -> Self {
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return Ending::Exit(exit.0);
        }
        if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
            return Ending::OutOfMemory(exceeded.to_string());
        }
        if let Some(taken) = error.downcast_ref::<MemoryTaken>() {
            return Ending::NoRoom(taken.to_string());
        }
        if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
            return Ending::NoRoom("the node has no room for another instance".into());
        }
        let message = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(render).unwrap_or_default();
        Ending::Trap { message, backtrace }
    }
}

fn render(backtrace: &WasmBacktrace) -> String {
    let mut text = String::new();
    for (index, frame) in backtrace.frames().iter().enumerate() {
        let module = frame.module().name().unwrap_or("<module>");
        let offset = frame.module_offset().unwrap_or(0);
        let function = match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        };
        text += &format!("    {index}: {module}!{function} at {offset:#x}\n");
    }
    text
}
