//! From one metric to a number of replicas.

use super::Unknown;

/// How far from its target a metric may be before anything is done, as a share of the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above it.
    pub up: f64,
    /// Below it.
    pub down: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { up: 0.1, down: 0.1 }
    }
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// How a pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does its part.
    Ready,
    /// It starts: what it uses says nothing yet.
    Starting,
    /// It failed or is being deleted: it does not count.
    Leaving,
}

/// One pod of the target.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, for messages.
    pub name: String,
    /// How it stands.
    pub readiness: Readiness,
    /// What it uses; `None` where that is not known.
    pub usage: Option<f64>,
    /// What it asks for, in the same unit; `None` where it does not say.
    pub request: Option<f64>,
}

/// What is wanted of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Of what the pods request, in percent.
    Utilization(i32),
    /// For each pod.
    Average(f64),
}

/// What a metric of pods comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Replicas that would bring it to its target.
    pub replicas: i32,
    /// What each pod uses on average.
    pub average: f64,
    /// Of what the pods request, in percent, where the target is a percentage.
    pub utilization: Option<i32>,
}

/// Proposes replicas from what each pod uses. Pods that start count as idle when that slows growth; pods that are not
/// known count as idle when growing and as busy when shrinking, so that a guess never makes a change larger.
///
/// # Errors
/// No pod's usage is known, or a pod requests nothing of what the target is a percentage of.
pub fn from_pods(current: i32, target: Target, tolerance: Tolerance, pods: &[Pod]) -> Result<Sample, Unknown> {
    let known: Vec<&Pod> = pods.iter().filter(|it| it.readiness == Readiness::Ready && it.usage.is_some()).collect();
    let count = |what: fn(&&Pod) -> bool| pods.iter().filter(what).count();
    let starting = count(|it| it.readiness == Readiness::Starting);
    let missing = count(|it| it.readiness == Readiness::Ready && it.usage.is_none());
    if known.is_empty() {
        let message = "did not receive metrics for targeted pods (pods might be unready)";
        return Err(Unknown { reason: "FailedGetResourceMetric", message: message.to_owned() });
    }
    let scale = Scale::of(target, pods)?;
    let total: f64 = known.iter().filter_map(|it| it.usage).sum();
    let average = total / known.len() as f64;
    let ratio = scale.ratio(total, known.iter().copied());
    let utilization = scale.percent(total, known.iter().copied());
    let sample = |replicas| Sample { replicas, average, utilization };
    let growing = starting > 0 && ratio > 1.0;
    if !growing && missing == 0 {
        return Ok(sample(if tolerance.covers(ratio) { current } else { needed(ratio, known.len()) }));
    }
    let mut counted = known.clone();
    let mut total = total;
    for pod in pods.iter().filter(|it| it.readiness == Readiness::Ready && it.usage.is_none()) {
        total += if ratio < 1.0 { scale.busy(pod) } else { 0.0 };
        counted.push(pod);
    }
    if growing {
        counted.extend(pods.iter().filter(|it| it.readiness == Readiness::Starting));
    }
    let cautious = scale.ratio(total, counted.iter().copied());
    if tolerance.covers(cautious) || (ratio < 1.0) != (cautious < 1.0) {
        return Ok(sample(current));
    }
    let replicas = needed(cautious, counted.len());
    let turned = (cautious < 1.0 && replicas > current) || (cautious > 1.0 && replicas < current);
    Ok(sample(if turned { current } else { replicas }))
}

/// Proposes replicas from a number that belongs to all pods together, such as the length of a queue. `ready` is how many
/// replicas work on it now, `per_pod` whether the target is what one replica can take.
pub fn from_total(current: i32, total: f64, target: f64, per_pod: bool, ready: usize, tolerance: Tolerance) -> i32 {
    let share = if per_pod { target * f64::from(current.max(1)) } else { target };
    let ratio = total / share;
    match (tolerance.covers(ratio), per_pod) {
        (true, _) => current,
        (false, true) => needed(total / target, 1),
        (false, false) => needed(ratio, ready),
    }
}

/// How a usage is compared with its target.
enum Scale {
    Percent(f64),
    Average(f64),
}

impl Scale {
    fn of(target: Target, pods: &[Pod]) -> Result<Scale, Unknown> {
        let percent = match target {
            Target::Average(value) => return Ok(Scale::Average(value)),
            Target::Utilization(percent) => percent,
        };
        match pods.iter().find(|it| it.readiness != Readiness::Leaving && it.request.is_none()) {
            None => Ok(Scale::Percent(f64::from(percent))),
            Some(pod) => {
                let message = format!("missing request of the resource in a container of Pod {}", pod.name);
                Err(Unknown { reason: "FailedGetResourceMetric", message })
            }
        }
    }

