//! Several components into one, linked by the interfaces that they import and export.
//!
//! Start at [`compose`]: the first part is the program, the others are libraries. What the program imports and one
//! library exports is taken from that library, and so on for what libraries import; what no library has is left to the host. Libraries
//! that import what they export make a chain with the one that only exports it: each part takes it from the next.
//! [`links`] tells the same without making anything. [`plan`] decides by names alone; [`graph`] carries it out.
//!
//! Deliberately absent: files, images, running anything, and linking by hand: whoever wants another wiring composes with a
//! tool of his own and ships the result.

mod error;
mod graph;
mod plan;

pub use error::ComposeError;

/// One component.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// The component.
    pub wasm: &'a [u8],
}

/// One interface or function that a part takes from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name of the part that imports it.
    pub importer: String,
    /// What it imports.
    pub import: String,
    /// Name of the part that has it.
    pub exporter: String,
    /// What it is called there: another version of the same, perhaps.
    pub export: String,
}

/// Most bytes that all parts may have together: they are worked on in memory.
pub const BYTES_MAX: usize = 256 << 20;

/// How the parts are linked, in the order in which parts are mentioned.
///
/// # Errors
///
/// When a part is no component, or what to link is unclear: named are the interface and whoever offers it.
pub fn links(parts: &[Part<'_>]) -> Result<Vec<Link>, ComposeError> {
    let planned = planned(parts)?;
    let link = |it: &plan::Link| Link {
        importer: parts[it.importer].name.to_owned(),
        import: it.import.clone(),
        exporter: parts[it.exporter].name.to_owned(),
        export: it.export.clone(),
    };
    Ok(planned.iter().map(link).collect())
}

/// One component that exports what the first of `parts` does.
///
/// # Errors
///
/// As [`links`]; also when two parts mean different things by one interface.
pub fn compose(parts: &[Part<'_>]) -> Result<Vec<u8>, ComposeError> {
    let bytes = parts.iter().map(|it| it.wasm.len()).sum();
    if bytes > BYTES_MAX {
        return Err(ComposeError::TooLarge { bytes, max: BYTES_MAX });
    }
    graph::encode(parts, &planned(parts)?)
}

fn planned(parts: &[Part<'_>]) -> Result<Vec<plan::Link>, ComposeError> {
    let faces = parts.iter().map(plan::Face::read).collect::<Result<Vec<_>, _>>()?;
    plan::links(&faces)
}
