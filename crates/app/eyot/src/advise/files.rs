//! Files that the advisor reads and writes.

use std::{
    borrow::Cow,
    fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use eyot_advise::{
    Catalog, Lang, Scenario,
    catalog::FILES,
    migrate::{self, Book},
};

use super::{told, words::say};

/// More than any scenario, catalogue file or inventory has.
const BYTES_MAX: u64 = 64 << 20;

/// Reads a scenario; `-` is standard input.
pub(super) fn scenario(path: &Path, lang: Lang) -> Result<Scenario> {
    let (name, text) = text(path)?;
    Scenario::parse(&name, &text).map_err(|flaws| told(&flaws, lang))
}

/// The text of a file and the name to call it by.
pub(super) fn text(path: &Path) -> Result<(String, String)> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(BYTES_MAX).read_to_string(&mut text).context("reading standard input")?;
        return Ok(("-".to_owned(), text));
    }
    let name = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("reading {name}"))?;
    ensure!(!file.metadata().is_ok_and(|it| it.is_dir()), "{name} is a folder; give a file");
    let read = file.take(BYTES_MAX).read_to_string(&mut text).with_context(|| format!("reading {name}"))?;
    ensure!((read as u64) < BYTES_MAX, "{name}: more than {} MiB", BYTES_MAX >> 20);
    Ok((name, text))
}

/// The catalogue in a folder, or the built-in one.
pub(crate) fn catalog(dir: Option<&Path>, lang: Lang) -> Result<Cow<'static, Catalog>> {
    let Some(dir) = dir else { return Ok(Cow::Borrowed(Catalog::embedded())) };
    let mut paths = yaml_files(dir)?;
    // Order counts among trees and measurements: that of the built-in files first, then names.
    let place = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        FILES.iter().position(|it| name == it.0).unwrap_or(FILES.len())
    };
    paths.sort_by_key(place);
    let files = paths.iter().map(|it| text(it)).collect::<Result<Vec<_>>>()?;
    ensure!(!files.is_empty(), "--catalog {}: no YAML files there", dir.display());
    Catalog::parse(files).map(Cow::Owned).map_err(|flaws| told(&flaws, lang))
}

/// What migrations know: from a catalogue's folder what is there, and what is built in for the rest.
pub(super) fn book(dir: Option<&Path>, lang: Lang) -> Result<Cow<'static, Book>> {
    let Some(dir) = dir else { return Ok(Cow::Borrowed(Book::embedded())) };
    let read = |(name, built_in): (&str, &str)| {
        let path = dir.join(name);
        if path.exists() {
            return text(&path);
        }
        eprintln!("{}: {}", path.display(), say(lang, "not there; the built-in one counts", "不存在，使用内置文件"));
        Ok((name.to_owned(), built_in.to_owned()))
    };
    let [moves, findings] = migrate::FILES;
    let (moves, findings) = (read(moves)?, read(findings)?);
    let book = Book::parse((&moves.0, &moves.1), (&findings.0, &findings.1));
    book.map(Cow::Owned).map_err(|flaws| told(&flaws, lang))
}

/// The YAML and JSON files right in a folder, in the order of their names.
pub(super) fn yaml_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", dir.display()))?.path();
        let of = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if path.is_file() && matches!(of, "yaml" | "yml" | "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a file that must not be there yet.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut it| it.write_all(contents)).with_context(|| format!("writing {}", path.display()))
}

/// Writes the built-in catalogue, file by file; what is there already stays.
pub(super) fn export(dir: &Path, lang: Lang) -> Result<ExitCode> {
    for (path, kept) in write_catalog(dir)? {
        let what = if kept { say(lang, "kept", "保留") } else { say(lang, "wrote", "写入") };
        println!("{what} {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Every file of the built-in catalogue in `dir`, and whether it was there already.
pub(crate) fn write_catalog(dir: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut done = Vec::new();
    for (name, contents) in FILES.iter().chain(&migrate::FILES) {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let kept = match file {
            Ok(mut file) => file.write_all(contents.as_bytes()).map(|()| false),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        };
        done.push((path.clone(), kept.with_context(|| format!("writing {}", path.display()))?));
    }
    Ok(done)
}
