//! One rule, or one query, from names to slots.
//!
//! Where OPA evaluates a part of a statement before the statement, that part becomes a statement of its own here: every
//! reference that iterates inside a larger term, and, under `not`, every argument that could be undefined. So
//! `not f(input.missing)` is undefined, as in OPA, and not true.

use std::sync::Arc;

use super::annotations::Metadata;
use super::order::{self, Bound};
use super::recursion::Calls;
use super::{COMPILE, Scope, TYPE, UNSAFE, Wrong, find, names};
use crate::ast::{self, Expr, ExprKind, HeadKind, Term, TermKind};
use crate::builtins;
use crate::error::Position;
use crate::ir::{
    Closure, Group, GroupKind, Kind, Makes, Node, Replacement, Rule, Slot, Step, StepKind, Target, Tree, With,
};
use crate::program::Query;
use crate::value::Value;

pub(crate) struct Translator<'a> {
    module: &'a ast::Module,
    tree: &'a Tree,
    groups: &'a [Group],
    calls: &'a mut Calls,
    /// The group of the rule.
    group: u32,
    scope: Scope,
    /// Names of slots, for messages.
    labels: Vec<(Slot, Arc<str>)>,
    /// Whether arguments become statements: under `not`.
    eager: bool,
    /// What the rule's metadata is, where a module asks for it.
    metadata: Option<Metadata>,
}

/// What a name that is called stands for.
enum Callee {
    Function(u32),
    Builtin(&'static builtins::Builtin),
}

type Done<T> = Result<T, Wrong>;

impl<'a> Translator<'a> {
    pub(crate) fn new(
        module: &'a ast::Module,
        tree: &'a Tree,
        groups: &'a [Group],
        calls: &'a mut Calls,
        group: u32,
    ) -> Translator<'a> {
        let (scope, labels) = Default::default();
        Translator { module, tree, groups, calls, group, scope, labels, eager: false, metadata: None }
    }

