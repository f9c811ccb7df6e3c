//! What a definition and its kind may be called.

use crate::{
    status::Cause,
    validate::{
        at::At,
        names::{self, Check},
    },
};

pub(super) fn check(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (spec, name) = (object.get("spec"), object.at("metadata.name"));
    let wanted = format!("{}.{}", spec.at("names.plural").text(), spec.get("group").text());
    if name.text() != wanted {
        causes.push(name.invalid("must be spec.names.plural+\".\"+spec.group"));
    }
    let names = spec.get("names");
    for field in ["plural", "kind"] {
        if names.get(field).is_empty() {
            causes.push(names.get(field).required(""));
        }
    }
    for field in ["plural", "singular"] {
        names.get(field).grammar(names::dns1035_label, causes);
    }
    for list in ["shortNames", "categories"] {
        names.get(list).items().for_each(|it| it.grammar(names::dns1035_label, causes));
    }
    for field in ["kind", "listKind"] {
        names.get(field).grammar(mixed_case, causes);
    }
    let (kind, list) = (names.get("kind"), names.get("listKind"));
    if !kind.is_empty() && kind.text() == list.text() {
        causes.push(list.invalid("kind and listKind may not be the same"));
    }
}

fn mixed_case(text: &str) -> Check {
    names::dns1035_label(&text.to_lowercase())
        .map_err(|why| format!("may have mixed case, but should otherwise match: {why}"))
}
