//! A program as it is evaluated: names are slots, rules and functions; statements stand in an order in which every
//! variable is bound before it is used; what OPA evaluates before a statement has become a statement of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtins::Builtin;
use crate::error::Position;
use crate::value::Value;

/// A local variable's place in its rule's frame.
pub(crate) type Slot = u32;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) position: Position,
    /// Variables that, where they are still free, this term binds by iterating.
    pub(crate) seeks: Box<[Slot]>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Const(Value),
    Slot(Slot),
    /// The input, or a part of it.
    Input(Box<[Node]>),
    /// Data that no single rule makes.
    Data(Box<[Node]>),
    /// What a rule makes, or a part of it.
    Rule(u32, Box<[Node]>),
    /// A part of any other value.
    Ref(Box<Node>, Box<[Node]>),
    Array(Box<[Node]>),
    Object(Box<[(Node, Node)]>),
    Set(Box<[Node]>),
    Closure(Box<Closure>),
    Builtin(&'static Builtin, Box<[Node]>),
    Function(u32, Box<[Node]>),
    /// `walk`: the one function with many results.
    Walk(Box<Node>),
}

/// A comprehension.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) makes: Makes,
    pub(crate) body: Box<[Step]>,
    /// The variables of the statements around it that it uses.
    pub(crate) outer: Box<[Slot]>,
}

#[derive(Debug)]
pub(crate) enum Makes {
    Array(Node),
    Set(Node),
    Object(Node, Node),
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    pub(crate) with: Option<Arc<[With]>>,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) enum StepKind {
    /// Holds unless the value is undefined or `false`.
    Test(Node),
    Unify(Node, Node),
    Not(Box<Step>),
    In {
        key: Option<Node>,
        value: Node,
        of: Node,
    },
    Every {
        key: Slot,
        value: Slot,
        domain: Node,
        body: Box<[Step]>,
        outer: Box<[Slot]>,
    },
    Print(Box<[Node]>),
}

/// A replacement.
#[derive(Debug)]
pub(crate) struct With {
    pub(crate) target: Target,
    pub(crate) value: Replacement,
}

#[derive(Debug)]
pub(crate) enum Target {
    Input(Vec<Value>),
    Data(Vec<Value>),
    Builtin(&'static str),
    Function(u32),
}

#[derive(Debug)]
pub(crate) enum Replacement {
    Value(Node),
    Function(u32),
    Builtin(&'static Builtin),
}

/// All rules of one path.
#[derive(Debug)]
pub(crate) struct Group {
    /// Without `data`.
    pub(crate) path: Vec<Arc<str>>,
    pub(crate) kind: GroupKind,
    pub(crate) default: Option<Rule>,
    pub(crate) rules: Vec<Rule>,
    /// Whether every rule makes the same constant, so that the first that holds decides.
    pub(crate) constant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Complete,
    Function(usize),
    Set,
    Object,
}

#[derive(Debug)]
pub(crate) struct Rule {
    /// The module it is in.
    pub(crate) module: u32,
    pub(crate) position: Position,
    pub(crate) frame: u32,
    pub(crate) params: Box<[Node]>,
    /// Of an object's field the way to it.
    pub(crate) keys: Box<[Node]>,
    /// What it makes: a value, or the member of a set.
    pub(crate) value: Node,
    /// Whether it is the member of a set.
    pub(crate) member: bool,
    pub(crate) body: Box<[Step]>,
    pub(crate) otherwise: Box<[(Node, Box<[Step]>)]>,
}

/// Which paths have rules.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) children: BTreeMap<Value, Tree>,
    pub(crate) group: Option<u32>,
}

impl Tree {
    /// The node at `path`, made where it is missing.
    pub(crate) fn at(&mut self, path: &[Arc<str>]) -> &mut Tree {
        path.iter().fold(self, |node, part| node.children.entry(Value::String(part.clone())).or_default())
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, position: Position) -> Node {
        let mut node = Node { kind, position, seeks: Box::default() };
        let mut seeks = Vec::new();
        node.collect_seeks(&mut seeks);
        node.seeks = seeks.into();
        node
    }

    /// The way into it, where it has one.
    pub(crate) fn path(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Input(path) | Kind::Data(path) | Kind::Rule(_, path) | Kind::Ref(_, path) => Some(path),
            _ => None,
        }
    }

    fn collect_seeks(&self, out: &mut Vec<Slot>) {
        for step in self.path().unwrap_or_default() {
            step.pattern_slots(out);
        }
        match &self.kind {
            Kind::Ref(head, _) => out.extend(&head.seeks),
            Kind::Array(items) | Kind::Set(items) => items.iter().for_each(|item| out.extend(&item.seeks)),
            Kind::Object(fields) => fields.iter().for_each(|(k, v)| {
                out.extend(&k.seeks);
                out.extend(&v.seeks);
            }),
            _ => {}
        }
    }

    /// The variables that unifying this term with a value binds.
    pub(crate) fn pattern_slots(&self, out: &mut Vec<Slot>) {
        match &self.kind {
            Kind::Slot(slot) => out.push(*slot),
            Kind::Array(items) => items.iter().for_each(|item| item.pattern_slots(out)),
            Kind::Object(fields) => fields.iter().for_each(|(_, value)| value.pattern_slots(out)),
            _ => out.extend(&self.seeks),
        }
    }
}
