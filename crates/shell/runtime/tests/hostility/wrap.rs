//! Puts one more function into a module, which calls those that are there.
//!
//! Works on the bytes of sections, because what generates modules cannot be told what they shall export.

use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, ValType};

/// Most functions that are called.
const CALLED_MAX: usize = 16;
/// Bytes before the first section.
const HEADER_BYTES: usize = 8;

/// `module`, which imports nothing, with an export `name` that takes nothing, calls every function that takes and gives
/// numbers, and gives `results`: nothing, or an `i64` that all of theirs went into.
pub(crate) fn with_caller(module: &[u8], name: &str, results: &[u8]) -> Vec<u8> {
    let seen = Seen::read(module);
    let mut signature = vec![0x60, 0, results.len() as u8];
    signature.extend(results);
    let mut export = leb(name.len());
    export.extend(name.as_bytes());
    export.push(0);
    export.extend(leb(seen.functions.len()));
    let code = seen.body(!results.is_empty());
    let mut out = module[..HEADER_BYTES].to_vec();
    for (id, content) in sections(module) {
        let content = match id {
            1 => with_entry(content, &signature),
            3 => with_entry(content, &leb(seen.types.len())),
            7 => with_entry(content, &export),
            10 => with_entry(content, &code),
            _ => content.to_vec(),
        };
        out.push(id);
        out.extend(leb(content.len()));
        out.extend(content);
    }
    out
}

/// What a module has.
#[derive(Default)]
struct Seen {
    /// Every type; those that are no function's are there for their numbers.
    types: Vec<Option<FuncType>>,
    /// The type of each function.
    functions: Vec<u32>,
}

impl Seen {
    fn read(module: &[u8]) -> Seen {
        let mut seen = Seen::default();
        for payload in Parser::new(0).parse_all(module).map(|it| it.expect("generated modules can be read")) {
            match payload {
                Payload::TypeSection(groups) => {
                    let groups = groups.into_iter().map(|it| it.expect("types can be read"));
                    let types = groups.flat_map(|it| it.into_types());
                    seen.types.extend(types.map(|it| match it.composite_type.inner {
                        CompositeInnerType::Func(it) => Some(it),
                        _ => None,
                    }));
                }
                Payload::FunctionSection(types) => {
                    seen.functions.extend(types.into_iter().map(|it| it.expect("functions can be read")));
                }
                _ => {}
            }
        }
        seen
    }

    /// Functions that a caller without any values of its own can call.
    fn callable(&self) -> impl Iterator<Item = (usize, &FuncType)> {
        let of = move |(index, ty): (usize, &u32)| Some((index, self.types.get(*ty as usize)?.as_ref()?));
        let is_number = |it: &ValType| matches!(it, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
        let fits = move |it: &FuncType| it.params().iter().chain(it.results()).all(is_number);
        self.functions.iter().enumerate().filter_map(of).filter(move |it| fits(it.1)).take(CALLED_MAX)
    }

    /// The function's body. Its one local collects what the others return.
    fn body(&self, returns: bool) -> Vec<u8> {
        let mut code = vec![1, 1, 0x7e];
        for (index, ty) in self.callable() {
            for parameter in ty.params() {
                code.extend(match parameter {
                    ValType::I32 => vec![0x41, 7],
                    ValType::I64 => vec![0x42, 7],
                    ValType::F32 => [&[0x43][..], &1.5f32.to_le_bytes()].concat(),
                    _ => [&[0x44][..], &1.5f64.to_le_bytes()].concat(),
                });
            }
            code.push(0x10);
            code.extend(leb(index));
            for result in ty.results().iter().rev() {
                // As 64 bits …
                code.extend(match result {
                    ValType::I32 => &[0xad][..],
                    ValType::F32 => &[0xbc, 0xad],
                    ValType::F64 => &[0xbd],
                    _ => &[],
                });
                // … into the local: local = x ^ rotl(local, 5).
                code.extend([0x20, 0, 0x42, 5, 0x89, 0x85, 0x21, 0]);
            }
        }
        if returns {
            code.extend([0x20, 0]);
        }
        code.push(0x0b);
        [leb(code.len()), code].concat()
    }
}

/// Number and content of each section.
fn sections(module: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut rest, mut out) = (&module[HEADER_BYTES..], Vec::new());
    while let [id, sized @ ..] = rest {
        let (len, width) = read_leb(sized);
        out.push((*id, &sized[width..width + len]));
        rest = &sized[width + len..];
    }
    out
}

/// A section's content, which is a list, with one more entry.
fn with_entry(content: &[u8], entry: &[u8]) -> Vec<u8> {
    let (count, width) = read_leb(content);
    [&leb(count + 1)[..], &content[width..], entry].concat()
}

fn read_leb(bytes: &[u8]) -> (usize, usize) {
    let width = bytes.iter().position(|it| it & 0x80 == 0).map_or(bytes.len(), |it| it + 1);
    let value = bytes[..width].iter().rev().fold(0, |value, it| value << 7 | usize::from(it & 0x7f));
    (value, width)
}

/// A number as Wasm has it.
pub(crate) fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}
