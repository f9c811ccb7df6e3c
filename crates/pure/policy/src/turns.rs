//! Who changed an object in one round of admission, and who wants to see it again. Entry point: [`Turns`].

use std::collections::BTreeMap;

/// Which policies and webhooks had their turn, and how often the object had been changed by then.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    taken: BTreeMap<String, usize>,
    changes: usize,
    again: bool,
}

impl Turns {
    /// Begins the second round, in which only those are asked who [want to see](Turns::wants_again) what came after them.
    pub fn begin_again(&mut self) {
        self.again = true;
    }

    /// Whether it is the second round.
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// Whether something is to be asked now: in the first round always, later when it asked for it (`reinvoked`) and others
    /// changed the object since its turn.
    pub fn is_due(&self, id: &str, reinvoked: bool) -> bool {
        !self.again || reinvoked && self.wants_again(id)
    }

    fn wants_again(&self, id: &str) -> bool {
        self.taken.get(id).is_some_and(|it| *it < self.changes)
    }

    /// Notes a turn, and whether it changed the object.
    pub fn took(&mut self, id: &str, changed: bool) {
        self.changes += usize::from(changed);
        let changes = self.changes;
        match self.taken.get_mut(id) {
            Some(turn) => *turn = changes,
            None => drop(self.taken.insert(id.to_owned(), changes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_are_asked_again_after_whom_something_changed() {
        let mut turns = Turns::default();
        assert!(turns.is_due("a", false));
        turns.took("a", true);
        turns.took("b", true);
        turns.took("c", false);
        turns.begin_again();
        assert!(turns.is_due("a", true) && !turns.is_due("a", false), "b changed what a saw");
        assert!(!turns.is_due("b", true) && !turns.is_due("c", true), "nothing changed after them");
        assert!(!turns.is_due("d", true), "it was not about this object");
    }
}
