//! What types an expression's parts have, as far as schemas tell. Entry point: [`check`].
//!
//! Only what is certainly wrong is told: fields that an object does not have, operands that never fit. What nothing is
//! known of fits everywhere.

use std::fmt::{self, Display, Formatter};

use eyot_model::{
    custom::schema::{self as structural, Additional, Schema},
    kinds::Kind,
    schema::{self as table, Definition, Shape},
};
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue};

use crate::{convert::unescape, expand, program::parse};

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Type<'s> {
    /// Nothing is known.
    Dyn,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A whole number that is not negative.
    Uint,
    /// A number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A moment.
    Timestamp,
    /// A span of time.
    Duration,
    /// Null.
    Null,
    /// A list.
    List(Box<Type<'s>>),
    /// A map from texts.
    Map(Box<Type<'s>>),
    /// An object of a built-in kind, or a part of one.
    Object(&'static Definition),
    /// An object of a custom kind, or a part of one; `true` where it is a whole object.
    Custom(Part<'s>),
}

/// A part of a custom object.
#[derive(Clone, Copy, Debug)]
pub struct Part<'s> {
    schema: &'s Schema,
    /// Whether it has the metadata that all objects have.
    whole: bool,
}

impl PartialEq for Part<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema)
    }
}

impl Display for Type<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Null => f.write_str("null"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(item) => write!(f, "map(string, {item})"),
            Type::Object(definition) => f.write_str(definition.name),
            Type::Custom(_) => f.write_str("object"),
        }
    }
}

impl<'s> Type<'s> {
    /// The type of a kind's objects.
    pub fn of(kind: &'s Kind) -> Type<'s> {
        match &kind.custom {
            Some(custom) => Type::Custom(Part { schema: custom.schema(), whole: true }),
            None => table::root(kind).map_or(Type::Dyn, |it| Type::of_shape(&it)),
        }
    }

    fn of_shape(shape: &Shape) -> Type<'s> {
        match shape {
            Shape::Any | Shape::IntOrText => Type::Dyn,
            Shape::Text | Shape::Quantity => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Time | Shape::MicroTime => Type::Timestamp,
            Shape::Bool => Type::Bool,
            Shape::Int32 | Shape::Int64 => Type::Int,
            Shape::Double => Type::Double,
            Shape::Object(_) => shape.definition().map_or(Type::Dyn, Type::Object),
            Shape::List(item) => Type::List(Box::new(Type::of_shape(item))),
            Shape::Map(item) => Type::Map(Box::new(Type::of_shape(item))),
        }
    }

    fn of_schema(schema: &'s Schema) -> Type<'s> {
        if schema.preserve_unknown && schema.properties.is_empty() {
            return Type::Dyn;
        }
        match schema.of_type {
            structural::Type::Object => match &schema.additional {
                Additional::Schema(item) => Type::Map(Box::new(Type::of_schema(item))),
                _ => Type::Custom(Part { schema, whole: schema.embedded }),
            },
            structural::Type::Array => Type::List(Box::new(schema.items.as_deref().map_or(Type::Dyn, Type::of_schema))),
            structural::Type::Boolean => Type::Bool,
            structural::Type::Integer => Type::Int,
            structural::Type::Number => Type::Double,
            structural::Type::String => match schema.values.as_ref().map_or("", |it| it.format.as_str()) {
                "byte" => Type::Bytes,
                "date" | "date-time" | "datetime" => Type::Timestamp,
                "duration" => Type::Duration,
                _ => Type::String,
            },
            _ => Type::Dyn,
        }
    }

    /// The type of a field.
    fn field(&self, name: &str) -> Result<Type<'s>, String> {
        let undefined = || Err(format!("undefined field '{name}'"));
        match self {
            Type::Dyn => Ok(Type::Dyn),
            Type::Map(item) => Ok((**item).clone()),
            Type::Object(definition) => {
                let plain = unescape(name);
                let found = definition.fields.iter().find(|it| it.name == name || it.name == plain);
                found.map_or_else(undefined, |it| Ok(Type::of_shape(&it.shape)))
            }
            Type::Custom(Part { schema, whole }) => {
                let found = schema.properties.get(name).or_else(|| schema.properties.get(&unescape(name)));
                match (found, name) {
                    (_, "metadata") if *whole => Ok(metadata()),
                    (_, "apiVersion" | "kind") if *whole => Ok(Type::String),
                    (Some(found), _) => Ok(Type::of_schema(found)),
                    (None, _) if schema.preserve_unknown || schema.additional != Additional::Absent => Ok(Type::Dyn),
                    (None, _) => undefined(),
                }
            }
            other => Err(format!("type '{other}' does not support field selection")),
        }
    }

