//! An expression, made ready for direct evaluation. Entry point: [`Plan::of`].
//!
//! Names become places, ways into objects are taken apart, and what is constant is worked out. An expression with a part
//! that is not known here has no plan.

use std::sync::{Arc, OnceLock};

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr,
};
use regex::Regex;

use super::{call::Call, item::Item, way::Way};
use crate::{
    expand::{BOX, OPT_SELECT, UNBOX},
    functions::{CHARGE, CHARGE_SQUARE, GROWN},
    library::Library,
    numbers::{AMONG, EQUAL, KEY, UNEQUAL},
    path::{GET, HAS, VARIABLE},
};

/// A prepared expression.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) node: Node,
    /// Variables of loops that are there at once.
    pub(super) locals: usize,
}

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Const(Item),
    Local(usize),
    /// A value of the environment that is no object.
    Given(Box<str>),
    Get(Way),
    Has(Way),
    /// A variable of the policy: its place, and its name.
    Variable(usize, Box<str>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    /// Whether something is not certainly false.
    NotFalse(Box<Node>),
    If(Box<[Node; 3]>),
    Equal(Box<[Node; 2]>, bool),
    Order(Box<[Node; 2]>, Relation),
    In(Box<[Node; 2]>),
    Arith(Box<[Node; 2]>, Arith),
    Negative(Box<Node>),
    Index(Box<[Node; 2]>),
    Test(Box<Node>, Box<str>),
    /// The optional field of a value, which may be optional itself.
    OptSelect(Box<[Node; 2]>),
    /// Items; the flag says that one may be absent.
    List(Box<[(Node, bool)]>),
    Map(Box<[(Node, Node, bool)]>),
    Fold(Box<Fold>),
    /// Puts items behind those of a loop's result so far, which nobody needs afterwards; the flag says that they cost.
    Append(usize, Box<[Node]>, bool),
    /// What was put together, once it is paid for.
    Grown(Box<Node>),
    Charge(i64),
    ChargeSquare,
    Box(Box<Node>),
    Unbox(Box<Node>),
    Method(Method, Box<Node>, Option<Box<Node>>),
    /// A text against an expression, which is compiled when it is first needed.
    Matches(Box<Node>, Box<Pattern>),
    Call(Box<Call>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arith {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// What is done here as the interpreter's functions do it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    StartsWith,
    EndsWith,
    Contains,
    Size,
    String,
    Optional,
    HasValue,
    Value,
    OrValue,
    Or,
}

#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) initial: Node,
    /// Where the result so far lies, and behind it the item.
    pub(super) at: usize,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: Box<str>,
    pub(super) compiled: OnceLock<Option<Regex>>,
}

/// What an expression may name.
#[derive(Clone, Copy)]
pub(crate) struct Names<'n> {
    /// Variables of the policy.
    pub(crate) variables: &'n [&'n str],
    pub(crate) library: Option<&'static Library>,
    /// Whether `prefix.name` is a function.
    pub(crate) is_function: fn(&str) -> bool,
}

impl Plan {
    /// Prepares an expression; `None` where something in it is not known here.
    pub(crate) fn of(expression: &IdedExpr, names: Names<'_>) -> Option<Plan> {
        let mut maker = Maker { names, locals: Vec::new(), most: 0 };
        let node = maker.node(expression)?;
        Some(Plan { node, locals: maker.most })
    }
}

struct Maker<'n> {
    names: Names<'n>,
    /// Variables of the loops around; the same name stands for the last of them.
    locals: Vec<String>,
    most: usize,
}

