//! Collects the descriptions of Kubernetes' types and fields from the sources of k8s-openapi, which the workspace
//! builds anyway. So no text of theirs is copied into this repository, and none is older than the types in use.
//!
//! Without those sources the glossary is empty, with a warning: schemas then have no descriptions, and nothing else
//! is missing.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Ends an entry; Kubernetes' texts have no control characters but newlines.
const END: char = '\u{1d}';
/// Ends a word of an entry.
const NEXT: char = '\u{1e}';

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../../Cargo.lock");
    let mut types = BTreeMap::new();
    match sources().map(|it| collect(&it, &mut types)) {
        Some(Ok(())) => {}
        Some(Err(error)) => println!("cargo:warning=schemas have no descriptions: {error}"),
        None => println!("cargo:warning=schemas have no descriptions: the sources of k8s-openapi were not found"),
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let text: String = types.into_values().collect();
    fs::write(out.join("glossary.txt"), text).expect("the build directory can be written to");
}

/// Where the newest API version of k8s-openapi lies.
fn sources() -> Option<PathBuf> {
    let versions = fs::read_dir(downloaded().or_else(told_by_cargo)?.join("src")).ok()?.flatten().map(|it| it.path());
    let minor = |it: &PathBuf| it.file_name()?.to_str()?.strip_prefix("v1_")?.parse::<u32>().ok();
    versions.filter(|it| minor(it).is_some()).max_by_key(minor)
}

/// The locked version, where cargo unpacks what it downloads: it has done so before it builds anything.
fn downloaded() -> Option<PathBuf> {
    let lock = fs::read_to_string("../../../Cargo.lock").ok()?;
    let (_, rest) = lock.split_once("name = \"k8s-openapi\"\nversion = \"")?;
    let version = rest.split('"').next()?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    registries.map(|it| it.path().join(format!("k8s-openapi-{version}"))).find(|it| it.is_dir())
}

/// As cargo knows it, which also finds vendored sources.
fn told_by_cargo() -> Option<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--format-version", "1", "--offline"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let manifests = text.split(r#""manifest_path":""#).skip(1).filter_map(|it| it.split('"').next());
    let manifest = manifests.map(PathBuf::from).find(|it| {
        let folder = it.parent().and_then(Path::file_name).and_then(|it| it.to_str());
        folder
            .is_some_and(|it| it == "k8s-openapi" || it.starts_with("k8s-openapi-0") || it.starts_with("k8s-openapi-1"))
    })?;
    manifest.parent().map(Path::to_owned)
}

fn collect(folder: &Path, types: &mut BTreeMap<String, String>) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.is_dir() {
            collect(&path, types)?;
        } else if let Some((name, entry)) = entry(&fs::read_to_string(&path)?) {
            types.insert(name, entry);
        }
    }
    Ok(())
}

/// The type that a file describes, and its entry. Indentation tells the type's own text from those of its fields.
fn entry(source: &str) -> Option<(String, String)> {
    const INSERTED: &str = r#"schema_obj.ensure_object().insert("description".into(), "#;
    let mut lines = source.lines().skip_while(|it| !it.contains("fn schema_name()")).skip(1);
    let name = unquoted(lines.next()?.trim_start())?;
    let (mut own, mut fields) = (String::new(), String::new());
    let mut field = None;
    for line in lines {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        let described = content.strip_prefix("\"description\": ").or_else(|| content.strip_prefix(INSERTED));
        match (depth, described.and_then(unquoted)) {
            (12, Some(text)) if own.is_empty() => own = text,
            (20.., Some(text)) => {
                if let Some(field) = field.take() {
                    fields += &format!("{field}{NEXT}{text}{NEXT}");
                }
            }
            (16, None) if content.starts_with('"') => field = unquoted(content),
            _ => {}
        }
    }
    let entry = format!("{name}{NEXT}{own}{NEXT}{fields}{END}");
    Some((name, entry))
}

/// The string literal at the start of a text.
fn unquoted(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut found = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(found),
            '\\' => match chars.next()? {
                'n' => found.push('\n'),
                't' => found.push('\t'),
                'u' => {
                    let code: String = chars.by_ref().skip(1).take_while(|it| *it != '}').collect();
                    found.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                }
                other => found.push(other),
            },
            other => found.push(other),
        }
    }
}
