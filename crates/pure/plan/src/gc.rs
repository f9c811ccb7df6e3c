//! The owner graph: which objects have to go because their owners went.
//!
//! Entry points: [`Graph::apply`] and [`Graph::remove`] keep it up to date and name the objects to look at;
//! [`Graph::decide`] says what to do about one of them.
//!
//! The graph learns of owners from separate watches, so an owner it does not hold may merely be late:
//! [`Action::Verify`] asks the API before anything is deleted on such grounds.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Finalizer of an object that is deleted after its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents are kept.
pub const ORPHAN: &str = "orphan";

/// Remembered deletions. A burst of dependents arrives late by far less than this many deletions.
const GRAVES_MAX: usize = 4096;

/// Identity of an object across its life.
pub type Uid = Arc<str>;

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Identity of the owner.
    pub uid: Uid,
    /// `apiVersion` of the owner.
    pub api_version: Arc<str>,
    /// `kind` of the owner.
    pub kind: Arc<str>,
    /// Name of the owner, in the dependent's namespace unless cluster-scoped.
    pub name: Arc<str>,
    /// Foreground deletion of the owner waits for this dependent.
    pub blocks: bool,
}

/// What the graph keeps of an object. `R` tells its resource.
#[derive(Clone, Debug)]
pub struct Object<R> {
    /// Identity.
    pub uid: Uid,
    /// Resource it belongs to.
    pub resource: R,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Owners.
    pub owners: Box<[Owner]>,
    /// Has a deletion timestamp.
    pub deleting: bool,
    /// Has the [`FOREGROUND`] finalizer.
    pub foreground: bool,
    /// Has the [`ORPHAN`] finalizer.
    pub orphan: bool,
}

/// How a deletion treats dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are collected afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// What to do about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Find out whether these owners exist, tell [`Graph::absent`] about those that do not, and decide again.
    Verify(Vec<Owner>),
    /// Delete it.
    Delete(Propagation),
    /// Remove these owners from its references: they are gone while others remain.
    DropOwners(Vec<Uid>),
    /// Delete it in the foreground, after no longer letting it block its own owner: a cycle would wait for ever.
    Unblock,
    /// It is deleted in the foreground and these dependents hold it: delete them.
    DeleteDependents(Vec<Uid>),
    /// Nothing holds it any more: remove this finalizer.
    RemoveFinalizer(&'static str),
    /// Remove it from the references of these dependents, then remove its [`ORPHAN`] finalizer.
    OrphanDependents(Vec<Uid>),
}

/// Objects by identity, and who depends on whom.
#[derive(Debug)]
pub struct Graph<R> {
    objects: HashMap<Uid, Object<R>>,
    dependents: HashMap<Uid, HashSet<Uid>>,
    graves: HashSet<Uid>,
    grave_order: VecDeque<Uid>,
}

impl<R> Default for Graph<R> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            dependents: HashMap::new(),
            graves: HashSet::new(),
            grave_order: VecDeque::new(),
        }
    }
}

impl<R: Clone> Graph<R> {
    /// The object, if the graph holds it.
    pub fn get(&self, uid: &str) -> Option<&Object<R>> {
        self.objects.get(uid)
    }

