//! Gatekeeper's own test suites (`suite.yaml`), as `gator verify` runs them. Entry point: [`run`].
//!
//! Files are given by a function from a path to its text, so that nothing here touches a disk.

use eyot_model::{custom::value, meta};
use serde_json::{Map, Value};

use crate::{
    constraint::{Constraint, Point},
    crd,
    expand::Expansion,
    inventory::Inventory,
    judge::{Case, NOTHING, Stock, judge_expanded},
    state::State,
    template::Template,
};

/// Reads a file by its path.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// How one case came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the test.
    pub test: String,
    /// Name of the case; empty where the test itself is the case.
    pub case: String,
    /// Why it failed; empty lines never occur. Nothing if it passed.
    pub failure: Option<String>,
    /// Whether it was skipped.
    pub skipped: bool,
}

/// Whether a text is a suite.
pub fn is_suite(text: &str) -> bool {
    documents(text).is_ok_and(|all| {
        all.iter().any(|it| it["kind"] == "Suite" && crate::matching::group_of(it) == "test.gatekeeper.sh")
    })
}

/// Runs the suite at `path` at the time `now_ns`. `filter` is a part of the names of what is to be run.
///
/// # Errors
/// When the suite itself can not be read.
pub fn run(path: &str, files: Files<'_>, now_ns: i64, filter: &str) -> Result<Vec<Outcome>, String> {
    let suite = documents(&files(path)?)?.into_iter().next().ok_or("the suite is empty")?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let runner = Runner { folder, files, now_ns };
    let mut out = Vec::new();
    for test in meta::list(suite.get("tests")) {
        let skip = suite["skip"] == true || test["skip"] == true;
        runner.test(test, skip, filter, &mut out);
    }
    Ok(out)
}

struct Runner<'a> {
    folder: &'a str,
    files: Files<'a>,
    now_ns: i64,
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object[field].as_str().unwrap_or_default()
}

/// The documents of a YAML text, without empty ones.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut text = std::borrow::Cow::Borrowed(text);
    loop {
        let error = match serde_saphyr::from_multiple_with_options::<Value>(&text, options.clone()) {
            Ok(all) => return Ok(all.into_iter().filter(|it| !it.is_null()).collect()),
            Err(error) => error,
        };
        match indented(&text, &error) {
            Some(better) => text = better.into(),
            None => return Err(error.to_string()),
        }
    }
}

/// The text with the line at fault moved to the right, if all that is wrong is where a quoted text goes on: the readers
/// that Gatekeeper's users know do not mind that.
fn indented(text: &str, error: &serde_saphyr::Error) -> Option<String> {
    const INDENT_MAX: usize = 100;
    if !error.to_string().contains("invalid indentation in multiline quoted scalar") {
        return None;
    }
    let at = usize::try_from(error.location()?.line()).ok()?.checked_sub(1)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = lines.get_mut(at)?;
    if line.len() - line.trim_start().len() > INDENT_MAX {
        return None;
    }
    line.insert_str(0, "    ");
    Some(lines.join("\n") + "\n")
}

