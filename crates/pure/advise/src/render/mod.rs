//! The chosen stack as files that run: manifests, the node's or cluster's configuration, a page that says how.
//!
//! Start at [`render`]. For stacks of WebAssembly on light orchestrators the target is Eyot: `eyot up --manifests DIR`
//! takes the folder as it is. For Kubernetes the folder holds what a cluster takes, with Helm values beside it; where the
//! answer is both (a centre with edge sites, serverless at scale), the cluster's part lies in `cluster/`, which `eyot up`
//! passes over. What a target does not honour is marked in the object, listed in [`Rendering::notes`], and told in the
//! page. Deliberately absent: writing files.

mod app;
mod brief;
mod cluster;
mod eyot;
mod page;
mod policy;
mod promise;
mod traffic;
mod values;

use serde::Serialize;
use serde_json::{Value, json};

pub use brief::{Brief, Target};
pub use promise::{Bound, Promise, Promised};

use crate::{Catalog, Decision, Lang, Scenario, Text};

/// The annotation that says what becomes of an object that is only stored.
pub const ACTS: &str = "advise.eyot.io/acts";
/// The ConfigMap that tells, in the cluster too, what was promised.
pub const ADVICE: &str = "eyot-advice";
/// The key of the promises in it.
pub const PROMISES: &str = "promises.json";
/// The name of a folder's mark that `eyot up --manifests` passes over.
pub const PASSED_OVER: &str = ".eyotignore";

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where, below the folder.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}

impl File {
    fn text(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), contents: text.into().into_bytes() }
    }
}

/// Something that the target does not honour, or that is left to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about: a file, or a key of the scenario.
    pub about: String,
    /// What to know.
    pub says: Text,
}

/// Everything that was rendered.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// What it is for.
    pub target: Target,
    /// The files, in the order of their paths.
    pub files: Vec<File>,
    /// What is not honoured, or not rendered.
    pub notes: Vec<Note>,
    /// What the stack promises.
    pub promises: Vec<Promise>,
}

/// Renders the best stack of a decision.
pub fn render(scenario: &Scenario, decision: &Decision, catalog: &Catalog, lang: Lang) -> Rendering {
    of_brief(&Brief::of(scenario, decision, catalog), lang)
}

/// Renders what a brief asks for.
pub fn of_brief(brief: &Brief, lang: Lang) -> Rendering {
    let mut out = Draft { files: Vec::new(), notes: Vec::new() };
    match brief.target {
        Target::Eyot => eyot::render(brief, &mut out),
        Target::Cluster => cluster::render(brief, "", &mut out),
        Target::Both => {
            eyot::render(brief, &mut out);
            cluster::render(brief, "cluster/", &mut out);
            out.files.push(File::text(&format!("cluster/{PASSED_OVER}"), ""));
        }
    }
    let Draft { mut files, notes } = out;
    files.push(File::text("README.md", page::page(brief, &files, &notes, lang)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Rendering { target: brief.target, files, notes, promises: brief.promises.clone() }
}

/// What is collected while rendering.
struct Draft {
    files: Vec<File>,
    notes: Vec<Note>,
}

impl Draft {
    fn note(&mut self, about: &str, en: impl Into<String>, zh: impl Into<String>) {
        self.notes.push(Note { about: about.to_owned(), says: Text::new(en, zh) });
    }

    /// Adds the rules of an engine. Constraints come in a file of their own: their kind is there only when their template is.
    fn rules(&mut self, dir: &str, about: &str, rules: Vec<Value>, on_eyot: bool) {
        let is_constraint = |it: &Value| it["apiVersion"].as_str().is_some_and(|it| it.starts_with("constraints."));
        let (constraints, rules): (Vec<_>, Vec<_>) = rules.into_iter().partition(is_constraint);
        if !rules.is_empty() {
            self.manifests(&format!("{dir}30-policy.yaml"), about, rules, on_eyot);
        }
        if constraints.is_empty() {
            return;
        }
        let path = format!("{dir}31-constraint.yaml");
        self.manifests(&path, "Where the template's rules hold.", constraints, on_eyot);
        if !on_eyot {
            self.note(
                &path,
                "`kubectl apply` takes it only after Gatekeeper has made the template's kind: apply the folder twice",
                "`kubectl apply` 须在 Gatekeeper 建立模板类型之后才接受此文件：请应用目录两次",
            );
        }
    }

    /// Adds a file of objects. On Eyot, those on which nothing acts are marked.
    fn manifests(&mut self, path: &str, about: &str, mut objects: Vec<Value>, on_eyot: bool) {
        let mut marks = Vec::new();
        for object in objects.iter_mut().filter(|_| on_eyot) {
            let Some(warning) = stored_only(object) else { continue };
            let acts = if warning.starts_with("only a part") { "in part" } else { "no" };
            object["metadata"]["annotations"][ACTS] = json!(format!("{acts}: {warning}"));
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            if !marks.contains(&(kind.clone(), warning.clone())) {
                marks.push((kind, warning));
            }
        }
        let mut text = format!("# {about}\n");
        for (kind, warning) in marks {
            if warning.starts_with("only a part") {
                text += &format!("# In part: {warning}.\n");
                let zh = format!("本版本 Eyot 仅执行 {kind} 的一部分");
                self.note(path, format!("honoured in part by this version of Eyot: {warning}"), zh);
                continue;
            }
            text += &format!("# Stored only: {warning}.\n");
            let zh = format!("本版本 Eyot 仅存储 {kind} 对象，不据此执行任何操作");
            self.note(path, format!("only stored by this version of Eyot: {warning}"), zh);
        }
        text += &objects.iter().map(yaml).collect::<Vec<_>>().join("---\n");
        self.files.push(File::text(path, text));
    }
}

/// Why nothing acts on an object on Eyot, where that is so.
fn stored_only(object: &Value) -> Option<String> {
    let (version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    eyot_model::inert::warning(eyot_model::kinds::builtin().by_api_version(version, kind)?)
}

/// An object or values as YAML; keys come in alphabetical order, which is the usual one for objects.
fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).unwrap_or_default();
    if text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests;
