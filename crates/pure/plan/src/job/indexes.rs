//! Sets of completion indexes, written as `1,3-5,7`.

use std::{collections::BTreeSet, fmt};

/// Indexes of an indexed Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Reads the text form, leaving out what is malformed or not below `completions`.
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.extend(first.max(0)..=last.min(completions - 1));
            }
        }
        Self(set)
    }

    /// Adds one.
    pub fn insert(&mut self, index: i32) {
        self.0.insert(index);
    }

    /// True when it is in.
    pub fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    /// How many are in both.
    pub fn shared(&self, other: &Self) -> i32 {
        i32::try_from(self.0.intersection(&other.0).count()).unwrap_or(i32::MAX)
    }

    /// How many there are.
    pub fn len(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last + 1)) {
                last = next;
            }
            // Two neighbours are written apart, as Kubernetes does.
            match last - first {
                0 => write!(out, "{comma}{first}")?,
                1 => write!(out, "{comma}{first},{last}")?,
                _ => write!(out, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written_and_rubbish_is_left_out() {
        for (text, want) in
            [("", ""), ("0,1,2,4", "0-2,4"), ("1,3-5,7", "1,3-5,7"), ("x,3,9-12", "3,9"), ("0,1", "0,1"), ("-3", "")]
        {
            assert_eq!(Indexes::parse(text, 10).to_string(), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_form_keeps_the_set(set in proptest::collection::btree_set(0i32..50, 0..40)) {
            let indexes = Indexes(set);
            proptest::prop_assert_eq!(Indexes::parse(&indexes.to_string(), 50), indexes);
        }
    }
}
