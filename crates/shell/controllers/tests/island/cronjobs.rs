use serde_json::{Value, json};

use crate::world::{EVENTS, World, annotation, number};

const CRON_JOBS: &str = "/apis/batch/v1/namespaces/default/cronjobs";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const TICK: &str = "/apis/batch/v1/namespaces/default/cronjobs/tick";

async fn cron_job(world: &World, fake: &str, spec: Value) {
    let mut body = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {
            "metadata": {"labels": {"from": "tick"}},
            "spec": {"template": {
                "metadata": {"annotations": {"eyot.io/fake": fake}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]},
            }},
        }},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    world.create(CRON_JOBS, body).await;
}

/// Makes the times since two minutes ago count as missed, and lets the CronJob go.
async fn release(world: &World) {
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(150);
    let past = past.round(jiff::Unit::Second).unwrap().to_string();
    world.merge(&format!("{TICK}/status"), json!({"status": {"lastScheduleTime": past}})).await;
    world.merge(TICK, json!({"spec": {"suspend": false}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_time_starts_one_job_named_after_it() {
    let world = World::start().await;
    cron_job(&world, "succeed", json!({"timeZone": "Asia/Tokyo"})).await;
    release(&world).await;
    let done = |it: &Value| it["status"]["lastSuccessfulTime"].is_string() && it["status"].get("active").is_none();
    let cron = world.until(TICK, "one success", done).await;
    let jobs = world.list(JOBS).await;
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    let job = &jobs[0];
    let scheduled: jiff::Timestamp = cron["status"]["lastScheduleTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(job["metadata"]["name"], format!("tick-{}", scheduled.as_second() / 60));
    assert_eq!(job["metadata"]["labels"]["from"], "tick");
    assert_eq!(job["metadata"]["ownerReferences"][0]["name"], "tick");
    let stamp = annotation(job, "batch.kubernetes.io/cronjob-scheduled-timestamp");
    assert!(stamp.ends_with("+09:00") && stamp.parse::<jiff::Timestamp>().unwrap() == scheduled, "{stamp}");
    let told = |it: &Value| {
        let reasons = ["SuccessfulCreate", "SawCompletedJob"];
        let events = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |it: &&Value| it["involvedObject"]["kind"] == "CronJob";
        reasons.iter().all(|reason| events.iter().filter(of).any(|it| it["reason"] == *reason))
    };
    world.until(EVENTS, "told", told).await;
    world.delete(TICK, "Background").await;
    world.until(JOBS, "none", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_is_listed_and_history_is_trimmed() {
    let world = World::start().await;
    cron_job(&world, "run", json!({"concurrencyPolicy": "Forbid", "failedJobsHistoryLimit": 0})).await;
    release(&world).await;
    let cron =
        world.until(TICK, "active", |it| it["status"]["active"].as_array().is_some_and(|it| it.len() == 1)).await;
    let active = &cron["status"]["active"][0];
    assert_eq!((&active["kind"], active["uid"].is_string()), (&json!("Job"), true));
    release(&world).await;
    let held =
        |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "JobAlreadyActive"));
    world.until(EVENTS, "held back", held).await;
    world.merge(TICK, json!({"spec": {"suspend": true}})).await;
    let job = format!("{JOBS}/{}", active["name"].as_str().unwrap());
    world.merge(&job, json!({"spec": {"activeDeadlineSeconds": 1}})).await;
    world.until(&job, "forgotten", Value::is_null).await;
    let cron = world.until(TICK, "none active", |it| it["status"].get("active").is_none()).await;
    assert_eq!(number(&cron["status"]["active"]), 0);
}

/// A Job as the CronJob started it for an earlier time, and as it still runs.
async fn earlier(world: &World) -> Value {
    let cron = world.get(TICK).await.unwrap();
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": cron["metadata"]["uid"],
        "controller": true});
    let body = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "tick-earlier", "ownerReferences": [owner],
            "annotations": {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T00:00:00Z"}},
        "spec": {"template": cron["spec"]["jobTemplate"]["spec"]["template"]}});
    let job = world.create(JOBS, body).await;
    let listed = |it: &Value| it["status"]["active"].as_array().is_some_and(|it| it.len() == 1);
    world.until(TICK, "listed", listed).await;
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_side_by_side_where_that_is_allowed() {
    let world = World::start().await;
    cron_job(&world, "run", json!({"concurrencyPolicy": "Allow"})).await;
    earlier(&world).await;
    release(&world).await;
    let two = |it: &Value| it["status"]["active"].as_array().is_some_and(|it| it.len() == 2);
    world.until(TICK, "two are active", two).await;
    let running = |it: &Value| {
        let jobs = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        jobs.len() == 2 && jobs.iter().all(|it| number(&it["status"]["active"]) == 1)
    };
    world.until(JOBS, "both run", running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_runs_too_long_is_replaced_where_that_is_asked_for() {
    let world = World::start().await;
    cron_job(&world, "run", json!({"concurrencyPolicy": "Replace"})).await;
    let old = earlier(&world).await;
    release(&world).await;
    let replaced = |it: &Value| {
        let active = it["status"]["active"].as_array().map(Vec::as_slice).unwrap_or_default();
        active.len() == 1 && active[0]["uid"] != old["metadata"]["uid"]
    };
    let cron = world.until(TICK, "another is active", replaced).await;
    world.until(&format!("{JOBS}/tick-earlier"), "gone", Value::is_null).await;
    let jobs = world.list(JOBS).await;
    assert_eq!((jobs.len(), &jobs[0]["metadata"]["uid"]), (1, &cron["status"]["active"][0]["uid"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_cron_job_starts_nothing() {
    let world = World::start().await;
    cron_job(&world, "succeed", json!({})).await;
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(150);
    let past = past.round(jiff::Unit::Second).unwrap().to_string();
    world.merge(&format!("{TICK}/status"), json!({"status": {"lastScheduleTime": past}})).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(world.list(JOBS).await.is_empty(), "two times have been missed");
    assert!(world.get(TICK).await.unwrap()["status"].get("active").is_none());
    world.merge(TICK, json!({"spec": {"suspend": false}})).await;
    world.until(JOBS, "started", |it| it["items"].as_array().is_some_and(|it| it.len() == 1)).await;
}
