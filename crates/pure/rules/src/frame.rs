//! What the expressions of an admission policy see while one request is judged. Entry point: [`Environment`].
//!
//! Objects stay JSON: an expression takes out of them what it names, and nothing else is converted. `variables` are
//! evaluated when they are first named, once for each environment. While an expression runs, its environment lies where
//! the functions behind these look-ups find it: in the thread.

use std::{
    any::Any,
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use eyot_model::rbac::Resource;
use kube_cel::cel::{Context, ExecutionError, Value, objects::OptionalValue};
use serde_json::Value as Json;

use crate::{
    authorize::Asker,
    budget::Budget,
    convert,
    path::{self, Found},
    program::{Program, RunError},
};

/// Variables that are JSON, and what else a policy's expressions may name.
pub const ROOTS: [&str; 6] = ["object", "oldObject", "request", "params", "namespaceObject", "images"];

/// An expression of a policy under a name, which others use as `variables.NAME`.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it stands for; may use variables before it.
    pub program: Program,
}

/// What expressions see. Cheap to copy.
#[derive(Clone, Default)]
pub struct Environment(Rc<Frame>);

#[derive(Clone, Default)]
struct Frame {
    roots: Vec<(&'static str, Arc<Json>)>,
    /// Size of the objects, as loops are charged for.
    bytes: usize,
    /// Values that are not JSON.
    values: Vec<(&'static str, Value)>,
    variables: Arc<[Variable]>,
    /// What the functions of a library ask.
    host: Option<Rc<dyn Any>>,
    known: RefCell<Vec<Option<Result<Value, ExecutionError>>>>,
    /// How deep variables name each other at this moment.
    depth: Cell<usize>,
    /// Whole objects, for expressions that name them so.
    whole: [OnceCell<Value>; ROOTS.len()],
    /// What was looked up already, by path: policies ask for the same things. Parameters, which differ, are left out.
    found: Rc<RefCell<HashMap<String, Value>>>,
}

/// Paths that are remembered.
const FOUND_MAX: usize = 256;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Frame>>> = const { RefCell::new(None) };
}

impl Environment {
    /// Nothing to see yet.
    pub fn new() -> Environment {
        Environment::default()
    }

    /// With an object under one of the names in [`ROOTS`]; what is not given is null.
    pub fn with(&self, name: &'static str, value: Arc<Json>) -> Environment {
        let mut frame = self.fresh();
        frame.bytes = frame.bytes.saturating_add(convert::size(&value));
        if let Some(at) = frame.roots.iter().position(|it| it.0 == name) {
            let before = frame.roots.swap_remove(at);
            frame.bytes = frame.bytes.saturating_sub(convert::size(&before.1));
        }
        if name != "params" {
            frame.found = Rc::default();
        }
        frame.roots.push((name, value));
        Environment(Rc::new(frame))
    }

    /// With somebody who answers `authorizer`; `resource` is what the request is about.
    pub fn with_authorizer(&self, asker: &Asker, resource: &Resource<'_>) -> Environment {
        let mut frame = self.fresh();
        frame.values = vec![("authorizer", asker.value()), ("authorizer.requestResource", asker.about(resource))];
        Environment(Rc::new(frame))
    }

    /// With a value that is not one of [`ROOTS`].
    pub fn with_value(&self, name: &'static str, value: Value) -> Environment {
        let mut frame = self.fresh();
        frame.values.retain(|it| it.0 != name);
        frame.values.push((name, value));
        Environment(Rc::new(frame))
    }

    /// With what the functions of a library find by [`host`].
    pub fn with_host(&self, host: Rc<dyn Any>) -> Environment {
        Environment(Rc::new(Frame { host: Some(host), ..self.fresh() }))
    }

    /// With a policy's variables, in the order in which they may use each other.
    pub fn with_variables(&self, variables: Arc<[Variable]>) -> Environment {
        Environment(Rc::new(Frame { variables, ..self.fresh() }))
    }

