//! What a version of a definition says of itself: columns, subresources, selectable fields, its schema.

use std::collections::HashSet;

use serde_json::Value;

use super::structural;
use crate::{
    custom::{
        path,
        schema::{Schema, Type},
    },
    status::Cause,
    validate::{at::At, names},
};

/// Most bytes of a deprecation's warning.
const WARNING_MAX: usize = 256;
/// Most fields that selectors may name.
const SELECTABLE_MAX: usize = 8;

pub(super) fn check(version: &At<'_>, causes: &mut Vec<Cause>) {
    let name = version.get("name");
    if name.is_empty() {
        causes.push(name.required(""));
    }
    name.grammar(names::dns1035_label, causes);
    let warning = version.get("deprecationWarning");
    if !warning.is_absent() && !version.get("deprecated").truth() {
        causes.push(warning.invalid("can only be set for deprecated versions"));
    } else if warning.text().len() > WARNING_MAX {
        causes.push(Cause::too_long(&warning.path, WARNING_MAX));
    } else if warning.text().contains(char::is_control) {
        causes.push(warning.invalid("must only contain printable UTF-8 characters; non-printable characters found"));
    }
    let schema = version.at("schema.openAPIV3Schema");
    if schema.is_absent() {
        causes.push(schema.required("schemas are required"));
    } else {
        structural::check(&schema, causes);
    }
    scale(&version.at("subresources.scale"), causes);
    version.get("additionalPrinterColumns").items().for_each(|it| column(&it, causes));
    selectable(&version.get("selectableFields"), schema.value, causes);
}

fn scale(scale: &At<'_>, causes: &mut Vec<Cause>) {
    if scale.is_absent() {
        return;
    }
    for (field, roots, required) in [
        ("specReplicasPath", &["spec"][..], true),
        ("statusReplicasPath", &["status"][..], true),
        ("labelSelectorPath", &["spec", "status"][..], false),
    ] {
        let at = scale.get(field);
        if at.is_empty() {
            if required {
                causes.push(at.required(""));
            }
            continue;
        }
        let under = if roots.len() > 1 { "either .spec or .status".to_owned() } else { format!(".{}", roots[0]) };
        match path::simple(at.text()) {
            None => causes.push(at.invalid("should be a simple json path")),
            Some(segments) if segments.len() < 2 || !roots.contains(&segments[0].as_str()) => {
                causes.push(at.invalid(&format!("should be a json path under {under}")));
            }
            Some(_) => {}
        }
    }
}

fn column(column: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["name", "type", "jsonPath"] {
        if column.get(field).is_empty() {
            causes.push(column.get(field).required(""));
        }
    }
    column.get("type").one_of(&["boolean", "date", "integer", "number", "string"], causes);
    let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    column.get("format").one_of(&formats, causes);
    let at = column.get("jsonPath");
    if !at.is_empty()
        && let Err(why) = path::Path::parse(at.text())
    {
        causes.push(at.invalid(&format!("is an invalid jsonpath: {why}")));
    }
}

fn selectable(fields: &At<'_>, schema: &Value, causes: &mut Vec<Cause>) {
    let count = fields.items().count();
    if count == 0 {
        return;
    }
    if count > SELECTABLE_MAX {
        causes.push(Cause::too_many(&fields.path, count, SELECTABLE_MAX));
    }
    let schema = Schema::parse(schema);
    let mut seen = HashSet::new();
    for it in fields.items() {
        let at = it.get("jsonPath");
        if at.is_empty() {
            causes.push(at.required(""));
            continue;
        }
        if !seen.insert(at.text()) {
            causes.push(at.duplicate());
        }
        let Some(segments) = path::simple(at.text()) else {
            causes.push(at.invalid("is an invalid path: must be a simple json path"));
            continue;
        };
        if segments.first().is_some_and(|it| it == "metadata") {
            causes.push(at.invalid("must not point to fields in metadata"));
            continue;
        }
        let found = segments.iter().try_fold(&schema, |schema, segment| schema.properties.get(segment));
        match found {
            None => causes.push(at.invalid("is an invalid path: does not refer to a valid field")),
            Some(field) if !matches!(field.of_type, Type::String | Type::Boolean | Type::Integer) => {
                causes.push(at.invalid("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."));
            }
            Some(_) => {}
        }
    }
}
