//! What chainsaw expects of values: parts of them, and expressions about them.

use eyot_kyverno::jmespath::{Env, Expression};
use serde_json::Value;

/// The value of an expression; `$name` stands for a field of the value.
fn evaluated(expression: &str, about: &Value) -> Option<Value> {
    let expression = expression.replace('$', "");
    let env = Env::new(jiff::Timestamp::now(), 1);
    // Chainsaw has a function of its own for this.
    if let Some(inner) = expression.strip_prefix("trim_space(").and_then(|it| it.strip_suffix(')')) {
        return Some(about[inner].as_str().unwrap_or_default().trim().into());
    }
    if let Some(negated) = expression.strip_suffix(" != null").or_else(|| expression.strip_suffix(" != `null`")) {
        let found = Expression::compile(negated).ok()?.search(about, &env).map(|it| it.into_owned());
        return Some((!found.unwrap_or_default().is_null()).into());
    }
    let compiled = Expression::compile(&expression).ok()?;
    Some(compiled.search(about, &env).map(|it| it.into_owned()).unwrap_or_default())
}

/// Where a value is not as wanted. Keys in parentheses are expressions.
pub(crate) fn difference(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), found) => wanted.iter().find_map(|(key, wanted)| {
            if let Some(expression) = key.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
                let Some(value) = evaluated(expression, found) else {
                    return Some(format!("{path}: the expression {expression} is not understood"));
                };
                return difference(wanted, &value, &format!("{path}.{key}"));
            }
            difference(wanted, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(at, (wanted, found))| difference(wanted, found, &format!("{path}[{at}]")))
        }
        (wanted, found) if wanted == found => None,
        (Value::Number(one), Value::Number(two)) if one.as_f64() == two.as_f64() => None,
        _ => Some(format!("{path} is {found}, not {wanted}")),
    }
}
