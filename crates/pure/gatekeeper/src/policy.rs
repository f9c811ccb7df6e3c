//! What a template says, compiled: Rego or CEL. Entry points: [`read`] and [`Policy::judge`].

use eyot_model::status::{Cause, CauseReason};
use eyot_rego::{Bounds, Dialect, Flaw, Program, Request, Source, Value as Rego};
use serde_json::Value;

use crate::{
    cel::{self, Cel},
    constraint::Constraint,
    judge::Case,
    matching::texts,
};

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Breach {
    pub(crate) message: String,
    pub(crate) details: Value,
}

#[derive(Debug)]
pub(crate) enum Policy {
    Rego(Box<Module>),
    Cel(Box<Cel>),
    /// What was stored and cannot be read, and why: nothing can be judged by it.
    Unreadable(String),
}

/// A template's module and its libraries.
#[derive(Debug)]
pub(crate) struct Module {
    program: Program,
    /// Where its violations are.
    path: Vec<Rego>,
    /// Whether it looks up other objects.
    pub(crate) inventory: bool,
}

/// Compiles what stands in a target, which is the object under `field`.
pub(crate) fn read(target: &Value, kind: &str, field: &str) -> Result<Policy, Vec<Cause>> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let code = target["code"].as_array().map_or(&[][..], Vec::as_slice);
    let at = |engine: &str| code.iter().position(|it| it["engine"] == engine);
    if let Some(at) = at("K8sNativeValidation") {
        let source = &code[at]["source"];
        return cel::read(source, &format!("{field}.code[{at}].source")).map(|cel| Policy::Cel(Box::new(cel)));
    }
    if let Some(at) = at("Rego") {
        let source = &code[at]["source"];
        let dialect = if source["version"] == "v1" { Dialect::V1 } else { Dialect::V0 };
        let field = format!("{field}.code[{at}].source");
        return rego(&text(&source["rego"]), &texts(&source["libs"]), dialect, kind, &field);
    }
    if let Some(other) = code.first() {
        let known = ["K8sNativeValidation", "Rego"];
        return Err(vec![Cause::not_supported(format!("{field}.code[0].engine"), &other["engine"], &known)]);
    }
    rego(&text(&target["rego"]), &texts(&target["libs"]), Dialect::V0, kind, field)
}

fn rego(text: &str, libs: &[String], dialect: Dialect, kind: &str, field: &str) -> Result<Policy, Vec<Cause>> {
    if text.trim().is_empty() {
        return Err(vec![Cause::required(format!("{field}.rego"), "ConstraintTemplate must specify Rego or CEL")]);
    }
    let source = |name: String, text: &str| Source { name, text: text.to_owned(), dialect };
    let mut sources = vec![source(format!("{field}.rego"), text)];
    sources.extend(libs.iter().enumerate().map(|(n, lib)| source(format!("{field}.libs[{n}]"), lib)));
    let program = Program::compile(&sources).map_err(|flaws| flaws.iter().map(cause).collect::<Vec<Cause>>())?;
    let packages: Vec<String> = program.packages().collect();
    for (n, package) in packages.iter().enumerate().skip(1) {
        if !package.starts_with("lib.") {
            let why = format!("a library's package must begin with `lib.`, this is {package}");
            return Err(vec![Cause::forbidden(format!("{field}.libs[{}]", n - 1), &why)]);
        }
    }
    let package: Vec<&str> = packages[0].split('.').collect();
    let path: Vec<String> = package.iter().copied().chain(["violation"]).map(str::to_owned).collect();
    let violation = program.rules().iter().find(|rule| rule.path == path && rule.file == sources[0].name);
    if !violation.is_some_and(|rule| rule.member) {
        let why = format!("invalid rego for {kind}: a rule `violation[{{\"msg\": msg}}]` is required");
        return Err(vec![Cause::required(format!("{field}.rego"), &why)]);
    }
    if sources.iter().any(|it| it.text.contains("external_data(")) {
        return Err(vec![Cause::forbidden(format!("{field}.rego"), "external data providers are not supported")]);
    }
    let inventory = sources.iter().any(|it| it.text.contains("inventory"));
    let path = path.iter().map(|part| Rego::string(part)).collect();
    Ok(Policy::Rego(Box::new(Module { program, path, inventory })))
}

/// A flaw of a module, whose name is the field that it stands in.
fn cause(flaw: &Flaw) -> Cause {
    let at = flaw.position;
    let message = format!("line {}, column {}: {}: {}", at.line, at.column, flaw.code, flaw.message);
    Cause { reason: CauseReason::FieldValueInvalid, message, field: flaw.file.clone() }
}

impl Policy {
    /// Whether it looks up other objects.
    pub(crate) fn looks_up(&self) -> bool {
        matches!(self, Policy::Rego(module) if module.inventory)
    }

    /// Whether nothing can be judged by it.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Policy::Unreadable(_))
    }

    /// What is wrong with an object according to a constraint.
    ///
    /// # Errors
    /// Why that can not be told.
    pub(crate) fn judge(&self, constraint: &Constraint, case: &Case<'_>) -> Result<Vec<Breach>, String> {
        match self {
            Policy::Rego(module) => module.judge(constraint, case),
            Policy::Cel(cel) => cel.judge(constraint, case),
            Policy::Unreadable(why) => Err(why.clone()),
        }
    }
}

impl Module {
    fn judge(&self, constraint: &Constraint, case: &Case<'_>) -> Result<Vec<Breach>, String> {
        let input = Rego::record([("review", case.rego().clone()), ("parameters", constraint.parameters.clone())]);
        let inventory = if self.inventory { case.inventory()? } else { Rego::object([]) };
        let request = Request {
            input: Some(input),
            data: Rego::record([("inventory", inventory)]),
            now_ns: case.now_ns,
            bounds: Bounds::default(),
            strict: false,
        };
        let found = self.program.at(&self.path, &request).map_err(|fault| fault.to_string())?;
        let Some(Rego::Set(members)) = found else { return Ok(Vec::new()) };
        members.iter().map(breach).collect()
    }
}

/// A member of `violation`.
fn breach(member: &Rego) -> Result<Breach, String> {
    let message = member.field("msg").and_then(Rego::as_str);
    let message = message.ok_or_else(|| format!("a violation must have a string `msg`, this has none: {member}"))?;
    let details = member.field("details").map_or_else(|| Value::Object(serde_json::Map::new()), Rego::to_json);
    Ok(Breach { message: message.to_owned(), details })
}
