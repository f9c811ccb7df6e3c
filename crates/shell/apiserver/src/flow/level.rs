//! Priority levels: seats, and queues for those who find none. Entry point: [`Level::seat`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who waits longer than this is turned away: clients give up not much later.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// One priority level.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) uid: Arc<str>,
    /// `None` at an exempt level.
    limits: Option<Limits>,
    state: Mutex<State>,
}

/// How many may be worked on, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) seats: usize,
    /// 0 where nobody waits.
    pub(super) queues: usize,
    /// Of so many queues a flow uses the shortest.
    pub(super) hand: usize,
    /// Most that wait in one queue.
    pub(super) length: usize,
}

#[derive(Default)]
struct State {
    taken: usize,
    queues: Vec<VecDeque<oneshot::Sender<Seat>>>,
    /// The queue whose turn is next.
    turn: usize,
    waiting: usize,
}

/// A place at a level; dropping it lets the next one in.
pub(super) struct Seat(Option<Arc<Level>>);

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody waits at this level.
    NoQueue,
    QueueFull,
    WaitedTooLong,
}

impl Level {
    pub(super) fn new(name: &str, uid: &str, limits: Option<Limits>) -> Level {
        Level { name: name.to_owned(), uid: uid.into(), limits, state: Mutex::default() }
    }

    /// Waits for a seat; `None` where none is needed.
    pub(super) async fn seat(self: &Arc<Level>, flow: u64) -> Result<Option<Seat>, Refused> {
        let Some(limits) = self.limits else { return Ok(None) };
        let turn = match self.take(&limits, flow)? {
            Ok(seat) => return Ok(Some(seat)),
            Err(turn) => turn,
        };
        match tokio::time::timeout(WAIT_MAX, turn).await {
            Ok(Ok(seat)) => Ok(Some(seat)),
            Ok(Err(_)) | Err(_) => Err(Refused::WaitedTooLong),
        }
    }

    /// A seat, or a place in a queue.
    fn take(self: &Arc<Level>, limits: &Limits, flow: u64) -> Result<Result<Seat, oneshot::Receiver<Seat>>, Refused> {
        let mut state = self.state.lock();
        if state.taken < limits.seats {
            state.taken += 1;
            return Ok(Ok(Seat(Some(self.clone()))));
        }
        if limits.queues == 0 {
            return Err(Refused::NoQueue);
        }
        if state.queues.is_empty() {
            state.queues.resize_with(limits.queues, VecDeque::new);
        }
        let shortest = hand(flow, limits).min_by_key(|it| state.queues[*it].len()).unwrap_or(0);
        let queue = &mut state.queues[shortest];
        // Who went away while waiting holds no place.
        queue.retain(|it| !it.is_closed());
        if queue.len() >= limits.length {
            return Err(Refused::QueueFull);
        }
        let (ready, turn) = oneshot::channel();
        queue.push_back(ready);
        state.waiting += 1;
        Ok(Err(turn))
    }

    /// Hands a seat on to the next queue's first, or leaves it free.
    fn release(self: &Arc<Level>) {
        let mut seat = Seat(Some(self.clone()));
        loop {
            let next = self.state.lock().next();
            let Some(next) = next else {
                // Not dropped as a seat: that would release it once more.
                seat.0 = None;
                return;
            };
            match next.send(seat) {
                Ok(()) => return,
                // Who waited went away; the seat comes back.
                Err(back) => seat = back,
            }
        }
    }
}

impl State {
    /// The next in turn; when nobody waits the seat is free.
    fn next(&mut self) -> Option<oneshot::Sender<Seat>> {
        let count = self.queues.len();
        if self.waiting > 0 {
            for step in 0..count {
                let at = (self.turn + step) % count;
                if let Some(next) = self.queues[at].pop_front() {
                    self.turn = (at + 1) % count;
                    self.waiting = self.queues.iter().map(VecDeque::len).sum();
                    return Some(next);
                }
            }
        }
        self.waiting = 0;
        self.taken = self.taken.saturating_sub(1);
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(level) = self.0.take() {
            level.release();
        }
    }
}

/// The queues a flow may use: a different hand for each flow, so that a flood in some leaves others free.
fn hand(flow: u64, limits: &Limits) -> impl Iterator<Item = usize> {
    let (queues, mut seed) = (limits.queues as u64, flow);
    (0..limits.hand).map(move |_| {
        // A step of splitmix64: good enough to deal cards.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut card = seed;
        card = (card ^ (card >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        card = (card ^ (card >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((card ^ (card >> 31)) % queues) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(seats: usize, queues: usize, length: usize) -> Arc<Level> {
        Arc::new(Level::new("l", "u", Some(Limits { seats, queues, hand: 1, length })))
    }

    #[tokio::test]
    async fn seats_are_given_and_given_back() {
        let level = level(2, 0, 0);
        let first = level.seat(1).await.unwrap();
        let _second = level.seat(1).await.unwrap();
        assert_eq!(level.seat(1).await.err(), Some(Refused::NoQueue));
        drop(first);
        assert!(level.seat(1).await.is_ok());
        let exempt = Arc::new(Level::new("e", "u", None));
        assert!(exempt.seat(1).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_flood_in_one_flow_leaves_turns_to_others() {
        let level = level(1, 64, 100);
        let seat = level.seat(1).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let other = (2..).find(|it| hand(*it, &level.limits.unwrap()).next() != hand(1, &level.limits.unwrap()).next());
        for flow in std::iter::repeat_n(1, 20).chain(other) {
            let (level, order) = (level.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let seat = level.seat(flow).await.unwrap();
                order.lock().push(flow);
                drop(seat);
            }));
            // Each takes its place before the next comes.
            tokio::task::yield_now().await;
        }
        drop(seat);
        for task in tasks {
            task.await.unwrap();
        }
        let place = order.lock().iter().position(|it| *it != 1).unwrap();
        assert!(place <= 1, "the other flow was served as number {place}");
        assert_eq!(level.state.lock().taken, 0);
    }

    #[tokio::test]
    async fn full_queues_turn_away_and_who_goes_leaves_the_place() {
        let level = level(1, 1, 2);
        let seat = level.seat(1).await.unwrap();
        let waits = |level: &Arc<Level>| {
            let level = level.clone();
            tokio::spawn(async move { level.seat(1).await.map(drop) })
        };
        let (first, second) = (waits(&level), waits(&level));
        while level.state.lock().waiting < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(level.seat(1).await.err(), Some(Refused::QueueFull));
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let third = waits(&level);
        while level.state.lock().queues[0].len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(seat);
        assert_eq!((second.await.unwrap(), third.await.unwrap()), (Ok(()), Ok(())));
        assert_eq!(level.state.lock().taken, 0);
    }

    #[test]
    fn hands_differ_and_stay_within_the_queues() {
        let limits = Limits { seats: 1, queues: 64, hand: 8, length: 1 };
        let of = |flow| hand(flow, &limits).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!(of(9).iter().all(|it| *it < 64));
    }
}
