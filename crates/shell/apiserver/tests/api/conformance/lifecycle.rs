//! The round that most API specs make: discovery, create, get, list, watch, patch, update, delete, deletecollection.

use serde_json::{Value, json};

use crate::server::{Answer, Events, Server, names, version};

/// Every object of a round carries this label.
const LABEL: &str = "labelSelector=conformance%3Dround";

/// A kind that goes through the round.
pub(super) struct Round<'a> {
    /// `group/version`, or `v1`.
    pub(super) api_version: &'a str,
    pub(super) plural: &'a str,
    pub(super) namespaced: bool,
    /// What an object has beside metadata.
    pub(super) object: Value,
    /// A merge patch of `/status`, for kinds with that subresource.
    pub(super) status: Option<Value>,
}

impl Round<'_> {
    fn root(&self) -> String {
        let root = if self.api_version.contains('/') { "/apis" } else { "/api" };
        format!("{root}/{}", self.api_version)
    }

    /// Where objects are created.
    pub(super) fn collection(&self) -> String {
        let place = if self.namespaced { "/namespaces/default" } else { "" };
        format!("{}{place}/{}", self.root(), self.plural)
    }

    fn named(&self, name: &str) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["name"] = name.into();
        object["metadata"]["labels"]["conformance"] = "round".into();
        object
    }

    /// Goes through everything.
    pub(super) async fn go(&self, server: &Server) {
        self.discover(server).await;
        let collection = self.collection();
        for name in ["a1", "a2", "a3"] {
            expect(server.post(&collection, self.named(name)).await, 201);
        }
        let one = format!("{collection}/a1");
        let first = expect(server.get(&one).await, 200);
        assert_eq!(first["metadata"]["name"], "a1");
        let list = expect(server.get(&format!("{collection}?{LABEL}")).await, 200);
        assert_eq!(names(&list), ["a1", "a2", "a3"]);
        let everywhere = expect(server.get(&format!("{}/{}?{LABEL}", self.root(), self.plural)).await, 200);
        assert_eq!(names(&everywhere).len(), 3);

        let watch = format!("{collection}?watch=true&{LABEL}&resourceVersion={}&timeoutSeconds=60", version(&list));
        let mut events = server.watch(&watch).await;
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
        assert_eq!(expect(server.merge(&one, patch).await, 200)["metadata"]["annotations"]["patched"], "true");
        let mut object = expect(server.get(&one).await, 200);
        object["metadata"]["annotations"]["updated"] = "true".into();
        assert_eq!(expect(server.put(&one, object).await, 200)["metadata"]["annotations"]["updated"], "true");
        modified(&mut events, "patched").await;
        modified(&mut events, "updated").await;
        if let Some(status) = &self.status {
            self.settle(server, &one, status).await;
            assert_eq!(events.brief().await, "MODIFIED a1");
            assert_eq!(events.brief().await, "MODIFIED a1");
        }

        expect(server.delete(&one, background()).await, 200);
        assert_eq!(server.get(&one).await.code, 404);
        assert_eq!(events.brief().await, "DELETED a1");
        expect(server.delete(&format!("{collection}?{LABEL}"), background()).await, 200);
        assert_eq!(names(&expect(server.get(&format!("{collection}?{LABEL}")).await, 200)), [""; 0]);
        assert_eq!([events.brief().await, events.brief().await], ["DELETED a2", "DELETED a3"]);
    }

    /// The group, its version and the resource are in each document that should name them.
    async fn discover(&self, server: &Server) {
        if let Some((group, _)) = self.api_version.split_once('/') {
            let groups = expect(server.get("/apis").await, 200);
            let found = groups["groups"].as_array().unwrap().iter().find(|it| it["name"] == group).cloned();
            let one = expect(server.get(&format!("/apis/{group}")).await, 200);
            for document in [found.expect("the group is listed"), one] {
                let versions = document["versions"].as_array().unwrap();
                assert!(versions.iter().any(|it| it["groupVersion"] == self.api_version), "{document}");
            }
        }
        let resources = expect(server.get(&self.root()).await, 200);
        let named =
            |name: &str| resources["resources"].as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
        let resource = named(self.plural).expect("the resource is listed");
        for verb in ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] {
            assert!(resource["verbs"].as_array().unwrap().contains(&verb.into()), "{verb}");
        }
        if self.status.is_some() {
            named(&format!("{}/status", self.plural)).expect("its status is listed");
        }
    }

    /// Patches and updates the status, and reads it back.
    async fn settle(&self, server: &Server, one: &str, status: &Value) {
        let uri = format!("{one}/status");
        expect(server.get(&uri).await, 200);
        let mut patch = json!({"status": status});
        patch["metadata"]["annotations"]["patchedstatus"] = "true".into();
        let patched = expect(server.merge(&uri, patch).await, 200);
        assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
        holds(&patched["status"], status);
        let mut object = expect(server.get(one).await, 200);
        object["metadata"]["annotations"]["updatedstatus"] = "true".into();
        let updated = expect(server.put(&uri, object).await, 200);
        assert_eq!(updated["metadata"]["annotations"]["updatedstatus"], "true");
        holds(&expect(server.get(&uri).await, 200)["status"], status);
    }
}

/// Some kinds let go of their dependents first unless told otherwise, for which no collector runs here.
fn background() -> Value {
    json!({"propagationPolicy": "Background"})
}

/// Everything in `part` is in `whole`.
fn holds(whole: &Value, part: &Value) {
    let mut merged = whole.clone();
    lay(&mut merged, part);
    assert_eq!(*whole, merged);
}

fn lay(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            patch.iter().for_each(|(key, it)| lay(target.entry(key).or_insert(Value::Null), it));
        }
        // Conditions are known by their type, and controllers add their own.
        (Value::Array(target), Value::Array(patch)) if patch.iter().all(|it| it["type"].is_string()) => {
            for it in patch {
                match target.iter_mut().find(|known| known["type"] == it["type"]) {
                    Some(known) => lay(known, it),
                    None => target.push(it.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

async fn modified(events: &mut Events, annotation: &str) {
    let event = events.next().await.expect("an event");
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"]["metadata"]["annotations"][annotation], "true");
}

/// The body of an answer that must have this code.
#[track_caller]
pub(super) fn expect(answer: Answer, code: u16) -> Value {
    assert_eq!(answer.code, code, "{}", answer.body);
    answer.body
}
