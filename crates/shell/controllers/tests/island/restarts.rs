use std::time::Duration;

use serde_json::json;

use crate::world::{DEPLOYMENTS, World, template};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_in_the_middle_leave_exactly_what_was_asked_for() {
    let mut world = World::start().await;
    world.deployment("web", 0, json!({})).await;
    let path = format!("{DEPLOYMENTS}/web");
    for (turn, replicas) in [120, 30, 90].into_iter().enumerate() {
        let version = json!({"version": turn.to_string()});
        world.merge(&path, json!({"spec": {"replicas": replicas, "template": template("web", version)}})).await;
        for pause in [5, 30, 80] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            world.crash_controllers().await;
            world.start_controllers().await;
        }
        world.available("web", replicas).await;
        assert_eq!(world.pods("web").await.len(), usize::try_from(replicas).unwrap());
    }
}
