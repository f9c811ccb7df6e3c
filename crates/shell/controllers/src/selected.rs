//! Who selects which pods, kept as both change: a changed pod then wakes those that it concerns without a look at all others, a
//! pass over a Service or an autoscaler looks at its own pods, and a pass over a budget at numbers.
//!
//! Entry points: [`Selected::changed`] and [`Selected::pod_changed`] take changes in, each kind's one after another;
//! [`Selected::selecting`], [`Selected::pods`] and [`Selected::count`] answer.
//!
//! Whoever selects is filed under one label of its selector, its anchor, and pods are filed under those of their labels that are
//! an anchor. What is found there is still held against the whole selector. For a selector that asks for no label by its value all
//! pods of the namespace are filed.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use eyot_plan::selector::{Operator, Selector};
use parking_lot::RwLock;

use crate::{
    budget::Count,
    store::{Change, Store},
    view::{Key, Strings, pod::PodView},
};

/// Kinds that select pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Service,
    Budget,
    Autoscaler,
}

/// Who selects: kind and name.
type Who = (Kind, Key);

/// Whoever selects, and pods, by anchors.
#[derive(Default)]
pub(crate) struct Selected(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    namespaces: HashMap<Box<str>, Namespace>,
    anchors: HashMap<Who, Option<Anchor>>,
}

/// What is filed in one namespace.
#[derive(Default)]
struct Namespace {
    /// By key and value of a label.
    labels: HashMap<Box<str>, HashMap<Box<str>, Group>>,
    /// Without a label.
    all: Option<Group>,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    key: Box<str>,
    value: Box<str>,
}

/// What is filed under one label.
#[derive(Default)]
struct Group {
    selecting: HashSet<Who>,
    /// Of the budgets among them, what they count of the pods.
    counted: HashMap<Who, Counted>,
    pods: HashSet<Named>,
}

/// What a budget counts: always what a look at the pods beside it would come to.
struct Counted {
    selector: Selector,
    count: Count,
}

/// A pod, by its name.
struct Named(Arc<PodView>);

impl Selected {
    /// Takes in that somebody may select other pods, or none any more; `pods` are all there are. What it selects is asked for when
    /// nobody else changes that, so that the last word stays.
    pub(crate) fn changed(
        &self,
        kind: Kind,
        key: &Key,
        selector: impl Fn() -> Option<Selector>,
        pods: &Store<PodView>,
    ) {
        let who = (kind, key.clone());
        // What most changes are.
        if self.0.read().is_filed(&who, selector().as_ref()) {
            return;
        }
        let mut inner = self.0.write();
        inner.unfile(&who);
        if let Some(selector) = selector() {
            inner.file(who, selector, pods);
        }
    }

    /// Takes in a change of a pod.
    pub(crate) fn pod_changed(&self, change: &Change<PodView>) {
        let Some(pod) = change.latest() else { return };
        if !self.0.read().namespaces.contains_key(&*pod.meta.namespace) {
            return;
        }
        let mut inner = self.0.write();
        let Some(namespace) = inner.namespaces.get_mut(&*pod.meta.namespace) else { return };
        if let Some(old) = &change.old {
            namespace.groups(&old.meta.labels, |it| it.remove(&old.meta.name));
        }
        if let Some(new) = &change.new {
            namespace.groups(&new.meta.labels, |it| it.put(new));
        }
    }

