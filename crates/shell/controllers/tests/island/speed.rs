//! Not a test of speed but a measurement; run it with `--ignored --nocapture`, in a release build.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{DEPLOYMENTS, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn three_thousand_pods_up_and_down() {
    const COUNT: usize = 3000;
    let world = World::start().await;
    world.deployment("web", 0, json!({})).await;
    world.available("web", 0).await;
    let path = format!("{DEPLOYMENTS}/web");
    for _ in 0..3 {
        let cpu = cpu_seconds();
        let began = Instant::now();
        world.merge(&path, json!({"spec": {"replicas": COUNT}})).await;
        while world.seen.ready() < COUNT {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let ready = began.elapsed();
        world.available("web", COUNT as i32).await;
        println!("0 to {COUNT}: ready {ready:?}, told {:?}, CPU {:.2} s", began.elapsed(), cpu_seconds() - cpu);
        let cpu = cpu_seconds();
        let began = Instant::now();
        world.merge(&path, json!({"spec": {"replicas": 0}})).await;
        while world.seen.present() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("{COUNT} to 0: {:?}, CPU {:.2} s", began.elapsed(), cpu_seconds() - cpu);
    }
}

/// CPU time of this process, in seconds: API server, controllers and fake node together.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}
