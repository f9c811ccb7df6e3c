//! How far each weight can move before another stack wins, exactly. Entry point: [`swings`].
//!
//! Between two stacks the score is linear in each weight: with a lead D over a rival and d more stars in a dimension, the
//! lead after the weight moves by δ is D + δ·d. Each rival therefore bounds the weight on one side, and the nearest bound
//! is the answer. It is found from the far end: at a rival's bound, whatever then leads is nearer, until nothing leads.

use super::{
    Swing, Weight,
    product::{Found, Product},
    space::Space,
};
use crate::layer::Dimension;

/// The bounds of every weight.
pub(super) fn swings(space: &Space<'_>, product: &Product, best: &Found) -> Vec<Swing> {
    let of = |dimension: &Dimension| {
        let at = *dimension as usize;
        let weight = space.weights[at];
        let up = nearest(product, best, at, -1);
        // Below zero there is no weight.
        let down = nearest(product, best, at, 1).filter(|it| it.0 <= weight.0);
        Swing {
            dimension: *dimension,
            weight,
            low: down.map(|it| Weight(weight.0 - it.0)),
            below: down.map(|it| space.stack(&it.1)),
            high: up.map(|it| Weight(weight.0 + it.0)),
            above: up.map(|it| space.stack(&it.1)),
        }
    };
    Dimension::ALL.iter().map(of).collect()
}

/// The rival that is reached first when the weight moves against the sign of the lead in stars, and after how much. Of
/// several it is the one that then pulls away fastest.
pub(super) fn nearest(product: &Product, best: &Found, at: usize, sign: i64) -> Option<(i64, Found)> {
    let away = |it: &Found| -sign * it.sums[at];
    let mut rival = product.most(|it| (away(it).into(), it.score))?;
    loop {
        let (lead, stars) = (best.score - rival.score, away(&rival) - away(best));
        if stars <= 0 {
            return None;
        }
        // What a stack scores once the weight has moved by lead / stars, times stars.
        let then = |it: &Found| i128::from(stars) * i128::from(it.score) + i128::from(lead) * i128::from(away(it));
        let leads = product.most(|it| (then(it), away(it)))?;
        if then(&leads) == then(best) {
            return Some((lead / stars, leads));
        }
        rival = leads;
    }
}