    /// The type of what a loop goes over.
    fn element(&self) -> Type<'s> {
        match self {
            Type::List(item) => (**item).clone(),
            Type::Map(_) => Type::String,
            _ => Type::Dyn,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Double)
    }

    /// Whether values of the two can be the same.
    fn may_equal(&self, other: &Type<'_>) -> bool {
        match (self, other) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => a.may_equal(b),
            // Written maps are compared with objects, and objects may be absent.
            (Type::Map(_) | Type::Null | Type::Object(_) | Type::Custom(_), Type::Object(_) | Type::Custom(_))
            | (Type::Object(_) | Type::Custom(_), Type::Map(_) | Type::Null) => true,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

/// The metadata of every object.
fn metadata<'s>() -> Type<'s> {
    let maps = table::root_of("", "v1", "ConfigMap").map_or(Type::Dyn, |it| Type::of_shape(&it));
    maps.field("metadata").unwrap_or(Type::Dyn)
}

/// The type of an expression, given the types of the names that it may use; `variables` stand behind `variables.`.
///
/// # Errors
/// The first thing that is certainly wrong.
pub fn check<'s>(text: &str, names: &[(&str, Type<'s>)], variables: &[(String, Type<'s>)]) -> Result<Type<'s>, String> {
    let mut expression = parse(text).map_err(|it| it.0)?;
    expand::expand(&mut expression, true)?;
    let scope = names.iter().map(|it| (it.0.to_owned(), it.1.clone())).collect();
    Walk { scope, variables }.of(&expression)
}

struct Walk<'s, 'v> {
    scope: Vec<(String, Type<'s>)>,
    variables: &'v [(String, Type<'s>)],
}

impl<'s> Walk<'s, '_> {
    fn of(&mut self, expression: &IdedExpr) -> Result<Type<'s>, String> {
        Ok(match &expression.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            },
            Expr::Ident(name) => self.scope.iter().rev().find(|it| it.0 == *name).map_or(Type::Dyn, |it| it.1.clone()),
            Expr::Select(select) => {
                let of_variables = matches!(&select.operand.expr, Expr::Ident(name) if name == "variables");
                if of_variables && !self.scope.iter().any(|it| it.0 == "variables") {
                    let found = self.variables.iter().find(|it| it.0 == select.field);
                    return Ok(found.map_or(Type::Dyn, |it| it.1.clone()));
                }
                let field = self.of(&select.operand)?.field(&select.field)?;
                if select.test { Type::Bool } else { field }
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => {
                let mut items = list.elements.iter().map(|it| self.of(it)).collect::<Result<Vec<_>, _>>()?;
                let first = items.pop().unwrap_or(Type::Dyn);
                Type::List(Box::new(if items.iter().all(|it| *it == first) { first } else { Type::Dyn }))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Type::Dyn,
            Expr::Comprehension(it) => self.comprehension(it)?,
        })
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Result<Type<'s>, String> {
        let element = self.of(&it.iter_range)?.element();
        let start = self.of(&it.accu_init)?;
        // Lists grow by items of any type.
        let accumulator = if matches!(start, Type::List(_)) { Type::List(Box::new(Type::Dyn)) } else { start };
        let outer = self.scope.len();
        self.scope.push((it.accu_var.clone(), accumulator));
        self.scope.push((it.iter_var.clone(), element));
        let step = self.of(&it.loop_step);
        self.scope.truncate(outer + 1);
        let result = step.and_then(|_| self.of(&it.result));
        self.scope.truncate(outer);
        result
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type<'s>, String> {
        let target = call.target.as_deref();
        // The name before a library's function is no value.
        let library = matches!(target, Some(IdedExpr { expr: Expr::Ident(name), .. })
            if ["optional", "math", "sets", "lists", "base64", "strings", "format", "jsonpatch", "ip", "cidr"].contains(&name.as_str()));
        let target = match target.filter(|_| !library) {
            Some(target) => Some(self.of(target)?),
            None => None,
        };
        let args = call.args.iter().map(|it| self.of(it)).collect::<Result<Vec<_>, _>>()?;
        let name = call.func_name.as_str();
        match (&target, args.as_slice()) {
            (None, [a]) => Ok(unary(name, a)?),
            (None, [a, b]) => binary(name, a, b),
            (None, [condition, a, b]) if name == "_?_:_" => match condition {
                Type::Bool | Type::Dyn => Ok(if a == b { a.clone() } else { Type::Dyn }),
                _ => Err(no_overload(name, &[condition, a, b])),
            },
            (Some(target), args) => method(name, target, args, library),
            _ => Ok(Type::Dyn),
        }
    }
}

