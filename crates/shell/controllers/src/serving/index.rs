//! Which Routes are about what, so that a change wakes those alone. Entry point: [`Index::route_changed`].

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;

use super::Object;
use crate::view::Key;

/// Routes by what their specs name and by where they lead.
#[derive(Default)]
pub(super) struct Index(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    /// Routes by the Configurations and Revisions that their specs name.
    by_target: HashMap<Key, HashSet<Key>>,
    /// Routes by the Revisions that they lead to.
    led_to: HashMap<Key, HashSet<Key>>,
}

impl Index {
    /// Takes in a change of a Route.
    pub(super) fn route_changed(&self, old: Option<&Object>, new: Option<&Object>) {
        let mut inner = self.0.write();
        if let Some(route) = old {
            let key = route.meta.key();
            targets(route).iter().for_each(|it| remove(&mut inner.by_target, it, &key));
            revisions(route).iter().for_each(|it| remove(&mut inner.led_to, it, &key));
        }
        if let Some(route) = new {
            for target in targets(route) {
                inner.by_target.entry(target).or_default().insert(route.meta.key());
            }
            for revision in revisions(route) {
                inner.led_to.entry(revision).or_default().insert(route.meta.key());
            }
        }
    }

    /// The Routes whose specs name this Configuration or Revision.
    pub(super) fn routes_to(&self, target: &Key) -> Vec<Key> {
        self.0.read().by_target.get(target).into_iter().flatten().cloned().collect()
    }

    /// Whether a Route leads to this Revision.
    pub(super) fn is_led_to(&self, revision: &Key) -> bool {
        self.0.read().led_to.contains_key(revision)
    }
}

fn remove(routes: &mut HashMap<Key, HashSet<Key>>, of: &Key, route: &Key) {
    if let Some(left) = routes.get_mut(of) {
        left.remove(route);
        if left.is_empty() {
            routes.remove(of);
        }
    }
}

fn targets(route: &Object) -> HashSet<Key> {
    let json = route.json();
    let rows = json["spec"]["traffic"].as_array().into_iter().flatten();
    let names = rows.flat_map(|it| [&it["configurationName"], &it["revisionName"]]).filter_map(|it| it.as_str());
    names.map(|it| Key::new(&route.meta.namespace, it)).collect()
}

fn revisions(route: &Object) -> HashSet<Key> {
    route.assigned().iter().map(|it| Key::new(&route.meta.namespace, it)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_are_found_by_what_they_name_and_revisions_know_whether_one_leads_there() {
        let route = |target: &str, to: &[&str]| -> Object {
            let traffic: Vec<_> = to.iter().map(|it| json!({"revisionName": it})).collect();
            let json = json!({
                "metadata": {"name": "r", "namespace": "ns"},
                "spec": {"traffic": [{"configurationName": target}]}, "status": {"traffic": traffic},
            });
            serde_json::from_value(json).unwrap()
        };
        let key = |name: &str| Key::new("ns", name);
        let index = Index::default();
        let (one, two) = (route("a", &["a-1", "a-1"]), route("b", &["a-1", "a-2"]));
        index.route_changed(None, Some(&one));
        assert_eq!(index.routes_to(&key("a")), [key("r")]);
        index.route_changed(Some(&one), Some(&two));
        assert!(index.routes_to(&key("a")).is_empty());
        assert!(index.is_led_to(&key("a-1")) && index.is_led_to(&key("a-2")));
        index.route_changed(Some(&two), None);
        index.route_changed(Some(&one), None);
        assert!(!index.is_led_to(&key("a-1")) && index.routes_to(&key("b")).is_empty());
    }
}
