//! One expression: compiled once, charged while it runs. Entry points: [`Program::compile`], [`Program::run`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel::{Context, ExecutionError, Value, common::ast::IdedExpr, parser::Parser};

use crate::{
    budget::Budget,
    direct::{self, Names, Plan},
    expand,
    frame::{ROOTS, Variable},
    functions,
    height::height,
    instrument::instrument,
    library::{self, Library},
    numbers, path, regexes,
    scope::{self, Scope},
};

/// Deepest nesting of an expression: evaluation recurses.
const DEPTH_MAX: u16 = 64;
/// Most levels of an expression, those of operators that follow each other among them, which the parser does not count.
const HEIGHT_MAX: usize = 128;
/// Most bytes of an expression.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// An expression makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compilation failed: {0}")]
pub struct CompileError(pub(crate) String);

/// Evaluating an expression came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It would cost more than is left.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// No such key, an overflow, a mismatch of types.
    #[error("{0}")]
    Failed(String),
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    pub(crate) expression: IdedExpr,
    variables: Vec<String>,
    library: Option<&'static Library>,
    /// How it is evaluated without the interpreter, where that can be.
    pub(crate) plan: Option<Plan>,
}

/// What the expressions of an admission policy may name.
#[derive(Clone, Copy, Debug)]
pub struct Dialect<'d> {
    /// What an [`Environment`](crate::Environment) shows, of [`ROOTS`] and of its other values.
    pub names: &'d [&'d str],
    /// Variables that were compiled before.
    pub variables: &'d [Variable],
    /// Whether `Object{…}` and `JSONPatch{…}` may be made.
    pub messages: bool,
    /// Functions beside those of Kubernetes.
    pub library: Option<&'static Library>,
}

thread_local! {
    /// Has a hundred functions, so that it is made once for each thread that evaluates.
    static CONTEXT: Context<'static> = functions::context();
}

impl Program {
    /// Compiles an expression that may name the given variables.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Program, CompileError> {
        Program::compile_in(text, &Scope::new(variables))
    }

    /// Compiles an expression of an admission policy of Kubernetes.
    pub fn compile_for(
        text: &str,
        names: &[&str],
        variables: &[Variable],
        messages: bool,
    ) -> Result<Program, CompileError> {
        Program::compile_as(text, &Dialect { names, variables, messages, library: None })
    }

    /// Compiles an expression of an admission policy.
    pub fn compile_as(text: &str, dialect: &Dialect<'_>) -> Result<Program, CompileError> {
        let variables = dialect.variables.iter().map(|it| it.name.as_str()).collect();
        let scope = Scope::new(dialect.names).composed(variables, dialect.messages).with_library(dialect.library);
        let mut program = Program::prepare(text, &scope)?;
        path::lift(&mut program.expression, &ROOTS);
        path::look_up(&mut program.expression);
        let variables: Vec<&str> = dialect.variables.iter().map(|it| it.name.as_str()).collect();
        let names = Names { variables: &variables, library: dialect.library, is_function: direct::is_function };
        program.plan = Plan::of(&program.expression, names);
        Ok(program)
    }

    /// Compiles an expression for the interpreter alone.
    pub(crate) fn compile_in(text: &str, scope: &Scope<'_>) -> Result<Program, CompileError> {
        let mut program = Program::prepare(text, scope)?;
        path::look_up(&mut program.expression);
        Ok(program)
    }

    fn prepare(text: &str, scope: &Scope<'_>) -> Result<Program, CompileError> {
        let mut expression = parse(text)?;
        expand::expand(&mut expression, scope.takes_messages()).map_err(CompileError)?;
        expand::name_types(&mut expression);
        regexes::check(&mut expression).map_err(|why| CompileError(one_line(&why)))?;
        let variables = scope::check(&expression, scope).map_err(CompileError)?;
        instrument(&mut expression);
        numbers::lift(&mut expression);
        Ok(Program { expression, variables, library: scope.library(), plan: None })
    }

    /// Whether it names a variable.
    pub fn names(&self, variable: &str) -> bool {
        self.variables.iter().any(|it| it == variable)
    }

    /// Evaluates it. `input_bytes` is the size of the variables' values, as JSON or thereabouts.
    pub fn run(
        &self,
        variables: &[(&str, &Value)],
        input_bytes: usize,
        budget: &mut Budget,
    ) -> Result<Value, RunError> {
        if budget.is_spent() {
            return Err(RunError::Cost);
        }
        let run = || self.resolve(variables);
        // The interpreter has a few places that give up in the hardest way.
        let result = budget.within(input_bytes, || catch_unwind(AssertUnwindSafe(run)));
        if budget.is_spent() {
            return Err(RunError::Cost);
        }
        let result = result.map_err(|_| RunError::Failed("the interpreter gave up".to_owned()))?;
        result.map_err(|it| RunError::Failed(shorten(&it.to_string())))
    }
}

