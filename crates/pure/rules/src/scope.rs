//! Whether an expression names only what there is: variables, functions, and fields of a schema. Entry point: [`check`].

use std::collections::BTreeSet;

use eyot_model::custom::schema::{Additional, Schema, Type};
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};

use crate::{authorize, convert::escape, expand::TYPES, functions::KNOWN, library::Library, semver};

/// What an expression may name.
pub(crate) struct Scope<'s> {
    /// Variables, and what is known of their fields.
    variables: Vec<(&'s str, Option<&'s Schema>)>,
    /// Names that stand behind `variables.`; `None` where there is no such thing.
    composed: Option<Vec<&'s str>>,
    messages: bool,
    library: Option<&'static Library>,
}

impl<'s> Scope<'s> {
    pub(crate) fn new(variables: &[&'s str]) -> Scope<'s> {
        let variables = variables.iter().map(|it| (*it, None)).collect();
        Scope { variables, composed: None, messages: false, library: None }
    }

    /// With the variables of an admission policy, and what it may make.
    pub(crate) fn composed(self, names: Vec<&'s str>, messages: bool) -> Scope<'s> {
        Scope { composed: Some(names), messages, ..self }
    }

    /// With functions beside those of Kubernetes.
    pub(crate) fn with_library(self, library: Option<&'static Library>) -> Scope<'s> {
        Scope { library, ..self }
    }

    /// The functions beside those of Kubernetes.
    pub(crate) fn library(&self) -> Option<&'static Library> {
        self.library
    }

    /// Whether messages can be made.
    pub(crate) fn takes_messages(&self) -> bool {
        self.messages
    }

    /// A variable whose values a schema describes.
    pub(crate) fn with(mut self, name: &'s str, schema: Option<&'s Schema>) -> Scope<'s> {
        self.variables.push((name, schema));
        self
    }
}

/// Checks an expression and returns the variables of its scope that it names.
pub(crate) fn check(expression: &IdedExpr, scope: &Scope<'_>) -> Result<Vec<String>, String> {
    let mut walk = Walk { scope, local: Vec::new(), named: BTreeSet::new() };
    walk.expression(expression)?;
    Ok(walk.named.into_iter().collect())
}

struct Walk<'s> {
    scope: &'s Scope<'s>,
    /// Variables of the loops around.
    local: Vec<String>,
    named: BTreeSet<String>,
}

impl<'s> Walk<'s> {
    fn expression(&mut self, expression: &IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => {
                if let Some(known) = self.composed(&select.operand) {
                    let found = known.contains(&select.field.as_str());
                    return if found { Ok(()) } else { Err(format!("undefined field '{}'", select.field)) };
                }
                self.expression(&select.operand)?;
                self.field(expression)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|it| self.expression(it)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(it) => {
                    self.expression(&it.key)?;
                    self.expression(&it.value)
                }
                EntryExpr::StructField(_) => Err("messages are not supported".to_owned()),
            }),
            Expr::Comprehension(it) => {
                if it.iter_var2.is_some() {
                    return Err("comprehensions of two variables are not supported".to_owned());
                }
                self.expression(&it.iter_range)?;
                self.expression(&it.accu_init)?;
                let outer = self.local.len();
                self.local.push(it.accu_var.clone());
                self.expression(&it.result)?;
                self.local.push(it.iter_var.clone());
                self.expression(&it.loop_cond)?;
                self.expression(&it.loop_step)?;
                self.local.truncate(outer);
                Ok(())
            }
            Expr::Literal(_) => Ok(()),
            Expr::Struct(_) => Err("messages are not supported".to_owned()),
            Expr::Unspecified => Err("the expression is empty".to_owned()),
        }
    }

    /// The names behind `variables.`, if that is what an expression is.
    fn composed(&self, operand: &IdedExpr) -> Option<&Vec<&'s str>> {
        match &operand.expr {
            Expr::Ident(name) if name == "variables" && !self.local.iter().any(|it| it == name) => {
                self.scope.composed.as_ref()
            }
            _ => None,
        }
    }

    fn ident(&mut self, name: &str) -> Result<(), String> {
        if self.local.iter().any(|it| it == name) || TYPES.contains(&name) {
            return Ok(());
        }
        if !self.scope.variables.iter().any(|it| it.0 == name) {
            return Err(format!("undeclared reference to '{name}' (in container '')"));
        }
        self.named.insert(name.to_owned());
        if name == "authorizer" {
            self.named.insert("authorizer.requestResource".to_owned());
        }
        Ok(())
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), String> {
        call.args.iter().try_for_each(|it| self.expression(it))?;
        let name = call.func_name.as_str();
        let is_operator = name.starts_with(['_', '!', '-', '@']) || name.contains('_') && name.starts_with('_');
        let Some(target) = &call.target else {
            return if is_operator || self.is_known(name) { Ok(()) } else { Err(undeclared(name)) };
        };
        if let Expr::Ident(prefix) = &target.expr {
            if self.is_known(&format!("{prefix}.{name}")) {
                return Ok(());
            }
            let refused = self.scope.library.and_then(|it| it.refuses(prefix, name));
            if let Some(why) = refused.filter(|_| !self.local.contains(prefix)) {
                return Err(format!("'{prefix}.{name}' is not available: {why}"));
            }
        }
        self.expression(target)?;
        if is_operator || self.is_known(name) { Ok(()) } else { Err(undeclared(name)) }
    }

    fn is_known(&self, name: &str) -> bool {
        is_known(name) || self.scope.library.is_some_and(|it| it.has(name))
    }

    /// A field of something that a schema describes must be in it.
    fn field(&self, expression: &IdedExpr) -> Result<(), String> {
        let Expr::Select(select) = &expression.expr else { return Ok(()) };
        let Some(schema) = self.schema_of(&select.operand) else { return Ok(()) };
        let open = schema.of_type != Type::Object || schema.additional != Additional::Absent || schema.preserve_unknown;
        let implied = schema.embedded && ["apiVersion", "kind", "metadata"].contains(&select.field.as_str());
        if open || implied || property(schema, &select.field).is_some() {
            return Ok(());
        }
        Err(format!("undefined field '{}'", select.field))
    }

    /// What is known of an expression's value: of variables, and of fields of theirs.
    fn schema_of(&self, expression: &IdedExpr) -> Option<&'s Schema> {
        match &expression.expr {
            Expr::Ident(name) if !self.local.iter().any(|it| it == name) => {
                self.scope.variables.iter().find(|it| it.0 == name)?.1
            }
            Expr::Select(select) => property(self.schema_of(&select.operand)?, &select.field),
            _ => None,
        }
    }
}

fn property<'s>(schema: &'s Schema, field: &str) -> Option<&'s Schema> {
    schema.properties.get(field).or_else(|| schema.properties.iter().find(|it| escape(it.0) == field).map(|it| it.1))
}

/// Whether Kubernetes has a function of that name.
pub(crate) fn is_known(name: &str) -> bool {
    [KNOWN, authorize::KNOWN, semver::KNOWN].iter().flat_map(|it| it.split_whitespace()).any(|it| it == name)
}

fn undeclared(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}
