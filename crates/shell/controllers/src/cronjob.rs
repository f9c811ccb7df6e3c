//! Starts the Jobs of CronJobs when they are due.
//!
//! Nothing is looked at from time to time: each pass asks for the next one at the next due time.

use std::{sync::Arc, time::Duration};

use eyot_model::cron::Schedule;
use eyot_plan::{
    Seconds, condition,
    cronjob::{self as plan, Concurrency, Note, Plan, Spec, State, Times},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, CRON_JOBS, DeleteOptions, JOBS, Target},
    context::Context,
    events::{Recorder, Severity},
    queue::Outcome,
    view::{
        Key, OwnerReference, conditions,
        cronjob::{CronJobView, JobReference},
        job::JobView,
        now, rfc3339,
    },
};

/// Annotation of a Job with the time it was started for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Added to a pause, so that the time is past when the pass begins.
const SLACK: Duration = Duration::from_millis(20);

/// One pass over one CronJob: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(cron) = context.stores.cron_jobs.get(&key) else { return Ok(None) };
    let pass = Pass { recorder: context.recorder.of("cronjob-controller"), context: &context, cron: &cron };
    pass.run().await
}

struct Pass<'a> {
    context: &'a Context,
    cron: &'a CronJobView,
    recorder: Recorder,
}

