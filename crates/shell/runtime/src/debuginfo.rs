//! Debug information (DWARF) in a Wasm file: how much there is, and holding it within bounds.
//!
//! wasmtime reads it when a guest traps, on the thread the guest ran on and once for each call on its stack. For a guest that
//! answers requests that is a thread which serves others, so only little of it is taken along; a command, which runs apart and
//! traps once, may bring more.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};

use crate::ProgramKind;

/// Most of it that a command on a thread of its own brings: what kills it is a trap too, and is to take milliseconds.
pub(crate) const ALONE_BYTES_MAX: u64 = 1 << 20;

/// Most debug information that is used, all sections together.
fn bytes_max(kind: ProgramKind) -> u64 {
    if kind.is_command() { 32 << 20 } else { 128 << 10 }
}

/// One section of debug information.
struct Section {
    /// Where its name starts in the file.
    name_start: usize,
    bytes: u64,
}

fn sections(wasm: &[u8]) -> Vec<Section> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::CustomSection(it)) if it.name().starts_with(".debug_") => {
                let name_start = it.data_offset() - it.name().len();
                found.push(Section { name_start, bytes: it.data().len() as u64 });
            }
            Ok(_) => {}
            // Whoever compiles it says what is wrong with it.
            Err(_) => return found,
        }
    }
    found
}

/// Bytes of debug information in `wasm`, that of nested modules included.
pub(crate) fn bytes(wasm: &[u8]) -> u64 {
    sections(wasm).iter().map(|it| it.bytes).sum()
}

/// Whether traps of a program of `kind` with `bytes` of debug information tell lines.
pub(crate) fn is_used(kind: ProgramKind, bytes: u64) -> bool {
    (1..=bytes_max(kind)).contains(&bytes)
}

/// `wasm` as it is to be compiled: what exceeds the bound goes by another name there, by which nobody knows it.
pub(crate) fn bounded(wasm: &[u8], kind: ProgramKind) -> Cow<'_, [u8]> {
    bounded_to(wasm, bytes_max(kind))
}

/// As [`bounded`], by `bytes_max`.
pub(crate) fn bounded_to(wasm: &[u8], bytes_max: u64) -> Cow<'_, [u8]> {
    let sections = sections(wasm);
    if sections.iter().map(|it| it.bytes).sum::<u64>() <= bytes_max {
        return Cow::Borrowed(wasm);
    }
    let mut without = wasm.to_vec();
    for section in sections {
        without[section.name_start] = b'_';
    }
    Cow::Owned(without)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(debug_bytes: usize) -> Vec<u8> {
        let debug = "x".repeat(debug_bytes);
        let text = format!(
            r#"(component (core module (@custom ".debug_info" "{debug}") (@custom "name" "\00\02\01a")
                (func (export "f")) (@custom ".debug_line" "yy")))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn debug_information_of_nested_modules_counts() {
        assert_eq!(bytes(&component(10)), 12);
        assert_eq!(bytes(b"\0asm"), 0);
        assert!(is_used(ProgramKind::CommandModule, 12) && !is_used(ProgramKind::CommandModule, 0));
    }

    #[test]
    fn little_is_kept_and_much_is_hidden_without_moving_anything() {
        let little = component(10);
        assert!(matches!(bounded(&little, ProgramKind::HttpComponent), Cow::Borrowed(it) if it == little));
        let much = component(200_000);
        assert!(matches!(bounded(&much, ProgramKind::CommandComponent), Cow::Borrowed(_)));
        let hidden = bounded(&much, ProgramKind::HttpComponent);
        assert_eq!((bytes(&hidden), hidden.len()), (0, much.len()));
        assert_eq!(hidden.iter().zip(&much).filter(|(a, b)| a != b).count(), 2);
        wasmparser::Validator::new().validate_all(&hidden).unwrap();
    }
}