impl Maker<'_> {
    fn node(&mut self, expression: &IdedExpr) -> Option<Node> {
        match &expression.expr {
            Expr::Literal(it) => literal(it).map(Node::Const),
            Expr::Ident(name) => Some(match self.locals.iter().rposition(|it| it == name) {
                Some(at) => Node::Local(at),
                None => Node::Given(name.as_str().into()),
            }),
            Expr::Select(it) => self.select(it),
            Expr::List(it) => self.list(it),
            Expr::Map(it) => self.map(it),
            Expr::Comprehension(it) => self.fold(it),
            Expr::Call(it) => self.call(it),
            Expr::Struct(_) | Expr::Unspecified => None,
        }
    }

    fn boxed(&mut self, expression: &IdedExpr) -> Option<Box<Node>> {
        self.node(expression).map(Box::new)
    }

    fn each<const N: usize>(&mut self, args: &[IdedExpr]) -> Option<Box<[Node; N]>> {
        let nodes = args.iter().map(|it| self.node(it)).collect::<Option<Vec<Node>>>()?;
        nodes.try_into().ok().map(Box::new)
    }

    /// What is not a test is a look-up by now.
    fn select(&mut self, select: &SelectExpr) -> Option<Node> {
        if !select.test {
            return None;
        }
        Some(Node::Test(self.boxed(&select.operand)?, select.field.as_str().into()))
    }

    fn list(&mut self, list: &ListExpr) -> Option<Node> {
        let item = |(at, it): (usize, &IdedExpr)| Some((self.node(it)?, list.optional_indices.contains(&at)));
        let items = list.elements.iter().enumerate().map(item).collect::<Option<Vec<_>>>()?;
        let constant = |it: &(Node, bool)| match it {
            (Node::Const(it), false) => Some(it.clone()),
            _ => None,
        };
        match items.iter().map(constant).collect::<Option<Vec<Item>>>() {
            Some(all) => Some(Node::Const(Item::List(Arc::new(all)))),
            None => Some(Node::List(items.into())),
        }
    }

    fn map(&mut self, map: &MapExpr) -> Option<Node> {
        let entry = |expr: &EntryExpr| match expr {
            EntryExpr::MapEntry(it) => Some((self.node(&it.key)?, self.node(&it.value)?, it.optional)),
            EntryExpr::StructField(_) => None,
        };
        let entries = map.entries.iter().map(|it| &it.expr).map(entry).collect::<Option<Vec<_>>>()?;
        let constant = |it: &(Node, Node, bool)| match it {
            (Node::Const(Item::Text(key)), Node::Const(value), false) => Some((key.clone(), value.clone())),
            _ => None,
        };
        match entries.iter().map(constant).collect::<Option<Vec<_>>>() {
            Some(all) => Some(Node::Const(Item::map(all))),
            None => Some(Node::Map(entries.into())),
        }
    }

    fn fold(&mut self, fold: &ComprehensionExpr) -> Option<Node> {
        if fold.iter_var2.is_some() {
            return None;
        }
        let (range, initial) = (self.node(&fold.iter_range)?, self.node(&fold.accu_init)?);
        let at = self.locals.len();
        self.locals.push(fold.accu_var.clone());
        self.locals.push(fold.iter_var.clone());
        self.most = self.most.max(self.locals.len());
        let parts = (self.node(&fold.loop_cond), self.step(&fold.loop_step, at));
        // After the loop, and before its first round, the item is not there.
        self.locals[at + 1] = String::new();
        let result = self.node(&fold.result);
        self.locals.truncate(at);
        let (Some(condition), Some(step), Some(result)) = (parts.0, parts.1, result) else { return None };
        Some(Node::Fold(Box::new(Fold { range, initial, at, condition, step, result })))
    }

    /// What the result of a loop becomes in a round.
    fn step(&mut self, expression: &IdedExpr, at: usize) -> Option<Node> {
        if let Expr::Call(call) = &expression.expr {
            match (call.func_name.as_str(), call.args.as_slice()) {
                ("_?_:_", [condition, yes, no]) => {
                    let parts = [self.node(condition)?, self.step(yes, at)?, self.step(no, at)?];
                    return Some(Node::If(Box::new(parts)));
                }
                ("_+_", [IdedExpr { expr: Expr::Ident(name), .. }, items])
                    if self.locals.iter().rposition(|it| it == name) == Some(at) =>
                {
                    if let Some((list, cost)) = appended(items) {
                        let items = list.elements.iter().map(|it| self.node(it)).collect::<Option<Vec<_>>>()?;
                        return Some(Node::Append(at, items.into(), cost));
                    }
                }
                _ => {}
            }
        }
        self.node(expression)
    }

    fn call(&mut self, call: &CallExpr) -> Option<Node> {
        if call.target.is_none()
            && let Some(made) = self.operator(call)
        {
            return made;
        }
        self.function(call)
    }

    /// Operators and what the rewriting of expressions made; nothing for functions.
    fn operator(&mut self, call: &CallExpr) -> Option<Option<Node>> {
        let args = call.args.as_slice();
        let name = || match args {
            [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }] => Some(text.inner()),
            _ => None,
        };
        let order = |made: &mut Self, it| Some(Node::Order(made.each(args)?, it));
        let arith = |made: &mut Self, it| Some(Node::Arith(made.each(args)?, it));
        Some(match call.func_name.as_str() {
            "_?_:_" => self.each(args).map(Node::If),
            "_&&_" => self.each(args).map(Node::And),
            "_||_" => self.each(args).map(Node::Or),
            "_==_" | EQUAL => self.each(args).map(|it| Node::Equal(it, true)),
            "_!=_" | UNEQUAL => self.each(args).map(|it| Node::Equal(it, false)),
            "_<_" => order(self, Relation::Less),
            "_<=_" => order(self, Relation::LessEqual),
            "_>_" => order(self, Relation::Greater),
            "_>=_" => order(self, Relation::GreaterEqual),
            "_+_" => arith(self, Arith::Add),
            "_-_" => arith(self, Arith::Subtract),
            "_*_" => arith(self, Arith::Multiply),
            "_/_" => arith(self, Arith::Divide),
            "_%_" => arith(self, Arith::Modulo),
            "_[_]" => self.each(args).map(Node::Index),
            "@in" | AMONG => self.each(args).map(Node::In),
            // Numbers are keys here whatever their type.
            KEY => self.each(args).map(|it: Box<[Node; 1]>| (*it).into_only()),
            OPT_SELECT => self.each(args).map(Node::OptSelect),
            "!_" => self.each(args).map(|it: Box<[Node; 1]>| Node::Not(Box::new((*it).into_only()))),
            "-_" => self.each(args).map(|it: Box<[Node; 1]>| Node::Negative(Box::new((*it).into_only()))),
            "@not_strictly_false" => {
                self.each(args).map(|it: Box<[Node; 1]>| Node::NotFalse(Box::new((*it).into_only())))
            }
            BOX => self.each(args).map(|it: Box<[Node; 1]>| Node::Box(Box::new((*it).into_only()))),
            UNBOX => self.each(args).map(|it: Box<[Node; 1]>| Node::Unbox(Box::new((*it).into_only()))),
            GET => name().and_then(Way::new).map(Node::Get),
            HAS => name().and_then(Way::new).map(Node::Has),
            VARIABLE => name().and_then(|name| {
                let at = self.names.variables.iter().position(|it| *it == name)?;
                Some(Node::Variable(at, name.into()))
            }),
            CHARGE => match args {
                [IdedExpr { expr: Expr::Literal(LiteralValue::Int(nodes)), .. }] => Some(Node::Charge(*nodes.inner())),
                _ => None,
            },
            CHARGE_SQUARE => Some(Node::ChargeSquare),
            GROWN => self.each(args).map(|it: Box<[Node; 1]>| Node::Grown(Box::new((*it).into_only()))),
            _ => return None,
        })
    }

    fn function(&mut self, call: &CallExpr) -> Option<Node> {
        let prefix = match call.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(prefix), .. }) => {
                let whole = format!("{prefix}.{}", call.func_name);
                let is_one = (self.names.is_function)(&whole) || self.names.library.is_some_and(|it| it.has(&whole));
                is_one.then(|| prefix.clone())
            }
            _ => None,
        };
        let target = match &call.target {
            Some(it) if prefix.is_none() => Some(self.node(it)?),
            _ => None,
        };
        let args = call.args.iter().map(|it| self.node(it)).collect::<Option<Vec<Node>>>()?;
        let known = method(prefix.as_deref(), &call.func_name, target.is_some(), args.len());
        // A library may have another function of that name.
        let known = known.filter(|_| self.names.library.is_none());
        if call.func_name == "matches"
            && self.names.library.is_none()
            && let [Node::Const(Item::Text(text))] = args.as_slice()
            && let Some(target) = target
        {
            let pattern = Pattern { text: (**text).into(), compiled: OnceLock::new() };
            return Some(Node::Matches(Box::new(target), Box::new(pattern)));
        }
        let Some(method) = known else {
            let call = Call::new(prefix, call.func_name.clone(), target, args, self.names.library);
            return Some(call.folded());
        };
        let mut args = target.into_iter().chain(args);
        let first = Box::new(args.next().unwrap_or(Node::Const(Item::Null)));
        Some(Node::Method(method, first, args.next().map(Box::new)))
    }
}

