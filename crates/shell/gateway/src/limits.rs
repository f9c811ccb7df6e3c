//! How many requests a pod may have under way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use eyot_dispatch::Caller;

/// Requests under way, by namespace and name of the pod.
type ByPod = papaya::HashMap<(Arc<str>, Arc<str>), Arc<AtomicUsize>>;

/// Counts requests of guests by pod and refuses those above a bound.
///
/// A pod has an entry only while it has requests under way, so idle pods cost nothing.
#[derive(Debug)]
pub(crate) struct InFlight {
    by_pod: Arc<ByPod>,
    max: usize,
}

/// One request under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    by_pod: Arc<ByPod>,
    pod: (Arc<str>, Arc<str>),
    count: Arc<AtomicUsize>,
}

impl InFlight {
    pub(crate) fn new(max: usize) -> Self {
        Self { by_pod: Arc::default(), max }
    }

    /// Starts a request of `caller`, or refuses it.
    pub(crate) fn start(&self, caller: &Caller) -> Option<Permit> {
        let pod = (caller.namespace.clone(), caller.pod.clone());
        let count = self.by_pod.pin().get_or_insert_with(pod.clone(), Arc::default).clone();
        let permit = Permit { by_pod: self.by_pod.clone(), pod, count };
        let before = permit.count.fetch_add(1, Relaxed);
        (before < self.max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Relaxed) == 1 {
            // A request that starts at this moment may hold the removed counter: it is then not counted, which loosens
            // the bound by one for as long as that request lasts.
            let _ =
                self.by_pod.pin().remove_if(&self.pod, |_, it| Arc::ptr_eq(it, &self.count) && it.load(Relaxed) == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_at_its_bound_is_refused_until_a_request_ends_and_others_are_not() {
        let caller = |pod: &str| Caller { namespace: "ns".into(), pod: pod.into() };
        let limit = InFlight::new(2);
        let (one, two) = (limit.start(&caller("a")).unwrap(), limit.start(&caller("a")).unwrap());
        assert!(limit.start(&caller("a")).is_none());
        assert!(limit.start(&caller("b")).is_some());
        drop(one);
        assert!(limit.start(&caller("a")).is_some());
        drop(two);
        assert!(limit.by_pod.is_empty());
    }
}
