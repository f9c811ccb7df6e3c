//! When a CronJob starts its next Job, and which old ones it forgets.
//!
//! Entry point: [`plan`]. The schedule arrives as a function from a moment to the next time after it.
//!
//! However many times were missed, at most one Job is started for them: the one of the latest.

use crate::Seconds;

/// So many missed times are worth a warning, as in Kubernetes.
const MISSED_MAX: usize = 100;

/// What to do when a Job still runs as the next is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// Start it all the same.
    #[default]
    Allow,
    /// Leave the new one out.
    Forbid,
    /// Delete the old one.
    Replace,
}

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Start nothing.
    pub suspend: bool,
    /// When one still runs.
    pub concurrency: Concurrency,
    /// A Job may start so many seconds late.
    pub starting_deadline_seconds: Option<i64>,
    /// Successful Jobs to keep; `None` for all.
    pub keep_successful: Option<i32>,
    /// Failed Jobs to keep; `None` for all.
    pub keep_failed: Option<i32>,
    /// When the CronJob was created.
    pub created: Seconds,
    /// It is being deleted.
    pub deleting: bool,
}

/// How a Job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Neither complete nor failed.
    #[default]
    Running,
    /// Complete.
    Complete,
    /// Failed.
    Failed,
}

/// A Job of the CronJob.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// How it stands.
    pub state: State,
    /// The schedule started it, not a person.
    pub scheduled: bool,
    /// When it started, or was created.
    pub started: Seconds,
    /// When it completed.
    pub completed: Option<Seconds>,
    /// Being deleted.
    pub deleting: bool,
    /// The status lists it as active.
    pub listed: bool,
}

/// Times in `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The last time for which a Job was started.
    pub scheduled: Option<Seconds>,
    /// When a Job last completed well.
    pub successful: Option<Seconds>,
}

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The Job at this index has ended.
    Ended(usize),
    /// More times were missed than can be meant.
    TooManyMissed,
    /// A Job still runs, so none was started.
    StillRunning,
}

/// What to do in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Jobs that run, by index.
    pub active: Vec<usize>,
    /// Ended Jobs beyond the history limits, by index.
    pub forget: Vec<usize>,
    /// Running Jobs to delete before the new one starts, by index.
    pub replace: Vec<usize>,
    /// Start the Job of this time.
    pub start: Option<Seconds>,
    /// Times to write, that of a started Job not included.
    pub times: Times,
    /// Things to tell.
    pub notes: Vec<Note>,
    /// When to look again.
    pub next: Option<Seconds>,
}

/// Decides one pass. `after` gives the first scheduled time after a moment; `None` when the schedule cannot be read.
pub fn plan(
    spec: &Spec,
    times: Times,
    jobs: &[Job],
    after: Option<&dyn Fn(Seconds) -> Option<Seconds>>,
    now: Seconds,
) -> Plan {
    let running = |it: &usize| jobs[*it].state == State::Running && !jobs[*it].deleting;
    let active: Vec<usize> =
        (0..jobs.len()).filter(running).filter(|it| jobs[*it].scheduled || jobs[*it].listed).collect();
    let mut plan = Plan { active, forget: forget(spec, jobs), times, ..Plan::default() };
    let ended = |it: &usize| jobs[*it].listed && jobs[*it].state != State::Running;
    plan.notes.extend((0..jobs.len()).filter(ended).map(Note::Ended));
    plan.times.successful = jobs.iter().filter_map(|it| it.completed).chain(times.successful).max();
    let Some(after) = after.filter(|_| !spec.deleting && !spec.suspend) else { return plan };
    plan.next = after(now);
    let Some((due, many)) = due(spec, times, after, now) else { return plan };
    if many {
        plan.notes.push(Note::TooManyMissed);
    }
    match spec.concurrency {
        Concurrency::Forbid if !plan.active.is_empty() => plan.notes.push(Note::StillRunning),
        Concurrency::Replace => {
            plan.replace = std::mem::take(&mut plan.active);
            plan.start = Some(due);
        }
        _ => plan.start = Some(due),
    }
    plan
}

/// The latest time that is due, and whether too many were missed.
fn due(spec: &Spec, times: Times, after: &dyn Fn(Seconds) -> Option<Seconds>, now: Seconds) -> Option<(Seconds, bool)> {
    let since = times.scheduled.unwrap_or(spec.created);
    let since = spec.starting_deadline_seconds.map_or(since, |it| since.max(now.saturating_sub(it)));
    let comes = |from: Seconds| after(from).filter(|it| *it <= now);
    let mut missed = 0;
    let mut from = since;
    while let Some(time) = comes(from)
        && missed <= MISSED_MAX
    {
        (missed, from) = (missed + 1, time);
    }
    if missed <= MISSED_MAX {
        return (missed > 0).then_some((from, false));
    }
    // Something is due after `low`, and nothing after `high`.
    let (mut low, mut high) = (from - 1, now);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if comes(middle).is_some() {
            low = middle;
        } else {
            high = middle;
        }
    }
    comes(low).map(|it| (it, true))
}

