//! What a compiler will need for a file, told before it begins: so that a few KiB do not take all memory.
//!
//! wasmtime's optimising compiler needs memory and time in proportion to how many values are alive in how many basic blocks, and
//! more for what loops carry around within loops. Size tells little: five KiB of nested loops with a thousand parameters each took
//! it 12 GB, while the largest functions that compilers of languages make (hundreds of KiB) are nearly straight.
//!
//! Start at [`weigh`], which validates the code on its way. A unit of weight was measured at 10 to 70 bytes of memory.

use rayon::prelude::*;
use wasmparser::{
    FrameKind, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, KnownCustom, ModuleArity, Name,
    Operator, OperatorsReader, Parser, Payload, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::LoadError;

/// Most of one function: hundreds of MiB, two seconds or so. Of JavaScript's and Python's engines none has a quarter.
const FUNCTION_MAX: u64 = 1 << 23;

/// Most of a file: minutes of one core. That of a JavaScript component, which takes 5 to 12 s, under a thirtieth.
const FILE_MAX: u64 = 1 << 31;

/// What the smallest function weighs.
const ANY: u64 = 1 << 10;

/// Most of the functions that are compiled at once.
const AT_ONCE_MAX: u64 = 1 << 23;

/// Heaviest functions that are kept in mind: as many as have a thread each.
const HEAVIEST: usize = 8;

/// Functions that are looked at side by side.
const CHUNK: usize = 4096;

/// What there is to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Of all functions.
    total: u64,
    /// Of the heaviest ones, heaviest first.
    heaviest: [u64; HEAVIEST],
}

impl Weight {
    /// How many threads may have any functions in hand.
    fn threads(self) -> usize {
        let mut left = AT_ONCE_MAX;
        for (before, it) in self.heaviest.into_iter().enumerate() {
            match left.checked_sub(it) {
                Some(rest) => left = rest,
                None => return before.max(1),
            }
        }
        // The others are no heavier than the last of these.
        usize::try_from(left / self.heaviest[HEAVIEST - 1].max(1)).unwrap_or(usize::MAX).saturating_add(HEAVIEST)
    }

    /// Runs `work`, which compiles, on so few of the current threads that what they have in hand stays within bounds.
    pub(crate) fn hold<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let threads = self.threads();
        if threads >= rayon::current_num_threads() {
            return work();
        }
        match rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|_| "eyot-compile".to_owned()).build() {
            Ok(few) => few.install(work),
            Err(error) => {
                tracing::warn!(%error, "starting few threads to compile a heavy guest, all are used");
                work()
            }
        }
    }
}

/// Validates the code of `wasm` and weighs it.
///
/// # Errors
///
/// When it is not valid, whatever proposals are on, or too heavy.
pub(crate) fn weigh(wasm: &[u8]) -> Result<Weight, LoadError> {
    weigh_as(wasm, WasmFeatures::all())
}

/// What the engines know, those of WASI 0.3 if `is_concurrent`: what wasmtime has on of itself.
pub(crate) fn known(is_concurrent: bool) -> WasmFeatures {
    let mut known = WasmFeatures::WASM3 | WasmFeatures::GC_TYPES | WasmFeatures::COMPONENT_MODEL;
    known.set(WasmFeatures::CM_ASYNC, is_concurrent);
    known
}

/// As [`weigh`], where nothing is valid but what `features` have.
pub(crate) fn weigh_as(wasm: &[u8], features: WasmFeatures) -> Result<Weight, LoadError> {
    let mut validator = Validator::new_with_features(features);
    let (mut weight, mut waiting) = (Weight::default(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| invalid(&error))?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(|error| invalid(&error))? {
            waiting.push((function, body));
        }
        if waiting.len() == CHUNK {
            weight.add(wasm, std::mem::take(&mut waiting))?;
        }
    }
    weight.add(wasm, waiting)?;
    Ok(weight)
}

type Function<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

