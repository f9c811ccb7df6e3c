//! Figures: statements about one number that differ, choices whose figures their parts contradict, products that do not fit.

use super::{Contradiction, Finding};
use crate::{
    Catalog, Severity,
    catalog::{Id, Reference, Spec, Technology},
    formal::m,
    layer::Metric,
    reason::Reason,
    solve::Match,
    unit::{Quantity, Range, Unit},
};

pub(super) fn audit(catalog: &Catalog, findings: &mut Vec<Finding>) {
    for technology in &catalog.technologies {
        technology.specs.values().for_each(|it| spec(technology, it, findings));
        product(catalog, technology, findings);
    }
    catalog.references.iter().for_each(|it| reference(catalog, it, findings));
}

/// Statements beside the first claim.
fn spec(technology: &Technology, spec: &Spec, findings: &mut Vec<Finding>) {
    let Some(first) = spec.claimed() else { return };
    for other in spec.stated.iter().filter(|it| !std::ptr::eq(*it, first) && it.range != first.range) {
        let touches = first.range.high == Some(other.range.low) || other.range.high == Some(first.range.low);
        let severity = if other.measured.is_some() || other.range.within(&first.range) {
            Severity::Note
        } else if touches || first.range.meets(&other.range) {
            Severity::Warning
        } else {
            Severity::Error
        };
        let (name, metric) = (technology.name.clone(), spec.metric);
        let one = Box::new((first.source.clone(), first.range.to_string()));
        let other_told = Box::new((other.source.clone(), other.range.to_string()));
        let reason = match &other.measured {
            None => Reason::StatedDifferently { name, metric, one, other: other_told },
            Some(by) => Reason::MeasuredDifferently { name, metric, one, other: other_told, with: by.with.clone() },
        };
        findings.push(Finding {
            kind: Contradiction::Specification,
            severity,
            sections: vec![first.source.clone(), other.source.clone()],
            places: vec![first.at.clone(), other.at.clone()],
            reason,
        });
    }
}

/// Figures of a choice against the claims of what it names.
fn reference(catalog: &Catalog, reference: &Reference, findings: &mut Vec<Finding>) {
    for (metric, figure) in &reference.figures {
        let covers = matches!(metric, Metric::Nodes | Metric::CentreNodes);
        for ids in reference.choose.values() {
            let stated = |id: &Id| {
                let technology = catalog.technology(id.as_str())?;
                let claimed = technology.specs.get(metric)?.claimed()?;
                let verdict = if covers { m(claimed.range, *figure, true) } else { m(*figure, claimed.range, false) };
                Some((verdict, technology, claimed))
            };
            // Of the options named for a layer, the one that fits best is meant.
            let Some((verdict, technology, claimed)) = ids.iter().filter_map(stated).min_by_key(|it| it.0) else {
                continue;
            };
            let severity = match (verdict, covers) {
                (Match::Match, _) => continue,
                (_, true) => Severity::Warning,
                (Match::Mismatch, false) => Severity::Warning,
                (Match::Partial, false) => Severity::Note,
            };
            findings.push(Finding {
                kind: Contradiction::Reference,
                severity,
                sections: vec![reference.section.clone(), claimed.source.clone()],
                places: vec![reference.source.clone(), claimed.at.clone()],
                reason: Reason::ChoiceBeyond {
                    reference: Box::new(reference.name.clone()),
                    figure: figure.to_string(),
                    metric: *metric,
                    name: Box::new(technology.name.clone()),
                    stated: claimed.range.to_string(),
                },
            });
        }
    }
}

/// As many pods as claimed, of the size claimed, in the nodes that a model speaks of.
fn product(catalog: &Catalog, technology: &Technology, findings: &mut Vec<Finding>) {
    let claimed = |metric| technology.specs.get(&metric).and_then(Spec::claimed);
    let (Some(density), Some(memory)) = (claimed(Metric::Density), claimed(Metric::PodMemory)) else { return };
    let Some(least) = density.range.most().and_then(|it| it.checked_mul(memory.range.low)) else { return };
    for model in &catalog.models {
        for region in &model.regions {
            let bound: Option<&Range> = region.within.get("memory");
            let Some(most) = bound.and_then(|it| it.high).filter(|most| *most < least) else { continue };
            let bytes = |value| Quantity { value, unit: Unit::Bytes }.to_string();
            findings.push(Finding {
                kind: Contradiction::Specification,
                severity: Severity::Warning,
                sections: vec![density.source.clone(), memory.source.clone(), model.section.clone()],
                places: vec![density.at.clone(), memory.at.clone(), model.source.clone()],
                reason: Reason::DoesNotFit {
                    name: Box::new(technology.name.clone()),
                    density: density.range.to_string(),
                    each: memory.range.to_string(),
                    total: bytes(least),
                    case_and_node: Box::new((region.value.clone(), bytes(most))),
                },
            });
        }
    }
}