/// The items that a round puts behind others, and whether they cost.
fn appended(expression: &IdedExpr) -> Option<(&ListExpr, bool)> {
    let (expression, cost) = match &expression.expr {
        Expr::Call(call) if call.func_name == GROWN => (call.args.first()?, true),
        _ => (expression, false),
    };
    match &expression.expr {
        Expr::List(list) if list.optional_indices.is_empty() => Some((list, cost)),
        _ => None,
    }
}

/// One of an array of one.
trait Only<T> {
    fn into_only(self) -> T;
}

impl<T> Only<T> for [T; 1] {
    fn into_only(self) -> T {
        let [it] = self;
        it
    }
}

fn literal(value: &LiteralValue) -> Option<Item> {
    Some(match value {
        LiteralValue::Boolean(it) => Item::Bool(*it.inner()),
        LiteralValue::Int(it) => Item::Int(*it.inner()),
        LiteralValue::UInt(it) => Item::UInt(*it.inner()),
        LiteralValue::Double(it) => Item::Float(*it.inner()),
        LiteralValue::String(it) => Item::text(it.inner()),
        LiteralValue::Null => Item::Null,
        LiteralValue::Bytes(_) => return None,
    })
}

/// What a call is done by here, if it is.
fn method(prefix: Option<&str>, name: &str, has_target: bool, args: usize) -> Option<Method> {
    Some(match (prefix, name, has_target, args) {
        (None, "startsWith", true, 1) => Method::StartsWith,
        (None, "endsWith", true, 1) => Method::EndsWith,
        (None, "contains", true, 1) => Method::Contains,
        (None, "size", true, 0) | (None, "size", false, 1) => Method::Size,
        (None, "string", false, 1) => Method::String,
        (None, "hasValue", true, 0) => Method::HasValue,
        (None, "value", true, 0) => Method::Value,
        (None, "orValue", true, 1) => Method::OrValue,
        (None, "or", true, 1) => Method::Or,
        (Some("optional"), "of", false, 1) => Method::Optional,
        _ => return None,
    })
}
