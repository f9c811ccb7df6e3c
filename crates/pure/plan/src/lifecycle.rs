//! What a node's state means for the node's taints, and what its taints mean for its pods.
//!
//! Entry points: [`taints`] and [`departure`].

use crate::{
    Seconds,
    schedule::{Effect, Taint, Toleration},
};

/// What is known of a node's state; a condition that the node does not have is false.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Its `Ready` condition; `None` for `Unknown`.
    pub ready: Option<bool>,
    /// `MemoryPressure`.
    pub memory_pressure: bool,
    /// `DiskPressure`.
    pub disk_pressure: bool,
    /// `PIDPressure`.
    pub pid_pressure: bool,
    /// `NetworkUnavailable`.
    pub network_unavailable: bool,
    /// Cordoned.
    pub unschedulable: bool,
}

/// Keys that follow from a node's state; taints of other keys are the user's.
pub const KEYS: [&str; 7] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
];

/// The taints that the state means, as key and effect.
pub fn taints(state: State) -> Vec<(&'static str, Effect)> {
    let [not_ready, unreachable, rest @ ..] = KEYS;
    let mut taints = match state.ready {
        Some(true) => Vec::new(),
        Some(false) => vec![(not_ready, Effect::NoSchedule), (not_ready, Effect::NoExecute)],
        None => vec![(unreachable, Effect::NoSchedule), (unreachable, Effect::NoExecute)],
    };
    let held = [
        state.memory_pressure,
        state.disk_pressure,
        state.pid_pressure,
        state.network_unavailable,
        state.unschedulable,
    ];
    taints.extend(rest.into_iter().zip(held).filter(|it| it.1).map(|it| (it.0, Effect::NoSchedule)));
    taints
}

/// A pod's toleration of a taint that drives pods out.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Which taints.
    pub toleration: Toleration,
    /// For how long; `None` for ever.
    pub seconds: Option<i64>,
}

/// When a pod has to leave a node with these taints; `None` when it may stay. Each taint comes with the moment since
/// which it drives the pod out.
pub fn departure(taints: &[(Taint, Seconds)], patience: &[Patience]) -> Option<Seconds> {
    let driving = taints.iter().filter(|it| it.0.effect == Effect::NoExecute);
    let ends = driving.filter_map(|(taint, since)| {
        let accepting: Vec<&Patience> = patience.iter().filter(|it| it.toleration.accepts(taint)).collect();
        if accepting.is_empty() {
            return Some(*since);
        }
        // As Kubernetes has it, the least patient of those that apply decides.
        accepting.iter().filter_map(|it| it.seconds).min().map(|it| since + it.max(0))
    });
    ends.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_becomes_taints() {
        let words = |state: State| {
            let all = taints(state)
                .into_iter()
                .map(|(key, effect)| format!("{}:{effect:?}", key.trim_start_matches("node.kubernetes.io/")));
            all.collect::<Vec<_>>().join(" ")
        };
        let fine = State { ready: Some(true), ..State::default() };
        assert_eq!(words(fine), "");
        assert_eq!(words(State { ready: Some(false), ..fine }), "not-ready:NoSchedule not-ready:NoExecute");
        assert_eq!(words(State { ready: None, ..fine }), "unreachable:NoSchedule unreachable:NoExecute");
        let pressed = State { disk_pressure: true, unschedulable: true, ..fine };
        assert_eq!(words(pressed), "disk-pressure:NoSchedule unschedulable:NoSchedule");
    }

    #[test]
    fn the_least_patient_toleration_decides() {
        let taint = |key: &str, effect| Taint { key: key.into(), value: String::new(), effect };
        let out = taint("a", Effect::NoExecute);
        let tolerates = |key: &str, seconds| Patience {
            toleration: Toleration { key: key.into(), value: None, effect: None },
            seconds,
        };
        for (patience, want) in [
            (vec![], Some(100)),
            (vec![tolerates("b", None)], Some(100)),
            (vec![tolerates("a", None)], None),
            (vec![tolerates("a", Some(30))], Some(130)),
            (vec![tolerates("a", Some(30)), tolerates("", Some(10)), tolerates("a", None)], Some(110)),
            (vec![tolerates("a", Some(-5))], Some(100)),
        ] {
            assert_eq!(departure(&[(out.clone(), 100)], &patience), want, "{patience:?}");
        }
        assert_eq!(departure(&[(taint("a", Effect::NoSchedule), 100)], &[]), None);
        let two = [(out, 100), (taint("b", Effect::NoExecute), 90)];
        assert_eq!(departure(&two, &[tolerates("a", None)]), Some(90));
    }
}