    /// The same things to see, nothing worked out yet.
    fn fresh(&self) -> Frame {
        Frame { known: RefCell::default(), depth: Cell::default(), whole: Default::default(), ..(*self.0).clone() }
    }

    /// Evaluates an expression that was compiled for such an environment.
    ///
    /// # Errors
    /// When it fails, or costs more than is left.
    pub fn run(&self, program: &Program, budget: &mut Budget) -> Result<Value, RunError> {
        let before = CURRENT.replace(Some(self.0.clone()));
        let values: Vec<(&str, &Value)> = self.0.values.iter().map(|it| (it.0, &it.1)).collect();
        let result = program.run(&values, self.0.bytes, budget);
        CURRENT.set(before);
        result
    }
}

fn current() -> Result<Rc<Frame>, ExecutionError> {
    let frame = CURRENT.with_borrow(Clone::clone);
    frame.ok_or_else(|| ExecutionError::function_error("variables", "nothing is being judged"))
}

/// What the environment of the expression that runs in this thread has for its library's functions.
pub fn host<T: 'static>() -> Option<Rc<T>> {
    current().ok()?.host.clone()?.downcast().ok()
}

/// `@get(path)`: what lies there.
pub(crate) fn get(path: Arc<String>) -> Result<Value, ExecutionError> {
    let frame = current()?;
    if let Some(known) = frame.found.borrow().get(path.as_str()) {
        return Ok(known.clone());
    }
    let (root, steps) = path::split(&path);
    if steps.is_empty() {
        let at = ROOTS.iter().position(|it| *it == root).unwrap_or_default();
        return Ok(frame.whole[at].get_or_init(|| convert::json(frame.root(root))).clone());
    }
    let value = match path::find(frame.root(root), steps)? {
        Found::Value(value) => convert::json(value),
        Found::Optional(value) => {
            let value = value.map_or_else(OptionalValue::none, |it| OptionalValue::of(convert::json(it)));
            Value::Opaque(Arc::new(value))
        }
    };
    let mut found = frame.found.borrow_mut();
    if root != "params" && found.len() < FOUND_MAX {
        found.insert(path.to_string(), value.clone());
    }
    Ok(value)
}

/// `@has(path)`: whether something lies there.
pub(crate) fn has(path: Arc<String>) -> Result<Value, ExecutionError> {
    let frame = current()?;
    let (root, steps) = path::split(&path);
    path::has(frame.root(root), steps).map(Value::Bool)
}

/// `@variable(name)`: what a variable of the policy stands for.
pub(crate) fn variable(name: Arc<String>) -> Result<Value, ExecutionError> {
    let frame = current()?;
    let at = frame.variables.iter().position(|it| it.name == *name);
    let at = at.ok_or_else(|| ExecutionError::NoSuchKey(name.clone()))?;
    if let Some(known) = frame.known.borrow().get(at).and_then(Clone::clone) {
        return known;
    }
    // Each names only those before it, so that there is an end; the stack may have one sooner.
    const DEPTH_MAX: usize = 16;
    if frame.depth.get() >= DEPTH_MAX {
        return Err(ExecutionError::function_error("variables", "variables name each other too deeply"));
    }
    frame.depth.set(frame.depth.get() + 1);
    let values: Vec<(&str, &Value)> = frame.values.iter().map(|it| (it.0, &it.1)).collect();
    let result = frame.variables[at].program.resolve(&values);
    frame.depth.set(frame.depth.get() - 1);
    let mut known = frame.known.borrow_mut();
    known.resize(frame.variables.len(), None);
    known[at] = Some(result.clone());
    result
}

impl Frame {
    fn root(&self, name: &str) -> &Json {
        const NULL: &Json = &Json::Null;
        self.roots.iter().find(|it| it.0 == name).map_or(NULL, |it| &it.1)
    }
}

pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function(path::GET, get);
    context.add_function(path::HAS, has);
    context.add_function(path::VARIABLE, variable);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment() -> Environment {
        let object = json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "n", "labels": {"x/y": "z"}},
            "spec": {"replicas": 3, "containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "i:2"}]}});
        Environment::new().with("object", Arc::new(object)).with("request", Arc::new(json!({"operation": "CREATE"})))
    }

    fn run_with(environment: &Environment, text: &str, variables: &[Variable]) -> Result<Value, String> {
        let mut names = ROOTS.to_vec();
        names.push("authorizer");
        let program = Program::compile_for(text, &names, variables, true).map_err(|it| it.to_string())?;
        environment.run(&program, &mut Budget::new(Budget::WRITE)).map_err(|it| it.to_string())
    }

    fn check(text: &str) {
        assert_eq!(run_with(&environment(), text, &[]), Ok(Value::Bool(true)), "{text}");
    }

    #[test]
    fn paths_are_looked_up_where_they_lead() {
        check("object.spec.replicas == 3 && object.metadata.namespace == 'n' && object['kind'] == 'Pod'");
        check("object.metadata.labels['x/y'] == 'z' && object.metadata.labels.x__slash__y == 'z'");
        check("has(object.metadata.labels) && !has(object.spec.gone) && !has(object.metadata.annotations)");
        check("oldObject == null && params == null && object != null");
        check("object.spec.containers.all(c, c.image.startsWith('i:')) && object.spec.containers[1].name == 'd'");
        check("object.spec.containers.exists(object, object.name == 'd')");
        check("request.operation in ['CREATE', 'UPDATE']");
        check("object.?spec.?replicas.orValue(1) == 3 && object.?spec.gone.more.orValue(7) == 7");
        check("object.metadata.?annotations['a'].orValue('none') == 'none' && !object.?status.hasValue()");
        for (text, why) in [
            ("object.spec.gone == 1", "no such key: gone"),
            ("object.gone.more == 1", "no such key: gone"),
            ("object.kind.more == 1", "has no field"),
            ("other == 1", "undeclared reference"),
        ] {
            let error = run_with(&environment(), text, &[]).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn macros_of_kubernetes_are_expanded() {
        check("cel.bind(n, object.spec.replicas, n + n + [n].map(n, n * 10)[0]) == 36");
        check(
            "cel.bind(o, object.?spec.?gone, o.orValue(4)) == 4 && cel.bind(o, object.?spec.?replicas, o.hasValue())",
        );
        check("optional.of(2).optMap(x, x * 2).value() == 4 && !optional.none().optMap(x, x + 1).hasValue()");
        check("optional.of(2).optFlatMap(x, optional.of(x)).value() == 2");
        check("['a', 'b'].all(i, v, i < 2 && v != 'c') && {'k': 1}.exists(k, v, k == 'k' && v == 1)");
        check("['a', 'b'].transformList(i, v, string(i) + v) == ['0a', '1b']");
        check("[1, 2, 3].transformList(i, v, v > 1, v * 2) == [4, 6]");
        check("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v + 1) == {'b': 3}");
        check("{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}");
        check("[1, 2].existsOne(i, v, v == 2)");
    }

    #[test]
    fn variables_are_worked_out_when_named_and_once() {
        let mut variables: Vec<Variable> = Vec::new();
        for (name, text) in [
            ("replicas", "object.spec.replicas"),
            ("broken", "object.spec.gone"),
            ("double", "variables.replicas * 2"),
            ("names", "object.spec.containers.map(c, c.name)"),
        ] {
            let program = Program::compile_for(text, &ROOTS, &variables, false).unwrap();
            variables.push(Variable { name: name.to_owned(), program });
        }
        let names = Program::compile_for(
            "has(variables.broken) && variables.double == 6 && (true || variables.broken == 1)",
            &ROOTS,
            &variables,
            false,
        );
        let first = Program::compile_for(
            "variables.names[0] == 'c' && variables.names.exists(n, n == 'd')",
            &ROOTS,
            &variables,
            false,
        );
        let broken = Program::compile_for("variables.broken == 1", &ROOTS, &variables, false).unwrap();
        let unknown = Program::compile_for("variables.other == 1", &ROOTS, &variables, false).unwrap_err();
        assert_eq!(unknown.to_string(), "compilation failed: undefined field 'other'");
        let environment = environment().with_variables(variables.into());
        let mut budget = Budget::new(Budget::WRITE);
        assert_eq!(environment.run(&names.unwrap(), &mut budget), Ok(Value::Bool(true)));
        assert_eq!(environment.run(&first.unwrap(), &mut budget), Ok(Value::Bool(true)));
        let error = environment.run(&broken, &mut budget).unwrap_err();
        assert!(error.to_string().contains("no such key: gone"), "{error}");
    }

    #[test]
    fn a_loop_in_a_variable_is_paid_for() {
        let list: Vec<i64> = (0..2000).collect();
        let program =
            Program::compile_for("object.all(a, object.all(b, object.all(c, a + b + c >= 0)))", &ROOTS, &[], false);
        let variables: Arc<[Variable]> = [Variable { name: "slow".into(), program: program.unwrap() }].into();
        let environment = Environment::new().with("object", Arc::new(json!(list))).with_variables(variables.clone());
        let named = Program::compile_for("variables.slow", &ROOTS, &variables, false).unwrap();
        assert_eq!(environment.run(&named, &mut Budget::new(100_000)), Err(RunError::Cost));
    }

    #[test]
    fn messages_are_maps() {
        let value = run_with(
            &environment(),
            "Object{spec: Object.spec{replicas: object.spec.replicas + 1, ?gone: optional.none(), list: [Object.spec.list{a: 'b'}]}}",
            &[],
        );
        let json = crate::to_json(&value.unwrap()).unwrap();
        assert_eq!(json, json!({"spec": {"replicas": 4, "list": [{"a": "b"}]}}));
        let value =
            run_with(&environment(), "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('x/y'), value: 1}]", &[]);
        assert_eq!(crate::to_json(&value.unwrap()).unwrap(), json!([{"op": "add", "path": "/a/x~1y", "value": 1}]));
        assert!(run_with(&environment(), "Other{a: 1}", &[]).unwrap_err().contains("undeclared reference to 'Other'"));
        let wrong = run_with(&environment(), "Object{spec: Object.spec{selector: Object.wrong{}}}", &[]).unwrap_err();
        assert!(wrong.contains("type mismatch: unexpected type name \"Object.wrong\""), "{wrong}");
        assert!(run_with(&environment(), "JSONPatch{what: 1}", &[]).unwrap_err().contains("undefined field 'what'"));
    }

    #[test]
    fn an_authorizer_answers_for_the_one_who_asks() {
        let decide = |user: &str, groups: &[String], ask: &eyot_model::rbac::Ask<'_>| match ask {
            eyot_model::rbac::Ask::Path { path, .. } => (*path == "/healthz", "by path".to_owned()),
            eyot_model::rbac::Ask::Resource(it) => {
                let told = format!(
                    "{user} {groups:?} {} {} {}/{} {}",
                    it.verb, it.group, it.resource, it.subresource, it.namespace
                );
                (it.verb == "get" && it.name == "x", told)
            }
        };
        let asker = Asker::new(Arc::new(decide), "eve", &["dev".to_owned()]);
        let resource = Resource { resource: "pods", namespace: "n", name: "x", ..Resource::default() };
        let environment = environment().with_authorizer(&asker, &resource);
        for text in [
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace('n').name('x').check('get').allowed()",
            "!authorizer.group('apps').resource('deployments').check('get').allowed()",
            "authorizer.path('/healthz').check('get').allowed()",
            "authorizer.requestResource.check('get').allowed() && !authorizer.requestResource.check('delete').allowed()",
            "authorizer.serviceAccount('n', 'sa').group('').resource('pods').check('list').reason().startsWith('system:serviceaccount:n:sa [\"system:serviceaccounts\"')",
            "!authorizer.path('/x').check('get').errored() && authorizer.path('/x').check('get').error() == ''",
        ] {
            assert_eq!(run_with(&environment, text, &[]), Ok(Value::Bool(true)), "{text}");
        }
        assert!(run_with(&environment, "authorizer.check('get').allowed()", &[]).is_err());
    }
}
