//! Choices among equals. Randomness and counters are arguments, so that a choice can be repeated.

use crate::Backend;

/// The backend that `random` falls on, or `None` where every weight is zero.
pub fn weighted<B>(backends: &[Backend<B>], random: u64) -> Option<&Backend<B>> {
    if let [only] = backends {
        return (only.weight > 0).then_some(only);
    }
    let total: u64 = backends.iter().map(|it| u64::from(it.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut left = random % total;
    backends.iter().find(|it| {
        let weight = u64::from(it.weight);
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })
}

/// The position of the endpoint that should take the next request, or `None` where `count` is zero.
///
/// `turn` is a counter that the caller raises with every choice, `in_flight` tells how many requests a position is
/// busy with. Of the position whose turn it is and the one half-way round, the less busy is taken: equal endpoints are
/// used in turn, and a stuck one is passed by.
pub fn endpoint(count: usize, turn: usize, in_flight: impl Fn(usize) -> u32) -> Option<usize> {
    match count {
        0 => None,
        1 => Some(0),
        _ => {
            let first = turn % count;
            let second = (first + count / 2) % count;
            Some(if in_flight(second) < in_flight(first) { second } else { first })
        }
    }
}

/// How much a client belongs to the endpoint at `address`: it goes to the one where this is most. When endpoints come and
/// go, only the clients of those move.
pub fn affinity(client: u64, address: std::net::SocketAddr) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (client, address).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(weights: &[u32]) -> Vec<Backend<usize>> {
        weights.iter().enumerate().map(|(at, weight)| Backend { weight: *weight, target: Ok(at) }).collect()
    }

    #[test]
    fn requests_are_shared_by_weight() {
        let backends = backends(&[90, 0, 10]);
        let mut shares = [0; 3];
        for random in 0..1000 {
            let chosen = weighted(&backends, random).unwrap();
            shares[*chosen.target.as_ref().unwrap()] += 1;
        }
        assert_eq!(shares, [900, 0, 100]);
    }

    #[test]
    fn nothing_is_chosen_where_all_weights_are_zero() {
        assert!(weighted(&backends(&[0]), 7).is_none());
        assert!(weighted(&backends(&[0, 0]), 7).is_none());
        assert!(weighted::<usize>(&[], 7).is_none());
    }

    #[test]
    fn equal_endpoints_take_turns_and_a_stuck_one_is_passed_by() {
        let even: Vec<_> = (0..4).map(|turn| endpoint(4, turn, |_| 1).unwrap()).collect();
        assert_eq!(even, [0, 1, 2, 3]);
        let stuck: Vec<_> = (0..4).map(|turn| endpoint(4, turn, |at| if at == 1 { 9 } else { 1 }).unwrap()).collect();
        assert_eq!(stuck, [0, 3, 2, 3]);
        assert_eq!(endpoint(0, 3, |_| 0), None);
    }
}
