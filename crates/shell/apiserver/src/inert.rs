//! Warnings about kinds that are stored while nothing here acts on them. Entry point: [`warnings`].

use eyot_model::{inert, kinds::Kind};

/// What to tell who writes an object of this kind; nothing when something acts on it, or only a part is written.
pub(crate) fn warnings(kind: &Kind, verb: &str, subresource: Option<&str>) -> Vec<String> {
    let writes = matches!(verb, "create" | "update" | "patch") && subresource.is_none();
    inert::warning(kind).filter(|_| writes).into_iter().collect()
}
