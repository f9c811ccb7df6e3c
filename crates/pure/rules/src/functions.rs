//! Functions beside those of the libraries: the charges, and bounded forms of what could grow without bound.

use std::{collections::HashMap, sync::Arc};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, ExecutionError, Value,
        objects::{Key, Map, Opaque, OptionalValue},
    },
};

use crate::{
    authorize,
    budget::{self, Excess, MADE_BYTES_MAX, MADE_DEPTH_MAX},
    convert, expand, frame, numbers, quantities, regexes, semver, strings, text,
};

/// Charges a round of a loop.
pub(crate) const CHARGE: &str = "@charge";
/// Charges what is quadratic.
pub(crate) const CHARGE_SQUARE: &str = "@charge_square";
/// `@grown(value)`: the value, once it is charged for.
pub(crate) const GROWN: &str = "@grown";
/// Most items of a list that a function makes out of nothing.
const RANGE_MAX: i64 = 100_000;

/// Functions whose work is quadratic in their input, beside those of `sets`.
pub(crate) const QUADRATIC: [&str; 1] = ["distinct"];

/// Names of functions and methods, those of libraries with their prefix.
pub(crate) const KNOWN: &str = " add all asApproximateFloat asInteger base64.decode base64.encode bool bytes charAt \
    cidr compareTo contains containsCIDR containsIP distinct double duration dyn endsWith exists exists_one existsOne \
    family filter find findAll first flatten format format.byte format.date format.datetime format.dns1035Label \
    format.dns1035LabelPrefix format.dns1123Label format.dns1123LabelPrefix format.dns1123Subdomain \
    format.dns1123SubdomainPrefix format.labelValue format.named format.qualifiedName format.uri format.uuid getDate \
    getDayOfMonth getDayOfWeek getDayOfYear getEscapedPath getFullYear getHost getHostname getHours getMilliseconds \
    getMinutes getMonth getPort getQuery getScheme getSeconds has hasValue indexOf int ip ip.isCanonical isCIDR isCIDRv4 \
    isCIDRv6 isGlobalUnicast isGreaterThan isIP isIPv4 isIPv6 isInteger isLessThan isLinkLocalMulticast \
    isLinkLocalUnicast isLoopback isQuantity isSorted isURL isUnspecified join jsonpatch.escapeKey last \
    lastIndexOf lists.range lowerAscii map masked matches math.abs math.bitAnd math.bitNot math.bitOr \
    math.bitShiftLeft math.bitShiftRight math.bitXor math.ceil math.floor math.greatest math.isFinite math.isInf \
    math.isNaN math.least math.round math.sign math.sqrt math.trunc max min optional.none optional.of \
    optional.ofNonZeroValue or orValue prefixLength quantity replace reverse sets.contains \
    sets.equivalent sets.intersects sign size slice sort split startsWith string strings.quote sub substring sum \
    timestamp trim type uint upperAscii url validate value ";

/// A context with every function; variables come in scopes on top of it.
pub(crate) fn context() -> Context<'static> {
    let mut context = Context::default().with_all();
    context.add_function(CHARGE, charge);
    context.add_function(CHARGE_SQUARE, charge_square);
    context.add_function(GROWN, grown);
    context.add_function("lists.range", range);
    context.add_function(expand::OPT_SELECT, select);
    context.add_function(expand::BOX, |value: Value| Ok::<_, ExecutionError>(Value::Opaque(Arc::new(Boxed(value)))));
    context.add_function(expand::UNBOX, unbox);
    context.add_function("bool", to_bool);
    context.add_function("string", text::to_text);
    context.add_function("type", |value: Value| Ok::<_, ExecutionError>(Value::from(type_of(&value))));
    context.add_function(expand::KEYS, keys);
    context.add_function(expand::ENTRIES, entries);
    context.add_function(expand::MERGE, merge);
    authorize::register(&mut context);
    strings::register(&mut context);
    quantities::register(&mut context);
    semver::register(&mut context);
    frame::register(&mut context);
    numbers::register(&mut context);
    regexes::register(&mut context);
    context
}

