//! Policies and data from files and directories, as OPA lays them out: `a/b/data.json` is the document `data.a.b`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use eyot_rego::{
    Bounds, Dialect, Flaw, Program, Request, Source, Value,
    bundle::{self, Bundle},
};

/// Where policies, data and input come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// File or directory of policies (.rego) and data (.json, .yaml); may be given several times.
    #[arg(long, short, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Bundle: an archive (.tar.gz) or the directory of its files; may be given several times.
    #[arg(long, short, value_name = "PATH")]
    bundle: Vec<PathBuf>,
    /// File of the input document, in JSON or YAML.
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Read the input document from standard input.
    #[arg(long, short = 'I', conflicts_with = "input")]
    stdin_input: bool,
    /// Read policies as Rego v0.
    #[arg(long)]
    v0_compatible: bool,
    /// Make a failing built-in function an error instead of undefined.
    #[arg(long)]
    strict_builtin_errors: bool,
}

/// A program and what it is asked with.
pub(crate) struct Loaded {
    pub(crate) program: Program,
    pub(crate) request: Request,
    pub(crate) dialect: Dialect,
}

impl Sources {
    /// Reads and compiles everything.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let dialect = if self.v0_compatible { Dialect::V0 } else { Dialect::V1 };
        let mut tree = Tree::default();
        for path in &self.data {
            tree.add(path, dialect, DataFiles::All)?;
        }
        for path in &self.bundle {
            tree.add_bundle(bundle_at(path).with_context(|| path.display().to_string())?)?;
        }
        let mut request = Request::new(None, now_ns());
        request.strict = self.strict_builtin_errors;
        request.bounds = Bounds { steps: 100_000_000, bytes: 1 << 30 };
        request.data = Value::from(&tree.data);
        if let Some(path) = &self.input {
            request.input = Some(Value::from(&document(path)?));
        }
        if self.stdin_input {
            let text = std::io::read_to_string(std::io::stdin()).context("standard input")?;
            let parsed: Result<serde_json::Value, _> =
                serde_json::from_str(&text).or_else(|_| serde_saphyr::from_str(&text));
            request.input = Some(Value::from(&parsed.context("standard input")?));
        }
        Ok(Loaded { program: compile(&tree.modules)?, request, dialect })
    }
}

/// A bundle that is packed, or lies in a directory.
fn bundle_at(path: &Path) -> Result<Bundle> {
    if !path.is_dir() {
        return Ok(Bundle::read(&fs::read(path)?, None, bundle::Bounds::default())?);
    }
    let read = |file: PathBuf| {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        Ok((name, fs::read(&file).with_context(|| file.display().to_string())?))
    };
    let files: Result<BTreeMap<String, Vec<u8>>> = files(path)?.into_iter().map(read).collect();
    Ok(Bundle::from_files(files?, None)?)
}

/// Which files below a directory are data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFiles {
    /// Those called `data`: beside policies of other engines lie other documents.
    Named,
    /// All in JSON and YAML, as OPA reads a directory.
    All,
}

impl DataFiles {
    fn take(self, name: &str) -> bool {
        match self {
            DataFiles::Named => ["data.json", "data.yaml", "data.yml"].contains(&name),
            DataFiles::All => [".json", ".yaml", ".yml"].iter().any(|it| name.ends_with(it)),
        }
    }
}

/// Modules and data, as they are read.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Source>,
    pub(crate) data: serde_json::Value,
}

