//! What a policy imports: its memory, a way to give up, and built-in functions.

use std::{collections::HashMap, sync::Arc};

use wasmtime::{Caller, Extern, ExternType, Func, Memory, Module, Store, StoreLimits, TypedFunc};

use super::{OpaBuiltins, OpaError};

/// The functions that OPA's compiler imports.
pub(super) const FUNCTIONS: &[&str] =
    &["opa_abort", "opa_println", "opa_builtin0", "opa_builtin1", "opa_builtin2", "opa_builtin3", "opa_builtin4"];

/// Longest text taken out of a policy, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// What an instance's store holds.
pub(super) struct Host {
    pub(super) limits: StoreLimits,
    pub(super) builtins: Arc<dyn OpaBuiltins>,
    /// Names of the functions by the numbers that the module calls them by.
    pub(super) names: HashMap<i32, String>,
    /// Present once the instance is.
    pub(super) abi: Option<Abi>,
}

/// What host functions need of the instance that calls them.
#[derive(Clone)]
pub(super) struct Abi {
    pub(super) memory: Memory,
    pub(super) malloc: TypedFunc<i32, i32>,
    pub(super) value_dump: TypedFunc<i32, i32>,
    pub(super) value_parse: TypedFunc<(i32, i32), i32>,
}

/// What the policy said when it gave up.
#[derive(Debug, thiserror::Error)]
#[error("the policy aborted: {0}")]
pub(super) struct Aborted(pub(super) String);

/// The imports in the order in which the module wants them.
pub(super) fn imports(store: &mut Store<Host>, module: &Module) -> Result<Vec<Extern>, OpaError> {
    module.imports().map(|import| external(store, import.name(), import.ty())).collect()
}

fn external(store: &mut Store<Host>, name: &str, ty: ExternType) -> Result<Extern, OpaError> {
    if let ExternType::Memory(memory) = ty {
        let memory = Memory::new(&mut *store, memory);
        return memory.map(Extern::from).map_err(|error| OpaError::Module(format!("its memory: {error:#}")));
    }
    let function = match name {
        "opa_abort" => Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, at: i32| -> wasmtime::Result<()> {
            let text = text(&mut caller, at)?;
            Err(Aborted(text).into())
        }),
        "opa_println" => Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, at: i32| -> wasmtime::Result<()> {
            tracing::info!(text = text(&mut caller, at)?, "a policy prints");
            Ok(())
        }),
        "opa_builtin0" => {
            Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, id: i32, _: i32| call(&mut caller, id, &[]))
        }
        "opa_builtin1" => {
            Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, id: i32, _: i32, a: i32| call(&mut caller, id, &[a]))
        }
        "opa_builtin2" => Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, id: i32, _: i32, a: i32, b: i32| {
            call(&mut caller, id, &[a, b])
        }),
        "opa_builtin3" => {
            Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, id: i32, _: i32, a: i32, b: i32, c: i32| {
                call(&mut caller, id, &[a, b, c])
            })
        }
        "opa_builtin4" => {
            Func::wrap(&mut *store, |mut caller: Caller<'_, Host>, id: i32, _: i32, a: i32, b: i32, c: i32, d: i32| {
                call(&mut caller, id, &[a, b, c, d])
            })
        }
        other => return Err(OpaError::Import(format!("{other:?} of \"env\""))),
    };
    Ok(function.into())
}

/// Calls a built-in function for the policy. Zero is undefined.
fn call(caller: &mut Caller<'_, Host>, id: i32, arguments: &[i32]) -> wasmtime::Result<i32> {
    let abi = abi(caller)?;
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let at = abi.value_dump.call(&mut *caller, *argument)?;
        texts.push(text(caller, at)?);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let host = caller.data();
    let Some(name) = host.names.get(&id) else { wasmtime::bail!("the policy calls function {id}, which has no name") };
    let builtins = Arc::clone(&host.builtins);
    let answer = builtins.call(name, &texts).map_err(|what| wasmtime::format_err!("{name}: {what}"))?;
    let Some(answer) = answer else { return Ok(0) };
    let length = i32::try_from(answer.len())?;
    let at = abi.malloc.call(&mut *caller, length)?;
    let start = usize::try_from(at.cast_unsigned())?;
    abi.memory.write(&mut *caller, start, answer.as_bytes())?;
    let value = abi.value_parse.call(&mut *caller, (at, length))?;
    if value == 0 {
        wasmtime::bail!("the policy does not understand the answer of function {id}: {answer}");
    }
    Ok(value)
}

fn abi(caller: &Caller<'_, Host>) -> wasmtime::Result<Abi> {
    caller.data().abi.clone().ok_or_else(|| wasmtime::format_err!("the policy calls its host before it is ready"))
}

fn text(caller: &mut Caller<'_, Host>, at: i32) -> wasmtime::Result<String> {
    let memory = match &caller.data().abi {
        Some(abi) => abi.memory,
        None => match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => memory,
            _ => wasmtime::bail!("the policy has no memory"),
        },
    };
    c_string(memory.data(&*caller), at).ok_or_else(|| wasmtime::format_err!("the policy gives a text that has no end"))
}

/// The text at an address, up to its zero byte.
pub(super) fn c_string(memory: &[u8], at: i32) -> Option<String> {
    let from = memory.get(usize::try_from(at.cast_unsigned()).ok()?..)?;
    let end = from.iter().take(TEXT_BYTES_MAX).position(|it| *it == 0)?;
    Some(String::from_utf8_lossy(&from[..end]).into_owned())
}
