//! What the expressions of an admission policy see while one request is judged. Entry point: [`Environment`].
//!
//! Objects stay JSON: an expression takes out of them what it names, and nothing else is converted, nor anything twice for
//! one request. `variables` are evaluated when they are first named, once for each environment. An expression is evaluated
//! [directly](crate::direct) where that is certain to come to what the interpreter says. While one runs, its environment
//! lies where the functions behind these look-ups find it: in the thread.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

use eyot_model::rbac::Resource;
use kube_cel::cel::{Context, ExecutionError, Value};
use serde_json::Value as Json;

use crate::{
    authorize::Asker,
    budget::{self, Budget},
    convert,
    direct::{End, Item, Run, Surroundings, Way},
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

/// What all policies see of one request.
#[derive(Clone, Default)]
struct Around {
    /// Objects by the place of their name in [`ROOTS`], parameters left out.
    roots: [Option<Arc<Json>>; ROOTS.len()],
    /// Size of the objects, as loops are charged for.
    bytes: usize,
    /// Values that are not JSON.
    values: Vec<(&'static str, Value)>,
    /// What the functions of a library ask.
    host: Option<Rc<dyn Any>>,
    /// What was looked up already: policies ask for the same things.
    found: Looked,
}

/// Values by their paths.
type Looked = RefCell<BTreeMap<Arc<str>, Item>>;

/// What one policy sees.
#[derive(Default)]
struct Frame {
    around: Rc<Around>,
    params: Option<Arc<Json>>,
    /// Size of everything.
    bytes: usize,
    /// What was looked up in the parameters.
    found: Looked,
    variables: Option<Arc<[Variable]>>,
    known: RefCell<Vec<Option<Result<Item, ExecutionError>>>>,
    /// How deep variables name each other at this moment.
    depth: Cell<usize>,
    /// What was paid for variables that are known now, whatever becomes of the expression that named them, and the bytes of
    /// what they put together.
    kept: Cell<(i64, i64)>,
    /// Bytes of what the expressions before this one put together: variables stay.
    made: Cell<i64>,
}

/// Paths that are remembered.
const FOUND_MAX: usize = 256;
/// How deep variables may name each other. Each names only those before it, so that there is an end; the stack may have
/// one sooner.
const DEPTH_MAX: usize = 16;

const PARAMS: &str = "params";

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
        if name == PARAMS {
            let bytes = self.0.around.bytes.saturating_add(convert::size(&value));
            return Environment(Rc::new(Frame { params: Some(value), bytes, ..self.fresh() }));
        }
        let mut around = self.around();
        let Some(root) = ROOTS.iter().position(|it| *it == name).map(|at| &mut around.roots[at]) else {
            return self.clone();
        };
        let before = root.as_ref().map_or(0, |it| convert::size(it));
        let after = convert::size(&value);
        *root = Some(value);
        around.bytes = around.bytes.saturating_sub(before).saturating_add(after);
        around.found.get_mut().retain(|path, _| !path::is_of(path, name));
        self.among(around)
    }

    /// With somebody who answers `authorizer`; `resource` is what the request is about.
    pub fn with_authorizer(&self, asker: &Asker, resource: &Resource<'_>) -> Environment {
        let values = vec![("authorizer", asker.value()), ("authorizer.requestResource", asker.about(resource))];
        self.among(Around { values, ..self.around() })
    }

    /// With a value that is not one of [`ROOTS`].
    pub fn with_value(&self, name: &'static str, value: Value) -> Environment {
        let mut around = self.around();
        around.values.retain(|it| it.0 != name);
        around.values.push((name, value));
        self.among(around)
    }

    /// With what the functions of a library find by [`host`].
    pub fn with_host(&self, host: Rc<dyn Any>) -> Environment {
        self.among(Around { host: Some(host), ..self.around() })
    }

    /// With a policy's variables, in the order in which they may use each other.
    pub fn with_variables(&self, variables: Arc<[Variable]>) -> Environment {
        Environment(Rc::new(Frame { variables: Some(variables), ..self.fresh() }))
    }

    fn around(&self) -> Around {
        Around::clone(&self.0.around)
    }

    fn among(&self, around: Around) -> Environment {
        let params = self.0.params.as_ref().map_or(0, |it| convert::size(it));
        let bytes = around.bytes.saturating_add(params);
        Environment(Rc::new(Frame { around: Rc::new(around), bytes, ..self.fresh() }))
    }

    /// The same things to see, nothing worked out yet.
    fn fresh(&self) -> Frame {
        Frame {
            around: self.0.around.clone(),
            params: self.0.params.clone(),
            bytes: self.0.bytes,
            variables: self.0.variables.clone(),
            ..Frame::default()
        }
    }

    /// Evaluates an expression that was compiled for such an environment.
    ///
    /// # Errors
    /// When it fails, or costs more than is left.
    pub fn run(&self, program: &Program, budget: &mut Budget) -> Result<Value, RunError> {
        match self.decide(program, budget)? {
            Some(item) => Ok(item.to_cel()),
            None => self.interpret(program, budget),
        }
    }

    /// Whether an expression is true; `None` where it is neither true nor false.
    ///
    /// # Errors
    /// When it fails, or costs more than is left.
    pub fn holds(&self, program: &Program, budget: &mut Budget) -> Result<Option<bool>, RunError> {
        Ok(match self.decide(program, budget)? {
            Some(Item::Bool(it)) => Some(it),
            Some(_) => None,
            None => match self.interpret(program, budget)? {
                Value::Bool(it) => Some(it),
                _ => None,
            },
        })
    }

    /// What an expression comes to as JSON; `None` where JSON cannot say it.
    ///
    /// # Errors
    /// When it fails, or costs more than is left.
    pub fn json(&self, program: &Program, budget: &mut Budget) -> Result<Option<Json>, RunError> {
        match self.decide(program, budget)? {
            Some(item) => Ok(item.to_json()),
            None => Ok(convert::to_json(&self.interpret(program, budget)?)),
        }
    }

    /// What an expression comes to without the interpreter; `None` where that cannot be told.
    pub(crate) fn decide(&self, program: &Program, budget: &mut Budget) -> Result<Option<Item>, RunError> {
        let Some(plan) = &program.plan else { return Ok(None) };
        if budget.is_spent() {
            return Err(RunError::Cost);
        }
        let (before, left) = (CURRENT.replace(Some(self.0.clone())), budget.left());
        self.0.kept.set((0, 0));
        // Functions are the interpreter's, which has a few places that give up in the hardest way.
        let run = || catch_unwind(AssertUnwindSafe(|| Run::plan(plan, &*self.0)));
        let found = budget.within(self.0.input(), run);
        CURRENT.set(before);
        if budget.is_spent() {
            self.0.keep(budget.made());
            return Err(RunError::Cost);
        }
        if let Ok(Ok(item)) = found {
            self.0.keep(budget.made());
            return Ok(Some(item));
        }
        self.0.depth.set(0);
        let (paid, made) = self.0.kept.get();
        self.0.keep(made);
        budget.restore(left.saturating_sub(paid));
        Ok(None)
    }

    /// The same by the interpreter.
    pub(crate) fn interpret(&self, program: &Program, budget: &mut Budget) -> Result<Value, RunError> {
        let before = CURRENT.replace(Some(self.0.clone()));
        let result = program.run(&self.0.values(), self.0.input(), budget);
        CURRENT.set(before);
        self.0.keep(budget.made());
        result
    }
}

