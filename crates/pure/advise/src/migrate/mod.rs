//! From one stack to another: stages with steps and ways back, and what of a user's own objects stands in the way.
//!
//! Start at [`migrate`]: two [`Combination`]s and an [`inventory`] in, a [`Migration`] out. The step lists and all texts
//! are data ([`Book`]); `findings` decides which of them apply. Deliberately absent: reading files, talking to clusters.

mod book;
mod combination;
mod findings;
mod inventory;
mod plan;
mod read;

use serde::Serialize;

pub use book::{Book, Compatibility, Era, Images, Move, Name, Saying, Step, Weight};
pub use combination::{BadCombination, Combination, LAYERS};
pub use findings::Finding;
pub use inventory::{BadInventory, Item, inventory};
pub use plan::Stage;
pub use read::FILES;

use crate::Text;

/// Most objects that one inventory may hold: more than any cluster that sqlite could carry.
pub const OBJECTS_MAX: usize = 100_000;

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    /// Where it starts.
    pub from: Combination,
    /// Where it ends.
    pub to: Combination,
    /// What was taken for granted because nobody said otherwise.
    pub assumptions: Vec<Text>,
    /// The row of the compatibility matrix for the target, where it has one.
    pub compatibility: Option<Compatibility>,
    /// What to do, in order.
    pub stages: Vec<Stage>,
    /// What stands in the way, worst first, then in the order of the inventory.
    pub findings: Vec<Finding>,
    /// How many objects were looked at.
    pub objects: usize,
    /// How many of them move as they are.
    pub clean: usize,
}

/// Plans the way and judges every object of the inventory.
pub fn migrate(from: &Combination, to: &Combination, inventory: &[Item], book: &Book) -> Migration {
    let findings = findings::judge(from, to, inventory, book);
    let touched: std::collections::BTreeSet<_> = findings.iter().map(|it| it.index).collect();
    let row = |it: &&Compatibility| to.is("orchestration", &it.orchestration) && to.is("runtime", &it.runtime);
    Migration {
        from: from.clone(),
        to: to.clone(),
        assumptions: plan::assumptions(from, to, book),
        compatibility: book.compatibility.iter().find(row).cloned(),
        stages: plan::stages(from, to, book),
        objects: inventory.len(),
        clean: inventory.len() - touched.len(),
        findings,
    }
}

#[cfg(test)]
mod tests;
