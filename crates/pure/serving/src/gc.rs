//! Which revisions of a Configuration may go. Entry point: [`collect`].

/// A time in seconds.
pub type Seconds = i64;

/// How long and how many revisions are kept that nothing leads to. The defaults are Knative's.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// After they were made.
    pub since_created: Seconds,
    /// After a route last led there.
    pub since_active: Seconds,
    /// So many are kept however old they are.
    pub at_least: usize,
    /// And no more than so many, however young.
    pub at_most: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { since_created: 48 * 3600, since_active: 15 * 3600, at_least: 20, at_most: 1000 }
    }
}

/// A revision that may go, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Seconds,
    /// When a route last led there; when it was made, if none ever did.
    pub active: Seconds,
    /// Whether it stays: a route leads there, it is the newest, or its owner says so.
    pub stays: bool,
}

/// The revisions to delete now, and when to look again.
pub fn collect(mut all: Vec<Old>, keep: Keep, now: Seconds) -> (Vec<String>, Option<Seconds>) {
    all.retain(|it| !it.stays);
    all.sort_by_key(|it| (std::cmp::Reverse(it.active), std::cmp::Reverse(it.created)));
    let expires = |it: &Old| (it.created + keep.since_created).max(it.active + keep.since_active);
    let (mut gone, mut next) = (Vec::new(), None);
    for (at, it) in all.iter().enumerate().skip(keep.at_least) {
        if at >= keep.at_most || expires(it) <= now {
            gone.push(it.name.clone());
        } else {
            let wait = expires(it) - now;
            next = Some(next.map_or(wait, |next: Seconds| next.min(wait)));
        }
    }
    (gone, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_revisions_go_beyond_those_that_are_always_kept() {
        let old = |name: &str, created, stays| Old { name: name.into(), created, active: created, stays };
        let keep = Keep { since_created: 100, since_active: 50, at_least: 1, at_most: 3 };
        let all =
            vec![old("a", 1, false), old("b", 2, false), old("c", 990, false), old("d", 995, false), old("e", 3, true)];
        assert_eq!(collect(all.clone(), keep, 1000), (vec!["b".to_owned(), "a".to_owned()], Some(90)));
        let (gone, next) = collect(all, Keep { at_least: 4, ..keep }, 1000);
        assert!(gone.is_empty() && next.is_none());
        let many = (0..5).map(|it| old(&it.to_string(), 1000 + it, false)).collect();
        assert_eq!(collect(many, keep, 1000).0, ["1", "0"], "however young");
    }
}
