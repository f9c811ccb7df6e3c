//! Which pods each Service selects, kept as both change: a changed pod then wakes the Services that it concerns without a look
//! at all others, and a pass over a Service looks at its own pods.
//!
//! Entry points: [`Selected::service_changed`] and [`Selected::pod_changed`] take changes in, each kind's one after another;
//! [`Selected::services`] and [`Selected::pods`] answer.
//!
//! A Service is filed under one label of its selector, its anchor, and pods are filed under those of their labels that are an
//! anchor. What is found there is still held against the whole selector.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use parking_lot::RwLock;

use crate::{
    store::{Change, Store},
    view::{Key, Strings, network::ServiceView, pod::PodView},
};

/// Services and pods by anchors.
#[derive(Default)]
pub(crate) struct Selected(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    namespaces: HashMap<Box<str>, Labels>,
    anchors: HashMap<Key, Anchor>,
}

/// What is filed under labels of one namespace, by key and value.
type Labels = HashMap<Box<str>, HashMap<Box<str>, Group>>;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    key: Box<str>,
    value: Box<str>,
}

/// What is filed under one label.
#[derive(Default)]
struct Group {
    services: HashSet<Key>,
    pods: HashSet<Named>,
}

/// A pod, by its name.
struct Named(Arc<PodView>);

impl Selected {
    /// Takes in a change of a Service; `pods` are all there are.
    pub(crate) fn service_changed(&self, change: &Change<ServiceView>, pods: &Store<PodView>) {
        let selector = |it: &Option<Arc<ServiceView>>| {
            it.as_ref().filter(|it| it.selects()).map(|it| it.spec.selector.clone()).unwrap_or_default()
        };
        let Some(service) = change.latest() else { return };
        let key = service.meta.key();
        let wanted = selector(&change.new);
        let mut inner = self.0.write();
        if let Some(anchor) = inner.anchors.get(&key) {
            if wanted.get(&anchor.key) == Some(&*anchor.value) {
                return;
            }
            inner.unfile(&key);
        }
        if let Some(anchor) = inner.choose(&key.namespace, &wanted) {
            inner.file(key, anchor, pods);
        }
    }

    /// Takes in a change of a pod.
    pub(crate) fn pod_changed(&self, change: &Change<PodView>) {
        let Some(pod) = change.latest() else { return };
        if !self.0.read().namespaces.contains_key(&*pod.meta.namespace) {
            return;
        }
        let mut inner = self.0.write();
        let Some(labels) = inner.namespaces.get_mut(&*pod.meta.namespace) else { return };
        if let Some(old) = &change.old {
            groups(labels, &old.meta.labels, |it| {
                it.pods.remove(&*old.meta.name);
            });
        }
        if let Some(new) = &change.new {
            groups(labels, &new.meta.labels, |it| {
                it.pods.replace(Named(new.clone()));
            });
        }
    }

    /// The Services that may select a pod as it was or as it is.
    pub(crate) fn services(&self, change: &Change<PodView>) -> HashSet<Key> {
        let inner = self.0.read();
        let mut found = HashSet::new();
        for pod in [&change.old, &change.new].into_iter().flatten() {
            let Some(labels) = inner.namespaces.get(&*pod.meta.namespace) else { continue };
            for (key, value) in pod.meta.labels.iter() {
                let group = labels.get(key).and_then(|it| it.get(value));
                found.extend(group.into_iter().flat_map(|it| &it.services).cloned());
            }
        }
        found
    }

    /// The pods that a Service selects; `None` when it is not filed, or under a label that is not in its selector: a change of it
    /// is under way.
    pub(crate) fn pods(&self, service: &ServiceView) -> Option<Vec<Arc<PodView>>> {
        let inner = self.0.read();
        let anchor = inner.anchors.get(&service.meta.key())?;
        if service.spec.selector.get(&anchor.key) != Some(&*anchor.value) {
            return None;
        }
        let group = inner.namespaces.get(&*service.meta.namespace)?.get(&anchor.key)?.get(&anchor.value)?;
        let pods = group.pods.iter().map(|it| &it.0);
        Some(pods.filter(|it| service.matches(&it.meta.labels)).cloned().collect())
    }
}

impl Inner {
    /// The label of a selector under which the fewest Services are filed: of many that have one in common each has its own.
    fn choose(&self, namespace: &str, selector: &Strings) -> Option<Anchor> {
        let filed = |key: &str, value: &str| {
            let group = self.namespaces.get(namespace).and_then(|it| it.get(key)?.get(value));
            group.map_or(0, |it| it.services.len())
        };
        let (key, value) = selector.iter().min_by_key(|(key, value)| filed(key, value))?;
        Some(Anchor { key: key.into(), value: value.into() })
    }

    fn file(&mut self, service: Key, anchor: Anchor, pods: &Store<PodView>) {
        let labels = self.namespaces.entry((*service.namespace).into()).or_default();
        let group = labels.entry(anchor.key.clone()).or_default().entry(anchor.value.clone()).or_insert_with(|| {
            // Under the lock: a pod that changes meanwhile is filed after this.
            let mut pods = pods.in_namespace(&service.namespace);
            pods.retain(|it| it.meta.labels.get(&anchor.key) == Some(&*anchor.value));
            Group { pods: pods.into_iter().map(Named).collect(), ..Group::default() }
        });
        group.services.insert(service.clone());
        self.anchors.insert(service, anchor);
    }