    /// Objects held.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Takes in an object as last seen; returns those to decide about.
    pub fn apply(&mut self, mut object: Object<R>) -> Vec<Uid> {
        let uid = object.uid.clone();
        self.forget_edges(&uid);
        self.share(&mut object);
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let ends = object.deleting && (object.foreground || object.orphan);
        let owned = !object.owners.is_empty() && !object.deleting;
        let mut next = Vec::new();
        if object.deleting {
            // A deleting dependent may free the owner that waits for it.
            next.extend(self.waiting_owners(&object.owners));
        }
        let starts_waiting = ends && object.foreground;
        self.objects.insert(uid.clone(), object);
        if starts_waiting {
            next.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        if ends || owned {
            next.push(uid);
        }
        next
    }

    /// Has the object say what its owners are in the words of those and of another dependent of theirs: of a hundred thousand
    /// pods each says the same.
    fn share(&self, object: &mut Object<R>) {
        for owner in &mut object.owners {
            let sibling = self.dependents.get(&owner.uid).and_then(|it| self.objects.get(it.iter().next()?));
            let parent = self.objects.get(&owner.uid);
            if let Some(near) = sibling.into_iter().chain(parent).find(|it| it.namespace == object.namespace) {
                object.namespace = near.namespace.clone();
            }
            if let Some(known) = sibling.and_then(|it| it.owners.iter().find(|it| **it == *owner)) {
                *owner = known.clone();
            } else if let Some(parent) = parent.filter(|it| it.name == owner.name) {
                (owner.uid, owner.name) = (parent.uid.clone(), parent.name.clone());
            }
        }
    }

    /// Takes an object out; returns those to decide about.
    pub fn remove(&mut self, uid: &str) -> Vec<Uid> {
        self.forget_edges(uid);
        let removed = self.objects.remove(uid);
        let key: Uid = uid.into();
        self.bury(key);
        let mut next: Vec<Uid> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        if let Some(object) = removed {
            next.extend(self.waiting_owners(&object.owners));
        }
        next
    }

    /// Notes that an owner does not exist, as [`Action::Verify`] asked.
    pub fn absent(&mut self, uid: Uid) {
        self.bury(uid);
    }

    /// Says what to do about an object now.
    pub fn decide(&self, uid: &str) -> Action {
        let Some(object) = self.objects.get(uid) else { return Action::Keep };
        if object.deleting {
            return self.decide_deleting(object);
        }
        if object.owners.is_empty() {
            return Action::Keep;
        }
        let (mut dangling, mut waiting, mut solid, mut unknown) = (Vec::new(), Vec::new(), 0, Vec::new());
        for owner in &object.owners {
            match self.objects.get(&owner.uid) {
                Some(it) if it.deleting && it.foreground => waiting.push(owner.uid.clone()),
                Some(_) => solid += 1,
                None if self.graves.contains(&owner.uid) => dangling.push(owner.uid.clone()),
                None => unknown.push(owner.clone()),
            }
        }
        if !unknown.is_empty() {
            return Action::Verify(unknown);
        }
        if solid > 0 {
            dangling.append(&mut waiting);
            return if dangling.is_empty() { Action::Keep } else { Action::DropOwners(dangling) };
        }
        if !waiting.is_empty() && self.dependents.get(uid).is_some_and(|it| !it.is_empty()) {
            return if self.cycles(object) { Action::Unblock } else { Action::Delete(Propagation::Foreground) };
        }
        Action::Delete(match (object.orphan, object.foreground) {
            (true, _) => Propagation::Orphan,
            (false, true) => Propagation::Foreground,
            (false, false) => Propagation::Background,
        })
    }

    fn decide_deleting(&self, object: &Object<R>) -> Action {
        let dependents = self.dependents.get(&object.uid).into_iter().flatten();
        if object.orphan {
            return Action::OrphanDependents(dependents.cloned().collect());
        }
        if !object.foreground {
            return Action::Keep;
        }
        let blocking: Vec<Uid> = dependents.filter(|it| self.blocks(it, &object.uid)).cloned().collect();
        if blocking.is_empty() {
            return Action::RemoveFinalizer(FOREGROUND);
        }
        Action::DeleteDependents(
            blocking.into_iter().filter(|it| self.objects.get(it).is_some_and(|it| !it.deleting)).collect(),
        )
    }

    fn blocks(&self, dependent: &str, owner: &str) -> bool {
        self.objects
            .get(dependent)
            .is_some_and(|it| it.owners.iter().any(|reference| &*reference.uid == owner && reference.blocks))
    }

    /// One of its dependents is itself being deleted in the foreground.
    fn cycles(&self, object: &Object<R>) -> bool {
        let dependents = self.dependents.get(&object.uid).into_iter().flatten();
        dependents.filter_map(|it| self.objects.get(it)).any(|it| it.deleting && it.foreground)
    }

    fn waiting_owners<'a>(&'a self, owners: &'a [Owner]) -> impl Iterator<Item = Uid> + 'a {
        owners
            .iter()
            .filter(|it| self.objects.get(&it.uid).is_some_and(|it| it.deleting && it.foreground))
            .map(|it| it.uid.clone())
    }

    fn forget_edges(&mut self, uid: &str) {
        let Some(object) = self.objects.get(uid) else { return };
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn bury(&mut self, uid: Uid) {
        if self.graves.insert(uid.clone()) {
            self.grave_order.push_back(uid);
        }
        while self.grave_order.len() > GRAVES_MAX {
            if let Some(oldest) = self.grave_order.pop_front() {
                self.graves.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, owners: &[(&str, bool)]) -> Object<()> {
        let owner = |(uid, blocks): &(&str, bool)| Owner {
            uid: (*uid).into(),
            api_version: "v1".into(),
            kind: "Thing".into(),
            name: (*uid).into(),
            blocks: *blocks,
        };
        Object {
            uid: uid.into(),
            resource: (),
            namespace: "ns".into(),
            name: uid.into(),
            owners: owners.iter().map(owner).collect(),
            deleting: false,
            foreground: false,
            orphan: false,
        }
    }

    fn foreground(uid: &str, owners: &[(&str, bool)]) -> Object<()> {
        Object { deleting: true, foreground: true, ..object(uid, owners) }
    }

    fn sorted(mut uids: Vec<Uid>) -> Vec<String> {
        uids.sort();
        uids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependents_of_a_deleted_owner_go_in_the_background() {
        let mut graph = Graph::default();
        graph.apply(object("deployment", &[]));
        graph.apply(object("replicaset", &[("deployment", true)]));
        assert_eq!(graph.decide("replicaset"), Action::Keep);
        assert_eq!(sorted(graph.remove("deployment")), ["replicaset"]);
        assert_eq!(graph.decide("replicaset"), Action::Delete(Propagation::Background));
    }

    #[test]
    fn dependents_of_one_owner_share_what_they_say_of_it() {
        let mut graph = Graph::default();
        graph.apply(object("set", &[]));
        ["a", "b"].iter().for_each(|it| drop(graph.apply(object(it, &[("set", true)]))));
        let (a, b, set) = (graph.get("a").unwrap(), graph.get("b").unwrap(), graph.get("set").unwrap());
        assert!(Arc::ptr_eq(&a.owners[0].name, &set.name) && Arc::ptr_eq(&a.owners[0].uid, &set.uid));
        assert!(Arc::ptr_eq(&a.owners[0].kind, &b.owners[0].kind) && Arc::ptr_eq(&a.namespace, &b.namespace));
        graph.apply(object("b", &[("set", false)]));
        assert_eq!(
            graph.get("b").unwrap().owners[0],
            Owner { blocks: false, ..graph.get("a").unwrap().owners[0].clone() }
        );
    }

    #[test]
    fn unknown_owner_is_verified_before_anything_goes() {
        let mut graph = Graph::default();
        assert_eq!(sorted(graph.apply(object("pod", &[("late", true)]))), ["pod"]);
        assert!(matches!(graph.decide("pod"), Action::Verify(owners) if &*owners[0].uid == "late"));
        graph.absent("late".into());
        assert_eq!(graph.decide("pod"), Action::Delete(Propagation::Background));
    }

    #[test]
    fn a_remaining_owner_keeps_the_dependent() {
        let mut graph = Graph::default();
        graph.apply(object("a", &[]));
        graph.apply(object("b", &[]));
        graph.apply(object("shared", &[("a", true), ("b", true)]));
        graph.remove("a");
        assert_eq!(graph.decide("shared"), Action::DropOwners(vec!["a".into()]));
    }

    #[test]
    fn foreground_waits_for_blocking_dependents_only() {
        let mut graph = Graph::default();
        graph.apply(object("owner", &[]));
        graph.apply(object("blocking", &[("owner", true)]));
        graph.apply(object("free", &[("owner", false)]));
        assert_eq!(sorted(graph.apply(foreground("owner", &[]))), ["blocking", "free", "owner"]);
        assert_eq!(graph.decide("owner"), Action::DeleteDependents(vec!["blocking".into()]));
        assert_eq!(graph.decide("free"), Action::Delete(Propagation::Background));
        assert_eq!(sorted(graph.remove("blocking")), ["owner"]);
        assert_eq!(graph.decide("owner"), Action::RemoveFinalizer(FOREGROUND));
    }

    #[test]
    fn foreground_goes_down_the_tree_and_comes_back_up() {
        let mut graph = Graph::default();
        graph.apply(foreground("deployment", &[]));
        graph.apply(object("replicaset", &[("deployment", true)]));
        graph.apply(object("pod", &[("replicaset", true)]));
        assert_eq!(graph.decide("replicaset"), Action::Delete(Propagation::Foreground));
        graph.apply(foreground("replicaset", &[("deployment", true)]));
        assert_eq!(graph.decide("replicaset"), Action::DeleteDependents(vec!["pod".into()]));
        assert_eq!(graph.decide("pod"), Action::Delete(Propagation::Background));
        assert_eq!(sorted(graph.remove("pod")), ["replicaset"]);
        assert_eq!(graph.decide("replicaset"), Action::RemoveFinalizer(FOREGROUND));
    }

    #[test]
    fn a_cycle_of_owners_is_unblocked() {
        let mut graph = Graph::default();
        graph.apply(foreground("a", &[("b", true)]));
        graph.apply(object("b", &[("a", true)]));
        assert_eq!(graph.decide("b"), Action::Unblock);
    }

    #[test]
    fn orphaning_lets_dependents_go_first() {
        let mut graph = Graph::default();
        graph.apply(object("pod", &[("owner", true)]));
        graph.apply(Object { deleting: true, orphan: true, ..object("owner", &[]) });
        assert_eq!(graph.decide("owner"), Action::OrphanDependents(vec!["pod".into()]));
        graph.apply(object("pod", &[]));
        assert_eq!(graph.decide("owner"), Action::OrphanDependents(vec![]));
        graph.remove("owner");
        assert_eq!(graph.decide("pod"), Action::Keep);
    }

    #[test]
    fn graves_are_bounded() {
        let mut graph: Graph<()> = Graph::default();
        for index in 0..GRAVES_MAX + 10 {
            graph.absent(index.to_string().into());
        }
        assert_eq!(graph.graves.len(), GRAVES_MAX);
        assert!(!graph.graves.contains("0"));
    }

    proptest::proptest! {
        /// Random forests: repeatedly doing what the graph says after deleting a root removes exactly its tree.
        #[test]
        fn deleting_a_root_removes_its_tree_and_nothing_else(
            parents in proptest::collection::vec(0usize..20, 1..20), in_foreground: bool,
        ) {
            let mut graph = Graph::default();
            let name = |it: usize| format!("o{it}");
            // Object i+1 belongs to some earlier one, or to none when the index points outside.
            graph.apply(object(&name(0), &[]));
            let mut tree = vec![true];
            for (index, parent) in parents.iter().enumerate() {
                let parent_in_range = *parent <= index;
                let owner = name(*parent);
                let owners: &[(&str, bool)] = if parent_in_range { &[(&owner, true)] } else { &[] };
                graph.apply(object(&name(index + 1), owners));
                tree.push(parent_in_range && tree[*parent]);
            }
            let mut todo: VecDeque<Uid> = if in_foreground {
                graph.apply(foreground(&name(0), &[])).into()
            } else {
                graph.remove(&name(0)).into()
            };
            let mut turns = 0;
            while let Some(uid) = todo.pop_front() {
                turns += 1;
                proptest::prop_assert!(turns < 2000, "does not settle");
                match graph.decide(&uid) {
                    Action::Keep => {}
                    Action::Delete(Propagation::Foreground) => {
                        let mut it = graph.get(&uid).unwrap().clone();
                        (it.deleting, it.foreground) = (true, true);
                        todo.extend(graph.apply(it));
                    }
                    Action::Delete(_) | Action::RemoveFinalizer(_) => todo.extend(graph.remove(&uid)),
                    Action::DeleteDependents(uids) => todo.extend(uids),
                    other => proptest::prop_assert!(false, "{other:?}"),
                }
            }
            for (index, gone) in tree.iter().enumerate() {
                proptest::prop_assert_eq!(graph.get(&name(index)).is_none(), *gone, "o{}", index);
            }
        }
    }
}
