//! The steps of a test.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{compare::difference, documents, server, server::kubectl, text};

/// How long something may take to become as it is expected.
const PATIENCE: Duration = Duration::from_secs(6);
/// The longest sleep that is obeyed: things happen at once here.
const SLEEP_MAX: Duration = Duration::from_millis(1_500);

/// Why a test did not pass.
pub(crate) enum Failure {
    /// It has what this does not understand.
    Unknown(String),
    /// Something is not as expected.
    Wrong(String),
}

type Done = Result<(), Failure>;

/// A test that is under way.
pub(crate) struct Run {
    directory: PathBuf,
    /// Where objects without a namespace go.
    namespace: String,
    bindings: Map<String, Value>,
    /// Everything that was written, to be deleted in the end.
    written: Vec<Value>,
    /// Whether to wait as long as the test says.
    is_slow: bool,
}

impl Run {
    /// A test that has not begun.
    pub(crate) fn new(directory: PathBuf, namespace: String, bindings: Map<String, Value>, is_slow: bool) -> Run {
        Run { directory, namespace, bindings, written: Vec::new(), is_slow }
    }

    /// Goes through steps.
    pub(crate) fn steps(&mut self, steps: &Value, directory: &Path) -> Done {
        for step in steps.as_array().into_iter().flatten() {
            if let Some(template) = step.pointer("/use/template").and_then(Value::as_str) {
                let path = directory.join(template);
                let all = documents(&path).map_err(Failure::Unknown)?;
                for binding in step.pointer("/use/with/bindings").and_then(Value::as_array).into_iter().flatten() {
                    let value = self.bound(&binding["value"]);
                    self.bindings.insert(text(binding, "/name").to_owned(), value);
                }
                // Files of a template lie where the test does.
                all.iter().try_for_each(|it| self.operations(&it["spec"]["try"]))?;
            }
            let done = self.operations(&step["try"]);
            let _ = self.operations(&step["finally"]);
            done?;
        }
        Ok(())
    }

    fn operations(&mut self, operations: &Value) -> Done {
        for operation in operations.as_array().into_iter().flatten() {
            const KNOWN: [&str; 10] =
                ["apply", "create", "assert", "error", "delete", "patch", "update", "sleep", "script", "command"];
            let all = operation.as_object().into_iter().flatten();
            let Some((name, what)) = all.into_iter().find(|it| KNOWN.contains(&it.0.as_str())) else {
                let name = operation.as_object().and_then(|it| it.keys().find(|it| *it != "description"));
                return Err(Failure::Unknown(format!("a step {}", name.map_or("", String::as_str))));
            };
            self.operation(name, what)?;
        }
        Ok(())
    }

