//! Stars: totals of matrices, verdicts on maturity.

use super::{
    Contradiction, Finding,
    rational::{Rational, Solution, solve},
};
use crate::{Catalog, Severity, catalog::Matrix, reason::Reason};

pub(super) fn audit(catalog: &Catalog, findings: &mut Vec<Finding>) {
    catalog.matrices.iter().for_each(|it| matrix(it, findings));
    maturity(catalog, findings);
}

/// Totals that are not sums, with the weights that do give them, and whether those keep the order that the text gives.
fn matrix(matrix: &Matrix, findings: &mut Vec<Finding>) {
    let sums: Vec<i64> = matrix.rows.iter().map(|it| it.stars.iter().sum()).collect();
    let totals: Vec<i64> = matrix.rows.iter().map(|it| it.total).collect();
    if sums == totals {
        return;
    }
    let rows: Vec<Vec<i64>> = matrix.rows.iter().map(|it| it.stars.clone()).collect();
    let solution = match solve(&rows, &totals) {
        Solution::One(weights) if weights.iter().all(|it| it.order(Rational::whole(0)).is_ge()) => Some(weights),
        _ => None,
    };
    let text = |all: &[i64]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
    let mut add = |severity, reason| {
        findings.push(Finding {
            kind: Contradiction::Stars,
            severity,
            sections: vec![matrix.section.clone()],
            places: vec![matrix.source.clone()],
            reason,
        });
    };
    let weights = solution.as_ref().map(|found| {
        let pairs = matrix.columns.iter().zip(found);
        pairs.map(|((dimension, _), weight)| (*dimension, weight.to_string())).collect()
    });
    add(Severity::Error, Reason::TotalsAreNoSums { totals: text(&totals), sums: text(&sums), weights });
    let Some(found) = solution else { return };
    for at in 1..found.len() {
        if found[at - 1].order(found[at]).is_le() {
            add(
                Severity::Error,
                Reason::WeightsOutOfOrder {
                    first: (matrix.columns[at - 1].0, found[at - 1].to_string()),
                    second: (matrix.columns[at].0, found[at].to_string()),
                },
            );
        }
    }
}

/// Verdicts above every star that they rest on, and combinations rated above their weakest part.
fn maturity(catalog: &Catalog, findings: &mut Vec<Finding>) {
    for technology in &catalog.technologies {
        let Some(maturity) = &technology.maturity else { continue };
        let stars =
            [maturity.community, maturity.stability, maturity.production, maturity.documentation, maturity.ecosystem];
        let most = stars.into_iter().flatten().max();
        if most.is_some_and(|most| most < maturity.score) {
            findings.push(Finding {
                kind: Contradiction::Stars,
                severity: Severity::Note,
                sections: vec![maturity.source.clone()],
                places: vec![technology.source.clone()],
                reason: Reason::VerdictAboveStars {
                    name: technology.name.clone(),
                    score: maturity.score,
                    most: most.unwrap_or_default(),
                },
            });
        }
    }
    for reference in &catalog.references {
        let Some(stars) = reference.maturity else { continue };
        // Of the options named for a layer the best counts: the combination may mean that one.
        let best = |ids: &Vec<crate::catalog::Id>| {
            let of =
                |id: &crate::catalog::Id| Some((catalog.technology(id.as_str())?.maturity.as_ref()?.score, id.clone()));
            ids.iter().filter_map(of).max()
        };
        let Some((least, id)) = reference.choose.values().filter_map(best).min() else { continue };
        if least < stars {
            findings.push(Finding {
                kind: Contradiction::Stars,
                severity: Severity::Note,
                sections: vec![reference.section.clone()],
                places: vec![reference.source.clone()],
                reason: Reason::RatedAbovePart { name: reference.name.clone(), stars, part: id.to_string(), least },
            });
        }
    }
}