    /// Who of a kind may select one of these pods. Budgets certainly do.
    pub(crate) fn selecting<'a>(&self, kind: Kind, pods: impl IntoIterator<Item = &'a Arc<PodView>>) -> HashSet<Key> {
        let inner = self.0.read();
        let mut found = HashSet::new();
        for pod in pods {
            let Some(namespace) = inner.namespaces.get(&*pod.meta.namespace) else { continue };
            let labels = pod.meta.labels.iter();
            let labeled = labels.filter_map(|(key, value)| namespace.labels.get(key)?.get(value));
            for group in labeled.chain(&namespace.all) {
                let selects = |who: &&Who| group.counted.get(*who).is_none_or(|it| it.selects(pod));
                let of_kind = group.selecting.iter().filter(|it| it.0 == kind);
                found.extend(of_kind.filter(selects).map(|it| it.1.clone()));
            }
        }
        found
    }

    /// The pods that somebody selects; `None` when it is not filed, or under a label that is not in its selector: a change of it
    /// is under way.
    pub(crate) fn pods(&self, kind: Kind, key: &Key, selector: &Selector) -> Option<Vec<Arc<PodView>>> {
        self.look(kind, key, selector, |pods| pods.cloned().collect())
    }

    /// One of them.
    pub(crate) fn one_pod(&self, kind: Kind, key: &Key, selector: &Selector) -> Option<Arc<PodView>> {
        self.look(kind, key, selector, |pods| pods.next().cloned())?
    }

    fn look<R>(
        &self,
        kind: Kind,
        key: &Key,
        selector: &Selector,
        look: impl FnOnce(&mut dyn Iterator<Item = &Arc<PodView>>) -> R,
    ) -> Option<R> {
        let inner = self.0.read();
        let anchor = inner.anchors.get(&(kind, key.clone()))?;
        if anchor.as_ref().is_some_and(|it| !it.is_of(selector)) {
            return None;
        }
        let group = inner.namespaces.get(&*key.namespace)?.group(anchor.as_ref())?;
        let selects = |it: &&Arc<PodView>| selector.matches(|key| it.meta.labels.get(key));
        Some(look(&mut group.pods.iter().map(|it| &it.0).filter(selects)))
    }

    /// What a budget counts; `None` when that is not by this selector: a change of it is under way.
    pub(crate) fn count(&self, budget: &Key, selector: &Selector) -> Option<Count> {
        let inner = self.0.read();
        let counted = inner.counted(&(Kind::Budget, budget.clone()))?;
        (counted.selector == *selector).then(|| counted.count.clone())
    }
}

impl Inner {
    /// Whether somebody who selects this, or nothing, is filed as it should be.
    fn is_filed(&self, who: &Who, selector: Option<&Selector>) -> bool {
        let (anchor, selector) = match (self.anchors.get(who), selector) {
            (Some(anchor), Some(selector)) => (anchor, selector),
            (anchor, selector) => return anchor.is_none() && selector.is_none(),
        };
        let is_under_it = match anchor {
            Some(anchor) => anchor.is_of(selector),
            None => labels_of(selector).next().is_none(),
        };
        is_under_it && (who.0 != Kind::Budget || self.counted(who).is_some_and(|it| it.selector == *selector))
    }

    fn counted(&self, who: &Who) -> Option<&Counted> {
        let anchor = self.anchors.get(who)?;
        self.namespaces.get(&*who.1.namespace)?.group(anchor.as_ref())?.counted.get(who)
    }

    /// The label of a selector under which the fewest are filed: of many that have one in common each has its own.
    fn choose(&self, namespace: &str, selector: &Selector) -> Option<Anchor> {
        let filed = |key: &str, value: &str| {
            let group = self.namespaces.get(namespace).and_then(|it| it.labels.get(key)?.get(value));
            group.map_or(0, |it| it.selecting.len())
        };
        let (key, value) = labels_of(selector).min_by_key(|(key, value)| filed(key, value))?;
        Some(Anchor { key: key.into(), value: value.into() })
    }

