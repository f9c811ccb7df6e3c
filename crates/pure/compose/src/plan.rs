//! Who gets what from whom, decided by names.
//!
//! Start at [`links`].

use wac_graph::types::are_semver_compatible;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

use crate::{ComposeError, Part};

/// What a part shows to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) name: String,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// A link between parts by their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) importer: usize,
    pub(crate) import: String,
    pub(crate) exporter: usize,
    pub(crate) export: String,
}

impl Face {
    /// Reads the outermost imports and exports of a component, and that the file is whole.
    pub(crate) fn read(part: &Part<'_>) -> Result<Face, ComposeError> {
        let failed = |reason: String| ComposeError::NoComponent { name: part.name.to_owned(), reason };
        let mut face = Face { name: part.name.to_owned(), ..Face::default() };
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(part.wasm) {
            let broken = |error: wasmparser::BinaryReaderError| failed(error.to_string());
            match payload.map_err(broken)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(failed("it is a core module, and only components are linked".to_owned()));
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        let import = import.map_err(broken)?;
                        if matches!(import.ty, ComponentTypeRef::Instance(_) | ComponentTypeRef::Func(_)) {
                            face.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export.map_err(broken)?;
                        if matches!(export.kind, ComponentExternalKind::Instance | ComponentExternalKind::Func) {
                            face.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(face)
    }
}

/// Links the first of `faces` and, transitively, what it is linked to.
pub(crate) fn links(faces: &[Face]) -> Result<Vec<Link>, ComposeError> {
    for (at, face) in faces.iter().enumerate() {
        if faces[..at].iter().any(|it| it.name == face.name) {
            return Err(ComposeError::SameName(face.name.clone()));
        }
    }
    let (mut out, mut left_over) = (Vec::new(), Vec::new());
    let mut reached: Vec<usize> = (0..faces.len().min(1)).collect();
    let mut next = 0;
    while let Some(&importer) = reached.get(next) {
        next += 1;
        for import in &faces[importer].imports {
            match find(faces, importer, import)? {
                None => left_over.push(import.as_str()),
                Some((exporter, export)) => {
                    if !reached.contains(&exporter) {
                        reached.push(exporter);
                    }
                    let (import, export) = (import.clone(), export.to_owned());
                    out.push(Link { importer, import, exporter, export });
                }
            }
        }
    }
    if let Some(unused) = (0..faces.len()).find(|it| !reached.contains(it)) {
        left_over.retain(|it| !it.starts_with("wasi:"));
        let (library, exports) = (faces[unused].name.clone(), listed(&faces[unused].exports));
        return Err(ComposeError::Unused { library, exports, wanted: listed(&left_over) });
    }
    order(faces, &out)?;
    Ok(out)
}

/// The library that has what a part imports: under the very name, else in a version that is compatible.
fn find<'a>(faces: &'a [Face], importer: usize, import: &str) -> Result<Option<(usize, &'a str)>, ComposeError> {
    let libraries = || faces.iter().enumerate().skip(1).filter(|(at, _)| *at != importer);
    let all = |fits: &dyn Fn(&str) -> bool| -> Vec<(usize, &'a str)> {
        libraries().filter_map(|(at, it)| Some((at, it.exports.iter().find(|name| fits(name))?.as_str()))).collect()
    };
    let mut found = all(&|it| it == import);
    if found.is_empty() {
        found = all(&|it| are_semver_compatible(it, import));
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        many => match next_link(faces, importer, import, many) {
            Some(next) => Ok(Some(next)),
            None => Err(ambiguous(faces, importer, import, many)),
        },
    }
}

/// Which of `many` a part takes `import` from if they are a chain, each of which but the last imports what it exports: the next.
fn next_link<'a>(faces: &[Face], importer: usize, import: &str, many: &[(usize, &'a str)]) -> Option<(usize, &'a str)> {
    let has = |names: &[String]| names.iter().any(|it| it == import || are_semver_compatible(it, import));
    let mut after = many.iter().filter(|(at, _)| *at > importer);
    let next = after.next()?;
    let is_link = importer == 0 || has(&faces[importer].exports);
    let leads_on = after.next().is_none() || has(&faces[next.0].imports);
    (is_link && leads_on).then_some(*next)
}

fn ambiguous(faces: &[Face], importer: usize, import: &str, many: &[(usize, &str)]) -> ComposeError {
    let candidate = |(at, export): &(usize, &str)| match *export == import {
        true => faces[*at].name.clone(),
        false => format!("{} ({export})", faces[*at].name),
    };
    ComposeError::Ambiguous {
        importer: faces[importer].name.clone(),
        import: import.to_owned(),
        candidates: many.iter().map(candidate).collect::<Vec<_>>().join(" and "),
    }
}

