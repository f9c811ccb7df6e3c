//! Fields that the tables mark as required.

use serde_json::Value;

use crate::{
    kinds::Kind,
    schema::{Field, Shape, root},
    status::Cause,
};

/// Fields that the tables mark as required only because Go always writes them: their zero value is fine.
const ZERO_IS_FINE: &[&str] = &[
    "attachRequired",
    "drivers",
    "endpoints",
    "group",
    "jobTemplate",
    "lastTransitionTime",
    "message",
    "metadata",
    "podSelector",
    "preference",
    "reason",
    "revision",
    "rules",
    "source",
    "template",
    "value",
    "verbs",
];

pub(super) fn check(kind: &Kind, object: &Value, named: bool, causes: &mut Vec<Cause>) {
    let Some(shape) = root(kind) else { return };
    let strict = kind.group == "gateway.networking.k8s.io";
    Walk { strict, named, top: true, causes }.value(&shape, object, "");
}

struct Walk<'a> {
    /// Whether only absence counts, as for kinds that Kubernetes defines by schema; else empty text does too.
    strict: bool,
    /// Whether paths are kept.
    named: bool,
    /// Whether the walk is at the object itself.
    top: bool,
    causes: &'a mut Vec<Cause>,
}

impl Walk<'_> {
    fn value(&mut self, shape: &Shape, value: &Value, path: &str) {
        match (shape, value) {
            (Shape::Object(_), Value::Object(map)) => {
                let top = std::mem::take(&mut self.top);
                for field in shape.definition().map_or(&[][..], |it| &it.fields) {
                    // Status is the server's and its controllers'; metadata has its own checks.
                    if !(top && matches!(field.name, "status" | "metadata")) {
                        self.field(field, map.get(field.name), path);
                    }
                }
            }
            (Shape::List(item), Value::Array(list)) => {
                for (i, it) in list.iter().enumerate() {
                    let path = if self.named { format!("{path}[{i}]") } else { String::new() };
                    self.value(item, it, &path);
                }
            }
            (Shape::Map(item), Value::Object(map)) => {
                for (key, it) in map {
                    let path = if self.named { format!("{path}[{key}]") } else { String::new() };
                    self.value(item, it, &path);
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, field: &Field, value: Option<&Value>, path: &str) {
        let dot = if path.is_empty() { "" } else { "." };
        let named = self.named;
        let at = || if named { format!("{path}{dot}{}", field.name) } else { String::new() };
        let lenient = !self.strict && ZERO_IS_FINE.contains(&field.name);
        match value {
            None | Some(Value::Null) if field.required && !lenient => self.causes.push(Cause::required(at(), "")),
            Some(Value::String(text)) if field.required && text.is_empty() && !self.strict && !lenient => {
                self.causes.push(Cause::required(at(), ""));
            }
            Some(value) => self.value(&field.shape, value, &at()),
            None => {}
        }
    }
}