impl Weight {
    fn add(&mut self, wasm: &[u8], functions: Vec<Function<'_>>) -> Result<(), LoadError> {
        let weights =
            functions.into_par_iter().map_init(FuncValidatorAllocations::default, |kept, (function, body)| {
                let (index, range) = (function.index, body.range());
                let weighed = one(function, &body, kept).map_err(|error| invalid(&error))?;
                if weighed > FUNCTION_MAX {
                    let name = name(wasm, index, range.start).map(|it| format!(" {it:?}")).unwrap_or_default();
                    return Err(LoadError::TooHeavy(format!(
                        "function {index}{name} of {} bytes has too many values in too many blocks",
                        range.len()
                    )));
                }
                Ok(weighed)
            });
        for one in weights.collect::<Result<Vec<_>, LoadError>>()? {
            self.total = self.total.saturating_add(one);
            let at = self.heaviest.partition_point(|it| *it >= one);
            if let Some(lighter) = self.heaviest.get_mut(at..).filter(|it| !it.is_empty()) {
                lighter.rotate_right(1);
                lighter[0] = one;
            }
        }
        match self.total > FILE_MAX {
            true => Err(LoadError::TooHeavy("all its functions together".into())),
            false => Ok(()),
        }
    }
}

/// The weight of one function; as soon as it is above the bound, some weight above it.
fn one(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    kept: &mut FuncValidatorAllocations,
) -> wasmparser::Result<u64> {
    let mut validator = function.into_validator(std::mem::take(kept));
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    reader.set_features(*validator.features());
    let mut counts = Counts { bytes: body.range().len() as u64, ..Counts::default() };
    let mut seen = vec![0u64; validator.len_locals() as usize / 64 + 1];
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let ends_loop = matches!(operator, Operator::End)
            && validator.get_control_frame(0).is_some_and(|it| it.kind == FrameKind::Loop);
        validator.op(at, &operator)?;
        counts.operator(&operator, &validator, &mut seen);
        if ends_loop {
            counts.end_loop();
        }
        if counts.weight() > FUNCTION_MAX {
            return Ok(counts.weight());
        }
    }
    let reader = operators.get_binary_reader();
    reader.finish_expression(&validator.visitor(reader.original_position()))?;
    *kept = validator.into_allocations();
    Ok(counts.weight())
}

/// What a function is weighed by.
#[derive(Default)]
struct Counts {
    bytes: u64,
    /// About as many basic blocks.
    blocks: u64,
    /// Locals that are used at all.
    locals: u64,
    /// Most values on the stack.
    stack: u64,
    /// Values that calls, branches and objects take and give.
    passed: u64,
    /// Values that blocks and loops take, give and carry around, each as often as there are blocks around it.
    carried: u64,
    /// Assignments to locals so far.
    assigned: u64,
    /// For each open loop: how many assignments came before it.
    loops: Vec<u64>,
}

impl Counts {
    fn weight(&self) -> u64 {
        let alive = self.blocks.saturating_mul(self.locals + self.stack);
        let carried = self.carried.saturating_mul(4);
        alive.saturating_add(carried).saturating_add(16 * self.passed).saturating_add(2 * self.bytes + ANY)
    }

