//! From modules to a [`Program`]: names resolved, statements ordered, what can not work refused.
//!
//! Entry points: [`program`] and [`query`]. The passes: gather rules into groups by path; translate each rule
//! ([`translate`]), which orders its statements ([`order`]); look for rules that need themselves ([`recursion`]).
//!
//! Deliberately absent: OPA's type checker. Operands of the wrong type make a call undefined when it runs.

mod annotations;
mod names;
mod order;
mod recursion;
mod translate;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{self, HeadKind};
use crate::error::{Flaw, Position};
use crate::ir::{Group, GroupKind, Node, Tree};
use crate::program::{Program, Query, RuleInfo, Source};
use crate::value::Value;
use crate::{Dialect, parser};

pub(crate) use names::Scope;
use translate::Translator;

/// OPA's names of the classes of errors.
pub(crate) const PARSE: &str = "rego_parse_error";
pub(crate) const COMPILE: &str = "rego_compile_error";
pub(crate) const TYPE: &str = "rego_type_error";
pub(crate) const UNSAFE: &str = "rego_unsafe_var_error";
pub(crate) const RECURSION: &str = "rego_recursion_error";

/// What is wrong, before it is known in which file.
pub(crate) struct Wrong {
    pub(crate) position: Position,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Wrong {
    pub(crate) fn new(position: Position, code: &'static str, message: impl Into<String>) -> Wrong {
        Wrong { position, code, message: message.into() }
    }

    fn of(self, file: &str) -> Flaw {
        Flaw { file: file.to_owned(), position: self.position, code: self.code, message: self.message }
    }
}

/// Where a rule's group is, and how many of its head's steps that took.
struct Placed<'a> {
    module: u32,
    rule: &'a ast::Rule,
    path: Vec<Arc<str>>,
    /// What of the head's path is left: keys of an object.
    keys: Vec<ast::Term>,
    kind: GroupKind,
}

/// The program that `sources` make together.
pub(crate) fn program(sources: &[Source]) -> Result<Program, Vec<Flaw>> {
    let mut modules = Vec::new();
    let mut flaws = Vec::new();
    for source in sources {
        match parser::module(&source.text, source.dialect) {
            Ok(module) => modules.push(module),
            Err((position, message)) => flaws.push(Wrong::new(position, PARSE, message).of(&source.name)),
        }
    }
    if !flaws.is_empty() {
        return Err(flaws);
    }
    let files: Vec<Arc<str>> = sources.iter().map(|source| Arc::from(&*source.name)).collect();
    let placed = place(&modules);
    let annotations = annotations::Annotations::read(sources, &modules);
    let (tree, mut groups) = gather(&placed, &modules, &files)?;
    let mut rules = Vec::new();
    let mut calls = recursion::Calls::new(groups.len());
    for placed in &placed {
        let Some(index) = find(&tree, &placed.path) else { continue };
        let module = &modules[placed.module as usize];
        let metadata = annotations.as_ref().map(|it| it.of(placed.module as usize, module, placed.rule));
        let translator = Translator::new(module, &tree, &groups, &mut calls, index).with_metadata(metadata);
        match translator.rule(placed.module, placed.rule, &placed.keys) {
            Ok(rule) => rules.push((index, placed.rule.default, rule)),
            Err(wrong) => flaws.push(wrong.of(&files[placed.module as usize])),
        }
    }
    for (index, default, rule) in rules {
        let group = &mut groups[index as usize];
        if default {
            group.default = Some(rule);
        } else {
            group.rules.push(rule);
        }
    }
    if flaws.is_empty()
        && let Some(at) = calls.cycle()
    {
        let group = &groups[at[0] as usize];
        let rule = group.rules.first().or(group.default.as_ref());
        let names: Vec<String> = at.iter().map(|g| format!("data.{}", groups[*g as usize].path.join("."))).collect();
        let (file, position) = rule.map_or((0, Position::default()), |rule| (rule.module, rule.position));
        let message = format!("rule {} is recursive: {} -> {}", names[0], names.join(" -> "), names[0]);
        flaws.push(Wrong::new(position, RECURSION, message).of(&files[file as usize]));
    }
    if !flaws.is_empty() {
        return Err(flaws);
    }
    for group in &mut groups {
        group.constant = same_constant(group);
    }
    let infos = infos(&modules, &files);
    let packages = modules.iter().map(|module| module.package.clone()).collect();
    Ok(Program { files, groups, tree, rules: infos, packages })
}

/// A query against `program`.
pub(crate) fn query(program: &Program, text: &str, dialect: Dialect) -> Result<Query, Vec<Flaw>> {
    const FILE: &str = "query";
    let one = |wrong: Wrong| vec![wrong.of(FILE)];
    let body = parser::query(text, dialect).map_err(|(position, message)| one(Wrong::new(position, PARSE, message)))?;
    let module = ast::Module { package: Vec::new(), imports: Vec::new(), rules: Vec::new() };
    let mut calls = recursion::Calls::new(program.groups.len());
    let translator = Translator::new(&module, &program.tree, &program.groups, &mut calls, 0);
    translator.query(&body, text).map_err(one)
}

