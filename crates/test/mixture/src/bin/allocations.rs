//! How often admitting a pod allocates under 0, 10 and 100 mixed policies, and under 100 policies of each sort.

use std::alloc::System;

use anyhow::Result;
use eyot_mixture::{Engines, admitted_pod, policies::MIXED};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many policies there are in each row.
const ROWS: [usize; 3] = [0, 10, 100];

fn main() -> Result<()> {
    println!("{:34} {:>12} {:>12}", "", "allocations", "KiB");
    for count in ROWS {
        row(&format!("{count} mixed"), &Engines::under(count, None)?)?;
    }
    for (at, (name, _)) in MIXED.iter().enumerate() {
        row(&format!("100 {name}"), &Engines::under(100, Some(at))?)?;
    }
    Ok(())
}

fn row(name: &str, engines: &Engines) -> Result<()> {
    // The first ones fill caches.
    for _ in 0..3 {
        engines.admit(admitted_pod(), |_| {})?;
    }
    let object = admitted_pod();
    let region = Region::new(ALLOCATOR);
    let admitted = engines.admit(object, |_| {})?;
    let change = region.change();
    drop(admitted);
    println!("{name:34} {:>12} {:>12.1}", change.allocations, change.bytes_allocated as f64 / 1024.0);
    Ok(())
}
