//! A thousand functions at zero, asked for at random: few often, most seldom.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    function::{Place, host},
    judged,
    rate::Rate,
};
use crate::memory;

const FUNCTIONS: usize = 1000;
const PER_SECOND: u64 = 2000;
const CONNECTIONS: u64 = 64;
const LENGTH: Duration = Duration::from_secs(60);

pub(super) async fn run() -> Result<Value> {
    let place = Place::start().await?;
    let names = place.many("z", FUNCTIONS).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = || memory::resident_mib(&Vec::from_iter(place.node.pid()));
    let before = resident();
    let hosts: Vec<String> = names.iter().map(|it| host(it)).collect();
    let chances = chances(FUNCTIONS);
    let choose = move |number: u64| hosts[rank(&chances, scramble(number))].clone();
    let load = Rate::start(&place.address(), PER_SECOND, CONNECTIONS, Arc::new(choose));
    let tally = load.during(LENGTH).await?;
    let mut result = tally.report();
    result["node_before_mib"] = before;
    result["node_mib"] = resident();
    let met = tally.failed == 0 && tally.at(0.99) <= 5.0;
    Ok(judged(result, "none failed, p99 5 ms", met))
}

/// How likely one of the first n ranks is, for each n: the k-th has the weight 1/k.
fn chances(count: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=count)
        .map(|it| {
            sum += 1.0 / it as f64;
            sum
        })
        .collect();
    sums.iter().map(|it| it / sum).collect()
}

/// The rank of a number between 0 and 1.
fn rank(chances: &[f64], at: f64) -> usize {
    chances.partition_point(|it| *it < at).min(chances.len() - 1)
}

/// A number between 0 and 1 that follows from `number` and looks like chance: each run asks for the same.
fn scramble(number: u64) -> f64 {
    // SplitMix64.
    let mut it = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((it ^ (it >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_asked_for_twice_as_often_as_the_second_and_all_are() {
        let chances = chances(1000);
        let mut counts = vec![0_u32; 1000];
        (0..1_000_000).for_each(|it| counts[rank(&chances, scramble(it))] += 1);
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|it| *it > 0));
    }
}
