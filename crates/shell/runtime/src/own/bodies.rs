//! Where the bodies of a program's functions lie. Pure.

use std::ops::Range;

use wasmtime::ModuleFunction;

/// The bodies of all functions that a guest's author wrote, and nothing else: no trampoline, no start-up code, no padding. Good
/// as long as the code is loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bodies {
    /// Address of the first byte of code.
    base: usize,
    /// How much code there is, bodies or not.
    bytes: usize,
    /// Begin and end of each body, counted from `base`; in order, and apart from each other.
    ranges: Box<[(u32, u32)]>,
}

impl Bodies {
    /// The bodies of `functions` in `text`. `None` where what is said of them cannot be: then nothing is known.
    pub(crate) fn new(text: &[u8], functions: impl Iterator<Item = ModuleFunction>) -> Option<Self> {
        Self::at(text.as_ptr().addr(), text.len(), functions.map(|it| (it.offset, it.len)))
    }

    fn at(base: usize, bytes: usize, functions: impl Iterator<Item = (usize, usize)>) -> Option<Self> {
        let range = |(offset, len): (usize, usize)| {
            let end = offset.checked_add(len).filter(|it| *it <= bytes)?;
            Some((u32::try_from(offset).ok()?, u32::try_from(end).ok()?))
        };
        let mut ranges = functions.map(range).collect::<Option<Vec<_>>>()?;
        ranges.retain(|(begin, end)| begin < end);
        ranges.sort_unstable();
        let are_apart = ranges.windows(2).all(|it| it[0].1 <= it[1].0);
        are_apart.then(|| Self { base, bytes, ranges: ranges.into() })
    }

    /// Addresses of all code: of the bodies and of what is between them.
    pub(crate) fn code(&self) -> Range<usize> {
        self.base..self.base + self.bytes
    }

    /// Addresses of each body.
    pub(crate) fn each(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges.iter().map(|(begin, end)| self.base + *begin as usize..self.base + *end as usize)
    }

    /// Whether the instruction at `address` belongs to one of them. Neither allocates nor locks: signal handlers ask it.
    pub(crate) fn contain(&self, address: usize) -> bool {
        let Some(offset) = address.checked_sub(self.base).and_then(|it| u32::try_from(it).ok()) else { return false };
        let after = self.ranges.partition_point(|(begin, _)| *begin <= offset);
        after.checked_sub(1).and_then(|it| self.ranges.get(it)).is_some_and(|(_, end)| offset < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_bodies_is_none_of_them() {
        let bodies = Bodies::at(1000, 100, [(32, 8), (0, 16), (16, 0), (40, 60)].into_iter()).unwrap();
        assert_eq!(bodies.code(), 1000..1100);
        assert_eq!(bodies.each().collect::<Vec<_>>(), [1000..1016, 1032..1040, 1040..1100]);
        let inside: Vec<usize> = (0..2000).filter(|it| bodies.contain(*it)).collect();
        let want: Vec<usize> = (1000..1016).chain(1032..1100).collect();
        assert_eq!(inside, want);
    }

    #[test]
    fn bodies_that_cannot_be_are_not_believed() {
        let check = |functions: &[(usize, usize)]| Bodies::at(1000, 100, functions.iter().copied()).is_some();
        assert!(check(&[]) && check(&[(0, 100)]));
        assert!(!check(&[(0, 101)]) && !check(&[(200, 1)]) && !check(&[(8, usize::MAX)]), "beyond the code");
        assert!(!check(&[(0, 16), (8, 16)]), "one inside another");
    }
}