    fn unfile(&mut self, service: &Key) {
        let Some(anchor) = self.anchors.remove(service) else { return };
        let Some(labels) = self.namespaces.get_mut(&*service.namespace) else { return };
        let Some(values) = labels.get_mut(&anchor.key) else { return };
        if let Some(group) = values.get_mut(&anchor.value) {
            group.services.remove(service);
            if group.services.is_empty() {
                values.remove(&anchor.value);
            }
        }
        if values.is_empty() {
            labels.remove(&anchor.key);
        }
        if labels.is_empty() {
            self.namespaces.remove(&*service.namespace);
        }
    }
}

/// Calls `each` with what is filed under any of these labels.
fn groups(labels: &mut Labels, of: &Strings, mut each: impl FnMut(&mut Group)) {
    for (key, value) in of.iter() {
        if let Some(group) = labels.get_mut(key).and_then(|it| it.get_mut(value)) {
            each(group);
        }
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.meta.name
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let name: &str = self.borrow();
        name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.meta.name == other.0.meta.name
    }
}

impl Eq for Named {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::{dice::Dice, reflect::Sink, view::View};

    /// Caches that tell an index of every change.
    struct World {
        pods: Arc<Store<PodView>>,
        services: Arc<Store<ServiceView>>,
        selected: Arc<Selected>,
        /// Services that the last change of a pod may concern.
        woken: Arc<RwLock<HashSet<Key>>>,
    }

    impl World {
        fn new() -> World {
            let (pods, services) = (Store::<PodView>::new(), Store::<ServiceView>::new());
            let selected = Arc::new(Selected::default());
            let woken: Arc<RwLock<HashSet<Key>>> = Arc::default();
            let (index, told) = (selected.clone(), woken.clone());
            pods.listen(move |change| {
                index.pod_changed(change);
                *told.write() = index.services(change);
            });
            let (index, all) = (selected.clone(), pods.clone());
            services.listen(move |change| index.service_changed(change, &all));
            World { pods, services, selected, woken }
        }

        /// Holds the index against a look at everything.
        fn check(&self, what: &str) {
            let names = |pods: &[Arc<PodView>]| -> BTreeSet<String> {
                pods.iter().map(|it| it.meta.name.to_string()).collect()
            };
            for service in self.services.all() {
                let mut naive = self.pods.in_namespace(&service.meta.namespace);
                naive.retain(|it| service.matches(&it.meta.labels));
                match self.selected.pods(&service) {
                    Some(pods) => assert_eq!(names(&pods), names(&naive), "{what}: {:?}", service.meta.name),
                    None => assert!(!service.selects(), "{what}: {:?} is not filed", service.meta.name),
                }
            }
        }
    }

    fn pod(namespace: &str, name: &str, version: u64, labels: serde_json::Value) -> PodView {
        let metadata = json!({"name": name, "namespace": namespace, "uid": name, "resourceVersion": version.to_string(),
            "labels": labels});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn service(namespace: &str, name: &str, version: u64, selector: serde_json::Value) -> ServiceView {
        let metadata =
            json!({"name": name, "namespace": namespace, "uid": name, "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": selector}})).unwrap()
    }

    #[test]
    fn services_know_their_pods_whatever_comes_first_and_however_both_change() {
        let world = World::new();
        let mut dice = Dice::new(7);
        let mut next = |below| dice.roll(below);
        for step in 1..4000u64 {
            let namespace = ["a", "b"][next(2) as usize];
            let mut labels = json!({});
            for key in ["app", "tier", "part-of"].into_iter().take(next(4) as usize) {
                labels[key] = ["x", "y", "z"][next(3) as usize].into();
            }
            let name = format!("it-{}", next(8));
            match next(6) {
                0 => world.services.remove(service(namespace, &name, step, labels)),
                1 | 2 => world.services.apply(service(namespace, &name, step, labels)),
                3 => world.pods.remove(pod(namespace, &name, step, labels)),
                _ => {
                    let before = world.pods.get(&Key::new(namespace, &name));
                    let after = pod(namespace, &name, step, labels);
                    world.pods.apply(after.clone());
                    let concerned = |it: &Arc<ServiceView>| {
                        let is = |pod: &PodView| it.matches(&pod.meta.labels);
                        it.selects() && (is(&after) || before.as_deref().is_some_and(is))
                    };
                    let woken = world.woken.read();
                    for it in world.services.in_namespace(namespace).iter().filter(|it| concerned(it)) {
                        assert!(woken.contains(&it.meta().key()), "step {step}: {:?} is not woken", it.meta.name);
                    }
                }
            }
            world.check(&format!("step {step}"));
        }
    }

    #[test]
    fn a_label_that_all_services_select_is_nobodys_anchor_for_long_and_nothing_is_left_at_the_end() {
        let world = World::new();
        let selector = |it: u64| json!({"part-of": "shop", "app": it.to_string()});
        (0..20).for_each(|it| world.services.apply(service("ns", &it.to_string(), it + 1, selector(it))));
        world.pods.apply(pod("ns", "p", 30, selector(7)));
        let woken: Vec<String> = world.woken.read().iter().map(|it| it.name.to_string()).collect();
        assert!(woken.len() <= 2 && woken.contains(&"7".to_owned()), "{woken:?}");
        (0..20).for_each(|it| world.services.remove(service("ns", &it.to_string(), it + 40, selector(it))));
        let inner = world.selected.0.read();
        assert!(inner.namespaces.is_empty() && inner.anchors.is_empty());
    }
}
