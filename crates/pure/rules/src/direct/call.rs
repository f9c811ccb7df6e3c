//! Functions of the interpreter, called with values that were worked out here. Entry points: [`Call::new`], [`Call::make`].

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use kube_cel::cel::{
    Context, Value,
    common::ast::{CallExpr, Expr, IdedExpr},
    context::VariableResolver,
};

use super::{item::Item, plan::Node};
use crate::{
    library::{self, Library},
    program, scope,
};

/// Names under which the interpreter finds the arguments.
static ARGUMENTS: LazyLock<Vec<String>> = LazyLock::new(|| (0..ARGUMENTS_MAX).map(|at| format!("@{at}")).collect());
/// More arguments than any function has.
const ARGUMENTS_MAX: usize = 10;
/// Functions that come to the same for the same arguments, and charge nothing.
const PURE: [&str; 8] = ["cidr", "duration", "ip", "isQuantity", "quantity", "semver", "timestamp", "url"];

/// Results of [`PURE`] functions that a thread keeps.
const KEPT_MAX: usize = 256;
/// Longest text whose result is kept: longer ones do not come again.
const KEPT_TEXT_BYTES_MAX: usize = 256;

thread_local! {
    /// What [`PURE`] functions made of texts: objects have the same amounts and addresses again and again.
    static KEPT: RefCell<BTreeMap<(&'static str, Arc<str>), Item>> = const { RefCell::new(BTreeMap::new()) };
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// Its arguments are the variables of [`ARGUMENTS`].
    expression: IdedExpr,
    /// The target, where it is a value, and the arguments.
    pub(super) parts: Box<[Node]>,
    library: Option<&'static Library>,
    /// Its name, if it is one of [`PURE`].
    pure: Option<&'static str>,
}

/// Values by their place.
struct Arguments<'a>(&'a [Value]);

impl VariableResolver for Arguments<'_> {
    fn resolve(&self, variable: &str) -> Option<Value> {
        let at: usize = variable.strip_prefix('@')?.parse().ok()?;
        self.0.get(at).cloned()
    }
}

fn named(name: &str) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) }
}

impl Call {
    pub(super) fn new(
        prefix: Option<String>,
        name: String,
        target: Option<Node>,
        args: Vec<Node>,
        library: Option<&'static Library>,
    ) -> Call {
        let mut places = ARGUMENTS.iter().map(|it| named(it));
        let on_value = target.is_some();
        let target_name = match prefix {
            Some(prefix) => Some(Box::new(named(&prefix))),
            None if on_value => places.next().map(Box::new),
            None => None,
        };
        let is_plain = target_name.is_none() && library.is_none();
        let pure = PURE.into_iter().find(|it| is_plain && *it == name);
        let call = CallExpr { func_name: name, target: target_name, args: places.take(args.len()).collect() };
        let parts: Vec<Node> = target.into_iter().chain(args).collect();
        Call { expression: IdedExpr { id: 0, expr: Expr::Call(call) }, parts: parts.into(), library, pure }
    }

    /// Its value where that is always the same, else the call.
    pub(super) fn folded(self) -> Node {
        if self.pure.is_some() {
            let constant = |it: &Node| match it {
                Node::Const(it) => Some(it.clone()),
                _ => None,
            };
            let values = self.parts.iter().map(constant).collect::<Option<Vec<Item>>>();
            if let Some(value) = values.and_then(|it| self.make(&it)) {
                return Node::Const(value);
            }
        }
        Node::Call(Box::new(self))
    }

    /// Calls it, unless what it comes to is known; `None` where it fails.
    pub(super) fn make(&self, values: &[Item]) -> Option<Item> {
        let (Some(name), [Item::Text(text)]) = (self.pure, values) else { return self.made(values) };
        if text.len() > KEPT_TEXT_BYTES_MAX {
            return self.made(values);
        }
        let key = (name, text.clone());
        if let Some(known) = KEPT.with_borrow(|it| it.get(&key).cloned()) {
            return Some(known);
        }
        let made = self.made(values)?;
        KEPT.with_borrow_mut(|it| {
            if it.len() >= KEPT_MAX {
                it.clear();
            }
            it.insert(key, made.clone());
        });
        Some(made)
    }

    fn made(&self, values: &[Item]) -> Option<Item> {
        if values.len() > ARGUMENTS_MAX || values.iter().any(|it| matches!(it, Item::Boxed(_))) {
            return None;
        }
        let values: Vec<Value> = values.iter().map(Item::to_cel).collect();
        let made = match self.library {
            None => program::with_context(|context| self.in_context(context, &values)),
            Some(it) => self.in_context(&library::context(it), &values),
        };
        made.map(Item::of_cel)
    }

    fn in_context(&self, context: &Context<'static>, values: &[Value]) -> Option<Value> {
        let arguments = Arguments(values);
        let mut scope = context.new_inner_scope();
        scope.set_variable_resolver(&arguments);
        Value::resolve(&self.expression, &scope).ok()
    }
}

/// Whether `prefix.name` is a function of Kubernetes'.
pub(crate) fn is_function(name: &str) -> bool {
    scope::is_known(name)
}
