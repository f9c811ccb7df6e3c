//! The history of a StatefulSet's or DaemonSet's templates, as ControllerRevisions.
//!
//! Entry points: [`update`] says which revision is the present template's, [`surplus`] which are to be forgotten.

/// One ControllerRevision of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number; larger is newer.
    pub number: i64,
    /// It holds the present template.
    pub equal: bool,
}

/// Where the revision of the present template comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is the newest already, at this index.
    Present(usize),
    /// An old one holds it, as after an undo: it becomes the newest.
    Renumber {
        /// Index of the old one.
        index: usize,
        /// Its new number.
        number: i64,
    },
    /// There is none yet.
    Create {
        /// Number of the new one.
        number: i64,
    },
}

/// Finds the revision of the present template.
pub fn update(revisions: &[Revision<'_>]) -> Update {
    let newest = revisions.iter().map(|it| it.number).max();
    let next = newest.unwrap_or(0) + 1;
    // Should several be equal, the newest of them stands for all.
    let equal = (0..revisions.len()).filter(|at| revisions[*at].equal).max_by_key(|at| revisions[*at].number);
    match equal {
        Some(index) if Some(revisions[index].number) == newest => Update::Present(index),
        Some(index) => Update::Renumber { index, number: next },
        None => Update::Create { number: next },
    }
}

/// Indices of the oldest revisions beyond `limit` that no pod and no status names.
pub fn surplus(revisions: &[Revision<'_>], limit: i32, live: impl Fn(&str) -> bool) -> Vec<usize> {
    let mut old: Vec<usize> = (0..revisions.len()).filter(|at| !live(revisions[*at].name)).collect();
    let count = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|at| (revisions[*at].number, revisions[*at].name));
    old.truncate(count);
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(rows: &[(&'static str, i64, bool)]) -> Vec<Revision<'static>> {
        rows.iter().map(|it| Revision { name: it.0, number: it.1, equal: it.2 }).collect()
    }

    #[test]
    fn the_present_template_is_found_made_or_brought_back() {
        for (rows, want) in [
            (&[][..], Update::Create { number: 1 }),
            (&[("a", 1, true)][..], Update::Present(0)),
            (&[("a", 1, false)][..], Update::Create { number: 2 }),
            (&[("a", 1, true), ("b", 2, false)][..], Update::Renumber { index: 0, number: 3 }),
            (&[("b", 5, true), ("a", 1, true)][..], Update::Present(0)),
        ] {
            assert_eq!(update(&revisions(rows)), want, "{rows:?}");
        }
    }

    #[test]
    fn only_the_oldest_unused_go() {
        let all = revisions(&[("d", 4, true), ("a", 1, false), ("b", 2, false), ("c", 3, false)]);
        let gone = |limit| surplus(&all, limit, |name| name == "d" || name == "a");
        assert_eq!(gone(2), Vec::<usize>::new());
        assert_eq!(gone(1), [2]);
        assert_eq!(gone(0), [2, 3]);
    }
}