    fn file(&mut self, who: Who, selector: Selector, pods: &Store<PodView>) {
        let anchor = self.choose(&who.1.namespace, &selector);
        let new = || {
            // Under the lock: a pod that changes meanwhile is filed after this.
            let mut pods = pods.in_namespace(&who.1.namespace);
            pods.retain(|it| anchor.as_ref().is_none_or(|anchor| anchor.is_on(it)));
            Group { pods: pods.into_iter().map(Named).collect(), ..Group::default() }
        };
        let namespace = self.namespaces.entry((*who.1.namespace).into()).or_default();
        let group = match &anchor {
            Some(it) => namespace.labels.entry(it.key.clone()).or_default().entry(it.value.clone()).or_insert_with(new),
            None => namespace.all.get_or_insert_with(new),
        };
        group.selecting.insert(who.clone());
        if who.0 == Kind::Budget {
            let mut counted = Counted { selector, count: Count::default() };
            group.pods.iter().for_each(|it| counted.add(&it.0));
            group.counted.insert(who.clone(), counted);
        }
        self.anchors.insert(who, anchor);
    }

    fn unfile(&mut self, who: &Who) {
        let Some(anchor) = self.anchors.remove(who) else { return };
        let Some(namespace) = self.namespaces.get_mut(&*who.1.namespace) else { return };
        let leave = |group: &mut Group| {
            group.selecting.remove(who);
            group.counted.remove(who);
            group.selecting.is_empty()
        };
        match &anchor {
            Some(anchor) => {
                let Some(values) = namespace.labels.get_mut(&anchor.key) else { return };
                if values.get_mut(&anchor.value).is_some_and(leave) {
                    values.remove(&anchor.value);
                }
                if values.is_empty() {
                    namespace.labels.remove(&anchor.key);
                }
            }
            None if namespace.all.as_mut().is_some_and(leave) => namespace.all = None,
            None => {}
        }
        if namespace.labels.is_empty() && namespace.all.is_none() {
            self.namespaces.remove(&*who.1.namespace);
        }
    }
}

impl Namespace {
    fn group(&self, anchor: Option<&Anchor>) -> Option<&Group> {
        match anchor {
            Some(it) => self.labels.get(&it.key)?.get(&it.value),
            None => self.all.as_ref(),
        }
    }

    /// Calls `each` with what is filed under any of these labels, and what is under none.
    fn groups(&mut self, labels: &Strings, mut each: impl FnMut(&mut Group)) {
        for (key, value) in labels.iter() {
            if let Some(group) = self.labels.get_mut(key).and_then(|it| it.get_mut(value)) {
                each(group);
            }
        }
        self.all.iter_mut().for_each(each);
    }
}

impl Group {
    fn put(&mut self, pod: &Arc<PodView>) {
        self.remove(&pod.meta.name);
        self.counted.values_mut().for_each(|it| it.add(pod));
        self.pods.insert(Named(pod.clone()));
    }

    fn remove(&mut self, name: &str) {
        if let Some(old) = self.pods.take(name) {
            self.counted.values_mut().for_each(|it| it.take(&old.0));
        }
    }
}

impl Counted {
    fn selects(&self, pod: &PodView) -> bool {
        self.selector.matches(|key| pod.meta.labels.get(key))
    }

    fn add(&mut self, pod: &PodView) {
        if self.selects(pod) {
            self.count.add(pod);
        }
    }

    fn take(&mut self, pod: &PodView) {
        if self.selects(pod) {
            self.count.take(pod);
        }
    }
}

impl Anchor {
    /// Whether a selector asks for it.
    fn is_of(&self, selector: &Selector) -> bool {
        labels_of(selector).any(|it| it == (&*self.key, &*self.value))
    }

    /// Whether a pod has it.
    fn is_on(&self, pod: &PodView) -> bool {
        pod.meta.labels.get(&self.key) == Some(&*self.value)
    }
}

