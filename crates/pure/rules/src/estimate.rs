//! What a rule of a schema may cost at least, when everything is as large as a request may be. Entry points:
//! [`rounds`], [`Share`].
//!
//! Only rounds of loops are counted, each as one unit. Kubernetes counts more, so that what is refused here is refused
//! there; what is let through is measured when it runs.

use eyot_model::custom::schema::{Additional, Schema, Type};
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use crate::convert::escape;

/// What one rule may cost, in Kubernetes' units.
pub(crate) const LIMIT: f64 = 10_000_000.0;
/// Bytes of the largest object.
const REQUEST_BYTES: f64 = 3_145_728.0;

/// How often a place of a schema may occur in one object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Share {
    /// At most so often.
    Times(f64),
    /// As often as there is room for.
    Unbounded,
}

impl Share {
    /// The root's.
    pub(crate) const ONE: Share = Share::Times(1.0);

    /// That of the parts of a list or map at such a place.
    pub(crate) fn of_parts(self, max: Option<usize>) -> Share {
        match (self, max) {
            (Share::Times(times), Some(max)) => Share::Times(times * max as f64),
            _ => Share::Unbounded,
        }
    }

    /// How often a value of this schema may occur.
    pub(crate) fn times(self, schema: &Schema) -> f64 {
        match self {
            Share::Times(times) => times,
            Share::Unbounded => (REQUEST_BYTES / (least_bytes(schema) + 1.0)).floor(),
        }
    }
}

/// The rounds of an expression's loops, nested ones multiplied. `names` are the variables that schemas describe.
pub(crate) fn rounds(expression: &IdedExpr, names: &[(&str, &Schema)]) -> f64 {
    Walk { names: names.iter().map(|it| (it.0.to_owned(), Some(it.1))).collect() }.of(expression)
}

/// How much a rule exceeds the limit, in Kubernetes' words; `None` when it does not.
pub(crate) fn excess(cost: f64) -> Option<String> {
    let factor = cost / LIMIT;
    let times = match factor {
        it if it <= 1.0 => return None,
        it if it > 100.0 => "more than 100x".to_owned(),
        it if it < 1.5 => format!("{it:.6}x"),
        it => format!("{it:.1}x"),
    };
    Some(format!(
        "estimated rule cost exceeds budget by factor of {times} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)"
    ))
}

struct Walk<'s> {
    names: Vec<(String, Option<&'s Schema>)>,
}

impl<'s> Walk<'s> {
    fn of(&mut self, expression: &IdedExpr) -> f64 {
        match &expression.expr {
            Expr::Comprehension(it) => {
                let before = self.of(&it.iter_range) + self.of(&it.accu_init);
                let range = self.schema_of(&it.iter_range);
                let outer = self.names.len();
                self.names.push((it.accu_var.clone(), None));
                let after = self.of(&it.result);
                self.names.push((it.iter_var.clone(), range.and_then(element)));
                let body = self.of(&it.loop_cond) + self.of(&it.loop_step);
                self.names.truncate(outer);
                before + after + range.map_or(0.0, most_parts) * body.max(1.0)
            }
            Expr::Call(call) => {
                let target = call.target.as_deref().map_or(0.0, |it| self.of(it));
                target + call.args.iter().map(|it| self.of(it)).sum::<f64>()
            }
            Expr::List(list) => list.elements.iter().map(|it| self.of(it)).sum(),
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(it) => self.of(&it.key) + self.of(&it.value),
                    EntryExpr::StructField(it) => self.of(&it.value),
                });
                entries.sum()
            }
            Expr::Select(select) => self.of(&select.operand),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => 0.0,
        }
    }

    /// The schema of an expression's value, as far as names and fields lead.
    fn schema_of(&self, expression: &IdedExpr) -> Option<&'s Schema> {
        match &expression.expr {
            Expr::Ident(name) => self.names.iter().rev().find(|it| it.0 == *name)?.1,
            Expr::Select(select) => field(self.schema_of(&select.operand)?, &select.field),
            // Fields are looked up by their names.
            Expr::Call(call) if call.func_name == "_[_]" => match call.args.as_slice() {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                    field(self.schema_of(of)?, name.inner())
                }
                [of, _] => element(self.schema_of(of)?),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The schema of a field, under its own name or as an identifier, or of what a map has under that name.
fn field<'s>(schema: &'s Schema, name: &str) -> Option<&'s Schema> {
    let found = schema.properties.iter().find(|it| it.0 == name || escape(it.0) == name);
    found.map(|it| it.1).or_else(|| element(schema))
}

/// The schema of a list's items, or of a map's values.
fn element(schema: &Schema) -> Option<&Schema> {
    match (&schema.items, &schema.additional) {
        (Some(items), _) => Some(items),
        (None, Additional::Schema(values)) => Some(values),
        _ => None,
    }
}

/// How many parts a list or map may have.
fn most_parts(schema: &Schema) -> f64 {
    let (stated, each) = match (&schema.items, &schema.additional) {
        (Some(items), _) => (schema.values.as_ref().and_then(|it| it.max_items), least_bytes(items) + 1.0),
        // A key takes quotes, a colon and a comma beside the value.
        (None, Additional::Schema(values)) => {
            (schema.values.as_ref().and_then(|it| it.max_properties), least_bytes(values) + 6.0)
        }
        _ => return 0.0,
    };
    stated.map_or_else(|| ((REQUEST_BYTES - 2.0) / each).floor(), |it| it as f64)
}

/// Bytes of the shortest value as JSON.
fn least_bytes(schema: &Schema) -> f64 {
    match schema.of_type {
        Type::Boolean => 4.0,
        Type::String | Type::Array => 2.0,
        Type::Object => {
            let required = schema.values.as_ref().map_or(&[][..], |it| it.required.as_slice());
            let parts = required.iter().filter_map(|name| Some((name, schema.properties.get(name)?)));
            let parts = parts.filter(|it| it.1.default.is_none());
            2.0 + parts.map(|(name, it)| name.len() as f64 + 4.0 + least_bytes(it)).sum::<f64>()
        }
        Type::Any | Type::Integer | Type::Number => 1.0,
    }
}