/// The oldest ended Jobs beyond the limits.
fn forget(spec: &Spec, jobs: &[Job]) -> Vec<usize> {
    let beyond = |state: State, limit: Option<i32>| {
        let mut ended: Vec<usize> =
            (0..jobs.len()).filter(|it| jobs[*it].state == state && !jobs[*it].deleting).collect();
        let keep = limit.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(0));
        ended.sort_by_key(|it| (jobs[*it].started, *it));
        ended.truncate(ended.len().saturating_sub(keep));
        ended
    };
    let mut all = beyond(State::Complete, spec.keep_successful);
    all.extend(beyond(State::Failed, spec.keep_failed));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every ten seconds.
    fn tens(after: Seconds) -> Option<Seconds> {
        Some((after.div_euclid(10) + 1) * 10)
    }

    fn run(spec: &Spec, last: Option<Seconds>, jobs: &[Job], now: Seconds) -> Plan {
        plan(spec, Times { scheduled: last, successful: None }, jobs, Some(&tens), now)
    }

    fn running() -> Job {
        Job { scheduled: true, listed: true, ..Job::default() }
    }

    #[test]
    fn one_job_is_started_for_the_latest_of_the_times_missed() {
        let spec = Spec { created: 100, ..Spec::default() };
        for (last, now, start, next) in [
            (None, 105, None, 110),
            (None, 110, Some(110), 120),
            (None, 149, Some(140), 150),
            (Some(140), 149, None, 150),
            (Some(140), 155, Some(150), 160),
        ] {
            let plan = run(&spec, last, &[], now);
            assert_eq!((plan.start, plan.next, plan.notes.len()), (start, Some(next), 0), "{last:?} {now}");
        }
        let late = run(&spec, None, &[], 1_000_000_005);
        assert_eq!((late.start, late.notes.as_slice()), (Some(1_000_000_000), &[Note::TooManyMissed][..]));
    }

    #[test]
    fn a_deadline_limits_how_late_a_job_may_start() {
        let spec = Spec { starting_deadline_seconds: Some(3), ..Spec::default() };
        assert_eq!(run(&spec, None, &[], 112).start, Some(110));
        assert_eq!(run(&spec, None, &[], 115).start, None);
        assert_eq!(run(&spec, None, &[], 1_000_000_001).notes, []);
    }

    #[test]
    fn a_job_that_still_runs_is_let_be_waited_for_or_replaced() {
        let with = |concurrency| run(&Spec { concurrency, ..Spec::default() }, Some(100), &[running()], 110);
        assert_eq!((with(Concurrency::Allow).start, with(Concurrency::Allow).active), (Some(110), vec![0]));
        let held = with(Concurrency::Forbid);
        assert_eq!((held.start, held.notes.as_slice()), (None, &[Note::StillRunning][..]));
        let replaced = with(Concurrency::Replace);
        assert_eq!((replaced.start, replaced.replace, replaced.active), (Some(110), vec![0], vec![]));
        let by_hand = Job { scheduled: false, listed: false, ..running() };
        let spec = Spec { concurrency: Concurrency::Forbid, ..Spec::default() };
        assert_eq!(run(&spec, Some(100), &[by_hand], 110).start, Some(110));
    }

    #[test]
    fn suspension_and_bad_schedules_start_nothing_but_keep_the_books() {
        let done = Job { state: State::Complete, completed: Some(50), ..running() };
        let spec = Spec { suspend: true, keep_successful: Some(0), ..Spec::default() };
        let plan_of = run(&spec, None, std::slice::from_ref(&done), 110);
        assert_eq!((plan_of.start, plan_of.next, plan_of.forget.as_slice()), (None, None, &[0][..]));
        assert_eq!((plan_of.times.successful, plan_of.notes.as_slice()), (Some(50), &[Note::Ended(0)][..]));
        let unread = plan(&Spec::default(), Times::default(), &[done], None, 110);
        assert_eq!((unread.start, unread.active.len()), (None, 0));
    }

    #[test]
    fn history_keeps_the_latest_of_each_kind() {
        let job = |state, started| Job { state, started, ..running() };
        let jobs = [
            job(State::Complete, 30),
            job(State::Failed, 20),
            job(State::Complete, 10),
            job(State::Running, 40),
            job(State::Failed, 5),
            Job { deleting: true, ..job(State::Complete, 1) },
        ];
        let spec = Spec { keep_successful: Some(1), keep_failed: Some(0), suspend: true, ..Spec::default() };
        assert_eq!(run(&spec, None, &jobs, 50).forget, [2, 4, 1]);
        assert_eq!(run(&Spec { suspend: true, ..Spec::default() }, None, &jobs, 50).forget, Vec::<usize>::new());
    }
}