/// The labels that everything has which a selector picks.
fn labels_of(selector: &Selector) -> impl Iterator<Item = (&str, &str)> {
    let exact = selector.requirements.iter().filter(|it| it.operator == Operator::In && it.values.len() == 1);
    exact.map(|it| (it.key.as_str(), it.values[0].as_str()))
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
    use crate::{
        dice::Dice,
        reflect::Sink,
        view::{network::ServiceView, policy::BudgetView},
    };

    /// Caches that tell an index of every change.
    struct World {
        pods: Arc<Store<PodView>>,
        services: Arc<Store<ServiceView>>,
        budgets: Arc<Store<BudgetView>>,
        selected: Arc<Selected>,
        /// Services and budgets that the last change of a pod may concern.
        woken: Arc<RwLock<[HashSet<Key>; 2]>>,
    }

    impl World {
        fn new() -> World {
            let (pods, services, budgets) = (Store::new(), Store::<ServiceView>::new(), Store::<BudgetView>::new());
            let selected = Arc::new(Selected::default());
            let woken: Arc<RwLock<[HashSet<Key>; 2]>> = Arc::default();
            let (index, told) = (selected.clone(), woken.clone());
            pods.listen(move |change: &Change<PodView>| {
                index.pod_changed(change);
                let selecting = |kind| index.selecting(kind, change.old.iter().chain(&change.new));
                *told.write() = [selecting(Kind::Service), selecting(Kind::Budget)];
            });
            let (index, all, store) = (selected.clone(), pods.clone(), services.clone());
            services.listen(move |change| {
                let key = change.latest().unwrap().meta.key();
                let selector = || store.get(&key).filter(|it| it.selects()).map(|it| it.selector());
                index.changed(Kind::Service, &key, selector, &all);
            });
            let (index, all, store) = (selected.clone(), pods.clone(), budgets.clone());
            budgets.listen(move |change| {
                let key = change.latest().unwrap().meta.key();
                index.changed(Kind::Budget, &key, || store.get(&key)?.selector(), &all);
            });
            World { pods, services, budgets, selected, woken }
        }

        /// The pods of a namespace that a selector picks, by a look at each.
        fn picked(&self, namespace: &str, selector: &Selector) -> Vec<Arc<PodView>> {
            let mut all = self.pods.in_namespace(namespace);
            all.retain(|it| selector.matches(|key| it.meta.labels.get(key)));
            all
        }

        /// Holds the index against a look at everything.
        fn check(&self, what: &str) {
            let names = |pods: &[Arc<PodView>]| -> BTreeSet<String> {
                pods.iter().map(|it| it.meta.name.to_string()).collect()
            };
            for it in self.services.all() {
                let naive = self.picked(&it.meta.namespace, &it.selector());
                match self.selected.pods(Kind::Service, &it.meta.key(), &it.selector()) {
                    Some(pods) => assert_eq!(names(&pods), names(&naive), "{what}: {:?}", it.meta.name),
                    None => assert!(!it.selects(), "{what}: {:?} is not filed", it.meta.name),
                }
            }
            for it in self.budgets.all() {
                let Some(selector) = it.selector() else { continue };
                let mut naive = Count::default();
                self.picked(&it.meta.namespace, &selector).iter().for_each(|it| naive.add(it));
                let counted = self.selected.count(&it.meta.key(), &selector);
                assert_eq!(counted.as_ref(), Some(&naive), "{what}: {:?}", it.meta.name);
            }
        }
    }

    fn metadata(namespace: &str, name: &str, version: u64) -> serde_json::Value {
        json!({"name": name, "namespace": namespace, "uid": name, "resourceVersion": version.to_string()})
    }

    fn pod(namespace: &str, name: &str, version: u64, labels: serde_json::Value) -> PodView {
        let mut metadata = metadata(namespace, name, version);
        metadata["labels"] = labels;
        let owner =
            json!({"kind": "ReplicaSet", "name": "set", "uid": format!("u{}", version % 3), "controller": true});
        if !version.is_multiple_of(4) {
            metadata["ownerReferences"] = json!([owner]);
        }
        if version.is_multiple_of(5) {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let ready = json!([{"type": "Ready", "status": if version.is_multiple_of(2) { "True" } else { "False" },
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        serde_json::from_value(json!({"metadata": metadata, "status": {"conditions": ready}})).unwrap()
    }

    fn service(namespace: &str, name: &str, version: u64, selector: serde_json::Value) -> ServiceView {
        let metadata = metadata(namespace, name, version);
        serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": selector}})).unwrap()
    }

    /// A budget for all of these labels, or for none of their first value.
    fn budget(namespace: &str, name: &str, version: u64, labels: serde_json::Value) -> BudgetView {
        let metadata = metadata(namespace, name, version);
        let not = json!([{"key": "app", "operator": "NotIn", "values": ["x"]}]);
        let selector = match version % 4 {
            0 => serde_json::Value::Null,
            1 => json!({"matchExpressions": not}),
            _ => json!({"matchLabels": labels}),
        };
        serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": selector}})).unwrap()
    }

    #[test]
    fn who_selects_knows_its_pods_whatever_comes_first_and_however_both_change() {
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
            match next(9) {
                0 => world.services.remove(service(namespace, &name, step, labels)),
                1 | 2 => world.services.apply(service(namespace, &name, step, labels)),
                3 => world.budgets.remove(budget(namespace, &name, step, labels)),
                4 | 5 => world.budgets.apply(budget(namespace, &name, step, labels)),
                6 => world.pods.remove(pod(namespace, &name, step, labels)),
                _ => {
                    let before = world.pods.get(&Key::new(namespace, &name));
                    let after = Arc::new(pod(namespace, &name, step, labels));
                    world.pods.apply(PodView::clone(&after));
                    let is = |selector: &Selector| {
                        let of = |it: &Arc<PodView>| selector.matches(|key| it.meta.labels.get(key));
                        of(&after) || before.as_ref().is_some_and(of)
                    };
                    let [services, budgets] = &*world.woken.read();
                    for it in world.services.in_namespace(namespace) {
                        let asks = !it.selects() || !is(&it.selector()) || services.contains(&it.meta.key());
                        assert!(asks, "step {step}: Service {:?} is not woken", it.meta.name);
                    }
                    for it in world.budgets.in_namespace(namespace) {
                        let asks = it.selector().is_some_and(|it| is(&it));
                        assert_eq!(asks, budgets.contains(&it.meta.key()), "step {step}: budget {:?}", it.meta.name);
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
        (0..20).for_each(|it| world.budgets.apply(budget("ns", &it.to_string(), it + 1, selector(it))));
        world.pods.apply(pod("ns", "p", 30, selector(7)));
        let woken: Vec<String> = world.woken.read()[0].iter().map(|it| it.name.to_string()).collect();
        assert!(woken.len() <= 2 && woken.contains(&"7".to_owned()), "{woken:?}");
        (0..20).for_each(|it| world.services.remove(service("ns", &it.to_string(), it + 40, selector(it))));
        (0..20).for_each(|it| world.budgets.remove(budget("ns", &it.to_string(), it + 40, selector(it))));
        let inner = world.selected.0.read();
        assert!(inner.namespaces.is_empty() && inner.anchors.is_empty());
    }

    #[test]
    fn a_change_that_concerns_one_budget_looks_at_no_other_and_at_no_other_pod() {
        let world = World::new();
        let labels = |it: u64| json!({"app": it.to_string()});
        // Versions that are 2 of 4 select by their labels.
        (0..50).for_each(|it| world.budgets.apply(budget("ns", &it.to_string(), 4 * it + 2, labels(it))));
        (0..50).for_each(|it| world.pods.apply(pod("ns", &format!("p{it}"), it + 1, labels(it))));
        let inner = world.selected.0.read();
        let groups: Vec<(usize, usize)> =
            inner.namespaces["ns"].labels["app"].values().map(|it| (it.selecting.len(), it.pods.len())).collect();
        assert_eq!(groups, vec![(1, 1); 50], "each is filed with its own pods alone");
        assert!(inner.namespaces["ns"].all.is_none());
        assert_eq!(*world.woken.read(), [HashSet::new(), [Key::new("ns", "49")].into()]);
    }
}
