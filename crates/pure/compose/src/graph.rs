//! Carries a plan out: instances, arguments, and one component around them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wac_graph::{CompositionGraph, EncodeOptions, InstantiationArgumentError, NodeId, types::Package};

use crate::{
    ComposeError, Part,
    plan::{self, Face, Link},
};

/// One component of `parts`, linked as `links` says.
pub(crate) fn encode(parts: &[Part<'_>], links: &[Link]) -> Result<Vec<u8>, ComposeError> {
    // The graph's library gives up on what it does not know by panicking, and the parts are whatever somebody pushed.
    let work = AssertUnwindSafe(|| build(parts, links));
    catch_unwind(work).unwrap_or_else(|_| Err(ComposeError::Encode("they use what cannot be linked yet".to_owned())))
}

fn build(parts: &[Part<'_>], links: &[Link]) -> Result<Vec<u8>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let faces = parts.iter().map(Face::read).collect::<Result<Vec<_>, _>>()?;
    let mut instances: Vec<Option<NodeId>> = vec![None; parts.len()];
    for at in plan::order(&faces, links)? {
        let instance = instantiate(&mut graph, &parts[at])?;
        for link in links.iter().filter(|it| it.importer == at) {
            let Some(exporter) = instances[link.exporter] else { continue };
            let export = graph.alias_instance_export(exporter, &link.export).map_err(encode_error)?;
            graph
                .set_instantiation_argument(instance, &link.import, export)
                .map_err(|error| mismatch(parts, link, &error))?;
        }
        instances[at] = Some(instance);
    }
    if let (Some(face), Some(Some(program))) = (faces.first(), instances.first()) {
        for name in &face.exports {
            let export = graph.alias_instance_export(*program, name).map_err(encode_error)?;
            graph.export(export, name).map_err(encode_error)?;
        }
    }
    // Whoever compiles it validates it.
    graph.encode(EncodeOptions { validate: false, ..EncodeOptions::default() }).map_err(encode_error)
}

fn instantiate(graph: &mut CompositionGraph, part: &Part<'_>) -> Result<NodeId, ComposeError> {
    let failed = |reason: String| ComposeError::NoComponent { name: part.name.to_owned(), reason };
    let package = Package::from_bytes(part.name, None, part.wasm, graph.types_mut());
    let package = package.map_err(|error| failed(format!("{error:#}")))?;
    let package = graph.register_package(package).map_err(|error| failed(error.to_string()))?;
    Ok(graph.instantiate(package))
}

fn mismatch(parts: &[Part<'_>], link: &Link, error: &InstantiationArgumentError) -> ComposeError {
    let reason = match error {
        InstantiationArgumentError::ArgumentTypeMismatch { source, .. } => format!("{source:#}"),
        other => other.to_string(),
    };
    ComposeError::Mismatch {
        importer: parts[link.importer].name.to_owned(),
        exporter: parts[link.exporter].name.to_owned(),
        import: link.import.clone(),
        reason,
    }
}

fn encode_error(error: impl std::fmt::Display) -> ComposeError {
    ComposeError::Encode(error.to_string())
}
