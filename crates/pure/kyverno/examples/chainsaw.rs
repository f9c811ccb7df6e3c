//! Runs tests of chainsaw, as kyverno/kyverno has them below `test/conformance/chainsaw`, against a server.
//!
//! `KUBECONFIG=… chainsaw DIR [-v]`: one line for each test that does not pass, then the sums. Understood are the steps
//! apply, create, assert, error, delete, patch, update, sleep and templates of such; a test with another one, scripts above all, is
//! left out and counted as such. `kubectl` does the talking.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use eyot_kyverno::jmespath::{Env, Expression};
use serde_json::{Map, Value, json};

/// How long something may take to become as it is expected.
const PATIENCE: Duration = Duration::from_secs(8);

enum Failure {
    /// The test has what this does not understand.
    Unknown(String),
    Wrong(String),
}

type Done = Result<(), Failure>;

struct Run {
    directory: PathBuf,
    /// Where objects without a namespace go.
    namespace: String,
    bindings: Map<String, Value>,
    /// Everything that was written, to be deleted in the end.
    written: Vec<Value>,
}

fn kubectl(arguments: &[&str], input: Option<&str>) -> Result<String, String> {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|it| format!("kubectl: {it}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    }
    let output = child.wait_with_output().map_err(|it| format!("kubectl: {it}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn documents(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|it| format!("{}: {it}", path.display()))?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|it| format!("{}: {it}", path.display()))?;
    Ok(all.into_iter().filter(|it| !it.is_null()).collect())
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Run {
    fn steps(&mut self, steps: &Value, directory: &Path) -> Done {
        for step in steps.as_array().into_iter().flatten() {
            if let Some(template) = step.pointer("/use/template").and_then(Value::as_str) {
                let path = directory.join(template);
                let all = documents(&path).map_err(Failure::Unknown)?;
                for binding in step.pointer("/use/with/bindings").and_then(Value::as_array).into_iter().flatten() {
                    self.bindings.insert(text(binding, "/name").to_owned(), binding["value"].clone());
                }
                // Files of a template lie where the test does.
                all.iter().try_for_each(|it| self.operations(&it["spec"]["try"]))?;
            }
            self.operations(&step["try"])?;
        }
        Ok(())
    }

    fn operations(&mut self, operations: &Value) -> Done {
        for operation in operations.as_array().into_iter().flatten() {
            let known = ["apply", "create", "assert", "error", "delete", "patch", "update", "sleep"];
            let Some((name, what)) =
                operation.as_object().and_then(|it| it.iter().find(|it| known.contains(&it.0.as_str())))
            else {
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
                let seconds: u64 = text(what, "/duration").trim_end_matches('s').parse().unwrap_or(1);
                std::thread::sleep(Duration::from_secs(seconds.min(3)));
                Ok(())
            }
            "delete" => {
                let reference = self.bound(&what["ref"]);
                self.delete(&reference);
                Ok(())
            }
            "assert" | "error" => self.objects(what)?.iter().try_for_each(|it| self.await_for(it, name == "assert")),
            _ => self.objects(what)?.into_iter().try_for_each(|it| self.write(name, it, &what["expect"])),
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
                Some("namespace") => self.namespace.as_str().into(),
                Some(name) => self.bindings.get(name).cloned().unwrap_or_else(|| value.clone()),
                None => value.clone(),
            },
            Value::Array(all) => all.iter().map(|it| self.bound(it)).collect(),
            Value::Object(all) => all.iter().map(|(key, it)| (key.clone(), self.bound(it))).collect(),
            other => other.clone(),
        }
    }

    fn write(&mut self, how: &str, object: Value, expect: &Value) -> Done {
        // Where the namespace is not said it is that of the test; the server ignores it for kinds without.
        let manifest = object.to_string();
        let arguments: &[&str] = match how {
            "create" => &["create", "-f", "-"],
            "update" => &["replace", "-f", "-"],
            "patch" => &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            _ => &["apply", "-f", "-"],
        };
        let mut all = vec!["-n", &self.namespace];
        // kubectl compares -n with what the manifest says.
        if object["metadata"]["namespace"].is_string() {
            all.clear();
        }
        all.extend(arguments);
        let result = kubectl(&all, Some(&manifest));
        let wants_error = expect.as_array().into_iter().flatten().any(|it| it["check"]["($error != null)"] == true);
        let shown = format!("{how} {} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
        self.written.push(object);
        match (result, wants_error) {
            (Ok(_), true) => Err(Failure::Wrong(format!("{shown}: was not refused"))),
            (Err(why), false) => Err(Failure::Wrong(format!("{shown}: {why}"))),
            _ => Ok(()),
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
        loop {
            let found = self.find(wanted);
            let why = match (found, there) {
                (Ok(None), true) | (Err(_), false) => return Ok(()),
                (Ok(Some(why)), true) => why,
                (Ok(Some(_)), false) => return Ok(()),
                (Ok(None), false) => "is there, but must not be".to_owned(),
                (Err(why), true) => why,
            };
            if start.elapsed() > PATIENCE {
                let (kind, name) = (text(wanted, "/kind"), text(wanted, "/metadata/name"));
                return Err(Failure::Wrong(format!("{kind} {name}: {why}")));
            }
            std::thread::sleep(Duration::from_millis(300));
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

fn kind_of(object: &Value) -> String {
    let (group, version) = text(object, "/apiVersion").rsplit_once('/').unwrap_or(("", text(object, "/apiVersion")));
    let kind = text(object, "/kind");
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{version}.{group}") }
}

/// Where a value is not as wanted. Keys in parentheses are expressions.
fn difference(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), found) => wanted.iter().find_map(|(key, wanted)| {
            if let Some(expression) = key.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
                let env = Env::new(jiff::Timestamp::now(), 1);
                let compiled = Expression::compile(expression).ok()?;
                let value = compiled.search(found, &env).map(|it| it.into_owned()).unwrap_or_default();
                return difference(wanted, &value, &format!("{path}.{key}"));
            }
            difference(wanted, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(at, (wanted, found))| difference(wanted, found, &format!("{path}[{at}]")))
        }
        (wanted, found) if wanted == found => None,
        (Value::Number(one), Value::Number(two)) if one.as_f64() == two.as_f64() => None,
        _ => Some(format!("{path} is {found}, not {wanted}")),
    }
}

fn run(path: &Path, count: usize) -> Done {
    let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let namespace = format!("chainsaw-{count}");
    let _ = kubectl(&["create", "namespace", &namespace], None);
    let mut run = Run { directory: directory.clone(), namespace, bindings: Map::new(), written: Vec::new() };
    let tests = documents(path).map_err(Failure::Unknown)?;
    let mut result = Ok(());
    for test in tests {
        for binding in test["spec"]["bindings"].as_array().into_iter().flatten() {
            run.bindings.insert(text(binding, "/name").to_owned(), binding["value"].clone());
        }
        result = run.steps(&test["spec"]["steps"], &directory);
    }
    for object in std::mem::take(&mut run.written).iter().rev() {
        run.delete(object);
    }
    run.delete(&json!({"apiVersion": "v1", "kind": "Namespace", "name": run.namespace}));
    result
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.file_name().is_some_and(|it| it == "chainsaw-test.yaml") {
            found.push(path);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let verbose = arguments.next().is_some_and(|it| it == "-v");
    let mut found = Vec::new();
    collect(&root, &mut found);
    let (mut passed, mut unknown) = (0, 0);
    for (at, path) in found.iter().enumerate() {
        let name = path.parent().unwrap_or(path).strip_prefix(&root).unwrap_or(path).display().to_string();
        match run(path, at) {
            Ok(()) => passed += 1,
            Err(Failure::Wrong(why)) => println!("FAIL {name}: {}", why.replace('\n', " ")),
            Err(Failure::Unknown(why)) => {
                unknown += 1;
                if verbose {
                    println!("LEFT OUT {name}: {why}");
                }
            }
        }
    }
    println!("{passed} of {} pass, {unknown} more are left out", found.len() - unknown);
}