impl Tree {
    /// Takes a file, or everything below a directory.
    pub(crate) fn add(&mut self, path: &Path, dialect: Dialect, data: DataFiles) -> Result<()> {
        if !path.is_dir() {
            return self.add_file(path, path, dialect);
        }
        for file in files(path)? {
            let relative = file.strip_prefix(path).unwrap_or(&file).to_owned();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if data.take(&name) || name.ends_with(".rego") {
                self.add_file(&file, &relative, dialect)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, relative: &Path, dialect: Dialect) -> Result<()> {
        if path.extension().is_some_and(|it| it == "rego") {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            self.modules.push(Source { name: path.display().to_string(), text, dialect });
            return Ok(());
        }
        let mut value = document(path)?;
        if path != relative {
            let parents = relative.parent().into_iter().flat_map(Path::components).rev();
            for name in parents {
                value = serde_json::json!({ name.as_os_str().to_string_lossy(): value });
            }
        }
        self.merge(value, &path.display().to_string())
    }

    fn add_bundle(&mut self, bundle: Bundle) -> Result<()> {
        for module in bundle.modules {
            let dialect = if module.v0 { Dialect::V0 } else { Dialect::V1 };
            self.modules.push(Source { name: module.path, text: module.source, dialect });
        }
        self.merge(bundle.data, "the bundle")
    }

    fn merge(&mut self, value: serde_json::Value, from: &str) -> Result<()> {
        if self.data.is_null() {
            self.data = serde_json::json!({});
        }
        if !value.is_object() {
            bail!("{from}: the root document must be an object");
        }
        bundle::merge(&mut self.data, value).map_err(|at| anyhow::anyhow!("{from}: data.{at} is given twice"))
    }
}

/// All files below a directory, in order. What lies in hidden directories is left out.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    walk(dir, |name| !name.starts_with('.'))
}

/// The same with hidden directories, in which Kyverno's policies keep their tests.
pub(crate) fn files_of_tests(dir: &Path) -> Result<Vec<PathBuf>> {
    // Mounted ConfigMaps have all of their files in `..data`, too.
    walk(dir, |name| name != ".git" && !name.starts_with(".."))
}

/// Goes through a directory and those below it whose names are taken.
fn walk(dir: &Path, takes: fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry.with_context(|| dir.display().to_string())?;
            let is_taken = takes(&entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && is_taken => waiting.push(entry.path()),
                // Mounted ConfigMaps link to their files. Directories that are links may lead anywhere.
                Ok(kind) if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A document in JSON or YAML.
fn document(path: &Path) -> Result<serde_json::Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    if path.extension().is_some_and(|it| it == "json") {
        return serde_json::from_str(&text).with_context(|| path.display().to_string());
    }
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

/// Compiles, telling every flaw.
pub(crate) fn compile(modules: &[Source]) -> Result<Program> {
    Program::compile(modules).map_err(|flaws| anyhow::anyhow!("{}", told(&flaws)))
}

/// Flaws, one a line.
pub(crate) fn told(flaws: &[Flaw]) -> String {
    let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    let errors = if lines.len() == 1 { "error" } else { "errors" };
    format!("{} {errors} occurred:\n{}", lines.len(), lines.join("\n"))
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Runs something and says how long it took.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, std::time::Duration) {
    let started = Instant::now();
    let made = run();
    (made, started.elapsed())
}

/// Modules by the directory they lie in.
pub(crate) fn by_directory(modules: &[Source]) -> BTreeMap<PathBuf, Vec<Source>> {
    let mut groups: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for module in modules {
        let dir = Path::new(&module.name).parent().unwrap_or(Path::new("")).to_owned();
        groups.entry(dir).or_default().push(module.clone());
    }
    groups
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lay(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        dir
    }

    #[test]
    fn a_directory_is_read_as_opa_reads_it() {
        let dir = lay(&[
            ("a.rego", "package a"),
            ("top.yaml", "n: 1"),
            ("users/list.json", r#"{"admins": ["ann"]}"#),
            ("users/data.json", r#"{"more": 2}"#),
            ("users/readme.md", "-"),
        ]);
        let read = |data| {
            let mut tree = Tree::default();
            tree.add(dir.path(), Dialect::V1, data).expect("it is read");
            (tree.modules.len(), tree.data)
        };
        assert_eq!(read(DataFiles::All), (1, json!({"n": 1, "users": {"admins": ["ann"], "more": 2}})));
        assert_eq!(read(DataFiles::Named), (1, json!({"users": {"more": 2}})));
    }

    #[test]
    fn tests_may_lie_in_hidden_directories() {
        let dir =
            lay(&[(".kyverno-test/kyverno-test.yaml", ""), (".git/config", ""), ("..data/a.yaml", ""), ("b.yaml", "")]);
        let names = |found: Result<Vec<PathBuf>>| {
            let found = found.expect("it is read").into_iter();
            found.map(|it| it.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(files_of_tests(dir.path())), ["kyverno-test.yaml", "b.yaml"]);
        assert_eq!(names(files(dir.path())), ["b.yaml"]);
    }

    #[test]
    fn a_bundle_may_lie_in_a_directory() {
        let manifest = r#"{"revision": "7", "roots": ["a", "users"]}"#;
        let dir = lay(&[("a/a.rego", "package a"), ("users/data.json", r#"{"n": 1}"#), (".manifest", manifest)]);
        let bundle = bundle_at(dir.path()).expect("it is one");
        assert_eq!((bundle.modules.len(), bundle.manifest.revision.as_str()), (1, "7"));
        assert_eq!(bundle.data, json!({"users": {"n": 1}}));
        let other = lay(&[("b/data.json", "{}"), (".manifest", manifest)]);
        assert!(bundle_at(other.path()).is_err(), "it holds more than its roots");
    }
}
