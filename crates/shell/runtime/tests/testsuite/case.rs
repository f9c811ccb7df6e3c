//! Cases as the suite's files describe them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// One case of the suite.
pub(crate) struct Case {
    /// `language/name`.
    pub(crate) name: String,
    pub(crate) wasm: PathBuf,
    /// What is done, in order: the first starts it.
    pub(crate) operations: Vec<Value>,
    /// HTTP servers that it may ask.
    pub(crate) servers: Vec<Value>,
    /// All that it is to print, where the case says so.
    pub(crate) prints: [Option<String>; 2],
    pub(crate) is_service: bool,
}

/// Every case of every language that was compiled for `target`, in order.
pub(crate) fn cases(dir: &Path, target: &str) -> Vec<Case> {
    let mut out = Vec::new();
    for language in entries(&dir.join("tests")) {
        for wasm in entries(&language.join("testsuite").join(target)) {
            if wasm.extension().is_some_and(|it| it == "wasm") {
                out.push(Case::read(&language, wasm));
            }
        }
    }
    out
}

/// What is in `dir`, sorted; nothing when it does not exist.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<_> = fs::read_dir(dir).into_iter().flatten().map(|it| it.unwrap().path()).collect();
    out.sort();
    out
}

impl Case {
    fn read(language: &Path, wasm: PathBuf) -> Case {
        let text = fs::read_to_string(wasm.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
        let said: Value = serde_json::from_str(&text).unwrap();
        // The older form says in one object how it starts and how it ends.
        let operations = said["operations"].as_array().cloned().unwrap_or_else(|| {
            let run = json!({"type": "run", "args": said["args"], "env": said["env"], "root": said["root"]});
            vec![run, json!({"type": "wait", "exit_code": said["exit_code"]})]
        });
        let prints = ["stdout", "stderr"].map(|it| said[it].as_str().map(str::to_owned));
        Case {
            name: format!("{}/{}", stem(language), stem(&wasm)),
            operations,
            servers: said["servers"].as_array().cloned().unwrap_or_default(),
            prints,
            is_service: said["world"] == "wasi:http/service",
            wasm,
        }
    }
}

pub(crate) fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}