impl Program {
    /// Evaluates it as part of another evaluation, which pays.
    pub(crate) fn resolve(&self, variables: &[(&str, &Value)]) -> Result<Value, ExecutionError> {
        match self.library {
            None => with_context(|context| self.resolve_in(context, variables)),
            Some(it) => self.resolve_in(&library::context(it), variables),
        }
    }

    fn resolve_in(&self, context: &Context<'static>, variables: &[(&str, &Value)]) -> Result<Value, ExecutionError> {
        let mut scope = context.new_inner_scope();
        for (name, value) in variables.iter().filter(|it| self.names(it.0)) {
            scope.add_variable_from_value(*name, (*value).clone());
        }
        Value::resolve(&self.expression, &scope)
    }
}

/// Runs something in the context of Kubernetes' functions.
pub(crate) fn with_context<T>(run: impl FnOnce(&Context<'static>) -> T) -> T {
    CONTEXT.with(run)
}

/// The parts of an expression, whose size and nesting are bounded.
pub(crate) fn parse(text: &str) -> Result<IdedExpr, CompileError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CompileError(format!("the expression has more than {TEXT_BYTES_MAX} bytes")));
    }
    if height(text) > HEIGHT_MAX {
        return Err(CompileError(format!("the expression is nested more than {HEIGHT_MAX} levels deep")));
    }
    let parsed = catch_unwind(|| Parser::new().enable_optional_syntax(true).max_recursion_depth(DEPTH_MAX).parse(text));
    let parsed = parsed.map_err(|_| CompileError("the parser gave up".to_owned()))?;
    parsed.map_err(|it| CompileError(one_line(&it.to_string())))
}

