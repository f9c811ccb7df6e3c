//! Tells what a Wasm file is before anything is compiled.
//!
//! Start at [`inspect`], or at [`Seen::read`] for all that is in it, which reads the structure only.

use wasmparser::{
    CompositeInnerType, Encoding, ExternalKind, KnownCustom, Parser, Payload, ProducersSectionReader, SubType, TypeRef,
};

use crate::{
    LoadError, ProgramKind,
    cache::Facts,
    p3,
    stacks::Stacks,
    weigh::{Weight, weigh},
};

/// Most tools that a file is listened to about.
const PRODUCERS_MAX: usize = 32;

/// What was found in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// How the program is run.
    pub(crate) kind: ProgramKind,
    /// Imports of a core module: module, name, and what sort of thing it is.
    pub(crate) module_imports: Vec<(String, String, &'static str)>,
    /// Names of the instances and functions a component imports.
    pub(crate) component_imports: Vec<String>,
    /// Bytes of linear memory that all memories in the file start with.
    pub(crate) memory_initial_bytes: u64,
    /// Bytes of functions, those of nested modules included: what there is to compile.
    pub(crate) code_bytes: u64,
    /// What its functions ask of a compiler.
    pub(crate) weight: Weight,
    /// Most native stacks that an instance may hold.
    stacks: u32,
}

impl Inspection {
    /// What is kept beside its code.
    pub(crate) fn facts(&self) -> Facts {
        let Inspection { kind, memory_initial_bytes, stacks, .. } = *self;
        Facts { kind, memory_initial_bytes, stacks: if kind.is_concurrent() { stacks } else { 1 } }
    }
}

/// Reads the structure of `wasm`, and weighs its code: what is too heavy to be compiled is refused, and so is what is not valid.
pub(crate) fn inspect(wasm: &[u8]) -> Result<Inspection, LoadError> {
    let seen = Seen::read(wasm)?;
    let kind = seen.kind()?;
    let Seen { module_imports, component_imports, memory_initial_bytes, code_bytes, stacks, .. } = seen;
    let (stacks, weight) = (stacks.most(), weigh(wasm)?);
    Ok(Inspection { kind, module_imports, component_imports, memory_initial_bytes, code_bytes, weight, stacks })
}

fn check_magic(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.starts_with(b"\0asm") {
        return Ok(());
    }
    if !wasm.is_empty() && b"\0asm".starts_with(wasm) {
        return Err(LoadError::Truncated { offset: wasm.len() as u64, inside: "the header".into() });
    }
    let found = match wasm {
        [] => "nothing: it is empty".into(),
        [0x7f, b'E', b'L', b'F', ..] => "\\x7fELF: it is a native program".into(),
        [0x1f, 0x8b, ..] => "a gzip header".into(),
        [b'(', ..] => "'(': it is WebAssembly text, compile it with wasm-tools parse".into(),
        _ => format!("{:?}", String::from_utf8_lossy(&wasm[..wasm.len().min(8)])),
    };
    Err(LoadError::NotWasm { found })
}

/// What a file holds, whether it is a program or not.
#[derive(Default)]
pub(crate) struct Seen {
    /// One entry for each module or component that encloses the current payload.
    nesting: Vec<Encoding>,
    /// What the file as a whole is.
    encoding: Option<Encoding>,
    /// The section being read, for messages.
    section: &'static str,
    pub(crate) module_imports: Vec<(String, String, &'static str)>,
    pub(crate) component_imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) memory_initial_bytes: u64,
    pub(crate) code_bytes: u64,
    /// What it says it was built with, each once.
    pub(crate) built_with: Vec<String>,
    shared_memory: bool,
    /// Of a core module: for each type whether it is that of a function which takes and gives nothing.
    plain: Vec<bool>,
    /// Types of its functions, the imported ones first.
    functions: Vec<u32>,
    /// The function that it exports as `_start`.
    start: Option<u32>,
    stacks: Stacks,
}

