//! The `authorizer` of admission expressions: asking, inside an expression, who may do what. Entry point: [`Asker`].

use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

use eyot_model::rbac::{Ask, Resource, account_user};
use kube_cel::cel::{
    Context, ExecutionError, Value,
    extractors::{Arguments, This},
    objects::Opaque,
};

/// Decides whether a user of some groups may do something, and why.
pub type Decide = dyn Fn(&str, &[String], &Ask<'_>) -> (bool, String) + Send + Sync;

/// Who asks, and whom.
#[derive(Clone)]
pub struct Asker {
    decide: Arc<Decide>,
    user: String,
    groups: Vec<String>,
}

impl Asker {
    /// A user's questions are answered by `decide`.
    pub fn new(decide: Arc<Decide>, user: &str, groups: &[String]) -> Asker {
        Asker { decide, user: user.to_owned(), groups: groups.to_vec() }
    }

    /// The value of `authorizer`.
    pub(crate) fn value(&self) -> Value {
        Step::Anything.value(self.clone())
    }

    /// The value of `authorizer.requestResource`.
    pub(crate) fn about(&self, resource: &Resource<'_>) -> Value {
        let text = |it: &str| it.to_owned();
        let wish = Wish {
            group: text(resource.group),
            resource: text(resource.resource),
            subresource: text(resource.subresource),
            namespace: text(resource.namespace),
            name: text(resource.name),
        };
        Step::Objects(wish).value(self.clone())
    }
}

/// What a question is about, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

/// How far a question has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Anything,
    Path(String),
    Group(String),
    Objects(Wish),
    Decided { allowed: bool, reason: String },
}

/// A step of a question as a value.
struct Question {
    asker: Asker,
    step: Step,
}

impl Step {
    fn value(self, asker: Asker) -> Value {
        Value::Opaque(Arc::new(Question { asker, step: self }))
    }
}

impl Debug for Question {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.step, self.asker.user)
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        self.step == other.step && self.asker.user == other.asker.user && self.asker.groups == other.asker.groups
    }
}

impl Eq for Question {}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self.step {
            Step::Anything => "kubernetes.authorization.Authorizer",
            Step::Path(_) => "kubernetes.authorization.PathCheck",
            Step::Group(_) => "kubernetes.authorization.GroupCheck",
            Step::Objects(_) => "kubernetes.authorization.ResourceCheck",
            Step::Decided { .. } => "kubernetes.authorization.Decision",
        }
    }
}

/// Names of the functions below.
pub(crate) const KNOWN: &str = " allowed check error errored fieldSelector group labelSelector name namespace path reason \
    resource serviceAccount subresource ";

pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function("path", path);
    context.add_function("group", group);
    context.add_function("serviceAccount", service_account);
    context.add_function("resource", resource);
    context.add_function("subresource", |this: This<Value>, args: Arguments| {
        narrowed(&this.0, &args.0, |it, text| it.subresource = text)
    });
    context.add_function("namespace", |this: This<Value>, args: Arguments| {
        narrowed(&this.0, &args.0, |it, text| it.namespace = text)
    });
    context.add_function("name", |this: This<Value>, args: Arguments| {
        narrowed(&this.0, &args.0, |it, text| it.name = text)
    });
    // Roles know no selectors: they grant all objects or none.
    context.add_function("fieldSelector", |this: This<Value>, args: Arguments| narrowed(&this.0, &args.0, |_, _| {}));
    context.add_function("labelSelector", |this: This<Value>, args: Arguments| narrowed(&this.0, &args.0, |_, _| {}));
    context.add_function("check", check);
    context.add_function("allowed", |this: This<Value>| decided(&this.0, |allowed, _| Value::Bool(allowed)));
    context.add_function("reason", |this: This<Value>| decided(&this.0, |_, reason| Value::from(reason)));
    // Deciding by roles cannot fail.
    context.add_function("errored", |this: This<Value>| decided(&this.0, |_, _| Value::Bool(false)));
    context.add_function("error", |this: This<Value>| decided(&this.0, |_, _| Value::from("")));
}

fn question(value: &Value) -> Result<&Question, ExecutionError> {
    match value {
        Value::Opaque(it) => it.downcast_ref::<Question>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn text(args: &[Value]) -> Result<String, ExecutionError> {
    match args {
        [Value::String(text)] => Ok(text.to_string()),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn path(This(this): This<Value>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let it = question(&this)?;
    match &it.step {
        Step::Anything => Ok(Step::Path(text(&args)?).value(it.asker.clone())),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn group(This(this): This<Value>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let it = question(&this)?;
    match &it.step {
        Step::Anything => Ok(Step::Group(text(&args)?).value(it.asker.clone())),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn service_account(This(this): This<Value>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let it = question(&this)?;
    let (Step::Anything, [Value::String(namespace), Value::String(name)]) = (&it.step, args.as_slice()) else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let groups: Vec<String> = groups.into_iter().chain(["system:authenticated".to_owned()]).collect();
    Ok(Step::Anything.value(Asker { user: account_user(namespace, name), groups, decide: it.asker.decide.clone() }))
}

fn resource(This(this): This<Value>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let it = question(&this)?;
    let Step::Group(group) = &it.step else { return Err(ExecutionError::NoSuchOverload) };
    let wish = Wish { group: group.clone(), resource: text(&args)?, ..Wish::default() };
    Ok(Step::Objects(wish).value(it.asker.clone()))
}

fn narrowed(this: &Value, args: &[Value], set: fn(&mut Wish, String)) -> Result<Value, ExecutionError> {
    let it = question(this)?;
    let Step::Objects(wish) = &it.step else { return Err(ExecutionError::NoSuchOverload) };
    let mut wish = wish.clone();
    set(&mut wish, text(args)?);
    Ok(Step::Objects(wish).value(it.asker.clone()))
}

fn check(This(this): This<Value>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let it = question(&this)?;
    let verb = text(&args)?;
    let decide = |ask: &Ask<'_>| (it.asker.decide)(&it.asker.user, &it.asker.groups, ask);
    let (allowed, reason) = match &it.step {
        Step::Path(path) => decide(&Ask::Path { verb: &verb, path }),
        Step::Objects(wish) => decide(&Ask::Resource(Resource {
            verb: &verb,
            group: &wish.group,
            resource: &wish.resource,
            subresource: &wish.subresource,
            namespace: &wish.namespace,
            name: &wish.name,
            ..Resource::default()
        })),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(Step::Decided { allowed, reason }.value(it.asker.clone()))
}

fn decided(this: &Value, read: impl Fn(bool, &str) -> Value) -> Result<Value, ExecutionError> {
    match &question(this)?.step {
        Step::Decided { allowed, reason } => Ok(read(*allowed, reason)),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}