impl Pass<'_> {
    async fn run(&self) -> Outcome {
        let jobs = self.jobs().await?;
        let rows: Vec<plan::Job> = jobs.iter().map(|it| self.row(it)).collect();
        let timetable = self.timetable();
        let next = timetable.as_ref().map(|(schedule, zone)| {
            move |after: Seconds| schedule.next(Timestamp::from_second(after).ok()?, zone).map(Timestamp::as_second)
        });
        let next = next.as_ref().map(|it| it as &(dyn Fn(Seconds) -> Option<Seconds> + Sync));
        let plan = plan::plan(&self.spec(), self.times(), &rows, next.map(|it| it as _), now());
        for at in &plan.forget {
            self.delete(&jobs[*at]).await?;
        }
        self.tell(&plan, &jobs);
        let mut times = plan.times;
        let mut active: Vec<JobReference> = plan.active.iter().map(|at| reference(&jobs[*at])).collect();
        let mut failed = None;
        if let Some(time) = plan.start {
            for at in &plan.replace {
                self.delete(&jobs[*at]).await?;
            }
            match self.start(time, timetable.as_ref().map(|it| &it.1)).await {
                Ok(job) => {
                    active.push(job);
                    times.scheduled = Some(time);
                }
                Err(error) => failed = Some(error),
            }
        }
        self.write_status(times, active).await?;
        match failed {
            Some(error) => Err(error),
            None => Ok(plan.next.map(until)),
        }
    }

    /// The Jobs it controls, those included that its status knows and the cache does not yet.
    async fn jobs(&self) -> Result<Vec<Arc<JobView>>, ApiError> {
        let mut jobs = self.context.stores.jobs.controlled_by(&self.cron.meta.uid);
        for listed in &self.cron.status.active {
            if jobs.iter().any(|it| *it.meta.uid == *listed.uid) {
                continue;
            }
            let target = Target::object(&JOBS, &self.cron.meta.namespace, &listed.name);
            match self.context.api.get::<JobView>(target, "").await {
                Ok(job) if *job.meta.uid == *listed.uid => jobs.push(Arc::new(job)),
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {
                    let message = format!("Active job went missing: {}", listed.name);
                    self.record(Severity::Normal, "MissingJob", message);
                }
            }
        }
        Ok(jobs)
    }

    fn row(&self, job: &JobView) -> plan::Job {
        let all = conditions(&job.status.conditions);
        plan::Job {
            state: match () {
                () if condition::is_true(&all, "Complete") => State::Complete,
                () if condition::is_true(&all, "Failed") => State::Failed,
                () => State::Running,
            },
            scheduled: job.meta.annotations.get(SCHEDULED).is_some(),
            started: job.status.start_time.map_or(job.meta.created(), |it| it.0),
            completed: job.status.completion_time.map(|it| it.0),
            deleting: job.meta.deleting(),
            listed: self.cron.status.active.iter().any(|it| *it.uid == *job.meta.uid),
        }
    }

    /// Schedule and time zone; `None` when one of them cannot be used, which an event tells.
    fn timetable(&self) -> Option<(Schedule, TimeZone)> {
        let spec = &self.cron.spec;
        let zone = match spec.time_zone.as_deref().filter(|it| !it.is_empty()) {
            None => TimeZone::system(),
            Some(name) => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(error) => {
                    let message = format!("invalid timeZone: {name:?}: {error}");
                    self.record(Severity::Warning, "UnknownTimeZone", message);
                    return None;
                }
            },
        };
        match Schedule::parse(&spec.schedule) {
            Ok(schedule) => Some((schedule, zone)),
            Err(why) => {
                let message = format!("unparseable schedule for cronjob: {:?}: {why}", spec.schedule);
                self.record(Severity::Warning, "UnparseableSchedule", message);
                None
            }
        }
    }

    fn spec(&self) -> Spec {
        let from = &self.cron.spec;
        Spec {
            suspend: from.suspend,
            concurrency: match from.concurrency_policy.as_str() {
                "Forbid" => Concurrency::Forbid,
                "Replace" => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            starting_deadline_seconds: from.starting_deadline_seconds,
            keep_successful: from.successful_jobs_history_limit,
            keep_failed: from.failed_jobs_history_limit,
            created: self.cron.meta.created(),
            deleting: self.cron.meta.deleting(),
        }
    }

    fn times(&self) -> Times {
        let from = &self.cron.status;
        Times {
            scheduled: from.last_schedule_time.map(|it| it.0),
            successful: from.last_successful_time.map(|it| it.0),
        }
    }

    fn tell(&self, plan: &Plan, jobs: &[Arc<JobView>]) {
        for note in &plan.notes {
            match note {
                Note::Ended(at) => {
                    let job = &jobs[*at];
                    let state = self.row(job).state;
                    let message = format!("Saw completed job: {}, condition: {state:?}", job.meta.name);
                    self.record(Severity::Normal, "SawCompletedJob", message);
                }
                Note::TooManyMissed => {
                    let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check \
                                   clock skew";
                    self.record(Severity::Warning, "TooManyMissedTimes", message.to_owned());
                }
                Note::StillRunning => {
                    let message =
                        "Not starting job because prior execution is running and concurrency policy is Forbid";
                    self.record(Severity::Normal, "JobAlreadyActive", message.to_owned());
                }
            }
        }
    }

    fn record(&self, severity: Severity, reason: &'static str, message: String) {
        self.recorder.record(&CRON_JOBS, &self.cron.meta, severity, reason, message);
    }

    async fn delete(&self, job: &JobView) -> Result<(), ApiError> {
        let target = Target::object(&JOBS, &job.meta.namespace, &job.meta.name);
        let options =
            DeleteOptions { uid: Some(&job.meta.uid), propagation: Some("Background"), ..DeleteOptions::default() };
        self.context.api.delete(target, options).await?;
        self.record(Severity::Normal, "SuccessfulDelete", format!("Deleted job {}", job.meta.name));
        Ok(())
    }

    /// Creates the Job of a time; its name says which, so that no time gets two.
    async fn start(&self, time: Seconds, zone: Option<&TimeZone>) -> Result<JobReference, ApiError> {
        let name = format!("{}-{}", self.cron.meta.name, time.div_euclid(60));
        let body = self.manifest(&name, time, zone).to_string().into_bytes();
        let target = Target::collection(&JOBS, &self.cron.meta.namespace);
        match self.context.api.create_as::<JobView>(target, body).await {
            Ok(job) => {
                self.record(Severity::Normal, "SuccessfulCreate", format!("Created job {name}"));
                Ok(reference(&job))
            }
            Err(error) if error.exists() => {
                let target = Target::object(&JOBS, &self.cron.meta.namespace, &name);
                let present: JobView = self.context.api.get(target, "").await?;
                let ours = present.meta.controller().is_some_and(|it| it.uid == self.cron.meta.uid);
                if ours { Ok(reference(&present)) } else { Err(error) }
            }
            Err(error) => {
                self.record(Severity::Warning, "FailedCreate", format!("Error creating job: {}", error.message()));
                Err(error)
            }
        }
    }

    fn manifest(&self, name: &str, time: Seconds, zone: Option<&TimeZone>) -> Value {
        let template = &self.cron.spec.job_template;
        let of = |field: &str| template["metadata"][field].as_object().cloned().unwrap_or_default();
        let mut annotations: Map<String, Value> = of("annotations");
        annotations.insert(SCHEDULED.to_owned(), local(time, zone).into());
        let owner = OwnerReference {
            api_version: CRON_JOBS.api_version.as_ref().into(),
            kind: CRON_JOBS.kind.as_ref().into(),
            name: self.cron.meta.name.clone(),
            uid: self.cron.meta.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        };
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "namespace": self.cron.meta.namespace, "labels": of("labels"),
                "annotations": annotations, "ownerReferences": [owner.to_json()],
            },
            "spec": template["spec"],
        })
    }

    async fn write_status(&self, times: Times, mut active: Vec<JobReference>) -> Result<(), ApiError> {
        active.sort_by(|a, b| a.name.cmp(&b.name));
        active.dedup();
        let mut old = self.cron.status.active.clone();
        old.sort_by(|a, b| a.name.cmp(&b.name));
        if times == self.times() && active == old {
            return Ok(());
        }
        let namespace = &self.cron.meta.namespace;
        let row = |it: &JobReference| json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": namespace, "name": it.name, "uid": it.uid});
        let active: Value = if active.is_empty() { Value::Null } else { active.iter().map(row).collect() };
        let patch = json!({"status": {
            "active": active,
            "lastScheduleTime": times.scheduled.map(rfc3339),
            "lastSuccessfulTime": times.successful.map(rfc3339),
        }});
        let target = Target::object(&CRON_JOBS, namespace, &self.cron.meta.name).sub("status");
        match self.context.api.merge::<CronJobView>(target, &patch).await {
            Ok(written) => self.context.stores.cron_jobs.absorb(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn reference(job: &JobView) -> JobReference {
    JobReference { name: job.meta.name.to_string(), uid: job.meta.uid.to_string() }
}

/// A moment as clocks of the zone show it, with the zone's offset.
fn local(time: Seconds, zone: Option<&TimeZone>) -> String {
    let Some(zone) = zone else { return rfc3339(time) };
    let Ok(time) = Timestamp::from_second(time) else { return String::new() };
    let offset = zone.to_offset(time);
    if offset.is_zero() { time.to_string() } else { time.display_with_offset(offset).to_string() }
}

/// The pause until shortly after a moment.
fn until(moment: Seconds) -> Duration {
    let left = moment.saturating_mul(1000).saturating_sub(Timestamp::now().as_millisecond());
    Duration::from_millis(u64::try_from(left).unwrap_or(0)) + SLACK
}
