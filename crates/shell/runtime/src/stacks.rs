//! How many native stacks an instance of a component may hold at once.
//!
//! What runs without concurrent calls has one stack, whoever calls whom in it. With WASI 0.3 a call that has to wait in its midst
//! keeps its stack, and wasmtime counts stacks for a whole pool only. What bounds them is the component model: a component that was
//! called is not called again before that call has returned, or gone back to wait outside of it (on no stack). So there is one
//! waiting call at most for each component that lifts functions, and one more stack runs what goes on meanwhile. Components that
//! only pass functions on, as tools make them around others, have no calls of their own. That does not hold for calls that are
//! lifted as stackful, nor for threads of guests: [`crate::engine`] has both off.
//!
//! Start at [`Stacks`], which is told a file payload by payload. It only counts; whether the file is valid is the compiler's to say.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Payload,
};

/// Calls that an instance may have which nobody can tell from the file: of a component that is handed to another as an argument.
const UNKNOWN: u32 = u32::MAX;

/// Counts what waits in an instance.
#[derive(Default)]
pub(crate) struct Stacks {
    /// Of the components that enclose the current payload, modules included.
    open: Vec<Level>,
    /// Calls that an instance of the file may have waiting.
    waiting: u32,
}

/// A component that is being read.
#[derive(Default)]
struct Level {
    is_module: bool,
    lifts: bool,
    /// Calls in instances that it makes.
    inside: u32,
    /// Calls in an instance of each component that it knows, by index.
    components: Vec<u32>,
}

impl Level {
    fn of(&self, component: u32) -> u32 {
        self.components.get(component as usize).copied().unwrap_or(UNKNOWN)
    }
}

impl Stacks {
    /// Most stacks that an instance of a component may hold.
    pub(crate) fn most(&self) -> u32 {
        self.waiting.saturating_add(1)
    }

    /// Takes what comes next in the file.
    pub(crate) fn payload(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.open.push(Level { is_module: *encoding == Encoding::Module, ..Level::default() });
                return Ok(());
            }
            Payload::End(_) => {
                self.end();
                return Ok(());
            }
            _ => {}
        }
        // Modules have none of what follows.
        let Some((level, outer)) = self.open.split_last_mut() else { return Ok(()) };
        match payload {
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    level.lifts |= matches!(function?, CanonicalFunction::Lift { .. });
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        level.inside = level.inside.saturating_add(level.of(component_index));
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let from = match (count as usize).checked_sub(1) {
                                None => Some(&*level),
                                Some(outwards) => outer.iter().rev().nth(outwards),
                            };
                            let known = from.map_or(UNKNOWN, |it| it.of(index));
                            level.components.push(known);
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                            level.components.push(UNKNOWN);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Component(_)) {
                        level.components.push(UNKNOWN);
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        level.components.push(level.of(export.index));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        let Some(ended) = self.open.pop().filter(|it| !it.is_module) else { return };
        let waiting = ended.inside.saturating_add(u32::from(ended.lifts));
        match self.open.last_mut() {
            Some(around) => around.components.push(waiting),
            None => self.waiting = waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    #[track_caller]
    fn check(wat: &str, most: u32) {
        let wasm = wat::parse_str(wat).unwrap();
        let mut stacks = Stacks::default();
        for payload in Parser::new(0).parse_all(&wasm) {
            stacks.payload(&payload.unwrap()).unwrap();
        }
        assert_eq!(stacks.most(), most, "{wat}");
    }

    /// A component whose calls may wait.
    const LIFTS: &str = r#"(core module $m (func (export "f"))) (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f")))"#;

    #[test]
    fn a_component_that_lifts_has_a_call_and_one_that_passes_on_has_none() {
        check("(module)", 1);
        check("(component)", 1);
        check(&format!("(component {LIFTS})"), 2);
        let shim = r#"(component $shim (import "f" (func $f)) (export "g" (func $f)))"#;
        let around = r#"(import "f" (func $f)) (instance (instantiate $shim (with "f" (func $f))))"#;
        check(&format!("(component {shim} {around})"), 1);
        check(&format!("(component {shim} {around} {LIFTS})"), 2);
    }

    #[test]
    fn each_instance_of_a_component_counts_wherever_it_is_made() {
        let many = "(instance (instantiate $c)) ".repeat(10);
        check(&format!("(component (component $c {LIFTS}) {many})"), 11);
        check(&format!("(component (component $c {LIFTS}))"), 1);
        // Ten of ten, each in a component that lifts as well.
        let nested = format!("(component $d (component $c {LIFTS}) {many} {LIFTS})");
        check(&format!("(component {nested} {})", many.replace("$c", "$d")), 111);
        // Through aliases of what is around, of itself, and of an export's index.
        let outer = format!("(component $d {many})");
        check(&format!("(component (component $c {LIFTS}) {outer} (instance (instantiate $d)))"), 11);
        let exported = r#"(export $e "e" (component $c)) (instance (instantiate $e))"#;
        check(&format!("(component (component $c {LIFTS}) {exported})"), 2);
    }

    #[test]
    fn what_doubles_again_and_again_has_no_end() {
        let mut wat = format!("(component $c0 {LIFTS})");
        for at in 1..40 {
            let before = at - 1;
            wat = format!("{wat} (component $c{at} {})", format!("(instance (instantiate $c{before}))").repeat(2));
        }
        check(&format!("(component {wat} (instance (instantiate $c39)))"), u32::MAX);
    }

    #[test]
    fn what_is_handed_over_may_be_anything() {
        let taker = r#"(component $t (import "c" (component $c)) (instance (instantiate $c)))"#;
        check(
            &format!(r#"(component (component $c) {taker} (instance (instantiate $t (with "c" (component $c)))))"#),
            u32::MAX,
        );
        let idle = r#"(component $t (import "c" (component $c)))"#;
        check(
            &format!(r#"(component (component $c) {idle} (instance (instantiate $t (with "c" (component $c)))))"#),
            1,
        );
        let from = r#"(component $h (component $c) (export "c" (component $c)))"#;
        let alias =
            r#"(instance $h (instantiate $h)) (alias export $h "c" (component $c)) (instance (instantiate $c))"#;
        check(&format!("(component {from} {alias})"), u32::MAX);
    }
}