impl Runner<'_> {
    fn read(&self, path: &str) -> Result<Vec<Value>, String> {
        let joined = if self.folder.is_empty() { path.to_owned() } else { format!("{}/{path}", self.folder) };
        let all = documents(&(self.files)(&joined)?).map_err(|error| format!("{path}: {error}"))?;
        if all.is_empty() { Err(format!("{path} defines no objects")) } else { Ok(all) }
    }

    fn test(&self, test: &Value, skip: bool, filter: &str, out: &mut Vec<Outcome>) {
        let name = text(test, "name");
        let outcome = |case: &str, failure: Option<String>, skipped: bool| Outcome {
            test: name.to_owned(),
            case: case.to_owned(),
            failure,
            skipped,
        };
        let cases = meta::list(test.get("cases"));
        let state = if skip { Err(String::new()) } else { self.state(test) };
        if test["invalid"] == true {
            let failure = state.is_ok().then(|| "the constraint was expected to be invalid".to_owned());
            out.push(outcome("", failure, skip));
            return;
        }
        if let (Err(error), true) = (&state, cases.is_empty()) {
            out.push(outcome("", Some(error.clone()), skip));
        }
        for case in cases {
            let case_name = text(case, "name");
            if !format!("{name}/{case_name}").contains(filter) {
                continue;
            }
            let skipped = skip || case["skip"] == true;
            let failure = match &state {
                _ if skipped => None,
                Ok(state) => self.case(state, case).err(),
                Err(error) => Some(error.clone()),
            };
            out.push(outcome(case_name, failure, skipped));
        }
    }

    /// What a test puts in force.
    fn state(&self, test: &Value) -> Result<State, String> {
        let listed = |causes: Vec<eyot_model::status::Cause>| {
            causes.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ")
        };
        let of_kind = |path: &str, kind: &str| -> Result<Value, String> {
            let found = self.read(path)?.into_iter().find(|it| kind.is_empty() || it["kind"] == kind);
            found.ok_or_else(|| format!("{path} has no {kind}"))
        };
        let source = of_kind(text(test, "template"), "ConstraintTemplate")?;
        let template = Template::read(&source).map_err(listed)?;
        let object = of_kind(text(test, "constraint"), &template.kind)?;
        let constraint = Constraint::read(&object, Some(&template)).map_err(listed)?;
        if let Some(schema) = crd::parameters(&source) {
            let schema = eyot_model::custom::schema::Schema::parse(&schema);
            let given = object.pointer("/spec/parameters").filter(|it| !it.is_null());
            let causes = given.map(|it| value::check_at("spec.parameters", it, None, &schema)).unwrap_or_default();
            if !causes.is_empty() {
                return Err(listed(causes));
            }
        }
        let mut state = State::default();
        state.constraints.insert((constraint.kind.clone(), constraint.name.clone()), constraint.into());
        state.templates.insert(template.kind.clone(), template.into());
        if !text(test, "expansion").is_empty() {
            for object in self.read(text(test, "expansion"))?.iter().filter(|it| it["kind"] == "ExpansionTemplate") {
                let expansion = Expansion::read(object).map_err(listed)?;
                state.expansions.insert(expansion.name.clone(), expansion.into());
            }
        }
        state.index();
        Ok(state)
    }

    fn case(&self, state: &State, case: &Value) -> Result<(), String> {
        let mut inventory = Inventory::default();
        for path in crate::matching::texts(&case["inventory"]) {
            self.read(&path)?.iter().for_each(|object| inventory.add(object));
        }
        let stock = Stock::Given(inventory.finish());
        let path = text(case, "object");
        let objects = self.read(path)?;
        let [object] = objects.as_slice() else { return Err(format!("{path} defines {} objects", objects.len())) };
        let review = object["kind"] == "AdmissionReview";
        let (object, old, request) = if review { admission(object)? } else { (object, &NOTHING, None) };
        let mut judged = Case::new(state, object, old, None, Point::Gator, self.now_ns, &stock);
        if let Some(request) = request {
            judged = judged.with_request(request);
        }
        let (found, failed) = judge_expanded(&judged);
        if let Some(failed) = failed {
            return Err(failed.why);
        }
        if let Some(failed) = found.iter().find(|it| it.failed) {
            return Err(failed.message.clone());
        }
        let messages: Vec<&str> = found.iter().map(|it| it.message.as_str()).collect();
        let assertions = meta::list(case.get("assertions"));
        if assertions.is_empty() {
            return Err("assertions must be non-empty".to_owned());
        }
        assertions.iter().try_for_each(|assertion| holds(assertion, &messages))
    }
}

/// An object, the one before it, and what else a request says.
type Asked<'v> = (&'v Value, &'v Value, Option<Map<String, Value>>);

/// The objects of an AdmissionReview, and what else its request says.
fn admission(review: &Value) -> Result<Asked<'_>, String> {
    let request = review["request"].as_object().ok_or("request did not actually pass in an AdmissionRequest")?;
    let object = request.get("object").unwrap_or(&NOTHING);
    let old = request.get("oldObject").unwrap_or(&NOTHING);
    if object.is_null() && old.is_null() {
        return Err("AdmissionRequest does not contain an \"object\" or \"oldObject\" to review".to_owned());
    }
    if request.get("operation").is_some_and(|it| it == "DELETE") && old.is_null() {
        return Err("oldObject cannot be nil for DELETE operations".to_owned());
    }
    let about = request.iter().filter(|(name, _)| !matches!(name.as_str(), "object" | "oldObject"));
    Ok((object, old, Some(about.map(|(name, value)| (name.clone(), value.clone())).collect())))
}

fn holds(assertion: &Value, messages: &[&str]) -> Result<(), String> {
    let pattern = assertion["message"].as_str();
    let regex = pattern.map(regex::Regex::new).transpose().map_err(|error| error.to_string())?;
    let matching = messages.iter().filter(|it| regex.as_ref().is_none_or(|regex| regex.is_match(it))).count();
    let containing = pattern.map(|it| format!(" containing {it:?}")).unwrap_or_default();
    let wanted = match &assertion["violations"] {
        Value::Null => (matching > 0, "at least 1".to_owned()),
        Value::String(word) if word == "yes" => (matching > 0, "at least 1".to_owned()),
        Value::String(word) if word == "no" => (matching == 0, "none".to_owned()),
        // YAML 1.1 reads yes and no as truth.
        Value::Bool(some) => ((matching > 0) == *some, if *some { "at least 1".to_owned() } else { "none".to_owned() }),
        Value::Number(n) => (n.as_u64() == Some(matching as u64), format!("exactly {n}")),
        other => {
            return Err(format!("assertion.violations must be a nonnegative integer, \"yes\", or \"no\", not {other}"));
        }
    };
    match wanted {
        (true, _) => Ok(()),
        (false, want) => {
            Err(format!("got {matching} violations{containing} but want {want}: got messages {messages:?}"))
        }
    }
}