    /// Lets the rule ask for its metadata.
    pub(crate) fn with_metadata(self, metadata: Option<Metadata>) -> Translator<'a> {
        Translator { metadata, ..self }
    }

    pub(crate) fn rule(mut self, module: u32, rule: &ast::Rule, keys: &[Term]) -> Done<Rule> {
        self.scope.enter();
        let params = self.params(rule)?;
        let mut slots = Vec::new();
        params.iter().for_each(|param| param.pattern_slots(&mut slots));
        let mut bound = Bound::default();
        bound.add_all(&slots);
        let value = match &rule.kind {
            HeadKind::Member(term) | HeadKind::Value(Some(term)) => term.clone(),
            HeadKind::Value(None) => crate::parser::constant(Value::Bool(true), rule.position),
        };
        let (body, head) = self.body(&rule.body, bound.clone(), |this, steps| {
            let mut head = Vec::with_capacity(keys.len() + 1);
            for term in keys.iter().chain([&value]) {
                head.push(this.settled(term, steps)?);
            }
            Ok(head)
        })?;
        let mut otherwise = Vec::new();
        for (value, body) in &rule.otherwise {
            let value = value.clone().unwrap_or_else(|| crate::parser::constant(Value::Bool(true), rule.position));
            let (body, mut head) =
                self.body(body, bound.clone(), |this, steps| Ok(vec![this.settled(&value, steps)?]))?;
            otherwise.extend(head.pop().map(|value| (value, body.into())));
        }
        let mut keys = head;
        let value = keys.pop().unwrap_or_else(|| constant(Value::Null, rule.position));
        Ok(Rule {
            module,
            position: rule.position,
            frame: self.scope.slots,
            params,
            keys: keys.into(),
            value,
            member: matches!(rule.kind, HeadKind::Member(_)),
            body: body.into(),
            otherwise: otherwise.into(),
        })
    }

    pub(crate) fn query(mut self, body: &[Expr], text: &str) -> Done<Query> {
        self.scope.enter();
        let mut shown = Vec::new();
        let mut bindings = Vec::new();
        let (steps, _) = self.body(&[], Bound::default(), |this, steps| {
            this.declare(body);
            for expr in body {
                let from = steps.len();
                this.expr(expr, steps)?;
                let text = text[expr.span.0..expr.span.1].to_owned();
                shown.push((text, this.captured(steps, from), expr.position));
            }
            bindings = this.scope.names();
            Ok(Vec::new())
        })?;
        bindings.sort();
        Ok(Query { steps, frame: self.scope.slots, shown, bindings })
    }

    /// Turns the test that was pushed last into one that keeps its value, `false` too.
    fn captured(&mut self, steps: &mut Vec<Step>, from: usize) -> Option<Slot> {
        let last = steps.len().checked_sub(1).filter(|last| *last >= from)?;
        let step = steps.remove(last);
        let StepKind::Test(node) = step.kind else {
            steps.push(step);
            return None;
        };
        let slot = self.scope.fresh();
        let position = step.position;
        steps.push(Step { kind: StepKind::Unify(Node::new(Kind::Slot(slot), position), node), ..step });
        Some(slot)
    }

    fn params(&mut self, rule: &ast::Rule) -> Done<Box<[Node]>> {
        let params = rule.params.as_deref().unwrap_or_default();
        let mut vars = Vec::new();
        params.iter().for_each(|param| names::names(param, &mut vars));
        for name in vars.iter().filter(|name| &***name != "_") {
            self.label(name);
        }
        let mut hoisted = Vec::new();
        let nodes: Done<Vec<Node>> = params.iter().map(|param| self.node(param, &mut hoisted)).collect();
        if hoisted.is_empty() {
            nodes.map(Into::into)
        } else {
            Err(Wrong::new(rule.position, COMPILE, "a parameter must be a pattern"))
        }
    }

    fn label(&mut self, name: &Arc<str>) -> Slot {
        let slot = self.scope.declare(name);
        self.labels.push((slot, name.clone()));
        slot
    }

    /// Translates and orders a body and the head that uses its variables.
    fn body(
        &mut self,
        exprs: &[Expr],
        mut bound: Bound,
        head: impl FnOnce(&mut Self, &mut Vec<Step>) -> Done<Vec<Node>>,
    ) -> Done<(Vec<Step>, Vec<Node>)> {
        let eager = std::mem::replace(&mut self.eager, false);
        self.scope.enter();
        self.declare(exprs);
        let mut steps = Vec::new();
        for expr in exprs {
            self.expr(expr, &mut steps)?;
        }
        let head = head(self, &mut steps)?;
        let steps = order::order(steps, &mut bound).map_err(|it| self.unsafe_var(it.1, it.0.position))?;
        for node in &head {
            let mut slots = Vec::new();
            order::node_all(node, &mut slots);
            if let Some(slot) = slots.iter().find(|slot| !bound.has(**slot)) {
                return Err(self.unsafe_var(*slot, node.position));
            }
        }
        self.scope.leave();
        self.eager = eager;
        Ok((steps, head))
    }

    fn unsafe_var(&self, slot: Slot, position: Position) -> Wrong {
        let label = self.labels.iter().rev().find(|(s, _)| *s == slot).map_or("_", |(_, name)| &**name);
        Wrong::new(position, UNSAFE, format!("var {label} is unsafe"))
    }

    /// Gives slots to the variables of a body.
    fn declare(&mut self, exprs: &[Expr]) {
        for name in names::declared(exprs) {
            let slot = self.label(&name);
            self.scope.hide(slot);
        }
        let mut mentioned = Vec::new();
        names::mentioned(exprs, &mut mentioned);
        for name in mentioned {
            if &*name != "_" && self.scope.find(&name).is_none() && !self.global(&name) {
                self.label(&name);
            }
        }
    }

    /// Whether `name` means something without being a local variable.
    fn global(&self, name: &str) -> bool {
        name == "input"
            || name == "data"
            || self.module.imports.iter().any(|import| &*import.alias == name)
            || self.package().and_then(|p| p.children.get(&Value::string(name))).is_some()
    }

    fn package(&self) -> Option<&Tree> {
        if self.module.package.is_empty() {
            return None;
        }
        self.module.package.iter().try_fold(self.tree, |node, part| node.children.get(&Value::String(part.clone())))
    }

    fn expr(&mut self, expr: &Expr, out: &mut Vec<Step>) -> Done<()> {
        let with = self.with(&expr.with, out)?;
        let from = out.len();
        let position = expr.position;
        let push = |out: &mut Vec<Step>, kind| out.push(Step { kind, with: None, position });
        match &expr.kind {
            ExprKind::Test(term) => self.test(term, out)?,
            ExprKind::Unify(a, b) | ExprKind::Assign(a, b) => {
                let (a, b) = (self.side(a, out)?, self.side(b, out)?);
                push(out, StepKind::Unify(a, b));
            }
            ExprKind::Not(inner) => {
                let eager = std::mem::replace(&mut self.eager, true);
                self.expr(inner, out)?;
                self.eager = eager;
                if let Some(step) = out.pop() {
                    push(out, StepKind::Not(Box::new(step)));
                }
            }
            ExprKind::Some(_) => {}
            ExprKind::SomeIn(key, value, of) => {
                let of = self.settled(of, out)?;
                let key = key.as_ref().map(|key| self.node(key, out)).transpose()?;
                let value = self.node(value, out)?;
                push(out, StepKind::In { key, value, of });
            }
            ExprKind::Every { key, value, domain, body } => {
                let domain = self.settled(domain, out)?;
                let start = self.scope.slots;
                self.scope.enter();
                let value = self.label(value);
                let key = match key {
                    Some(key) => self.label(key),
                    None => self.scope.fresh(),
                };
                let bound = Bound::below(self.scope.slots);
                let (body, _) = self.body(body, bound, |_, _| Ok(Vec::new()))?;
                self.scope.leave();
                let outer = order::outer(None, &body, start);
                push(out, StepKind::Every { key, value, domain, body: body.into(), outer });
            }
        }
        self.scope.reveal(expr);
        if let Some(with) = with {
            out[from..].iter_mut().for_each(|step| step.with = Some(with.clone()));
        }
        Ok(())
    }

    fn test(&mut self, term: &Term, out: &mut Vec<Step>) -> Done<()> {
        let position = term.position;
        let kind = match &term.kind {
            TermKind::Call(name, args) if name.len() == 1 && &*name[0] == "print" => {
                let eager = std::mem::replace(&mut self.eager, false);
                let nodes: Done<Vec<Node>> = args.iter().map(|arg| self.node(arg, out)).collect();
                self.eager = eager;
                StepKind::Print(nodes?.into())
            }
            // OPA reads `==` as `=` here, whose sides may be undefined under `not`.
            TermKind::Call(name, args) if self.eager && name.len() == 1 && &*name[0] == "equal" && args.len() == 2 => {
                let (a, b) = (self.side(&args[0], out)?, self.side(&args[1], out)?);
                StepKind::Unify(a, b)
            }
            TermKind::Call(name, args) if self.output(name, args.len()) => {
                let (last, args) = args.split_last().ok_or_else(|| Wrong::new(position, TYPE, "no arguments"))?;
                let call = self.call(name, args, position, out)?;
                StepKind::Unify(call, self.side(last, out)?)
            }
            _ => StepKind::Test(self.node(term, out)?),
        };
        out.push(Step { kind, with: None, position });
        Ok(())
    }

    /// Whether a call passes one argument more than the function takes: a place for its result.
    fn output(&self, name: &[Arc<str>], args: usize) -> bool {
        match self.callee(name) {
            Some(Callee::Function(group)) => self.arity(group) + 1 == args,
            Some(Callee::Builtin(builtin)) => builtin.arity + 1 == args,
            None => args == 2 && name.len() == 1 && &*name[0] == "walk",
        }
    }

    fn arity(&self, group: u32) -> usize {
        match self.groups[group as usize].kind {
            GroupKind::Function(arity) => arity,
            _ => 0,
        }
    }

    /// A side of `=`: it may be a reference that iterates.
    fn side(&mut self, term: &Term, out: &mut Vec<Step>) -> Done<Node> {
        let node = self.node(term, out)?;
        // Under `not`, OPA calls functions before, and leaves references where they are.
        let call = matches!(node.kind, Kind::Builtin(..) | Kind::Function(..) | Kind::Walk(_));
        Ok(if self.eager && call { self.hoist(node, out) } else { node })
    }

    /// A term that does not iterate: where it would, a statement before it does.
    fn settled(&mut self, term: &Term, out: &mut Vec<Step>) -> Done<Node> {
        let node = self.node(term, out)?;
        let seeks = node.path().is_some() && !node.seeks.is_empty();
        Ok(if seeks || matches!(node.kind, Kind::Walk(_)) { self.hoist(node, out) } else { node })
    }

    /// An argument: settled, and under `not` defined.
    fn argument(&mut self, term: &Term, out: &mut Vec<Step>) -> Done<Node> {
        let node = self.settled(term, out)?;
        let plain = matches!(node.kind, Kind::Const(_) | Kind::Slot(_) | Kind::Closure(_));
        Ok(if self.eager && !plain { self.hoist(node, out) } else { node })
    }

    fn hoist(&mut self, node: Node, out: &mut Vec<Step>) -> Node {
        let slot = self.scope.fresh();
        let position = node.position;
        let kind = StepKind::Unify(Node::new(Kind::Slot(slot), position), node);
        out.push(Step { kind, with: None, position });
        Node::new(Kind::Slot(slot), position)
    }

    fn node(&mut self, term: &Term, out: &mut Vec<Step>) -> Done<Node> {
        let position = term.position;
        let kind = match &term.kind {
            TermKind::Const(value) => Kind::Const(value.clone()),
            TermKind::Var(name) => return self.variable(name, &[], position, out),
            TermKind::Ref(head, path) => {
                if let TermKind::Var(name) = &head.kind {
                    return self.variable(name, path, position, out);
                }
                let head = self.node(head, out)?;
                Kind::Ref(Box::new(head), self.path(path, out)?.into())
            }
            TermKind::Array(items) => Kind::Array(self.items(items, out)?),
            TermKind::Set(items) => Kind::Set(self.items(items, out)?),
            TermKind::Object(fields) => {
                let fields: Done<Vec<(Node, Node)>> =
                    fields.iter().map(|(k, v)| Ok((self.settled(k, out)?, self.settled(v, out)?))).collect();
                Kind::Object(fields?.into())
            }
            TermKind::ArrayOf(head, body) => self.closure(&[head], body, |mut h| h.pop().map(Makes::Array))?,
            TermKind::SetOf(head, body) => self.closure(&[head], body, |mut h| h.pop().map(Makes::Set))?,
            TermKind::ObjectOf(head, body) => self.closure(&[&head.0, &head.1], body, |mut h| {
                let value = h.pop()?;
                h.pop().map(|key| Makes::Object(key, value))
            })?,
            TermKind::Call(name, args) => return self.call(name, args, position, out),
        };
        Ok(Node::new(folded(kind), position))
    }

    fn items(&mut self, items: &[Term], out: &mut Vec<Step>) -> Done<Box<[Node]>> {
        let items: Done<Vec<Node>> = items.iter().map(|item| self.settled(item, out)).collect();
        items.map(Into::into)
    }

    fn closure(&mut self, head: &[&Term], body: &[Expr], makes: impl FnOnce(Vec<Node>) -> Option<Makes>) -> Done<Kind> {
        let start = self.scope.slots;
        let (steps, nodes) = self.body(body, Bound::below(start), |this, steps| {
            head.iter().map(|term| this.settled(term, steps)).collect()
        })?;
        let makes = makes(nodes).unwrap_or_else(|| Makes::Array(constant(Value::Null, Position::default())));
        Ok(Kind::Closure(Box::new(Closure::new(makes, steps, start))))
    }

    /// The keys of a reference.
    fn path(&mut self, path: &[Term], out: &mut Vec<Step>) -> Done<Vec<Node>> {
        path.iter()
            .map(|step| {
                let node = self.settled(step, out)?;
                let plain = !matches!(node.kind, Kind::Input(_) | Kind::Data(_) | Kind::Rule(..) | Kind::Ref(..))
                    && !matches!(node.kind, Kind::Builtin(..) | Kind::Function(..));
                Ok(if self.eager && !plain { self.hoist(node, out) } else { node })
            })
            .collect()
    }

    fn variable(&mut self, name: &Arc<str>, path: &[Term], position: Position, out: &mut Vec<Step>) -> Done<Node> {
        if &**name == "_" {
            let head = Node::new(Kind::Slot(self.scope.fresh()), position);
            return if path.is_empty() { Ok(head) } else { Err(Wrong::new(position, UNSAFE, "var _ is unsafe")) };
        }
        let rest = self.path(path, out)?;
        if let Some(slot) = self.scope.find(name) {
            let head = Node::new(Kind::Slot(slot), position);
            return Ok(if path.is_empty() {
                head
            } else {
                Node::new(Kind::Ref(Box::new(head), rest.into()), position)
            });
        }
        let strings = |parts: &[Arc<str>]| -> Vec<Node> {
            parts.iter().map(|part| constant(Value::String(part.clone()), position)).collect()
        };
        if &**name == "input" {
            return Ok(Node::new(Kind::Input(rest.into()), position));
        }
        if &**name == "data" {
            return Ok(self.data(rest, position));
        }
        if self.package().and_then(|p| p.children.get(&Value::String(name.clone()))).is_some() {
            let mut all = strings(&self.module.package);
            all.push(constant(Value::String(name.clone()), position));
            all.extend(rest);
            return Ok(self.data(all, position));
        }
        if let Some(import) = self.module.imports.iter().find(|import| import.alias == *name) {
            let mut all = strings(&import.path[1..]);
            all.extend(rest);
            let input = &*import.path[0] == "input";
            return Ok(if input { Node::new(Kind::Input(all.into()), position) } else { self.data(all, position) });
        }
        Err(Wrong::new(position, UNSAFE, format!("var {name} is unsafe")))
    }

    /// A reference into data: what one rule makes, if its fixed beginning leads to one.
    fn data(&mut self, mut path: Vec<Node>, position: Position) -> Node {
        let mut tree = self.tree;
        for at in 0..path.len() {
            let Kind::Const(key) = &path[at].kind else { break };
            let Some(child) = tree.children.get(key) else { break };
            tree = child;
            if let Some(group) = tree.group
                && !matches!(self.groups[group as usize].kind, GroupKind::Function(_))
            {
                self.calls.add(self.group, group);
                let rest = path.split_off(at + 1);
                return Node::new(Kind::Rule(group, rest.into()), position);
            }
            if at + 1 == path.len() || !matches!(path[at + 1].kind, Kind::Const(_)) {
                self.needs_all(tree);
            }
        }
        if path.first().is_none_or(|first| !matches!(first.kind, Kind::Const(_))) {
            self.needs_all(self.tree);
        }
        Node::new(Kind::Data(path.into()), position)
    }

    fn needs_all(&mut self, tree: &Tree) {
        if let Some(group) = tree.group {
            self.calls.add(self.group, group);
        }
        for child in tree.children.values() {
            self.needs_all(child);
        }
    }

    fn callee(&self, name: &[Arc<str>]) -> Option<Callee> {
        let function = |path: &[Arc<str>]| {
            find(self.tree, path).filter(|g| matches!(self.groups[*g as usize].kind, GroupKind::Function(_)))
        };
        let mut path = self.module.package.clone();
        path.extend(name.iter().cloned());
        let imported = self.module.imports.iter().find(|i| i.alias == name[0] && &*i.path[0] == "data").and_then(|i| {
            let path: Vec<Arc<str>> = i.path[1..].iter().chain(&name[1..]).cloned().collect();
            function(&path)
        });
        let direct = if &*name[0] == "data" { function(&name[1..]) } else { function(&path) };
        direct.or(imported).map(Callee::Function).or_else(|| builtins::find(&name.join(".")).map(Callee::Builtin))
    }

    fn call(&mut self, name: &[Arc<str>], args: &[Term], position: Position, out: &mut Vec<Step>) -> Done<Node> {
        let spelled = name.join(".");
        if spelled == "walk" && args.len() == 1 {
            let of = self.argument(&args[0], out)?;
            return Ok(Node::new(Kind::Walk(Box::new(of)), position));
        }
        if let Some(metadata) = self.metadata.as_ref().filter(|_| args.is_empty()) {
            match spelled.as_str() {
                "rego.metadata.rule" => return Ok(constant(metadata.rule.clone(), position)),
                "rego.metadata.chain" => return Ok(constant(metadata.chain.clone(), position)),
                _ => {}
            }
        }
        let Some(callee) = self.callee(name) else {
            return Err(Wrong::new(position, TYPE, format!("undefined function {spelled}")));
        };
        let arity = match &callee {
            Callee::Function(group) => self.arity(*group),
            Callee::Builtin(builtin) => builtin.arity,
        };
        if arity != args.len() {
            let message = format!("{spelled}: arity mismatch: have {} arguments, want {arity}", args.len());
            return Err(Wrong::new(position, TYPE, message));
        }
        let nodes: Done<Vec<Node>> = args.iter().map(|arg| self.argument(arg, out)).collect();
        let nodes = nodes?.into();
        let kind = match callee {
            Callee::Function(group) => {
                self.calls.add(self.group, group);
                Kind::Function(group, nodes)
            }
            Callee::Builtin(builtin) => Kind::Builtin(builtin, nodes),
        };
        Ok(Node::new(kind, position))
    }

    fn with(&mut self, with: &[(Term, Term)], out: &mut Vec<Step>) -> Done<Option<Arc<[With]>>> {
        if with.is_empty() {
            return Ok(None);
        }
        let all: Done<Vec<With>> = with
            .iter()
            .map(|(target, value)| {
                let target = self.target(target)?;
                let function = matches!(target, Target::Function(_) | Target::Builtin(_));
                let named = if function { call_name(value).and_then(|name| self.callee(&name)) } else { None };
                let value = match named {
                    Some(Callee::Function(group)) => {
                        self.calls.add(self.group, group);
                        Replacement::Function(group)
                    }
                    Some(Callee::Builtin(builtin)) => Replacement::Builtin(builtin),
                    None => Replacement::Value(self.settled(value, out)?),
                };
                Ok(With { target, value })
            })
            .collect();
        all.map(|all| Some(all.into()))
    }

    fn target(&self, term: &Term) -> Done<Target> {
        let wrong = || {
            Wrong::new(term.position, TYPE, "with keyword target must reference existing input, data, or a function")
        };
        let name = call_name(term).ok_or_else(wrong)?;
        let values = |parts: &[Arc<str>]| parts.iter().cloned().map(Value::String).collect::<Vec<Value>>();
        if self.scope.find(&name[0]).is_none()
            && let Some(callee) = self.callee(&name)
        {
            return Ok(match callee {
                Callee::Function(group) => Target::Function(group),
                Callee::Builtin(builtin) => Target::Builtin(builtin.name),
            });
        }
        match &*name[0] {
            "input" => return Ok(Target::Input(values(&name[1..]))),
            "data" => return Ok(Target::Data(values(&name[1..]))),
            _ => {}
        }
        let import = self.module.imports.iter().find(|import| import.alias == name[0]).ok_or_else(wrong)?;
        let path: Vec<Arc<str>> = import.path[1..].iter().chain(&name[1..]).cloned().collect();
        Ok(if &*import.path[0] == "input" { Target::Input(values(&path)) } else { Target::Data(values(&path)) })
    }
}

