//! Semantic versions.

use serde_json::Value;

use super::{Call, Function, SearchError, function};
use crate::version::{self, Version};

pub(super) const TABLE: &[Function] = &[function("semver_compare", 2, compare)];

fn compare(call: &Call<'_>) -> Result<Value, SearchError> {
    let text = call.text(0)?;
    let version = Version::parse(text).ok_or_else(|| call.fails(format!("{text:?} is no version")))?;
    version::in_range(&version, call.text(1)?).map(Value::Bool).map_err(|it| call.fails(it))
}
