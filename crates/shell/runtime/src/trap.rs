//! Why a guest's call ended, from wasmtime's error.

use wasmtime::{FrameInfo, FrameSymbol, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::state::{MemoryExceeded, MemoryTaken};

/// Longest name that is told, in bytes; guests choose theirs.
const NAME_BYTES_MAX: usize = 512;

/// Longest name that is read: written out it may be much longer or shorter.
const MANGLED_BYTES_MAX: usize = 8 << 10;

/// Longest message about a guest, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

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
        /// One line: what happened, and where in the guest's own code if that is known.
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
        let message = told(&match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        });
        match error.downcast_ref::<WasmBacktrace>() {
            None => Ending::Trap { message, backtrace: String::new() },
            Some(it) => {
                let calls: Vec<Call> = it.frames().iter().map(Call::new).collect();
                let place = place(&calls).map(|it| format!(", in {it}")).unwrap_or_default();
                Ending::Trap { message: format!("{message}{place}"), backtrace: render(&calls) }
            }
        }
    }
}

/// One call on a guest's stack.
struct Call {
    /// Name of the core module, if it has one.
    module: Option<String>,
    /// Name of the function, or its number.
    function: Result<String, u32>,
    /// Where in the Wasm file it was.
    offset: usize,
    /// The lines of its source that were being run: innermost first, where the compiler put one function into another.
    lines: Vec<Line>,
}

struct Line {
    function: Option<String>,
    /// `file:line:column`, as far as known.
    place: String,
}

impl Call {
    fn new(frame: &FrameInfo) -> Self {
        Call {
            module: frame.module().name().map(|it| clipped(it, NAME_BYTES_MAX)),
            function: frame.func_name().map(readable).ok_or(frame.func_index()),
            offset: frame.module_offset().unwrap_or(0),
            lines: frame.symbols().iter().filter_map(Line::new).collect(),
        }
    }

    /// What it was doing, innermost first: names and places that are known.
    fn named(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let whole = self.function.as_deref().ok();
        let lines = self.lines.iter().filter_map(move |it| Some((it.function.as_deref().or(whole)?, Some(&*it.place))));
        lines.chain(whole.filter(|_| self.lines.is_empty()).map(|it| (it, None)))
    }
}

impl Line {
    fn new(symbol: &FrameSymbol) -> Option<Self> {
        let numbers = [symbol.line(), symbol.column()].into_iter().map_while(|it| it.map(|it| format!(":{it}")));
        let file = clipped(symbol.file()?, NAME_BYTES_MAX);
        let place = numbers.fold(file, |text, it| text + &it);
        Some(Line { function: symbol.name().map(readable), place })
    }
}

/// A message that a guest had a hand in, no longer than anybody reads: it goes into logs, events and status.
pub(crate) fn told(message: &str) -> String {
    clipped(message, MESSAGE_BYTES_MAX)
}

fn clipped(text: &str, max: usize) -> String {
    match text.get(..text.floor_char_boundary(max)) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// A function's name as its author wrote it.
fn readable(name: &str) -> String {
    // No compiler writes longer ones, and this may be the thread that serves others.
    let name = &clipped(name, MANGLED_BYTES_MAX);
    clipped(&demangled(name), NAME_BYTES_MAX)
}

fn demangled(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(name));
    // Linkers undo the mangling in names that they leave, but not the hash at their end.
    match plain.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) => path.to_owned(),
        _ => plain,
    }
}

/// Where the guest's own code was: the innermost call that is not its language's way of giving up.
fn place(calls: &[Call]) -> Option<String> {
    let (function, line) = calls.iter().flat_map(Call::named).find(|(function, _)| !is_machinery(function))?;
    Some(line.map_or_else(|| function.to_owned(), |line| format!("{function} at {line}")))
}

fn is_machinery(function: &str) -> bool {
    const STARTS: [&str; 12] = [
        "std::", "core::", "alloc::", "<std::", "<core::", "<alloc::", "__rust", "rust_", "_rust", "abort", "__assert",
        "__wasi",
    ];
    STARTS.iter().any(|it| function.starts_with(it)) || function.contains("panic")
}

fn render(calls: &[Call]) -> String {
    let mut text = String::new();
    for (index, call) in calls.iter().enumerate() {
        let module = call.module.as_deref().unwrap_or("<module>");
        let function = call.function.as_ref().map_or_else(|index| format!("function {index}"), String::clone);
        text += &format!("    {index}: {module}!{function} at {:#x}\n", call.offset);
        for line in &call.lines {
            let inside = line.function.as_ref().filter(|it| **it != function).map(|it| format!("{it} "));
            text += &format!("           {}at {}\n", inside.unwrap_or_default(), line.place);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn call(function: &str, lines: &[(&str, &str)]) -> Call {
        let lines = lines.iter().map(|(function, place)| Line {
            function: (!function.is_empty()).then(|| readable(function)),
            place: (*place).to_owned(),
        });
        let function = if function.is_empty() { Err(7) } else { Ok(readable(function)) };
        Call { module: Some("app.wasm".into()), function, offset: 0x1f, lines: lines.collect() }
    }

    #[track_caller]
    fn check(calls: &[Call], want: Expect) {
        want.assert_eq(&format!("{:?}\n{}", place(calls), render(calls)));
    }

    #[test]
    fn names_and_messages_are_no_longer_than_anybody_reads() {
        let long = "ä".repeat(1 << 20);
        let told_of = [readable(&long), readable(&format!("_ZN{}{long}E", long.len())), told(&long)];
        assert_eq!(told_of.map(|it| it.len()), [512 + 3, 512 + 3, 4096 + 3]);
        assert_eq!((readable("main"), told("short")), ("main".to_owned(), "short".to_owned()));
    }

    #[test]
    fn a_panic_is_placed_where_it_was_called_for() {
        check(
            &[
                call("__rust_start_panic", &[]),
                call("rust_begin_unwind", &[]),
                call("core::panicking::panic_fmt::h0123456789abcdef", &[]),
                call(
                    "_ZN4shop5stock4take17h0123456789abcdefE",
                    &[
                        ("_ZN4core6option15Option$LT$T$GT$6unwrap17h0123456789abcdefE", "/rust/option.rs:9:5"),
                        ("_ZN4shop5stock4take17h0123456789abcdefE", "src/stock.rs:31:20"),
                    ],
                ),
                call("shop::main", &[("", "src/main.rs:4")]),
            ],
            expect![[r#"
                Some("shop::stock::take at src/stock.rs:31:20")
                    0: app.wasm!__rust_start_panic at 0x1f
                    1: app.wasm!rust_begin_unwind at 0x1f
                    2: app.wasm!core::panicking::panic_fmt at 0x1f
                    3: app.wasm!shop::stock::take at 0x1f
                           core::option::Option<T>::unwrap at /rust/option.rs:9:5
                           at src/stock.rs:31:20
                    4: app.wasm!shop::main at 0x1f
                           at src/main.rs:4
            "#]],
        );
    }

    #[test]
    fn a_function_without_a_name_goes_by_its_number() {
        check(
            &[call("", &[("", "a.c:3:1")]), call("main", &[])],
            expect![[r#"
                Some("main")
                    0: app.wasm!function 7 at 0x1f
                           at a.c:3:1
                    1: app.wasm!main at 0x1f
            "#]],
        );
    }
}