    /// Counts what was just validated.
    fn operator(&mut self, it: &Operator<'_>, validator: &FuncValidator<ValidatorResources>, seen: &mut [u64]) {
        let both = |(a, b): (u32, u32)| u64::from(a) + u64::from(b);
        self.stack = self.stack.max(u64::from(validator.operand_stack_height()));
        match it {
            Operator::LocalGet { local_index } => self.uses(*local_index, seen),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.uses(*local_index, seen);
                self.assigned += 1;
            }
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                let depth = u64::from(validator.control_stack_height());
                let values = validator.block_type_arity(*blockty).map_or(0, both);
                self.blocks += 1;
                self.carried = self.carried.saturating_add(values.saturating_mul(depth));
                if matches!(it, Operator::Loop { .. }) {
                    self.loops.push(self.assigned);
                }
            }
            Operator::TryTable { try_table } => {
                let depth = u64::from(validator.control_stack_height());
                let values = validator.block_type_arity(try_table.ty).map_or(0, both);
                self.blocks += 1 + try_table.catches.len() as u64;
                self.carried = self.carried.saturating_add(values.saturating_mul(depth));
            }
            Operator::BrTable { targets } => {
                self.blocks += u64::from(targets.len());
                let values = it.operator_arity(validator).map_or(0, both);
                self.passed = self.passed.saturating_add(values.saturating_mul(u64::from(targets.len())));
            }
            Operator::StructNewDefault { struct_type_index } => {
                let fields = validator.sub_type_at(*struct_type_index).and_then(|it| validator.sub_type_arity(it));
                self.passed = self.passed.saturating_add(fields.map_or(0, both));
            }
            Operator::Else
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            // What is alive over a call is written down for the garbage collector.
            | Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. } => {
                self.blocks += 1;
                self.pass(it, validator);
            }
            // Barriers, tables that are filled when they are read, checks of types: blocks that nobody wrote.
            Operator::GlobalGet { .. }
            | Operator::GlobalSet { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::RefCastNonNull { .. }
            | Operator::RefCastNullable { .. }
            | Operator::RefTestNonNull { .. }
            | Operator::RefTestNullable { .. }
            | Operator::StructGet { .. }
            | Operator::StructGetS { .. }
            | Operator::StructGetU { .. }
            | Operator::StructSet { .. }
            | Operator::ArrayGet { .. }
            | Operator::ArrayGetS { .. }
            | Operator::ArrayGetU { .. }
            | Operator::ArraySet { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. } => self.blocks += 4,
            Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::StructNew { .. }
            | Operator::ArrayNewFixed { .. } => self.pass(it, validator),
            _ => {}
        }
    }

    fn pass(&mut self, it: &Operator<'_>, validator: &FuncValidator<ValidatorResources>) {
        let (taken, given) = it.operator_arity(validator).unwrap_or_default();
        self.passed = self.passed.saturating_add(u64::from(taken) + u64::from(given));
    }

    fn uses(&mut self, local: u32, seen: &mut [u64]) {
        if let Some(word) = seen.get_mut(local as usize / 64) {
            self.locals += u64::from(*word & 1 << (local % 64) == 0);
            *word |= 1 << (local % 64);
        }
    }

    /// A loop carries around what is assigned within it.
    fn end_loop(&mut self) {
        let depth = self.loops.len() as u64;
        let before = self.loops.pop().unwrap_or(self.assigned);
        let values = (self.assigned - before).min(self.locals);
        self.carried = self.carried.saturating_add(values.saturating_mul(depth));
    }
}

/// What the function with this index, whose body begins at `start`, is called.
fn name(wasm: &[u8], index: u32, start: usize) -> Option<String> {
    let mut is_here = false;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::CodeSectionStart { range, .. } => is_here = range.contains(&start),
            Payload::End(_) if is_here => return None,
            Payload::CustomSection(section) if is_here => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                let functions = names.into_iter().flatten().find_map(|it| match it {
                    Name::Function(functions) => Some(functions),
                    _ => None,
                })?;
                return functions.into_iter().flatten().find(|it| it.index == index).map(|it| it.name.to_owned());
            }
            _ => {}
        }
    }
    None
}

