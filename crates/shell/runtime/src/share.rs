//! How the places for requests are shared out: whoever asks most must not have them all.
//!
//! Instances come from pools of so many slots, and those of commands must be bounded too. A place is one of them. Whose requests
//! they are is told by [`Crowd`]s: one for each program in each namespace, however many pods it has. The rule is
//! [`has_room`]'s alone; [`Room`] only counts, without a lock.
//!
//! Deliberately absent: queues. Who is refused is answered 503, and whoever asked knows better whether to try elsewhere or wait.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

/// How many times what is free one crowd may have. Alone it then has three quarters of all places, and the last quarter is
/// for those who have less.
const TIMES_FREE: usize = 3;

/// Whether a crowd with `mine` of the `all` places that are taken, of `places`, may have `more`: whether it may have the last of
/// them once it has the others.
///
/// Nobody's share has to be worked out: what is free shrinks with each crowd that takes its part, and with it what each may
/// have. Of n crowds that ask without end each comes to have `3 / (1 + 3 n)` of the places, and who comes anew finds as many
/// free as a third of that.
fn has_room(mine: usize, all: usize, places: usize, more: usize) -> bool {
    let others = more.saturating_sub(1);
    mine + others < TIMES_FREE.saturating_mul(places.saturating_sub(all + others))
}

/// Places where no pool says how many there are.
pub(crate) const PLACES: usize = 1024;

/// Tables in a pool for each of its places, which have a memory each.
pub(crate) const PLACE_TABLES: u32 = 3;

/// Stacks in the pool of WASI 0.3 for each of its places: of a call that waits, and of what runs meanwhile.
pub(crate) const PLACE_STACKS: u32 = 2;

/// How many places of a pool an instance takes that has so many memories and tables, and may have so many stacks: it must not take
/// those of others.
pub(crate) fn places_of(memories: u32, tables: u32, stacks: u32) -> usize {
    memories.max(tables.div_ceil(PLACE_TABLES)).max(stacks.div_ceil(PLACE_STACKS)).max(1) as usize
}

/// Most places of the pool of early code.
pub(crate) const EARLY_PLACES_MAX: u32 = 256;

/// Where an instance comes from, which bounds how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The pool of services.
    Pool,
    /// That of services whose code was compiled in a hurry.
    EarlyPool,
    /// That of services of WASI 0.3.
    ConcurrentPool,
    /// No pool: a command that answers a request.
    Memory,
}

/// The places of a runtime.
pub(crate) struct Rooms {
    pool: Room,
    early_pool: Room,
    concurrent_pool: Room,
    memory: Room,
}

impl Rooms {
    /// With pools of so many slots.
    pub(crate) fn new(slots: Option<u32>) -> Rooms {
        let slots = slots.map_or(PLACES, |it| it as usize);
        Rooms {
            pool: Room::new(slots),
            early_pool: Room::new(slots.min(EARLY_PLACES_MAX as usize)),
            concurrent_pool: Room::new(slots),
            memory: Room::new(PLACES),
        }
    }

    /// Those for instances from `source`.
    pub(crate) fn of(&self, source: Source) -> &Room {
        match source {
            Source::Pool => &self.pool,
            Source::EarlyPool => &self.early_pool,
            Source::ConcurrentPool => &self.concurrent_pool,
            Source::Memory => &self.memory,
        }
    }
}

/// So many places.
pub(crate) struct Room {
    places: usize,
    taken: AtomicUsize,
}

/// Those whose requests count together. How many places they have.
#[derive(Default)]
pub(crate) struct Crowd(AtomicUsize);

/// There is no place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    mine: usize,
    all: usize,
    places: usize,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mine, all, places } = self;
        write!(
            f,
            "{all} of {places} places for instances are taken, {mine} of them by this program: the rest is for others"
        )
    }
}

impl Room {
    pub(crate) fn new(places: usize) -> Room {
        Room { places, taken: AtomicUsize::new(0) }
    }

    /// Takes `places` for an instance of `crowd`, which are to be given back with [`Room::leave`].
    pub(crate) fn enter(&self, crowd: &Crowd, places: usize) -> Result<(), Refused> {
        let (mine, all) = (crowd.0.fetch_add(places, Relaxed), self.taken.fetch_add(places, Relaxed));
        if has_room(mine, all, self.places, places) {
            return Ok(());
        }
        // Those who were refused at the same moment counted as well: it may have been one too many, never one too few.
        self.leave(crowd, places);
        Err(Refused { mine, all, places: self.places })
    }

    /// Gives the places of an instance back.
    pub(crate) fn leave(&self, crowd: &Crowd, places: usize) {
        crowd.0.fetch_sub(places, Relaxed);
        self.taken.fetch_sub(places, Relaxed);
    }

    /// Whether an instance that takes so many places can ever have them.
    pub(crate) fn fits(&self, places: usize) -> bool {
        has_room(0, 0, self.places, places)
    }
}

/// A namespace and the digest of a program.
type Key = (Box<str>, Arc<str>);

/// All crowds, by namespace and program.
#[derive(Default)]
pub(crate) struct Crowds(Mutex<HashMap<Key, Weak<Crowd>>>);