/// Errors show values, which may be large, or secret.
fn shorten(message: &str) -> String {
    const MAX: usize = 200;
    let mut end = message.len().min(MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let lower = |it: &str| it.replace("No such key", "no such key").replace("No such overload", "no such overload");
    lower(&message[..end])
}

fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    shorten(&lines.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert;

    fn run(text: &str, value: serde_json::Value, budget: &mut Budget) -> Result<Value, String> {
        let program = Program::compile(text, &["self"]).map_err(|it| it.to_string())?;
        let bytes = value.to_string().len();
        program.run(&[("self", &convert::json(&value))], bytes, budget).map_err(|it| it.to_string())
    }

    fn check(text: &str, value: serde_json::Value) {
        let result = run(text, value, &mut Budget::new(Budget::WRITE));
        assert_eq!(result, Ok(Value::Bool(true)), "{text}");
    }

    #[test]
    fn the_libraries_of_kubernetes_are_there() {
        check("self.a == 1 && self.b.all(x, x > 0)", json!({"a": 1, "b": [1, 2]}));
        check("self.b.exists(x, x == 2) && self.b.map(x, x * 2) == [2, 4]", json!({"b": [1, 2]}));
        check("self.name.startsWith('a') && self.name.matches('^[a-z]+$')", json!({"name": "abc"}));
        check("quantity(self.q).isGreaterThan(quantity('1Mi'))", json!({"q": "1Gi"}));
        check("isURL(self.u) && url(self.u).getHost() == 'x.io'", json!({"u": "https://x.io/a"}));
        check("!has(self.x) && has(self.y)", json!({"y": 1}));
        check("self.l.isSorted() && sets.contains(self.l, ['a'])", json!({"l": ["a", "b"]}));
        check("'a-b'.replace('-', '+') == 'a+b' && ['a', 'b'].join(',') == 'a,b'", json!({}));
        check("ip(self.ip).family() == 4", json!({"ip": "10.0.0.1"}));
    }

    #[test]
    fn nonsense_does_not_compile() {
        for (text, why) in [
            ("self.a ==", "compilation failed"),
            ("other == 1", "undeclared reference to 'other'"),
            ("self.nonsense()", "undeclared reference to 'nonsense'"),
            ("Thing{a: 1}", "not supported"),
            ("[1].all(x, y > 0)", "undeclared reference to 'y'"),
        ] {
            let error = Program::compile(text, &["self"]).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(Program::compile(&deep, &[]).is_err());
        for part in ["1+", "true==", "self.", "self.a[0].", "-", "!", "1 in ", "self.?"] {
            let error = Program::compile(&format!("{}self", part.repeat(8_000)), &["self"]).unwrap_err().to_string();
            assert!(error.contains("nested more than") || error.contains("more than 65536 bytes"), "{part}: {error}");
        }
        assert!(Program::compile(&"x".repeat(TEXT_BYTES_MAX + 1), &[]).is_err());
    }

    #[test]
    fn loops_stop_when_the_budget_is_spent() {
        let list: Vec<i64> = (0..3000).collect();
        let all = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
        let mut budget = Budget::new(Budget::WRITE);
        let start = std::time::Instant::now();
        let result = run(all, json!(list), &mut budget);
        assert_eq!(result, Err("operation cancelled: actual cost limit exceeded".to_owned()));
        // Generous: an unoptimised build on a busy machine; without the budget it would take hours.
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
        // An error inside cannot be talked away by what is around it.
        let mut budget = Budget::new(1000);
        assert!(run("true || self.all(a, a >= 0)", json!(list), &mut budget).is_ok());
        assert!(run("self.all(a, a >= 0) || true", json!(list), &mut budget).is_err());
        assert!(run("true", json!(1), &mut budget).is_err());
    }

    #[test]
    fn what_would_fill_the_memory_fails() {
        let long = "a".repeat(100_000);
        for text in ["self.replace('', self)", "lists.range(1000000000).size() > 0", "self.split('').join(self) == ''"]
        {
            assert!(run(text, json!(long), &mut Budget::new(Budget::WRITE)).is_err(), "{text}");
        }
        let list: Vec<String> = (0..100_000).map(|it| it.to_string()).collect();
        assert!(run("self.distinct().size() > 0", json!(list), &mut Budget::new(Budget::WRITE)).is_err());
    }

    #[test]
    fn expressions_as_high_as_they_may_be_are_evaluated() {
        let terms = HEIGHT_MAX - 2;
        check(&format!("{} == {terms}", vec!["1"; terms].join(" + ")), json!({}));
        check(&vec!["true"; 2_000].join(" && "), json!({}));
        check(&format!("[{}].size() == 2000", vec!["'a.b.c.d' + 'e'"; 2_000].join(", ")), json!({}));
    }

    #[test]
    fn failures_are_told() {
        let error = run("self.a.b == 1", json!({"a": {}}), &mut Budget::new(1000)).unwrap_err();
        assert!(error.contains("no such key"), "{error}");
        assert!(run("1 / self.a == 1", json!({"a": 0}), &mut Budget::new(1000)).is_err());
    }
}
