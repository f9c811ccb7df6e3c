//! How far each weight can move before another stack wins, exactly. Entry point: [`swings`].
//!
//! Between two stacks the score is linear in each weight: with a lead D over a rival and d more stars in a dimension, the
//! lead after the weight moves by δ is D + δ·d. Each rival therefore bounds the weight on one side, and the nearest bounds
//! of all rivals are the answer; nothing is sampled.

use super::{Swing, Weight, space::Space, walk::Found};
use crate::layer::Dimension;

/// The bounds of every weight.
pub(super) fn swings(space: &Space<'_>, ranking: &[Found]) -> Vec<Swing> {
    let Some((best, rivals)) = ranking.split_first() else { return Vec::new() };
    let of = |dimension: &Dimension| {
        let at = *dimension as usize;
        let weight = space.weights[at];
        let up = nearest(best, rivals, at, -1);
        // Below zero there is no weight.
        let down = nearest(best, rivals, at, 1).filter(|it| it.0 <= weight.0);
        Swing {
            dimension: *dimension,
            weight,
            low: down.map(|it| Weight(weight.0 - it.0)),
            below: down.map(|it| space.stack(it.1)),
            high: up.map(|it| Weight(weight.0 + it.0)),
            above: up.map(|it| space.stack(it.1)),
        }
    };
    Dimension::ALL.iter().map(of).collect()
}

/// The rival that is reached first when the weight moves against the sign of the lead in stars, and after how much.
fn nearest<'f>(best: &Found, rivals: &'f [Found], at: usize, sign: i64) -> Option<(i64, &'f Found)> {
    let mut nearest: Option<(i64, i64, &Found)> = None;
    let mut nearest_about = f64::INFINITY;
    for rival in rivals {
        let stars = (best.sums[at] - rival.sums[at]) * sign;
        if stars <= 0 {
            continue;
        }
        let lead = best.score - rival.score;
        // Most rivals are far off, which floating point tells for less; near ones are told apart exactly.
        let about = lead as f64 / stars as f64;
        if about > nearest_about {
            continue;
        }
        let closer = nearest.is_none_or(|(other, per, _)| {
            let (mine, theirs) = (i128::from(lead) * i128::from(per), i128::from(other) * i128::from(stars));
            mine < theirs || mine == theirs && stars > per
        });
        if closer {
            nearest = Some((lead, stars, rival));
            nearest_about = about * (1.0 + 1e-9) + 1e-9;
        }
    }
    nearest.map(|(lead, stars, rival)| (lead / stars, rival))
}