fn current() -> Result<Rc<Frame>, ExecutionError> {
    let frame = CURRENT.with_borrow(Clone::clone);
    frame.ok_or_else(|| ExecutionError::function_error("variables", "nothing is being judged"))
}

/// What the environment of the expression that runs in this thread has for its library's functions.
pub fn host<T: 'static>() -> Option<Rc<T>> {
    current().ok()?.around.host.clone()?.downcast().ok()
}

/// `@get(path)`: what lies there.
pub(crate) fn get(path: Arc<String>) -> Result<Value, ExecutionError> {
    let frame = current()?;
    let (root, steps) = path::split(&path);
    let looked = frame.looked(root == PARAMS);
    if let Some(known) = looked.borrow().get(path.as_str()) {
        return Ok(known.to_cel());
    }
    let item = match steps {
        "" => Item::of_json(frame.root(root)),
        steps => match path::find(frame.root(root), steps)? {
            Found::Value(value) => Item::of_json(value),
            Found::Optional(value) => Item::Optional(value.map(|it| Arc::new(Item::of_json(it)))),
        },
    };
    let value = item.to_cel();
    remember(looked, &Arc::from(path.as_str()), item);
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
    let at = frame.variables.iter().flat_map(|it| it.iter()).position(|it| it.name == *name);
    let at = at.ok_or_else(|| ExecutionError::NoSuchKey(name.clone()))?;
    if let Some(known) = frame.known(at) {
        return known.map(|it| it.to_cel());
    }
    if frame.depth.get() >= DEPTH_MAX {
        return Err(ExecutionError::function_error("variables", "variables name each other too deeply"));
    }
    let Some(variable) = frame.variables.as_ref().map(|it| &it[at]) else {
        return Err(ExecutionError::NoSuchKey(name));
    };
    frame.depth.set(frame.depth.get() + 1);
    let result = variable.program.resolve(&frame.values());
    frame.depth.set(frame.depth.get() - 1);
    frame.know(at, result.clone().map(Item::of_cel));
    result
}