    fn operation(&mut self, name: &str, what: &Value) -> Done {
        match name {
            "sleep" => {
                let duration = text(what, "/duration");
                let seconds = match duration.strip_suffix('m') {
                    Some(minutes) => minutes.parse::<u64>().unwrap_or(1) * 60,
                    None => duration.trim_end_matches('s').parse().unwrap_or(1),
                };
                let wanted = Duration::from_secs(seconds);
                std::thread::sleep(if self.is_slow { wanted } else { wanted.min(SLEEP_MAX) });
                Ok(())
            }
            "delete" => {
                match what.get("ref") {
                    Some(it) => self.delete(&self.bound(it)),
                    None => self.objects(what)?.iter().for_each(|it| self.delete(it)),
                }
                Ok(())
            }
            "script" => self.script(text(what, "/content"), what),
            "command" => {
                let words = what["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let quoted = words.map(|it| format!(" '{}'", it.replace('\'', "'\\''")));
                self.script(&format!("{}{}", text(what, "/entrypoint"), quoted.collect::<String>()), what)
            }
            "assert" | "error" => self.objects(what)?.iter().try_for_each(|it| self.await_for(it, name == "assert")),
            _ => self.objects(what)?.into_iter().try_for_each(|it| self.write(name, it, &what["expect"])),
        }
    }

    fn script(&self, script: &str, what: &Value) -> Done {
        if let Some(tool) = server::foreign(&self.directory, script) {
            return Err(Failure::Unknown(format!("a script wants {}", tool.trim())));
        }
        let mut variables = vec![("NAMESPACE".to_owned(), self.namespace.clone())];
        for variable in what["env"].as_array().into_iter().flatten() {
            let value = self.bound(&variable["value"]);
            variables.push((text(variable, "/name").to_owned(), value.as_str().unwrap_or_default().to_owned()));
        }
        let output = server::script(&self.directory, script, &variables).map_err(Failure::Wrong)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let error = (!output.status.success()).then(|| output.status.to_string());
        let shown = script.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = shown.chars().take(120).collect();
        match what.get("check") {
            Some(check) => {
                let found = json!({ "error": error, "stdout": stdout, "stderr": stderr });
                match difference(check, &found, "") {
                    None => Ok(()),
                    Some(why) => Err(Failure::Wrong(format!(
                        "script {shown}: {why}; it said {}{}",
                        stdout.trim(),
                        stderr.trim()
                    ))),
                }
            }
            None if error.is_some() => {
                Err(Failure::Wrong(format!("script {shown}: it failed: {}{}", stdout.trim(), stderr.trim())))
            }
            None => Ok(()),
        }
    }

    fn objects(&self, what: &Value) -> Result<Vec<Value>, Failure> {
        let all = match (what["file"].as_str(), what.get("resource")) {
            (Some(file), _) => {
                let file = self.bound(&file.into());
                documents(&self.directory.join(file.as_str().unwrap_or_default())).map_err(Failure::Unknown)?
            }
            (None, Some(it)) => vec![it.clone()],
            (None, None) => return Err(Failure::Unknown("neither file nor resource".to_owned())),
        };
        Ok(all.iter().map(|it| self.bound(it)).collect())
    }

    /// A value with what was bound in the place of `($name)`.
    fn bound(&self, value: &Value) -> Value {
        match value {
            Value::String(it) => match it.strip_prefix("($").and_then(|it| it.strip_suffix(')')) {
                Some(name) => self.bindings.get(name).cloned().unwrap_or_else(|| value.clone()),
                None => value.clone(),
            },
            Value::Array(all) => all.iter().map(|it| self.bound(it)).collect(),
            Value::Object(all) => all.iter().map(|(key, it)| (key.clone(), self.bound(it))).collect(),
            other => other.clone(),
        }
    }

    fn write(&mut self, how: &str, object: Value, expect: &Value) -> Done {
        let manifest = object.to_string();
        let (kind, name) = (kind_of(&object), text(&object, "/metadata/name").to_owned());
        let arguments: Vec<&str> = match how {
            "create" => vec!["create", "-f", "-"],
            "update" => vec!["replace", "-f", "-"],
            "patch" => vec!["patch", &kind, &name, "--type=merge", "-p", &manifest],
            _ => vec!["apply", "-f", "-"],
        };
        // kubectl compares -n with what the manifest says; the server ignores it for kinds without a namespace.
        let own = object["metadata"]["namespace"].as_str();
        let mut all = match (own, how) {
            (Some(_), it) if it != "patch" => Vec::new(),
            (own, _) => vec!["-n", own.unwrap_or(&self.namespace)],
        };
        all.extend(arguments);
        let result = kubectl(&all, (how != "patch").then_some(&manifest));
        let shown = format!("{how} {} {name}", text(&object, "/kind"));
        let told = match &result {
            Ok(_) => Value::Null,
            Err(why) => bare(why).into(),
        };
        let checks: Vec<&Value> = expect
            .as_array()
            .into_iter()
            .flatten()
            .filter(|it| it.get("match").is_none_or(|it| difference(it, &object, "").is_none()))
            .collect();
        self.written.push(object);
        if checks.is_empty() {
            return result.map(drop).map_err(|why| Failure::Wrong(format!("{shown}: {why}")));
        }
        let found = json!({ "error": told });
        match checks.iter().find_map(|it| difference(&it["check"], &found, "")) {
            None => Ok(()),
            Some(why) => Err(Failure::Wrong(format!("{shown}: {why}; it said {told}"))),
        }
    }

    /// Deletes everything that was written.
    pub(crate) fn clean_up(&mut self) {
        let all: Vec<Value> = std::mem::take(&mut self.written).into_iter().rev().collect();
        if !all.is_empty() {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": all });
            // What lies in the test's namespace goes with it.
            let _ = kubectl(&["delete", "-f", "-", "--ignore-not-found", "--timeout=10s"], Some(&list.to_string()));
        }
    }

    fn delete(&self, reference: &Value) {
        let kind = kind_of(reference);
        let namespace = reference["namespace"].as_str().or(reference["metadata"]["namespace"].as_str());
        let namespace = namespace.unwrap_or(&self.namespace);
        let name = reference["name"].as_str().or(reference["metadata"]["name"].as_str());
        let mut arguments = vec!["delete", kind.as_str(), "--ignore-not-found", "--timeout=10s", "-n", namespace];
        arguments.push(name.unwrap_or("--all"));
        let _ = kubectl(&arguments, None);
    }

    /// Waits until an object is there that looks like this, or until none is.
    fn await_for(&self, wanted: &Value, there: bool) -> Done {
        let start = Instant::now();
        let mut pause = Duration::from_millis(40);
        loop {
            let found = self.find(wanted);
            let why = match (found, there) {
                (Ok(None), true) | (Err(_), false) => return Ok(()),
                (Ok(Some(why)), true) => why,
                (Ok(Some(_)), false) => return Ok(()),
                (Ok(None), false) => "is there, but must not be".to_owned(),
                (Err(why), true) => why,
            };
            if start.elapsed() > if self.is_slow { PATIENCE * 15 } else { PATIENCE } {
                let (kind, name) = (text(wanted, "/kind"), text(wanted, "/metadata/name"));
                return Err(Failure::Wrong(format!("{kind} {name}: {why}")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(600));
        }
    }

    /// Nothing when some object is as wanted; otherwise how the last one differs.
    fn find(&self, wanted: &Value) -> Result<Option<String>, String> {
        let kind = kind_of(wanted);
        let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or(&self.namespace);
        let mut arguments = vec!["get", kind.as_str(), "-o", "json", "-n", namespace];
        arguments.extend(wanted["metadata"]["name"].as_str());
        let answer: Value = serde_json::from_str(&kubectl(&arguments, None)?).map_err(|it| it.to_string())?;
        let all = match answer["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![answer],
        };
        let mut differs = Err("there is none".to_owned());
        for object in &all {
            match difference(wanted, object, "") {
                None => return Ok(None),
                found => differs = Ok(found),
            }
        }
        differs
    }
}

/// What the server said, without what kubectl adds.
fn bare(told: &str) -> &str {
    told.split_once("\"STDIN\": ").map_or(told, |it| it.1)
}

fn kind_of(object: &Value) -> String {
    let (group, version) = text(object, "/apiVersion").rsplit_once('/').unwrap_or(("", text(object, "/apiVersion")));
    let kind = text(object, "/kind");
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{version}.{group}") }
}
