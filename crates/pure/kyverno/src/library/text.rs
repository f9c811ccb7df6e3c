//! Values from values: digests, JSON and YAML, times, chance, service accounts.
//!
//! What JMESPath in Kyverno's dialect has too is asked of it.

use eyot_rules::{
    cel::{
        Context, ExecutionError, Value,
        extractors::{Arguments, This},
        objects::OptionalValue,
    },
    json, timestamp, to_json,
};
use serde_json::{Map, Value as Json, json as made};

use super::{Made, asked, fails, texts};
use crate::{jmespath::Expression, yaml};

/// Most bytes of a text that is read.
const TEXT_BYTES_MAX: usize = 1 << 20;

pub(super) fn register(context: &mut Context<'static>) {
    for prefix in ["", "hash."] {
        for (name, expression) in [("md5", "md5(@)"), ("sha1", "sha1(@)"), ("sha256", "sha256(@)")] {
            context.add_function(&format!("{prefix}{name}"), move |it: Arguments| {
                let [text] = texts(&it)?;
                jmespath(name, expression, text.into())
            });
        }
    }
    for prefix in ["", "random."] {
        context.add_function(&format!("{prefix}random"), |it: Arguments| {
            let pattern = if it.0.is_empty() { "[0-9a-z]{8}" } else { texts::<1>(&it)?[0] };
            jmespath("random", "random(@)", pattern.into())
        });
    }
    for prefix in ["", "transform."] {
        context.add_function(&format!("{prefix}listObjToMap"), |it: Arguments| lists_to_map(&it.0));
    }
    for prefix in ["", "user."] {
        context.add_function(&format!("{prefix}parseServiceAccount"), service_account);
    }
    context.add_function("time.now", now);
    context.add_function("time.toCron", |it: Arguments| jmespath("toCron", "time_to_cron(@)", first(&it)?));
    context.add_function("time.truncate", truncate);
    context.add_function("json.marshal", |it: Arguments| first(&it).map(|it| Value::from(it.to_string())));
    context.add_function("json.unmarshal", |it: Arguments| {
        read("unmarshal", &it, |text| serde_json::from_str(text).map_err(|it| it.to_string()))
    });
    context.add_function("yaml.parse", |it: Arguments| read("parse", &it, yaml::parse));
    context.add_function("math.round", round);
}

/// Kyverno lets `orValue` stand behind what is not optional.
pub(super) fn or_value(This(this): This<Value>, Arguments(arguments): Arguments) -> Made {
    let [other] = arguments.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
    let optional = match &this {
        Value::Opaque(it) => it.downcast_ref::<OptionalValue>(),
        _ => None,
    };
    Ok(optional.map_or(this.clone(), |it| it.value().unwrap_or(other).clone()))
}

fn jmespath(function: &str, expression: &str, value: Json) -> Made {
    let host = asked(function)?;
    let expression = Expression::compile(expression).map_err(|it| fails(function, it))?;
    let found = expression.search(&value, &host.env).map_err(|it| fails(function, it))?;
    Ok(json(&found))
}

fn first(arguments: &Arguments) -> Result<Json, ExecutionError> {
    match arguments.0.as_slice() {
        [it] => to_json(it).ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn read(function: &str, arguments: &Arguments, parse: impl Fn(&str) -> Result<Json, String>) -> Made {
    let [text] = texts(arguments)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(fails(function, format!("the text has more than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(json(&parse(text).map_err(|it| fails(function, it))?))
}

fn now() -> Made {
    let host = asked("time.now")?;
    timestamp(&host.env.now.to_string()).ok_or(ExecutionError::NoSuchOverload)
}

fn truncate(Arguments(arguments): Arguments) -> Made {
    let [time @ Value::Timestamp(_), span @ Value::Duration(_)] = arguments.as_slice() else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let both = Json::Array([time, span].into_iter().filter_map(to_json).collect());
    let cut = jmespath("truncate", "time_truncate(@[0], @[1])", both)?;
    super::as_text(&cut).and_then(timestamp).ok_or(ExecutionError::NoSuchOverload)
}

fn service_account(arguments: Arguments) -> Made {
    let [user] = texts(&arguments)?;
    let account = user.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':'));
    let (namespace, name) = account.unwrap_or_default();
    Ok(json(&made!({"Namespace": namespace, "Name": name})))
}

/// `round(number)`, and to some digits behind the point.
fn round(Arguments(arguments): Arguments) -> Made {
    let number = match arguments.first() {
        Some(Value::Float(it)) => *it,
        Some(Value::Int(it)) => *it as f64,
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    match arguments.get(1) {
        None => Ok(Value::Float(number.round())),
        Some(Value::Int(digits)) => {
            let shift = 10f64.powi(i32::try_from(*digits).unwrap_or(0).clamp(-300, 300));
            Ok(Value::Float((number * shift).round() / shift))
        }
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// Keys out of the objects of one list, values out of those of another at the same places.
fn lists_to_map(arguments: &[Value]) -> Made {
    const NAME: &str = "listObjToMap";
    let [Value::List(keys), Value::List(values), Value::String(key), Value::String(value)] = arguments else {
        return Err(ExecutionError::NoSuchOverload);
    };
    if keys.len() != values.len() {
        let (one, two) = (keys.len(), values.len());
        return Err(fails(NAME, format!("must take lists of equal length. list1: {one}, list2: {two}")));
    }
    let mut all = Map::new();
    for (one, two) in keys.iter().zip(values.iter()) {
        let (one, two) = (to_json(one).unwrap_or_default(), to_json(two).unwrap_or_default());
        let name = one[key.as_str()].as_str().ok_or_else(|| fails(NAME, "a key is no text"))?;
        all.insert(name.to_owned(), two[value.as_str()].clone());
    }
    Ok(json(&Json::Object(all)))
}
