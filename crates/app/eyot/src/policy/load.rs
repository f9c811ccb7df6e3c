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
    /// Bundle (.tar.gz); may be given several times.
    #[arg(long, short, value_name = "FILE")]
    bundle: Vec<PathBuf>,
    /// File of the input document, in JSON or YAML.
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,
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
            tree.add(path, dialect)?;
        }
        for path in &self.bundle {
            let archive = fs::read(path).with_context(|| path.display().to_string())?;
            let bundle = Bundle::read(&archive, None, bundle::Bounds::default());
            tree.add_bundle(bundle.with_context(|| path.display().to_string())?)?;
        }
        let mut request = Request::new(None, now_ns());
        request.strict = self.strict_builtin_errors;
        request.bounds = Bounds { steps: 100_000_000, bytes: 1 << 30 };
        request.data = Value::from(&tree.data);
        if let Some(path) = &self.input {
            request.input = Some(Value::from(&document(path)?));
        }
        Ok(Loaded { program: compile(&tree.modules)?, request, dialect })
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
    pub(crate) fn add(&mut self, path: &Path, dialect: Dialect) -> Result<()> {
        if !path.is_dir() {
            return self.add_file(path, path, dialect);
        }
        for file in files(path)? {
            let relative = file.strip_prefix(path).unwrap_or(&file).to_owned();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // Below a directory only these names are data: other files may be anything.
            let is_data = ["data.json", "data.yaml", "data.yml"].contains(&&*name);
            if is_data || name.ends_with(".rego") {
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

/// All files below a directory, in order.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry.with_context(|| dir.display().to_string())?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
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
