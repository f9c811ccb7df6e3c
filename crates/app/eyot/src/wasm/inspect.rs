//! `eyot inspect`: what a WebAssembly file is, needs, and would be allowed.

use anyhow::{Context, Result, bail, ensure};
use eyot_registry::PullPolicy;
use eyot_runtime::{Description, LoadError, ProgramKind, describe};
use serde_json::{Value, json};

use super::{
    Format, InspectFlags,
    source::{self, Source},
};

/// Prints what is known of the target. Fails when it cannot run here, after it has said all the rest.
pub(crate) async fn run(flags: InspectFlags) -> Result<()> {
    let scratch;
    let source = if source::is_file(&flags.target) {
        ensure!(flags.program.is_none(), "--program names a program of an image, and {} is a file", flags.target);
        source::file(&flags.target)?
    } else {
        scratch = source::Scratch::new()?;
        let images = source::images(&scratch.0, &[])?;
        let policy = PullPolicy::Always;
        source::image(&images, &flags.target, flags.program.as_deref(), policy, &flags.registry).await?
    };
    let wasm = std::fs::read(&source.wasm).with_context(|| format!("reading {}", source.wasm.display()))?;
    let found = describe(&wasm).with_context(|| flags.target.clone())?;
    match flags.format {
        Format::Text => print!("{}", text(&flags.target, &source, &found)),
        Format::Json => println!("{:#}", object(&flags.target, &source, &found)),
    }
    match found.kind {
        Ok(_) => Ok(()),
        Err(why) => bail!("{} cannot run here: {why}", flags.target),
    }
}

fn text(target: &str, source: &Source, found: &Description) -> String {
    let kind = match (&found.kind, found.is_component) {
        (Ok(kind), _) => kind.to_string(),
        (Err(_), true) => "component that cannot run here".to_owned(),
        (Err(_), false) => "core module that cannot run here".to_owned(),
    };
    let debug = match (found.debug_bytes, found.has_lines) {
        (0, _) => "no debug information: traps name functions only".to_owned(),
        (bytes, true) => format!("{bytes} bytes of debug information: traps name lines"),
        (bytes, false) => format!("{bytes} bytes of debug information, more than is read: traps name functions only"),
    };
    let memory = found.memory_initial_bytes >> 10;
    let mut out = format!(
        "{target}: {kind}\n{} bytes, {}\nstarts with {memory} KiB of memory\n{debug}\n",
        found.bytes, source.digest
    );
    let imports = found.imports.iter().map(|it| match it.is_offered {
        true => it.name.clone(),
        false => format!("{} (not offered here)", it.name),
    });
    for (title, lines) in [
        ("composed of", source.parts.clone()),
        ("built with", found.built_with.clone()),
        ("exports", found.exports.clone()),
        ("imports", imports.collect()),
        ("may", found.allowed().into_iter().map(str::to_owned).collect()),
    ] {
        if !lines.is_empty() {
            out += &format!("{title}\n{}", lines.iter().map(|it| format!("  {it}\n")).collect::<String>());
        }
    }
    out
}

fn object(target: &str, source: &Source, found: &Description) -> Value {
    let imports: Vec<_> = found.imports.iter().map(|it| json!({ "name": it.name, "offered": it.is_offered })).collect();
    json!({
        "target": target,
        "digest": source.digest,
        "composedOf": source.parts,
        "bytes": found.bytes,
        "kind": found.kind.as_ref().ok().map(ProgramKind::to_string),
        "refused": found.kind.as_ref().err().map(LoadError::to_string),
        "component": found.is_component,
        "exports": found.exports,
        "imports": imports,
        "allowed": found.allowed(),
        "memoryInitialBytes": found.memory_initial_bytes,
        "debugBytes": found.debug_bytes,
        "lines": found.has_lines,
        "builtWith": found.built_with,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// A module that exports `_start` and imports `env.gone`.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0c\x01\x03env\x04gone\0\0\
        \x03\x02\x01\0\x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";

    #[test]
    fn what_keeps_a_file_from_running_is_told_with_all_the_rest() {
        let found = describe(MODULE).unwrap();
        let source = Source { wasm: "a.wasm".into(), digest: "sha256:ab".into(), parts: Vec::new() };
        expect![[r#"
            a.wasm: core module that cannot run here
            50 bytes, sha256:ab
            starts with 0 KiB of memory
            no debug information: traps name functions only
            exports
              _start
            imports
              env/gone (not offered here)
        "#]]
        .assert_eq(&text("a.wasm", &source, &found));
        let object = object("a.wasm", &source, &found);
        assert_eq!(object["kind"], Value::Null);
        assert_eq!(object["refused"], "unknown import: env/gone");
        assert_eq!(object["imports"][0]["offered"], false);
    }
}
