//! YAML into JSON values. Entry points: [`parse`], [`documents`].

use serde_json::Value;

/// One document.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|it| it.to_string())
}

/// All documents that are not empty.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|it| it.to_string())?;
    Ok(all.into_iter().filter(|it| !it.is_null()).collect())
}