/// A term that is a name, perhaps with dots.
fn call_name(term: &Term) -> Option<Vec<Arc<str>>> {
    match &term.kind {
        TermKind::Var(name) => Some(vec![name.clone()]),
        TermKind::Ref(head, path) => {
            let mut name = call_name(head)?;
            for step in path {
                match &step.kind {
                    TermKind::Const(Value::String(part)) => name.push(part.clone()),
                    _ => return None,
                }
            }
            Some(name)
        }
        _ => None,
    }
}

fn constant(value: Value, position: Position) -> Node {
    Node::new(Kind::Const(value), position)
}

/// A collection of constants is a constant.
fn folded(kind: Kind) -> Kind {
    let value = |node: &Node| match &node.kind {
        Kind::Const(value) => Some(value.clone()),
        _ => None,
    };
    let folded = match &kind {
        Kind::Array(items) => items.iter().map(value).collect::<Option<Vec<Value>>>().map(Value::array),
        Kind::Set(items) => items.iter().map(value).collect::<Option<Vec<Value>>>().map(Value::set),
        Kind::Object(fields) => {
            let fields: Option<Vec<(Value, Value)>> = fields.iter().map(|(k, v)| value(k).zip(value(v))).collect();
            fields.map(Value::object)
        }
        _ => None,
    };
    folded.map_or(kind, Kind::Const)
}
