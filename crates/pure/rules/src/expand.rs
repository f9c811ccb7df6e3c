//! What the parser leaves as plain calls and Kubernetes has as macros, turned into what the interpreter knows. Entry
//! point: [`expand`].
//!
//! `cel.bind`, `optMap`, `optFlatMap`, comprehensions of two variables, optional selection (which the interpreter gets
//! wrong for keys that are missing), and messages, which become maps.

use kube_cel::cel::{
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr,
        MapExpr, StructExpr,
    },
    parser::Parser,
};

/// `@select(value, field)`: the optional field of a value, which may be optional itself.
pub(crate) const OPT_SELECT: &str = "@select";
/// `@box(value)`: the value as something that is copied whole.
pub(crate) const BOX: &str = "@box";
/// `@unbox(value)`: what is in the box.
pub(crate) const UNBOX: &str = "@unbox";
/// `@keys(value)`: the indexes of a list, the keys of a map.
pub(crate) const KEYS: &str = "@keys";
/// `@entries(list)`: a map of `[key, value]` pairs.
pub(crate) const ENTRIES: &str = "@entries";
/// `@merge(list)`: one map of several that share no key.
pub(crate) const MERGE: &str = "@merge";

/// Rewrites an expression; `messages` says whether `Object{…}` and `JSONPatch{…}` may be made.
pub(crate) fn expand(expression: &mut IdedExpr, messages: bool) -> Result<(), String> {
    if let Expr::Struct(it) = &expression.expr {
        it.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::StructField(field) => check_name(&field.value, &it.type_name, &field.field),
            EntryExpr::MapEntry(_) => Ok(()),
        })?;
    }
    children(expression, &mut |it| expand(it, messages))?;
    match &mut expression.expr {
        Expr::Struct(it) if messages => {
            let map = message(std::mem::take(it))?;
            expression.expr = map;
        }
        Expr::Call(call) => {
            let call = std::mem::take(call);
            *expression = macros(call)?;
        }
        // What follows an optional selection is optional too.
        Expr::Select(select) if is_optional(&select.operand) && !select.test => {
            let select = std::mem::take(select);
            *expression = of(OPT_SELECT, vec![*select.operand, text(&select.field)]);
        }
        _ => {}
    }
    Ok(())
}

/// Does something with every part of an expression.
pub(crate) fn children<E>(
    expression: &mut IdedExpr,
    visit: &mut dyn FnMut(&mut IdedExpr) -> Result<(), E>,
) -> Result<(), E> {
    match &mut expression.expr {
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                visit(target)?;
            }
            call.args.iter_mut().try_for_each(visit)
        }
        Expr::Comprehension(it) => {
            let parts = [&mut it.iter_range, &mut it.accu_init, &mut it.loop_cond, &mut it.loop_step, &mut it.result];
            parts.into_iter().try_for_each(visit)
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(visit),
        Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
            for entry in entries {
                match &mut entry.expr {
                    EntryExpr::MapEntry(it) => {
                        visit(&mut it.key)?;
                        visit(&mut it.value)?;
                    }
                    EntryExpr::StructField(it) => visit(&mut it.value)?,
                }
            }
            Ok(())
        }
        Expr::Select(select) => visit(&mut select.operand),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
    }
}

fn is_optional(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Call(call) if call.func_name == OPT_SELECT)
}

pub(crate) fn of(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    plain(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

pub(crate) fn text(text: &str) -> IdedExpr {
    plain(Expr::Literal(LiteralValue::String(text.into())))
}

fn plain(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn ident(name: &str) -> IdedExpr {
    plain(Expr::Ident(name.to_owned()))
}

/// `name` stands for a value inside an expression: a loop without rounds whose accumulator it is.
///
/// The value goes in a box, since the interpreter loses what is optional when it copies variables.
fn bind(name: &str, value: IdedExpr, mut body: IdedExpr) -> IdedExpr {
    unbox(&mut body, name);
    let value = of(BOX, vec![value]);
    plain(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: plain(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "@unused".to_owned(),
        iter_var2: None,
        accu_var: name.to_owned(),
        accu_init: value,
        loop_cond: plain(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: ident(name),
        result: body,
    })))
}

/// Names of types, as expressions compare them with `type(value)`.
pub(crate) const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Has an expression that asks for types compare their names.
pub(crate) fn name_types(expression: &mut IdedExpr) {
    if calls(expression, "type") {
        name_each(expression);
    }
}

fn name_each(expression: &mut IdedExpr) {
    if let Expr::Ident(name) = &expression.expr
        && TYPES.contains(&name.as_str())
    {
        *expression = text(name);
        return;
    }
    let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
        name_each(it);
        Ok(())
    });
    let Ok(()) = done;
}

/// Whether an expression calls a function of that name.
pub(crate) fn calls(expression: &mut IdedExpr, name: &str) -> bool {
    if matches!(&expression.expr, Expr::Call(call) if call.func_name == name && call.target.is_none()) {
        return true;
    }
    let found: Result<(), ()> = children(expression, &mut |it| if calls(it, name) { Err(()) } else { Ok(()) });
    found.is_err()
}

/// Takes a variable out of its box wherever it is named.
fn unbox(expression: &mut IdedExpr, name: &str) {
    match &mut expression.expr {
        Expr::Ident(it) if it == name => {
            let boxed = std::mem::take(expression);
            *expression = of(UNBOX, vec![boxed]);
        }
        // One of that name inside is another one.
        Expr::Comprehension(it) if it.iter_var == name || it.accu_var == name => {
            unbox(&mut it.iter_range, name);
            unbox(&mut it.accu_init, name);
        }
        _ => {
            let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
                unbox(it, name);
                Ok(())
            });
            let Ok(()) = done;
        }
    }
}