impl Crowds {
    /// The crowd of a program in a namespace, for as long as any of its guests is there.
    pub(crate) fn of(&self, namespace: &str, digest: &Arc<str>) -> Arc<Crowd> {
        let mut crowds = self.0.lock();
        let key = (namespace.into(), Arc::clone(digest));
        if let Some(crowd) = crowds.get(&key).and_then(Weak::upgrade) {
            return crowd;
        }
        if crowds.len() == crowds.capacity() {
            // Before it becomes larger.
            crowds.retain(|_, it| it.strong_count() > 0);
        }
        let crowd = Arc::default();
        crowds.insert(key, Arc::downgrade(&crowd));
        crowd
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crowds(count: usize) -> Vec<Crowd> {
        (0..count).map(|_| Crowd::default()).collect()
    }

    fn has(crowd: &Crowd) -> usize {
        crowd.0.load(Relaxed)
    }

    /// All of them ask in turn until none is let in.
    fn flood(room: &Room, crowds: &[Crowd]) {
        while crowds.iter().filter(|it| room.enter(it, 1).is_ok()).count() > 0 {}
    }

    #[test]
    fn one_crowd_leaves_a_quarter_to_others_and_each_of_them_gets_its_part() {
        let (room, crowds) = (Room::new(PLACES), crowds(3));
        let each = [768, 192, 48];
        for (crowd, most) in crowds.iter().zip(each) {
            flood(&room, std::slice::from_ref(crowd));
            assert_eq!(has(crowd), most);
        }
        let refused = room.enter(&crowds[0], 1).unwrap_err();
        assert_eq!(refused, Refused { mine: 768, all: 1008, places: PLACES });
    }

    #[test]
    fn where_the_first_gives_places_back_the_others_come_to_have_as_many() {
        let (room, crowds) = (Room::new(PLACES), crowds(2));
        flood(&room, &crowds[..1]);
        // Requests end and others come, of both.
        for _ in 0..10_000 {
            for crowd in crowds.iter().filter(|it| has(it) > 0) {
                room.leave(crowd, 1);
            }
            flood(&room, &crowds[1..]);
            flood(&room, &crowds[..1]);
        }
        let (first, second) = (has(&crowds[0]), has(&crowds[1]));
        assert!(first.abs_diff(second) <= PLACES / 100, "{first} {second}");
    }

    #[test]
    fn an_instance_takes_as_many_places_as_it_has_memories_and_its_tables_and_stacks_need() {
        assert_eq!(
            [(0, 0, 1), (1, 3, 2), (1, 4, 1), (5, 3, 1), (2, 30, 1), (1, 3, 3), (1, 1, u32::MAX)]
                .map(|(memories, tables, stacks)| places_of(memories, tables, stacks)),
            [1, 1, 2, 5, 10, 2, 1 << 31]
        );
        let (room, crowd) = (Room::new(64), Crowd::default());
        let entered = (0..64).take_while(|_| room.enter(&crowd, 8).is_ok()).count();
        assert_eq!((entered, has(&crowd)), (6, 48), "three quarters, as of instances of one place");
        room.leave(&crowd, 8);
        assert!(room.enter(&crowd, 8).is_ok());
        assert_eq!([48, 49, 64, usize::MAX / 2].map(|places| room.fits(places)), [true, false, false, false]);
    }

    #[test]
    fn a_crowd_is_there_as_long_as_one_of_its_guests() {
        let crowds = Crowds::default();
        let digest: Arc<str> = "sha256:a".into();
        let crowd = crowds.of("shop", &digest);
        assert!(Arc::ptr_eq(&crowd, &crowds.of("shop", &"sha256:a".into())), "another pod's");
        assert!(!Arc::ptr_eq(&crowd, &crowds.of("other", &digest)));
        assert!(!Arc::ptr_eq(&crowd, &crowds.of("shop", &"sha256:b".into())));
        drop(crowd);
        for at in 0..10_000 {
            crowds.of("shop", &format!("sha256:{at}").into());
        }
        assert!(crowds.0.lock().len() < 100, "those that are gone leave nothing behind");
    }

    proptest! {
        /// Whatever comes and goes: the places suffice, who has none gets one where one is free, and who has fewer is never
        /// refused where somebody with more would not be.
        #[test]
        fn nobody_takes_what_others_need(
            places in 1usize..200,
            steps in proptest::collection::vec((0usize..6, 0usize..4), 1..400),
        ) {
            let (room, crowds) = (Room::new(places), crowds(6));
            for (who, what) in steps {
                // The instances of the last one have four memories each.
                let (crowd, more) = (&crowds[who], if who == 5 { 4 } else { 1 });
                if what == 0 {
                    if has(crowd) > 0 {
                        room.leave(crowd, more);
                    }
                    continue;
                }
                let (before, all) = (has(crowd), crowds.iter().map(has).sum::<usize>());
                let free = places - all;
                let entered = room.enter(crowd, more).is_ok();
                prop_assert_eq!(entered, free >= more && before + more - 1 < 3 * (free - (more - 1)));
                prop_assert!(before > 0 || more > 1 || entered == (free > 0), "who has none");
                prop_assert_eq!(has(crowd), before + if entered { more } else { 0 }, "who is refused has taken nothing");
                for other in crowds.iter().filter(|it| !entered && has(it) >= before) {
                    prop_assert!(!has_room(has(other), all, places, more), "who has more");
                }
                let all: usize = crowds.iter().map(has).sum();
                prop_assert!(all <= places && all == room.taken.load(Relaxed));
            }
        }

        /// However many ask without end, each comes to have as many as the others, nearly, and one who comes anew gets in.
        #[test]
        fn floods_share_alike_and_a_newcomer_gets_in(count in 1usize..100, places in 400usize..2000) {
            let (room, crowds) = (Room::new(places), crowds(count));
            flood(&room, &crowds);
            let each = crowds.iter().map(has);
            let (least, most) = (each.clone().min().unwrap_or(0), each.max().unwrap_or(0));
            prop_assert!(most - least <= 1, "{} to {}", least, most);
            prop_assert!(room.enter(&Crowd::default(), 1).is_ok());
        }
    }
}