fn invalid(error: &wasmparser::Error) -> LoadError {
    let text = format!("{} at byte {}", error.message(), error.offset());
    let is_off = ["feature required", "not enabled", "requires the `"].iter().any(|it| error.message().contains(it));
    match is_off {
        true => LoadError::UnsupportedProposal(text),
        false => LoadError::Invalid(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn weight(body: &str) -> u64 {
        // Calls that take and give a thousand values.
        let (many, consts) = ("i32 ".repeat(1000), "(i32.const 1) ".repeat(1000));
        let text = format!(
            "(module (type $many (func (param {many}) (result {many}))) (func $many (type $many) unreachable)
            (func $give (result {many}) {consts}) (func $heavy {body}))"
        );
        match weigh(&wat::parse_str(&text).unwrap()) {
            Ok(it) => it.heaviest[0],
            Err(LoadError::TooHeavy(why)) => {
                assert!(why.starts_with("function 2 \"heavy\" of "), "{why}");
                u64::MAX
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn few_bytes_may_be_too_heavy_and_many_may_be_light() {
        let straight = "(i32.store (i32.const 16) (i32.const 4))".repeat(60_000);
        assert!(
            !straight.is_empty()
                && wat::parse_str(format!("(module (memory 1) (func {straight}))"))
                    .is_ok_and(|it| { it.len() > 400_000 && weigh(&it).unwrap().heaviest[0] < FUNCTION_MAX / 4 })
        );
        let usual = "(block (br_if 0 (local.get 0)) (local.set 1 (i32.const 7)))".repeat(1000);
        assert!(weight(&format!("(local i32 i32) {usual}")) < FUNCTION_MAX / 100);
        // Loops in loops whose innermost changes all locals: 16 KiB of it took the compiler 1.6 GB.
        let nested = |depth: usize, locals: usize| {
            let changes: String =
                (0..locals).map(|it| format!("(local.set {it} (i32.add (local.get {it}) (i32.const 1)))")).collect();
            let (open, close) = ("loop ".repeat(depth), "local.get 0 br_if 0 end ".repeat(depth));
            weight(&format!("(local {}) {open} {changes} {close}", "i32 ".repeat(locals)))
        };
        assert!(nested(7, 60) < FUNCTION_MAX / 100);
        assert_eq!(nested(1000, 900), u64::MAX);
        // Loops that take and give many values: 5 KiB of it took 12 GB.
        let handing = |depth: usize| {
            weight(&format!("call $give {} {} return", "loop (type $many) ".repeat(depth), "end ".repeat(depth)))
        };
        assert_eq!(handing(600), u64::MAX);
        assert!(handing(1) < FUNCTION_MAX / 100);
        // Calls alone.
        assert_eq!(weight(&format!("call $give {} return", "call $many ".repeat(1000))), u64::MAX);
        assert_eq!(weight(&format!("{} return", "call $give ".repeat(1000))), u64::MAX);
        // Many blocks while many values live.
        let alive = |blocks: usize| format!("call $give {} return", "(block (br_if 0 (i32.const 1)))".repeat(blocks));
        assert_eq!(weight(&alive(9000)), u64::MAX);
        assert!(weight(&alive(100)) < FUNCTION_MAX);
        let alive = |calls: usize| format!("call $give {} return", "call $heavy ".repeat(calls));
        assert_eq!(weight(&alive(9000)), u64::MAX);
    }

    #[test]
    fn what_is_not_valid_is_told_with_its_place() {
        let wasm = wat::parse_str("(module (func (i32.const 1)))").unwrap();
        let told = weigh(&wasm).unwrap_err();
        assert!(
            matches!(&told, LoadError::Invalid(it) if it.contains("values remaining on stack") && it.contains("at byte")),
            "{told}"
        );
    }

    #[test]
    fn heavy_functions_are_compiled_on_few_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        let threads = |heaviest: &[u64]| {
            let mut weight = Weight::default();
            weight.heaviest[..heaviest.len()].copy_from_slice(heaviest);
            pool.install(|| weight.hold(rayon::current_num_threads))
        };
        assert_eq!([threads(&[]), threads(&[AT_ONCE_MAX, 1]), threads(&[AT_ONCE_MAX / 8; 8])], [8, 1, 8]);
        assert_eq!([threads(&[AT_ONCE_MAX / 2, AT_ONCE_MAX / 2, 1]), threads(&[u64::MAX; 8])], [2, 1]);
        assert_eq!(Weight { total: 0, heaviest: [AT_ONCE_MAX / 64; 8] }.threads(), 64);
    }
}