/// Decides which group every rule belongs to.
fn place(modules: &[ast::Module]) -> Vec<Placed<'_>> {
    let mut out = Vec::new();
    for (module, ast) in modules.iter().enumerate() {
        for rule in &ast.rules {
            let mut path = ast.package.clone();
            path.push(rule.name.clone());
            let fixed = rule.path.iter().take_while(|step| text(step).is_some()).count();
            path.extend(rule.path[..fixed].iter().filter_map(text));
            let keys = rule.path[fixed..].to_vec();
            let kind = match (&rule.kind, &rule.params) {
                (_, Some(params)) => GroupKind::Function(params.len()),
                // `p[x] contains y`: an object of sets.
                (HeadKind::Member(_), _) if !keys.is_empty() => GroupKind::Object,
                (HeadKind::Member(_), _) => GroupKind::Set,
                (HeadKind::Value(_), _) if keys.is_empty() => GroupKind::Complete,
                _ => GroupKind::Object,
            };
            let module = u32::try_from(module).unwrap_or(u32::MAX);
            out.push(Placed { module, rule, path, keys, kind });
        }
    }
    absorb(&mut out);
    out
}

/// `a.b := 1` beside `a[x] := y` is one more field of the object `a`.
fn absorb(placed: &mut [Placed<'_>]) {
    let objects: Vec<Vec<Arc<str>>> =
        placed.iter().filter(|p| p.kind == GroupKind::Object).map(|p| p.path.clone()).collect();
    for p in placed.iter_mut() {
        let Some(object) = objects.iter().find(|o| p.path.starts_with(o) && p.path.len() > o.len()) else { continue };
        if !matches!(p.kind, GroupKind::Complete | GroupKind::Object | GroupKind::Set) {
            continue;
        }
        let position = p.rule.position;
        let fixed = p.path.split_off(object.len());
        let fixed = fixed.into_iter().map(|part| parser::constant(Value::String(part), position));
        p.keys = fixed.chain(p.keys.drain(..)).collect();
        p.kind = GroupKind::Object;
    }
}

fn text(term: &ast::Term) -> Option<Arc<str>> {
    match &term.kind {
        ast::TermKind::Const(Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Makes the groups, and refuses rules of one path that do not go together.
fn gather(placed: &[Placed<'_>], modules: &[ast::Module], files: &[Arc<str>]) -> Result<(Tree, Vec<Group>), Vec<Flaw>> {
    let mut tree = Tree::default();
    let mut groups: Vec<Group> = Vec::new();
    let mut flaws = Vec::new();
    for module in modules {
        tree.at(&module.package);
    }
    for p in placed {
        let node = tree.at(&p.path);
        let Some(index) = node.group else {
            node.group = u32::try_from(groups.len()).ok();
            groups.push(Group { path: p.path.clone(), kind: p.kind, default: None, rules: vec![], constant: false });
            continue;
        };
        let group = &mut groups[index as usize];
        // A default beside an object's fields gives the object when it has none.
        if group.kind == GroupKind::Complete && p.kind == GroupKind::Object {
            group.kind = GroupKind::Object;
        }
        let alike = group.kind == p.kind || (group.kind == GroupKind::Object && p.kind == GroupKind::Complete);
        if !alike {
            let message = format!("conflicting rules data.{} found", p.path.join("."));
            let file = &files[p.module as usize];
            flaws.push(Wrong::new(p.rule.position, TYPE, message).of(file));
        }
    }
    defaults_once(placed, files, &mut flaws);
    if flaws.is_empty() { Ok((tree, groups)) } else { Err(flaws) }
}

fn defaults_once(placed: &[Placed<'_>], files: &[Arc<str>], flaws: &mut Vec<Flaw>) {
    let mut seen: BTreeMap<&[Arc<str>], ()> = BTreeMap::new();
    for p in placed.iter().filter(|p| p.rule.default) {
        if seen.insert(&p.path, ()).is_some() {
            let message = format!("multiple default rules data.{} found", p.path.join("."));
            flaws.push(Wrong::new(p.rule.position, TYPE, message).of(&files[p.module as usize]));
        }
    }
}

/// The group at exactly `path`.
pub(crate) fn find(tree: &Tree, path: &[Arc<str>]) -> Option<u32> {
    path.iter().try_fold(tree, |node, part| node.children.get(&Value::String(part.clone())))?.group
}

fn same_constant(group: &Group) -> bool {
    let constant = |node: &Node| match &node.kind {
        crate::ir::Kind::Const(value) => Some(value.clone()),
        _ => None,
    };
    let mut values = group.rules.iter().map(|rule| constant(&rule.value).filter(|_| rule.otherwise.is_empty()));
    let Some(Some(first)) = values.next() else { return false };
    values.all(|value| value.as_ref() == Some(&first))
}

fn infos(modules: &[ast::Module], files: &[Arc<str>]) -> Vec<RuleInfo> {
    let mut out = Vec::new();
    for (module, file) in modules.iter().zip(files) {
        for rule in &module.rules {
            let fixed = rule.path.iter().map_while(text);
            let path = module.package.iter().cloned().chain([rule.name.clone()]).chain(fixed);
            out.push(RuleInfo {
                path: path.map(|part| part.to_string()).collect(),
                file: file.to_string(),
                position: rule.position,
                params: rule.params.as_ref().map(Vec::len),
                member: matches!(rule.kind, HeadKind::Member(_)) || !rule.path.is_empty(),
                default: rule.default,
            });
        }
    }
    out
}
