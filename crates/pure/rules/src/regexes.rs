//! Regular expressions: `matches`, `find`, `findAll`. They mean what they mean in Go, and run in linear time. Entry points: [`register`], [`check`].
//!
//! The interpreter compiles one at each call, as large as it may become. Here a compiled one is bounded, and each thread
//! keeps the last ones, those that do not compile among them. One that an expression writes down must compile with it;
//! one that is worked out is charged for by `instrument`.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use eyot_pattern::translate;
use kube_cel::cel::{
    Context, ExecutionError, Value,
    common::ast::{Expr, IdedExpr, LiteralValue},
    extractors::{Arguments, This},
};
use regex::{Regex, RegexBuilder};

use crate::expand::children;

/// Most bytes of a compiled one.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// How many a thread keeps.
const KEPT_MAX: usize = 64;
/// Functions that are given a text and one.
pub(crate) const FUNCTIONS: [&str; 3] = ["find", "findAll", "matches"];

type Compiled = Result<Rc<Regex>, String>;

thread_local! {
    static KEPT: RefCell<HashMap<String, Compiled>> = RefCell::default();
}

/// Compiles one.
pub(crate) fn build(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&translate(pattern)).size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|why| format!("'{pattern}' is not a valid regex: {why}"))
}

fn compiled(function: &str, pattern: &str) -> Result<Rc<Regex>, ExecutionError> {
    let known = KEPT.with_borrow(|it| it.get(pattern).cloned());
    let compiled = known.unwrap_or_else(|| {
        let made = build(pattern).map(Rc::new);
        KEPT.with_borrow_mut(|it| {
            if it.len() >= KEPT_MAX {
                it.clear();
            }
            it.insert(pattern.to_owned(), made.clone());
        });
        made
    });
    compiled.map_err(|why| ExecutionError::function_error(function, why))
}

/// Adds the functions.
pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function("matches", matches);
    context.add_function("find", find);
    context.add_function("findAll", find_all);
}

fn matches(This(text): This<Arc<String>>, pattern: Arc<String>) -> Result<Value, ExecutionError> {
    Ok(Value::Bool(compiled("matches", &pattern)?.is_match(&text)))
}

fn find(This(text): This<Arc<String>>, pattern: Arc<String>) -> Result<Value, ExecutionError> {
    let regex = compiled("find", &pattern)?;
    let found = regex.find(&text).map_or("", |it| it.as_str());
    Ok(Value::String(Arc::new(found.to_owned())))
}

/// `text.findAll(pattern)`, and with how many at most as a second argument; below zero means all.
fn find_all(This(text): This<Arc<String>>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let (pattern, most) = match args.as_slice() {
        [Value::String(pattern)] => (pattern, usize::MAX),
        [Value::String(pattern), Value::Int(most)] => (pattern, usize::try_from(*most).unwrap_or(usize::MAX)),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let regex = compiled("findAll", pattern)?;
    let found = regex.find_iter(&text).take(most).map(|it| Value::String(Arc::new(it.as_str().to_owned())));
    Ok(Value::List(Arc::new(found.collect())))
}

/// The pattern that a call names, if it is a call of one of [`FUNCTIONS`].
pub(crate) fn pattern_of(expression: &IdedExpr) -> Option<&IdedExpr> {
    match &expression.expr {
        // The text is what it is called on, or the first argument.
        Expr::Call(call) if FUNCTIONS.contains(&call.func_name.as_str()) => {
            call.args.get(usize::from(call.target.is_none()))
        }
        _ => None,
    }
}

/// Refuses expressions with patterns that do not compile.
///
/// # Errors
/// Which, and why.
pub(crate) fn check(expression: &mut IdedExpr) -> Result<(), String> {
    if let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(pattern)), .. }) = pattern_of(expression) {
        build(pattern.inner())?;
    }
    children(expression, &mut check)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Budget, Program, RunError, Value, convert};

    fn run(text: &str) -> Result<Value, String> {
        let program = Program::compile(text, &["self"]).map_err(|it| it.to_string())?;
        let value = convert::json(&json!({"bomb": "((a{100}){100}){100}", "text": "a1b22"}));
        program.run(&[("self", &value)], 64, &mut Budget::new(Budget::WRITE)).map_err(|it| it.to_string())
    }

    #[test]
    fn texts_are_searched() {
        for text in [
            "self.text.matches('^a') && !self.text.matches('^b')",
            "self.text.find('[0-9]+') == '1' && self.text.find('x') == ''",
            "self.text.findAll('[0-9]+') == ['1', '22'] && self.text.findAll('[0-9]+', 1) == ['1']",
            "self.text.findAll('[0-9]', -1).size() == 3",
            "self.text.matches(self.text.find('b2'))",
            "!'é'.matches('^\\\\w$') && !'١'.matches('^[\\\\d]$') && '{a}'.matches('^{a}$')",
        ] {
            assert_eq!(run(text), Ok(Value::Bool(true)), "{text}");
        }
    }

    #[test]
    fn a_bomb_does_not_compile_and_one_that_is_worked_out_is_paid_for() {
        let error = run("self.text.matches('((a{100}){100}){100}')").unwrap_err();
        assert!(error.contains("compilation failed") && error.contains("not a valid regex"), "{error}");
        let error = run("self.text.findAll('(')").unwrap_err();
        assert!(error.contains("compilation failed"), "{error}");
        let error = run("self.text.matches(self.bomb)").unwrap_err();
        assert!(error.contains("not a valid regex"), "{error}");
        // Each round has another one.
        for call in ["'x'.matches('a' + string(i))", "matches('x', 'a' + string(i))"] {
            let error = run(&format!("lists.range(100000).all(i, {call} || true)")).unwrap_err();
            assert_eq!(error, RunError::Cost.to_string(), "{call}");
        }
        assert!(run("matches('x', '(')").unwrap_err().contains("compilation failed"));
    }
}
