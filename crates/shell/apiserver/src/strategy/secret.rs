//! Secrets: `stringData` is write-only and ends up in `data`.

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::meta;
use serde_json::Value;

/// Moves `stringData` into `data`; it wins over what is there.
pub(super) fn merge_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = meta::as_map(secret).remove("stringData") else { return };
    let data = meta::entry(secret, "data");
    for (key, text) in texts {
        let text = text.as_str().unwrap_or_default();
        data.insert(key, STANDARD.encode(text).into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn string_data_wins_and_vanishes() {
        let mut secret = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "hi"}});
        merge_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "aGk=", "b": "eQ=="}}));
    }
}
