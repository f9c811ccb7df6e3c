//! How cells show times, lists, selectors and the like: as kubectl's users know them.

use jiff::Timestamp;
use serde_json::Value;

use crate::{meta, selector::LabelSelector};

/// What stands for an absent value.
pub(super) const NONE: &str = "<none>";

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A duration in at most two units, coarser the longer it is: `95s`, `5m30s`, `3h`, `2d4h`.
pub fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_name: &str, small: i64, small_name: &str| {
        let (whole, rest) = (seconds / big, seconds % big / small);
        if rest == 0 { format!("{whole}{big_name}") } else { format!("{whole}{big_name}{rest}{small_name}") }
    };
    match seconds {
        // Clocks of two machines may differ by a second.
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(DAY, "d", HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// How long ago a time was; `<unknown>` for none.
pub(super) fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".into(), |it| human_duration(now.duration_since(it).as_secs()))
}

/// The time at a path, as long ago.
pub(super) fn since_at(object: &Value, pointer: &str, now: Timestamp) -> String {
    since(meta::time(object.pointer(pointer)), now)
}

/// How long ago the object was made.
pub(super) fn age(object: &Value, now: Timestamp) -> String {
    since(meta::created(object), now)
}

/// A text at a path, empty when absent.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// A text at a path, `<none>` when absent or empty.
pub(super) fn text_or_none<'a>(object: &'a Value, pointer: &str) -> &'a str {
    Some(text(object, pointer)).filter(|it| !it.is_empty()).unwrap_or(NONE)
}

/// An integer at a path, 0 when absent.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// A boolean at a path as Go shows it, false when absent.
pub(super) fn truth(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// A list at a path.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    meta::list(object.pointer(pointer))
}

/// The number of entries of a map at a path.
pub(super) fn entries(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

/// Texts joined by commas, `<none>` when there are none.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let all = texts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(",");
    if all.is_empty() { NONE.into() } else { all }
}

/// The first three texts joined by commas, and how many more there are; `absent` when there are none.
pub(super) fn first_three(texts: &[String], absent: &str) -> String {
    const SHOWN: usize = 3;
    let shown = texts[..texts.len().min(SHOWN)].join(",");
    match texts.len() {
        0 => absent.into(),
        more if more > SHOWN => format!("{shown} + {} more...", more - SHOWN),
        _ => shown,
    }
}

/// A LabelSelector object in query-string form: `<none>` when empty or absent.
pub(super) fn selector(object: &Value, pointer: &str) -> String {
    let selector = object.pointer(pointer).map(LabelSelector::from_value);
    match selector {
        Some(Ok(selector)) if !selector.requirements().is_empty() => selector.to_string(),
        Some(Err(_)) => "<error>".into(),
        _ => NONE.into(),
    }
}

/// A plain map of labels: `a=b,c=d`, `<none>` when empty or absent.
pub(super) fn labels(object: &Value, pointer: &str) -> String {
    let all: Vec<String> =
        meta::strings(object.pointer(pointer)).map(|(key, value)| format!("{key}={value}")).collect();
    if all.is_empty() { NONE.into() } else { all.join(",") }
}

/// Names and images of a pod spec's containers.
pub(super) fn containers(object: &Value, pointer: &str) -> [String; 2] {
    ["name", "image"].map(|field| {
        let all = list(object, pointer).iter().map(|it| it.get(field).and_then(Value::as_str).unwrap_or(""));
        all.collect::<Vec<_>>().join(",")
    })
}

/// The condition of a type in `status.conditions`.
pub(super) fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|it| it["type"] == of_type)
}

/// Whether the condition of a type holds.
pub(super) fn holds(object: &Value, of_type: &str) -> bool {
    condition(object, of_type).is_some_and(|it| it["status"] == "True")
}

/// Access modes of a volume, abbreviated.
pub(super) fn access_modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    list(object, pointer).iter().map(short).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 65, "3h1m"),
            (8 * HOUR, "8h"),
            (47 * HOUR, "47h"),
            (48 * HOUR, "2d"),
            (50 * HOUR, "2d2h"),
            (8 * DAY, "8d"),
            (729 * DAY, "729d"),
            (2 * YEAR, "2y"),
            (3 * YEAR + 2 * DAY, "3y2d"),
            (9 * YEAR + DAY, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let texts: Vec<String> = (1..=5).map(|it| it.to_string()).collect();
        assert_eq!(first_three(&texts, "x"), "1,2,3 + 2 more...");
        assert_eq!(first_three(&texts[..3], "x"), "1,2,3");
        assert_eq!(first_three(&[], "x"), "x");
    }
}