/// The optional field of a value, or of an optional one.
fn select(value: Value, key: Value) -> Result<Value, ExecutionError> {
    let inner = match &value {
        Value::Opaque(it) => match it.downcast_ref::<OptionalValue>() {
            Some(optional) => optional.value().cloned(),
            None => return Err(ExecutionError::NoSuchOverload),
        },
        _ => Some(value),
    };
    let found = match (inner, numbers::key(key)) {
        (None | Some(Value::Null), _) => None,
        (Some(Value::Map(map)), key) => {
            let key: Key = key.try_into().map_err(|_| ExecutionError::NoSuchOverload)?;
            map.get(&key).cloned()
        }
        (Some(Value::List(list)), Value::Int(at)) => usize::try_from(at).ok().and_then(|at| list.get(at).cloned()),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(Value::Opaque(Arc::new(found.map_or_else(OptionalValue::none, OptionalValue::of))))
}

/// A value that copies as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Boxed(Value);

impl Opaque for Boxed {
    fn runtime_type_name(&self) -> &str {
        "box"
    }
}

fn unbox(value: Value) -> Result<Value, ExecutionError> {
    match &value {
        Value::Opaque(it) => it.downcast_ref::<Boxed>().map(|it| it.0.clone()).ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn to_bool(value: Value) -> Result<Value, ExecutionError> {
    match &value {
        Value::Bool(_) => Ok(value),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(ExecutionError::function_error("bool", format!("{other:?} is neither true nor false"))),
        },
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// The name of a value's type; types are compared by their names.
fn type_of(value: &Value) -> &str {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Function(..) => "function",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Opaque(it) => it.runtime_type_name(),
        Value::Null => "null_type",
    }
}

/// What a loop of two variables goes over.
fn keys(value: Value) -> Result<Value, ExecutionError> {
    match value {
        Value::List(list) => Ok(Value::List(Arc::new((0..list.len()).map(|it| Value::Int(it as i64)).collect()))),
        Value::Map(map) => Ok(Value::List(Arc::new(map.map.keys().map(Value::from).collect()))),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// A map of pairs.
fn entries(pairs: Arc<Vec<Value>>) -> Result<Value, ExecutionError> {
    let mut map = HashMap::new();
    for pair in pairs.iter() {
        let Value::List(pair) = pair else { return Err(ExecutionError::NoSuchOverload) };
        let [key, value] = pair.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
        let key: Key = numbers::key(key.clone()).try_into().map_err(|_| ExecutionError::NoSuchOverload)?;
        map.insert(key, value.clone());
    }
    Ok(Value::Map(Map { map: Arc::new(map) }))
}

/// One map of several.
fn merge(maps: Arc<Vec<Value>>) -> Result<Value, ExecutionError> {
    let mut merged = HashMap::new();
    for map in maps.iter() {
        let Value::Map(map) = map else { return Err(ExecutionError::NoSuchOverload) };
        for (key, value) in map.map.iter() {
            if merged.insert(key.clone(), value.clone()).is_some() {
                return Err(ExecutionError::function_error(
                    "transformMapEntry",
                    format!("insert failed: key {key} already exists"),
                ));
            }
        }
    }
    Ok(Value::Map(Map { map: Arc::new(merged) }))
}

fn charge(nodes: i64) -> Result<Value, ExecutionError> {
    if budget::charge(nodes) { Ok(Value::Bool(true)) } else { Err(exceeded()) }
}

fn charge_square() -> Result<Value, ExecutionError> {
    if budget::charge_square() { Ok(Value::Bool(true)) } else { Err(exceeded()) }
}

fn grown(value: Value) -> Result<Value, ExecutionError> {
    // Numbers and times do not grow.
    if !matches!(value, Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) {
        return Ok(value);
    }
    match budget::charge_made(|room| convert::take(&value, room)) {
        Ok(()) => Ok(value),
        Err(Excess::Cost) => Err(exceeded()),
        Err(Excess::Size) => {
            let why = format!(
                "the value would take more than {MADE_BYTES_MAX} bytes, or be nested more than {MADE_DEPTH_MAX} levels deep"
            );
            Err(ExecutionError::function_error("size", why))
        }
    }
}

fn exceeded() -> ExecutionError {
    ExecutionError::function_error("cost", "operation cancelled: actual cost limit exceeded")
}

fn range(end: i64) -> Result<Value, ExecutionError> {
    if end > RANGE_MAX {
        return Err(ExecutionError::function_error("range", format!("more than {RANGE_MAX} items")));
    }
    Ok(Value::List(Arc::new((0..end).map(Value::Int).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{budget::Budget, program::Program};

    /// Names that the parser, or [`expand`], turns into something else.
    const MACROS: [&str; 8] = ["all", "dyn", "exists", "exists_one", "existsOne", "filter", "has", "map"];

    #[test]
    fn every_function_that_compiles_is_there() {
        let names = [KNOWN, authorize::KNOWN, semver::KNOWN].into_iter().flat_map(str::split_whitespace);
        let missing = names.filter(|it| !MACROS.contains(it)).filter(|name| {
            let Ok(program) = Program::compile(&format!("{name}()"), &[]) else { return false };
            let error = program.run(&[], 0, &mut Budget::new(1000)).err().map(|it| it.to_string());
            error.is_some_and(|it| it.contains("ndeclared reference"))
        });
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn types_are_compared_and_forgotten() {
        for text in [
            "type(1) == int && type('a') == string && type([1]) == list && type({}) != list && type(null) == null_type",
            "dyn(1) == 1 && bool('true') && !bool(dyn('false')) && type(type(1)) == string",
        ] {
            let program = Program::compile(text, &[]).unwrap_or_else(|it| panic!("{text}: {it}"));
            assert_eq!(program.run(&[], 0, &mut Budget::new(1000)), Ok(Value::Bool(true)), "{text}");
        }
    }
}