fn macros(mut call: CallExpr) -> Result<IdedExpr, String> {
    let on_cel = matches!(call.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "cel");
    let count = call.args.len();
    match (call.func_name.as_str(), count) {
        ("_?._" | "_[?_]", 2) => call.func_name = OPT_SELECT.to_owned(),
        // Nothing is known of any value here, so that there is nothing to forget.
        ("dyn", 1) if call.target.is_none() => {
            let [value] = args(call.args)?;
            return Ok(value);
        }
        ("bind", 3) if on_cel => {
            let [name, value, body] = args(call.args)?;
            return Ok(bind(&variable(&name)?, value, body));
        }
        ("optMap" | "optFlatMap", 2) if call.target.is_some() => {
            let of_body = if call.func_name == "optMap" { "optional.of(__body__)" } else { "__body__" };
            let template = format!("__range__.hasValue() ? {of_body} : optional.none()");
            let target = call.target.map(|it| *it).unwrap_or_default();
            let [name, body] = args(call.args)?;
            let value = template_of("__range__.value()")?;
            let body = bind(&variable(&name)?, value, body);
            return Ok(bind("__range__", target, fill(template_of(&template)?, &[body])));
        }
        ("all" | "exists" | "existsOne" | "exists_one", 3)
        | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4)
            if call.target.is_some() =>
        {
            return comprehension(call);
        }
        _ => {}
    }
    Ok(plain(Expr::Call(call)))
}

/// A comprehension of two variables: one over the keys, in whose body the second stands for the value of the first.
fn comprehension(call: CallExpr) -> Result<IdedExpr, String> {
    let range = call.target.map(|it| *it).unwrap_or_default();
    let mut args = call.args.into_iter();
    let key = variable(&args.next().unwrap_or_default())?;
    let value = variable(&args.next().unwrap_or_default())?;
    let looked_up = || of("_[_]", vec![ident("__range__"), ident(&key)]);
    let bodies: Vec<IdedExpr> = args.map(|it| bind(&value, looked_up(), it)).collect();
    let holes = if bodies.len() == 2 { "__body__, __rest__" } else { "__body__" };
    let pair = if bodies.len() == 2 { format!("__body__, [{key}, __rest__]") } else { format!("[{key}, __body__]") };
    let (template, around) = match call.func_name.as_str() {
        "transformList" => (format!("__keys__.map({key}, {holes})"), None),
        "transformMap" => (format!("__keys__.map({key}, {pair})"), Some(ENTRIES)),
        "transformMapEntry" => (format!("__keys__.map({key}, {holes})"), Some(MERGE)),
        "existsOne" => (format!("__keys__.exists_one({key}, __body__)"), None),
        name => (format!("__keys__.{name}({key}, __body__)"), None),
    };
    let mut made = fill(template_of(&template)?, &bodies);
    substitute(&mut made, "__keys__", &of(KEYS, vec![ident("__range__")]));
    let made = match around {
        Some(function) => of(function, vec![made]),
        None => made,
    };
    Ok(bind("__range__", range, made))
}

fn args<const N: usize>(args: Vec<IdedExpr>) -> Result<[IdedExpr; N], String> {
    args.try_into().map_err(|_| "wrong number of arguments".to_owned())
}

fn variable(expression: &IdedExpr) -> Result<String, String> {
    match &expression.expr {
        Expr::Ident(name) => Ok(name.clone()),
        _ => Err("argument must be a simple name".to_owned()),
    }
}

fn template_of(template: &str) -> Result<IdedExpr, String> {
    Parser::new().enable_optional_syntax(true).parse(template).map_err(|it| it.to_string())
}

fn fill(mut template: IdedExpr, bodies: &[IdedExpr]) -> IdedExpr {
    for (name, body) in ["__body__", "__rest__"].iter().zip(bodies) {
        substitute(&mut template, name, body);
    }
    template
}

fn substitute(expression: &mut IdedExpr, name: &str, with: &IdedExpr) {
    if matches!(&expression.expr, Expr::Ident(it) if it == name) {
        *expression = with.clone();
        return;
    }
    let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
        substitute(it, name, with);
        Ok(())
    });
    let Ok(()) = done;
}

/// A part of a message is of the type that its place in the object has.
fn check_name(part: &IdedExpr, around: &str, field: &str) -> Result<(), String> {
    match &part.expr {
        Expr::Struct(part) if around.starts_with("Object") && part.type_name != format!("{around}.{field}") => {
            Err(format!(
                "type mismatch: unexpected type name {:?}, expected \"{around}.{field}\", which matches field name path from root \
             Object type",
                part.type_name
            ))
        }
        Expr::List(list) => list.elements.iter().try_for_each(|it| check_name(it, around, field)),
        _ => Ok(()),
    }
}

/// A message as a map.
fn message(message: StructExpr) -> Result<Expr, String> {
    let name = message.type_name.as_str();
    let patch = name == "JSONPatch";
    if !patch && name != "Object" && !name.starts_with("Object.") {
        return Err(format!("undeclared reference to '{name}' (in container '')"));
    }
    let mut entries = Vec::new();
    for entry in message.entries {
        let EntryExpr::StructField(field) = entry.expr else { return Err("a message has fields".to_owned()) };
        if patch && !["op", "path", "from", "value"].contains(&field.field.as_str()) {
            return Err(format!("undefined field '{}'", field.field));
        }
        let expr = EntryExpr::MapEntry(MapEntryExpr {
            key: text(&super::convert::unescape(&field.field)),
            value: field.value,
            optional: field.optional,
        });
        entries.push(IdedEntryExpr { id: entry.id, expr });
    }
    Ok(Expr::Map(MapExpr { entries }))
}
