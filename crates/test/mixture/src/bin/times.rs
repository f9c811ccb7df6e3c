//! What admitting a pod takes under 0, 10 and 100 mixed policies, engine by engine, and under 100 policies of each sort.
//!
//! `times [ROUNDS] [COUNT] [SORT]`: without the last two every row, with them one row: what a profiler wants.

use std::time::Instant;

use anyhow::Result;
use eyot_mixture::{ENGINES, Engines, admitted_pod, policies::MIXED, summary};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 2_000;
/// How many policies there are in each row.
const ROWS: [usize; 3] = [0, 10, 100];

fn main() -> Result<()> {
    let mut given = std::env::args().skip(1).map(|it| it.parse::<usize>());
    let rounds = given.next().transpose()?.unwrap_or(ROUNDS);
    println!("{:34} {:>12} {:>12}   microseconds, of {rounds} rounds", "", "p50", "p99");
    if let Some(count) = given.next().transpose()? {
        return row("", &Engines::under(count, given.next().transpose()?)?, rounds);
    }
    for count in ROWS {
        row(&format!("{count} mixed"), &Engines::under(count, None)?, rounds)?;
    }
    for (at, (name, _)) in MIXED.iter().enumerate() {
        row(&format!("100 {name}"), &Engines::under(100, Some(at))?, rounds)?;
    }
    Ok(())
}

fn row(name: &str, engines: &Engines, rounds: usize) -> Result<()> {
    let mut whole = Vec::with_capacity(rounds);
    let mut parts = vec![Vec::with_capacity(rounds); ENGINES.len()];
    let pod = admitted_pod();
    for round in 0..rounds + rounds / 10 {
        let object = pod.clone();
        let began = Instant::now();
        let (mut at, mut since, mut spent) = (ENGINES.len(), began, [0.0; ENGINES.len() + 1]);
        let admitted = engines.admit(object, |next| {
            let now = Instant::now();
            spent[at] += (now - since).as_nanos() as f64 / 1e3;
            (at, since) = (next, now);
        })?;
        let took = began.elapsed().as_nanos() as f64 / 1e3;
        drop(admitted);
        if round >= rounds / 10 {
            whole.push(took);
            parts.iter_mut().zip(spent).for_each(|(all, spent)| all.push(spent));
        }
    }
    let (median, slow) = summary(&mut whole);
    println!("{name:34} {median:>12.1} {slow:>12.1}");
    for (name, samples) in ENGINES.iter().zip(&mut parts) {
        let (median, slow) = summary(samples);
        if median > 0.5 {
            println!("    {name:30} {median:>12.1} {slow:>12.1}");
        }
    }
    Ok(())
}
