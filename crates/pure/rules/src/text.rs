//! `string(…)`: values as the texts that CEL makes of them. Entry point: [`to_text`].

use kube_cel::cel::{ExecutionError, Value};

/// The text of a value.
pub(crate) fn to_text(value: Value) -> Result<Value, ExecutionError> {
    let text = match &value {
        Value::String(_) => return Ok(value),
        Value::Bool(it) => it.to_string(),
        Value::Int(it) => it.to_string(),
        Value::UInt(it) => it.to_string(),
        Value::Float(it) => number(*it),
        Value::Timestamp(it) => moment(&it.to_rfc3339()),
        Value::Duration(it) => {
            let nanos = it.num_nanoseconds().unwrap_or(i64::MAX);
            format!("{}s", decimal(nanos))
        }
        Value::Bytes(it) => match std::str::from_utf8(it.as_slice()) {
            Ok(it) => it.to_owned(),
            Err(_) => return Err(ExecutionError::function_error("string", "the bytes are no text".to_owned())),
        },
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(Value::String(std::sync::Arc::new(text)))
}

/// A number with as few digits as say which one it is, large and small ones with an exponent.
fn number(it: f64) -> String {
    /// From this exponent on the number is not written out.
    const PLAIN_MAX: i32 = 6;
    if it.is_nan() {
        return "NaN".to_owned();
    }
    if it.is_infinite() {
        return if it > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{it:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..PLAIN_MAX).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{it}")
}

/// A moment, in UTC with `Z`, without zeros at the end of its fraction.
fn moment(text: &str) -> String {
    let (time, zone) = match text.strip_suffix("+00:00") {
        Some(time) => (time, "Z"),
        None => text.split_at(text.len().saturating_sub(6)),
    };
    match time.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{whole}{zone}"),
            fraction => format!("{whole}.{fraction}{zone}"),
        },
        None => format!("{time}{zone}"),
    }
}

/// Seconds of nanoseconds.
fn decimal(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    match format!("{rest:09}").trim_end_matches('0') {
        "" => format!("{sign}{seconds}"),
        fraction => format!("{sign}{seconds}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (it, wanted) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-2.0, "-2"),
            (100000.0, "100000"),
            (1e6, "1e+06"),
            (123456789.5, "1.234567895e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(number(it), wanted);
        }
    }

    #[test]
    fn moments_and_durations_end_without_zeros() {
        assert_eq!(moment("2024-01-01T00:00:00+00:00"), "2024-01-01T00:00:00Z");
        assert_eq!(moment("2024-01-01T00:00:00.500+02:00"), "2024-01-01T00:00:00.5+02:00");
        assert_eq!((decimal(3_600_000_000_000), decimal(-1_500_000_000)), ("3600".to_owned(), "-1.5".to_owned()));
    }
}