fn remember(looked: &Looked, path: &Arc<str>, item: Item) {
    let mut looked = looked.borrow_mut();
    if looked.len() < FOUND_MAX {
        looked.insert(path.clone(), item);
    }
}

impl Frame {
    fn root(&self, name: &str) -> &Json {
        ROOTS.iter().position(|it| *it == name).map_or(&Json::Null, |at| self.root_at(at))
    }

    fn root_at(&self, at: usize) -> &Json {
        const NULL: &Json = &Json::Null;
        let root = if ROOTS[at] == PARAMS { &self.params } else { &self.around.roots[at] };
        root.as_ref().map_or(NULL, |it| it)
    }

    /// What was looked up, in parameters or elsewhere: parameters differ between policies.
    fn looked(&self, in_params: bool) -> &Looked {
        if in_params { &self.found } else { &self.around.found }
    }

    /// Bytes that an expression may look at.
    fn input(&self) -> usize {
        self.bytes.saturating_add(usize::try_from(self.made.get()).unwrap_or(0))
    }

    /// Notes what an expression put together.
    fn keep(&self, made: i64) {
        self.made.set(self.made.get().saturating_add(made));
    }

    fn values(&self) -> Vec<(&str, &Value)> {
        self.around.values.iter().map(|it| (it.0, &it.1)).collect()
    }

    fn known(&self, at: usize) -> Option<Result<Item, ExecutionError>> {
        self.known.borrow().get(at).and_then(Clone::clone)
    }

    fn know(&self, at: usize, result: Result<Item, ExecutionError>) {
        let mut known = self.known.borrow_mut();
        known.resize(self.variables.as_ref().map_or(0, |it| it.len()), None);
        known[at] = Some(result);
    }
}

impl Surroundings for Frame {
    fn get(&self, way: &Way) -> Option<Item> {
        let looked = self.looked(ROOTS[way.root] == PARAMS);
        if let Some(known) = looked.borrow().get(&way.text) {
            return Some(known.clone());
        }
        let root = self.root_at(way.root);
        let item = match way.find(root)? {
            End::Value(value) => Item::of_json(value),
            End::Optional(value) => Item::Optional(value.map(|it| Arc::new(Item::of_json(it)))),
        };
        remember(looked, &way.text, item.clone());
        Some(item)
    }

    fn has(&self, way: &Way) -> Option<bool> {
        way.leads(self.root_at(way.root))
    }

    fn variable(&self, at: usize, name: &str) -> Option<Item> {
        let variables = self.variables.as_ref()?;
        let variable = variables.get(at).filter(|it| it.name == name)?;
        if let Some(known) = self.known(at) {
            return known.ok();
        }
        let plan = variable.program.plan.as_ref().filter(|_| self.depth.get() < DEPTH_MAX)?;
        let (left, input, kept) = (budget::left(), budget::input(), self.kept.get());
        self.depth.set(self.depth.get() + 1);
        let found = Run::plan(plan, self);
        self.depth.set(self.depth.get() - 1);
        let item = found.ok()?;
        // What the variables in it cost is part of this.
        let paid = kept.0.saturating_add(left.saturating_sub(budget::left()));
        self.kept.set((paid, kept.1.saturating_add(budget::input().saturating_sub(input))));
        self.know(at, Ok(item.clone()));
        Some(item)
    }

    fn given(&self, name: &str) -> Option<Item> {
        let found = self.around.values.iter().find(|it| it.0 == name);
        found.map(|it| Item::of_cel(it.1.clone()))
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