fn no_overload(name: &str, args: &[&Type<'_>]) -> String {
    let args = args.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
    format!("found no matching overload for '{name}' applied to '({args})'")
}

fn unary<'s>(name: &str, a: &Type<'s>) -> Result<Type<'s>, String> {
    let fits = match name {
        "!_" => matches!(a, Type::Bool | Type::Dyn),
        "-_" => matches!(a, Type::Int | Type::Double | Type::Dyn),
        "size" => matches!(a, Type::String | Type::Bytes | Type::List(_) | Type::Map(_) | Type::Dyn),
        _ => true,
    };
    if !fits {
        return Err(no_overload(name, &[a]));
    }
    Ok(match name {
        "!_" | "bool" | "isURL" | "isQuantity" | "isIP" | "isCIDR" => Type::Bool,
        "-_" | expand::BOX | expand::UNBOX => a.clone(),
        "size" | "int" => Type::Int,
        "string" => Type::String,
        "double" => Type::Double,
        "uint" => Type::Uint,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        _ => Type::Dyn,
    })
}

fn binary<'s>(name: &str, a: &Type<'s>, b: &Type<'s>) -> Result<Type<'s>, String> {
    use Type::{Bool, Bytes, Double, Duration, Dyn, Int, List, String, Timestamp, Uint};
    let known = *a != Dyn && *b != Dyn;
    let refuse = || Err(no_overload(name, &[a, b]));
    match name {
        "_&&_" | "_||_" => match (a, b) {
            (Bool | Dyn, Bool | Dyn) => Ok(Bool),
            _ => refuse(),
        },
        "_==_" | "_!=_" => {
            if a.may_equal(b) {
                Ok(Bool)
            } else {
                refuse()
            }
        }
        "_<_" | "_<=_" | "_>_" | "_>=_" => match (a, b) {
            (Dyn, _) | (_, Dyn) => Ok(Bool),
            (Bool, Bool) | (String, String) | (Bytes, Bytes) | (Timestamp, Timestamp) | (Duration, Duration) => {
                Ok(Bool)
            }
            _ if a.is_number() && b.is_number() => Ok(Bool),
            _ => refuse(),
        },
        "_+_" => match (a, b) {
            (List(x), List(y)) => Ok(List(if x == y { x.clone() } else { Box::new(Dyn) })),
            (Int, Int) | (Uint, Uint) | (Double, Double) | (String, String) | (Bytes, Bytes) | (Duration, Duration) => {
                Ok(a.clone())
            }
            (Timestamp, Duration) | (Duration, Timestamp) => Ok(Timestamp),
            _ if known => refuse(),
            _ => Ok(Dyn),
        },
        "_-_" => match (a, b) {
            (Int, Int) | (Uint, Uint) | (Double, Double) | (Duration, Duration) => Ok(a.clone()),
            (Timestamp, Timestamp) => Ok(Duration),
            (Timestamp, Duration) => Ok(Timestamp),
            _ if known => refuse(),
            _ => Ok(Dyn),
        },
        "_*_" | "_/_" | "_%_" => match (a, b) {
            (Int, Int) | (Uint, Uint) | (Double, Double) => Ok(a.clone()),
            _ if known => refuse(),
            _ => Ok(Dyn),
        },
        "_[_]" => match (a, b) {
            (List(item), Int | Dyn) => Ok((**item).clone()),
            (Type::Map(item), String | Dyn) => Ok((**item).clone()),
            (List(_), _) | (Bool | Int | String | Double, _) if known => refuse(),
            _ => Ok(Dyn),
        },
        "@in" => match b {
            List(item) if !a.may_equal(item) => refuse(),
            Bool | Int | String | Double => refuse(),
            _ => Ok(Bool),
        },
        _ => Ok(Dyn),
    }
}