impl Seen {
    /// Reads the structure of `wasm`.
    pub(crate) fn read(wasm: &[u8]) -> Result<Seen, LoadError> {
        check_magic(wasm)?;
        let mut seen = Seen::default();
        for payload in Parser::new(0).parse_all(wasm) {
            payload.and_then(|it| seen.payload(it)).map_err(|error| seen.explain(&error, wasm.len()))?;
        }
        Ok(seen)
    }

    /// Whether the file as a whole is a component; else it is a core module.
    pub(crate) fn is_component(&self) -> bool {
        self.encoding == Some(Encoding::Component)
    }

    fn payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        self.stacks.payload(&payload)?;
        match payload {
            Payload::Version { encoding, .. } => {
                self.encoding.get_or_insert(encoding);
                self.nesting.push(encoding);
                self.section = "the first section";
            }
            Payload::End(_) => {
                self.nesting.pop();
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    self.shared_memory |= memory.shared;
                    let page = 1u64 << memory.page_size_log2.unwrap_or(16);
                    let bytes = memory.initial.saturating_mul(page);
                    self.memory_initial_bytes = self.memory_initial_bytes.saturating_add(bytes);
                }
                self.section = "a section after the memories";
            }
            Payload::TypeSection(types) if self.nesting.len() == 1 => {
                for group in types {
                    self.plain.extend(group?.into_types().map(|it| is_plain(&it)));
                }
            }
            Payload::FunctionSection(functions) if self.nesting.len() == 1 => {
                for function in functions {
                    self.functions.push(function?);
                }
            }
            Payload::ImportSection(imports) if self.nesting.len() == 1 => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.shared_memory |= matches!(import.ty, TypeRef::Memory(it) if it.shared);
                    if let TypeRef::Func(of) | TypeRef::FuncExact(of) = import.ty {
                        self.functions.push(of);
                    }
                    let found = (import.module.to_owned(), import.name.to_owned(), sort(import.ty));
                    self.module_imports.push(found);
                }
                self.section = "a section after the imports";
            }
            Payload::ExportSection(exports) if self.nesting.len() == 1 => {
                for export in exports {
                    let export = export?;
                    if export.name == "_start" && matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                        self.start = Some(export.index);
                    }
                    self.exports.push(export.name.to_owned());
                }
                self.section = "a section after the exports";
            }
            Payload::ComponentImportSection(imports) if self.nesting.len() == 1 => {
                for import in imports {
                    let import = import?;
                    if matches!(
                        import.ty,
                        wasmparser::ComponentTypeRef::Instance(_) | wasmparser::ComponentTypeRef::Func(_)
                    ) {
                        self.component_imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if self.nesting.len() == 1 => {
                for export in exports {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(it) => {
                if let KnownCustom::Producers(fields) = it.as_known() {
                    self.producers(fields);
                }
            }
            Payload::CodeSectionStart { size, .. } => {
                self.code_bytes = self.code_bytes.saturating_add(u64::from(size));
                self.section = "the code section";
            }
            Payload::DataSection(_) => self.section = "a section after the data",
            _ => {}
        }
        Ok(())
    }

    /// What is not readable here is nobody's fault: it changes nothing about the program.
    fn producers(&mut self, fields: ProducersSectionReader<'_>) {
        let values = fields.into_iter().flatten().flat_map(|field| field.values.into_iter().flatten());
        for it in values {
            let text = [it.name, it.version].join(" ").trim_end().to_owned();
            if self.built_with.len() < PRODUCERS_MAX && !self.built_with.contains(&text) {
                self.built_with.push(text);
            }
        }
    }

    /// How the program is run.
    pub(crate) fn kind(&self) -> Result<ProgramKind, LoadError> {
        if self.shared_memory {
            // wasmtime would compile it and fail at every start.
            return Err(LoadError::UnsupportedProposal("shared memories (threads)".into()));
        }
        // Drafts of 0.3, which have a hyphen, are unlike it.
        let exports = |wanted: &str| self.exports.iter().any(|it| it.starts_with(wanted) && !it.contains("@0.3.0-"));
        let needs_0_3 = || self.component_imports.iter().any(|it| p3::offers(it));
        match self.encoding {
            Some(Encoding::Module) if self.starts() => Ok(ProgramKind::CommandModule),
            Some(Encoding::Module) if self.has_start() => {
                Err(LoadError::NoEntryPoint("_start is no function that takes and gives nothing".into()))
            }
            Some(Encoding::Module) => {
                Err(LoadError::NoEntryPoint(format!("the module exports {}, and no _start", self.listed())))
            }
            _ if exports("wasi:http/handler@0.3.") => Ok(ProgramKind::ServiceComponent),
            _ if exports("wasi:cli/run@0.3.") => Ok(ProgramKind::ConcurrentCommand),
            _ if exports("wasi:http/incoming-handler@0.2.") && needs_0_3() => Ok(ProgramKind::ServiceComponent),
            _ if exports("wasi:http/incoming-handler@0.2.") => Ok(ProgramKind::HttpComponent),
            _ if exports("wasi:cli/run@0.2.") && needs_0_3() => Ok(ProgramKind::ConcurrentCommand),
            _ if exports("wasi:cli/run@0.2.") => Ok(ProgramKind::CommandComponent),
            _ if self.exports.iter().any(|it| it.starts_with("wasi:http/") || it.starts_with("wasi:cli/run")) => {
                Err(LoadError::NoEntryPoint(format!(
                    "the component exports {}; WASI 0.2 and 0.3 are supported (wasi:http/incoming-handler@0.2, \
                     wasi:http/handler@0.3, wasi:cli/run@0.2 and @0.3), drafts of them are not",
                    self.listed()
                )))
            }
            _ => Err(LoadError::NoEntryPoint(format!(
                "the component exports {}, and none of wasi:http/incoming-handler, wasi:http/handler and wasi:cli/run",
                self.listed()
            ))),
        }
    }

    /// Whether it exports anything as `_start`.
    pub(crate) fn has_start(&self) -> bool {
        self.exports.iter().any(|it| it == "_start")
    }

    /// Whether that is a function which takes and gives nothing.
    fn starts(&self) -> bool {
        let ty = self.start.and_then(|it| self.functions.get(it as usize));
        ty.and_then(|it| self.plain.get(*it as usize)).is_some_and(|it| *it)
    }

    fn listed(&self) -> String {
        const SHOWN: usize = 8;
        match self.exports.len() {
            0 => "nothing".into(),
            many if many > SHOWN => format!("{} and {} more", self.exports[..SHOWN].join(", "), many - SHOWN),
            _ => self.exports.join(", "),
        }
    }

    fn explain(&self, error: &wasmparser::Error, len: usize) -> LoadError {
        if error.message().starts_with("unexpected end") {
            let inside = if self.section.is_empty() { "the header" } else { self.section };
            return LoadError::Truncated { offset: len as u64, inside: inside.to_owned() };
        }
        LoadError::Invalid(format!("{} at byte {}", error.message(), error.offset()))
    }
}

fn is_plain(ty: &SubType) -> bool {
    matches!(&ty.composite_type.inner, CompositeInnerType::Func(it) if it.params().is_empty() && it.results().is_empty())
}

fn sort(ty: TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(wat: &str, want: Expect) {
        let wasm = wat::parse_str(wat).unwrap();
        let got = match inspect(&wasm) {
            Ok(it) => format!(
                "{}, {} bytes, {:?}{:?}",
                it.kind, it.memory_initial_bytes, it.module_imports, it.component_imports
            ),
            Err(error) => format!("{error}"),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn programs_are_told_apart_by_their_exports() {
        check(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (memory 2) (func (export "_start")))"#,
            expect![[r#"preview-1 module, 131072 bytes, [("wasi_snapshot_preview1", "fd_write", "function")][]"#]],
        );
        check(
            r#"(module (func (export "main")) (func (export "add")))"#,
            expect!["no entry point: the module exports main, add, and no _start"],
        );
        check(
            r#"(module (type (func (param i32))) (func (export "_start") (type 0)))"#,
            expect!["no entry point: _start is no function that takes and gives nothing"],
        );
        check(
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (export "_start" (func 0)))"#,
            expect!["no entry point: _start is no function that takes and gives nothing"],
        );
        check(
            r#"(module (global (export "_start") i32 (i32.const 0)))"#,
            expect!["no entry point: _start is no function that takes and gives nothing"],
        );
        check(
            "(component)",
            expect![
                "no entry point: the component exports nothing, and none of wasi:http/incoming-handler, wasi:http/handler and wasi:cli/run"
            ],
        );
        check(
            r#"(component (import "wasi:cli/exit@0.2.3" (instance)) (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#,
            expect![[r#"wasi:cli component, 0 bytes, []["wasi:cli/exit@0.2.3"]"#]],
        );
        check(
            r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)) (export "wasi:http/incoming-handler@0.2.4" (instance $i)))"#,
            expect!["wasi:http component, 0 bytes, [][]"],
        );
        check(
            r#"(component (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#,
            expect!["wasi:http 0.3 component, 0 bytes, [][]"],
        );
        check(
            r#"(component (instance $i) (export "wasi:cli/run@0.3.2" (instance $i)) (export "wasi:cli/run@0.2.6" (instance $i)))"#,
            expect!["wasi:cli 0.3 component, 0 bytes, [][]"],
        );
        check(
            r#"(component (import "wasi:random/random@0.3.0" (instance)) (instance $i) (export "wasi:cli/run@0.2.6" (instance $i)))"#,
            expect![[r#"wasi:cli 0.3 component, 0 bytes, []["wasi:random/random@0.3.0"]"#]],
        );
        check(
            r#"(component (import "wasi:random/random@0.3.0" (instance)) (instance $i) (export "wasi:http/incoming-handler@0.2.4" (instance $i)))"#,
            expect![[r#"wasi:http 0.3 component, 0 bytes, []["wasi:random/random@0.3.0"]"#]],
        );
        check(
            r#"(component (instance $i) (export "wasi:http/handler@0.3.0-rc-2026-01-06" (instance $i)))"#,
            expect![
                "no entry point: the component exports wasi:http/handler@0.3.0-rc-2026-01-06; WASI 0.2 and 0.3 are supported (wasi:http/incoming-handler@0.2, wasi:http/handler@0.3, wasi:cli/run@0.2 and @0.3), drafts of them are not"
            ],
        );
    }

    #[test]
    fn what_is_not_wasm_is_named() {
        let explain = |bytes: &[u8]| inspect(bytes).unwrap_err().to_string();
        expect!["not WebAssembly: the file starts with nothing: it is empty"].assert_eq(&explain(b""));
        expect![[r##"not WebAssembly: the file starts with "#!/bin/s""##]].assert_eq(&explain(b"#!/bin/sh\n"));
        expect!["not WebAssembly: the file starts with \\x7fELF: it is a native program"]
            .assert_eq(&explain(b"\x7fELF\x02"));
        expect!["truncated WebAssembly: the file ends at byte 3 inside the header"].assert_eq(&explain(b"\0as"));
        expect!["truncated WebAssembly: the file ends at byte 4 inside the header"].assert_eq(&explain(b"\0asm"));
    }

    #[test]
    fn every_truncation_is_an_error_and_none_panics() {
        let wasm = wat::parse_str(
            r#"(module (memory 1) (func (export "_start") (drop (i32.const 1234567))) (data (i32.const 0) "hello"))"#,
        )
        .unwrap();
        assert!(inspect(&wasm).is_ok());
        let mut truncated = 0;
        for len in 0..wasm.len() {
            // A file cut between two sections is a shorter valid file; its export may be gone.
            if let Err(LoadError::Truncated { offset, .. }) = inspect(&wasm[..len]) {
                assert_eq!(offset, len as u64);
                truncated += 1;
            }
        }
        assert!(truncated > wasm.len() / 2, "{truncated} of {}", wasm.len());
    }
}
