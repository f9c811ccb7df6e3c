//! What evaluating may cost. Entry point: [`Budget`].
//!
//! The interpreter has no bound of its own, so that compiled expressions call [`charge`] where they loop. While an
//! expression runs, the budget lies where the interpreter's functions find it: in the thread.

use std::cell::Cell;

/// What one round costs at least.
const ROUND: i64 = 1;
/// Bytes of input that cost as much as one step: rounds copy what they look at.
const BYTES_PER_STEP: i64 = 64;
/// Bytes of a value that cost as much as one step to make: it is there as often as it is named, and may be written out.
const MADE_BYTES_PER_STEP: usize = 16;
/// Most bytes of a value that an expression puts together; five times the largest object of a request.
pub(crate) const MADE_BYTES_MAX: usize = 16 << 20;
/// How deeply a value may be nested that an expression puts together: what goes through it recurses.
pub(crate) const MADE_DEPTH_MAX: usize = 200;
/// What each part of a value takes beside its text.
const PART_BYTES: usize = 8;

thread_local! {
    static LEFT: Cell<i64> = const { Cell::new(0) };
    /// Bytes of the input at hand, and of what was made of it.
    static INPUT: Cell<i64> = const { Cell::new(0) };
}

/// Steps that are left for the expressions of one write. A step is of the order of a hundred nanoseconds.
#[derive(Debug)]
pub struct Budget {
    left: i64,
    /// Bytes of the values that the last expression put together.
    made: i64,
}

impl Budget {
    /// Steps for all expressions that judge one write: about a second's worth.
    pub const WRITE: i64 = 10_000_000;

    /// A budget of that many steps.
    pub fn new(steps: i64) -> Budget {
        Budget { left: steps, made: 0 }
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.left <= 0
    }

    /// What is left.
    pub(crate) fn left(&self) -> i64 {
        self.left
    }

    /// Bytes of the values that the last expression put together.
    pub(crate) fn made(&self) -> i64 {
        self.made
    }

    /// Goes back to what was left before something that counts as not having happened.
    pub(crate) fn restore(&mut self, left: i64) {
        self.left = left;
    }

    /// Runs something that charges, given the size of its input in bytes. What runs around it has its own budget back
    /// afterwards.
    pub(crate) fn within<T>(&mut self, input_bytes: usize, run: impl FnOnce() -> T) -> T {
        let input = i64::try_from(input_bytes).unwrap_or(i64::MAX);
        let around = (LEFT.replace(self.left), INPUT.replace(input));
        // What is looked at is copied once even without loops.
        spend(size());
        let result = run();
        self.left = LEFT.replace(around.0);
        self.made = INPUT.replace(around.1).saturating_sub(input);
        result
    }
}

/// What is left to the expression that runs.
pub(crate) fn left() -> i64 {
    LEFT.get()
}

/// Bytes that a round looks at, as far as is known.
pub(crate) fn input() -> i64 {
    INPUT.get()
}

fn size() -> i64 {
    INPUT.get() / BYTES_PER_STEP
}

/// Charges a round of a loop whose body has that many nodes. Returns whether anything is left.
pub(crate) fn charge(nodes: i64) -> bool {
    spend(ROUND.saturating_add(nodes).saturating_add(size()))
}

/// Charges what compares each part of its input with each other.
pub(crate) fn charge_square() -> bool {
    spend(size().saturating_mul(size()))
}

/// Takes what a part of a value needs out of some room; `None` where there is not enough.
pub(crate) fn take(room: &mut usize, text_bytes: usize) -> Option<()> {
    *room = room.checked_sub(text_bytes.saturating_add(PART_BYTES))?;
    Some(())
}

/// Why a value may not be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It is too large.
    Size,
    /// Nothing is left to pay for it.
    Cost,
}

/// Charges a value that was put together, whose parts `take` their room. From then on rounds pay for it as they do for the
/// input: they may look at it, too.
pub(crate) fn charge_made(take: impl FnOnce(&mut usize) -> Option<()>) -> Result<(), Excess> {
    let mut room = MADE_BYTES_MAX;
    take(&mut room).ok_or(Excess::Size)?;
    let bytes = MADE_BYTES_MAX - room;
    INPUT.set(INPUT.get().saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)));
    let steps = bytes / MADE_BYTES_PER_STEP;
    if spend(i64::try_from(steps).unwrap_or(i64::MAX)) { Ok(()) } else { Err(Excess::Cost) }
}

fn spend(steps: i64) -> bool {
    LEFT.set(LEFT.get().saturating_sub(steps));
    LEFT.get() > 0
}