fn method<'s>(name: &str, target: &Type<'s>, args: &[Type<'s>], library: bool) -> Result<Type<'s>, String> {
    if library {
        return Ok(Type::Dyn);
    }
    const OF_TEXTS: [&str; 11] = [
        "startsWith",
        "endsWith",
        "matches",
        "lowerAscii",
        "upperAscii",
        "trim",
        "split",
        "replace",
        "substring",
        "charAt",
        "find",
    ];
    let refuse = || {
        let args = args.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
        Err(format!("found no matching overload for '{name}' applied to '{target}.({args})'"))
    };
    if OF_TEXTS.contains(&name) && !matches!(target, Type::String | Type::Dyn) {
        return refuse();
    }
    let of_text = matches!(name, "startsWith" | "endsWith" | "matches");
    if of_text && args.iter().any(|it| !matches!(it, Type::String | Type::Dyn)) {
        return refuse();
    }
    Ok(match name {
        "startsWith" | "endsWith" | "matches" | "contains" | "isSorted" | "hasValue" | "isGreaterThan"
        | "isLessThan" => Type::Bool,
        "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "charAt" | "join" => Type::String,
        "split" => Type::List(Box::new(Type::String)),
        "size" | "indexOf" | "lastIndexOf" => Type::Int,
        _ => Type::Dyn,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use eyot_model::kinds;

    use super::*;

    fn types(text: &str, expected: Expect) {
        let deployments = kinds::builtin().by_plural("apps", "v1", "deployments").expect("known");
        let names = [("object", Type::of(deployments)), ("request", Type::Dyn)];
        let variables = [("n".to_owned(), Type::Int)];
        expected.assert_eq(&check(text, &names, &variables).map_or_else(|why| why, |it| it.to_string()));
    }

    #[test]
    fn what_cannot_be_is_told() {
        types("object.spec.replicas > 1", expect!["bool"]);
        types("object.spec.replicas > '1'", expect!["found no matching overload for '_>_' applied to '(int, string)'"]);
        types(
            "'got ' + object.spec.replicas",
            expect!["found no matching overload for '_+_' applied to '(string, int)'"],
        );
        types("object.spec.foo == 1", expect!["undefined field 'foo'"]);
        types("object.spec.template.spec.containers.all(c, c.image.startsWith('x'))", expect!["bool"]);
        types("object.spec.template.spec.containers.all(c, c.imagee != '')", expect!["undefined field 'imagee'"]);
        types("object.metadata.labels['a'] == 'b' && has(object.spec.selector)", expect!["bool"]);
        types("object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z')", expect!["bool"]);
        types("request.anything.at.all > 1", expect!["bool"]);
        types("variables.n + 1", expect!["int"]);
        types(
            "variables.n.startsWith('a')",
            expect!["found no matching overload for 'startsWith' applied to 'int.(string)'"],
        );
        types("object.spec.template.spec.containers.map(c, c.name)", expect!["list(dyn)"]);
        types("cel.bind(r, object.spec.replicas, r + 1) > 2", expect!["bool"]);
        types(
            "object.spec.replicas in ['a']",
            expect!["found no matching overload for '@in' applied to '(int, list(string))'"],
        );
        types("object.spec.strategy.rollingUpdate.maxSurge == 1", expect!["bool"]);
        types(
            "object.spec.replicas ? 1 : 2",
            expect!["found no matching overload for '_?_:_' applied to '(int, int, int)'"],
        );
    }
}