/// The parts that are linked, each after all that it takes something from.
pub(crate) fn order(faces: &[Face], links: &[Link]) -> Result<Vec<usize>, ComposeError> {
    let mut out: Vec<usize> = Vec::new();
    while out.len() < faces.len() {
        let is_ready = |at: usize| links.iter().all(|it| it.importer != at || out.contains(&it.exporter));
        match (0..faces.len()).find(|at| !out.contains(at) && is_ready(*at)) {
            Some(at) => out.push(at),
            None => {
                let stuck = (0..faces.len()).filter(|it| !out.contains(it) && links.iter().any(|l| l.exporter == *it));
                return Err(ComposeError::Cycle(listed(&stuck.map(|it| faces[it].name.clone()).collect::<Vec<_>>())));
            }
        }
    }
    Ok(out)
}

fn listed(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => "nothing".to_owned(),
        some => some.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Each part is `name: imports -> exports`, separated by blanks.
    #[track_caller]
    fn check(parts: &[&str], want: Expect) {
        let face = |it: &&str| {
            let (name, rest) = it.split_once(':').unwrap();
            let (imports, exports) = rest.split_once("->").unwrap();
            let words = |it: &str| it.split_whitespace().map(str::to_owned).collect();
            Face { name: name.into(), imports: words(imports), exports: words(exports) }
        };
        let faces: Vec<Face> = parts.iter().map(face).collect();
        let got = match links(&faces) {
            Ok(links) => {
                let line = |it: &Link| {
                    format!("{}.{} <- {}.{}", faces[it.importer].name, it.import, faces[it.exporter].name, it.export)
                };
                links.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn what_is_imported_comes_from_the_library_that_has_it_and_the_rest_from_the_host() {
        check(
            &[
                "app: acme:a/x@1.0.0 wasi:io/streams@0.2.0 -> wasi:cli/run@0.2.0",
                "a: acme:b/y@0.1.0 wasi:io/streams@0.2.3 -> acme:a/x@1.0.0 acme:a/z@1.0.0",
                "b: -> acme:b/y@0.1.4",
            ],
            expect![[r#"
                app.acme:a/x@1.0.0 <- a.acme:a/x@1.0.0
                a.acme:b/y@0.1.0 <- b.acme:b/y@0.1.4"#]],
        );
        check(&["app: wasi:io/streams@0.2.0 -> wasi:cli/run@0.2.0"], expect![""]);
    }

    #[test]
    fn the_very_version_goes_before_a_compatible_one_and_incompatible_ones_do_not_fit() {
        check(
            &["app: acme:a/x@1.1.0 -> run", "old: -> acme:a/x@1.0.0", "new: acme:a/x@1.0.0 -> acme:a/x@1.1.0"],
            expect![[r#"
                app.acme:a/x@1.1.0 <- new.acme:a/x@1.1.0
                new.acme:a/x@1.0.0 <- old.acme:a/x@1.0.0"#]],
        );
        check(
            &["app: acme:a/x@2.0.0 wasi:io/poll@0.2.0 -> run", "a: -> acme:a/x@1.0.0"],
            expect!["nothing imports what a exports (acme:a/x@1.0.0); not linked are acme:a/x@2.0.0"],
        );
    }

    #[test]
    fn two_libraries_with_the_same_interface_are_named() {
        check(
            &["app: acme:a/x@1.0.0 -> run", "one: -> acme:a/x@1.0.1", "two: -> acme:a/x@1.2.0"],
            expect![
                "app imports acme:a/x@1.0.0, which one (acme:a/x@1.0.1) and two (acme:a/x@1.2.0) export: leave one of them out"
            ],
        );
    }

    #[test]
    fn each_link_of_a_chain_takes_from_the_next() {
        let handler = "wasi:http/handler@0.3.0";
        check(
            &[
                &format!("auth: {handler} -> {handler}"),
                &format!("log: {handler} -> {handler}"),
                &format!("gzip: {handler} -> {handler}"),
                &format!("app: -> {handler}"),
            ],
            expect![[r#"
                auth.wasi:http/handler@0.3.0 <- log.wasi:http/handler@0.3.0
                log.wasi:http/handler@0.3.0 <- gzip.wasi:http/handler@0.3.0
                gzip.wasi:http/handler@0.3.0 <- app.wasi:http/handler@0.3.0"#]],
        );
        check(
            &["app: x y -> run", "one: -> x", "two: -> x y"],
            expect!["app imports x, which one and two export: leave one of them out"],
        );
        check(
            &["app: z -> run", "one: -> x", "aside: x -> z", "two: -> x"],
            expect!["aside imports x, which one and two export: leave one of them out"],
        );
        // Nobody comes after the first that answers by itself.
        check(
            &[
                &format!("auth: {handler} -> {handler}"),
                &format!("app: -> {handler}"),
                &format!("log: {handler} -> {handler}"),
            ],
            expect!["auth imports wasi:http/handler@0.3.0, which app and log export: leave one of them out"],
        );
    }

    #[test]
    fn libraries_that_need_each_other_are_named() {
        check(&["app: x -> run", "a: y -> x", "b: x -> y"], expect!["a, b import each other, and none could be first"]);
        check(
            &["app: x -> run", "lib: -> x", "lib: -> y"],
            expect!["two parts are called lib: give each layer a title of its own"],
        );
    }
}