    fn requested<'a>(pods: impl Iterator<Item = &'a Pod>) -> f64 {
        pods.filter_map(|it| it.request).sum()
    }

    fn ratio<'a>(&self, total: f64, pods: impl Iterator<Item = &'a Pod>) -> f64 {
        match self {
            Scale::Percent(target) => total * 100.0 / Self::requested(pods) / target,
            Scale::Average(target) => total / pods.count() as f64 / target,
        }
    }

    fn percent<'a>(&self, total: f64, pods: impl Iterator<Item = &'a Pod>) -> Option<i32> {
        match self {
            Scale::Percent(_) => Some((total * 100.0 / Self::requested(pods)) as i32),
            Scale::Average(_) => None,
        }
    }

    /// What a pod of unknown usage uses at most, as far as shrinking goes.
    fn busy(&self, pod: &Pod) -> f64 {
        match self {
            Scale::Percent(target) => pod.request.unwrap_or_default() * target.max(100.0) / 100.0,
            Scale::Average(target) => *target,
        }
    }
}

/// So many pods bring a ratio to one. A hair above a whole number, as sums of decimals come out, is that number.
fn needed(ratio: f64, pods: usize) -> i32 {
    let exact = ratio * pods as f64;
    (exact - 1e-9).ceil().clamp(0.0, f64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(readiness: Readiness, usage: Option<f64>) -> Pod {
        Pod { name: "p".into(), readiness, usage, request: Some(1.0) }
    }

    fn ready(usages: &[f64]) -> Vec<Pod> {
        usages.iter().map(|it| pod(Readiness::Ready, Some(*it))).collect()
    }

    fn propose(current: i32, percent: i32, pods: &[Pod]) -> i32 {
        from_pods(current, Target::Utilization(percent), Tolerance::default(), pods).expect("known").replicas
    }

    #[test]
    fn usage_is_brought_to_its_target() {
        assert_eq!(propose(3, 30, &ready(&[0.3, 0.5, 0.7])), 5);
        assert_eq!(propose(5, 100, &ready(&[0.2, 0.3, 0.1, 0.2, 0.2])), 1);
        assert_eq!(propose(3, 100, &ready(&[1.05, 0.95, 1.05])), 3, "close enough");
        let average = from_pods(2, Target::Average(10.0), Tolerance::default(), &ready(&[20.0, 40.0])).expect("known");
        assert_eq!((average.replicas, average.average, average.utilization), (6, 30.0, None));
    }

    #[test]
    fn guesses_make_no_change_larger() {
        let mut pods = ready(&[0.9, 0.9]);
        pods.push(pod(Readiness::Starting, Some(9.9)));
        assert_eq!(propose(3, 50, &pods), 4, "a pod that starts is idle while growing: 1.8 of 3 is 60 %");
        let mut pods = ready(&[0.2, 0.2, 0.2]);
        pods.push(pod(Readiness::Ready, None));
        assert_eq!(propose(4, 100, &pods), 2, "one that is not known is busy while shrinking: 1.6 of 4 is 40 %");
        let mut pods = ready(&[0.55]);
        pods.push(pod(Readiness::Ready, None));
        assert_eq!(propose(2, 50, &pods), 2, "what turns the direction changes nothing");
        let mut pods = ready(&[0.4]);
        pods.push(pod(Readiness::Leaving, Some(5.0)));
        assert_eq!(propose(1, 40, &pods), 1, "who leaves does not count");
    }

    #[test]
    fn nothing_known_or_nothing_requested_is_told() {
        let told = |pods: &[Pod]| {
            from_pods(1, Target::Utilization(50), Tolerance::default(), pods).expect_err("unknown").message
        };
        assert_eq!(told(&[]), "did not receive metrics for targeted pods (pods might be unready)");
        let bare = Pod { request: None, ..pod(Readiness::Ready, Some(1.0)) };
        assert_eq!(told(&[bare]), "missing request of the resource in a container of Pod p");
    }

    #[test]
    fn a_total_is_shared_among_the_replicas() {
        assert_eq!(from_total(2, 100.0, 10.0, true, 2, Tolerance::default()), 10);
        assert_eq!(from_total(2, 21.0, 10.0, true, 2, Tolerance::default()), 2);
        assert_eq!(from_total(4, 50.0, 100.0, false, 4, Tolerance::default()), 2);
    }
}
