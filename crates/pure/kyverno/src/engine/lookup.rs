//! The store as a source of context, and the roles of who asks.

use std::sync::Arc;

use eyot_model::{
    kinds::split_api_version,
    rbac::{Ask, Resource},
};
use eyot_policy::{Authorizer, Data, User};
use serde_json::{Value, json};

use super::Snapshot;
use crate::{
    matching::Requester,
    path,
    source::{Lookup, Source},
};

/// The store at the moment of a request.
pub(super) struct Live<'a> {
    pub(super) data: &'a dyn Data,
    pub(super) snapshot: &'a Snapshot,
}

const ELSEWHERE: &str = "is not asked: a write here does not wait for other machines";

impl Source for Live<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Lookup {
        match self.get("v1", "ConfigMap", namespace, name) {
            Ok(Some(it)) => Lookup::Found(Value::clone(&it)),
            Ok(None) => Lookup::Failed(format!("configmaps {name:?} not found")),
            Err(why) => Lookup::Failed(why),
        }
    }

    fn api_call(&self, path: &str, body: Option<&Value>) -> Lookup {
        match body {
            None => path::answer(path, self),
            Some(body) if path.ends_with("/subjectaccessreviews") => self.may(body),
            Some(_) => Lookup::Failed(format!("{path}: only subjectaccessreviews are posted from policies")),
        }
    }

    fn service(&self, url: &str, _: Option<&Value>) -> Lookup {
        Lookup::Failed(format!("the service {url} {ELSEWHERE}"))
    }

    fn image(&self, reference: &str) -> Lookup {
        Lookup::Failed(format!("the registry of image {reference} {ELSEWHERE}"))
    }

    fn global(&self, name: &str) -> Lookup {
        let Some(spec) = self.snapshot.globals.get(name) else {
            return Lookup::Failed(format!("the GlobalContextEntry {name:?} does not exist"));
        };
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        if let Some(resource) = spec.get("kubernetesResource") {
            let (group, version) = (text(&resource["group"]), text(&resource["version"]));
            let prefix = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
            let namespace = text(&resource["namespace"]);
            let within = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
            let answer = path::answer(&format!("{prefix}{within}/{}", text(&resource["resource"])), self);
            return match answer {
                Lookup::Found(list) => Lookup::Found(list["items"].clone()),
                other => other,
            };
        }
        path::answer(&text(&spec["apiCall"]["urlPath"]), self)
    }

    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, String> {
        let (group, version) = split_api_version(api_version);
        self.data.get((group, version, kind), namespace, name).map_err(|it| it.to_string())
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Arc<Value>>, String> {
        let (group, version) = split_api_version(api_version);
        let namespace = Some(namespace).filter(|it| !it.is_empty());
        self.data.list((group, version, kind), namespace).map_err(|it| it.to_string())
    }

    fn kind_of(&self, group: &str, version: &str, plural: &str) -> Option<String> {
        self.data.kinds().by_plural(group, version, plural).map(|it| it.kind.to_string())
    }

    fn plural_of(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        self.data.kinds().by_kind(group, version, kind).map(|it| it.plural.to_string())
    }

    fn is_namespaced(&self, api_version: &str, kind: &str) -> bool {
        let (group, version) = split_api_version(api_version);
        self.data.kinds().by_kind(group, version, kind).is_none_or(|it| it.namespaced)
    }

    fn projection(&self, entry: &str, name: &str) -> Option<String> {
        let all = self.snapshot.globals.get(entry)?["projections"].as_array()?;
        all.iter().find(|it| it["name"] == name)?["jmesPath"].as_str().map(str::to_owned)
    }

    fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        Some(self.data.authorizer())
    }
}

impl Live<'_> {
    /// Answers a SubjectAccessReview.
    fn may(&self, review: &Value) -> Lookup {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let spec = &review["spec"];
        let groups: Vec<String> =
            spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let resource = &spec["resourceAttributes"];
        let fields = ["verb", "group", "resource", "subresource", "namespace", "name"].map(|it| text(&resource[it]));
        let [verb, group, plural, subresource, namespace, name] = &fields;
        let ask = match spec["nonResourceAttributes"].as_object() {
            Some(_) => return Lookup::Failed("only resourceAttributes are asked about from policies".to_owned()),
            None => {
                let objects = Resource { verb, group, resource: plural, subresource, namespace, ..Resource::default() };
                Ask::Resource(Resource { name, ..objects })
            }
        };
        let decision = self.data.authorizer().decide(&text(&spec["user"]), &groups, &ask);
        Lookup::Found(json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
            "status": { "allowed": decision.allowed, "reason": decision.reason },
        }))
    }
}

/// The same, kept for as long as a request lasts.
pub(super) struct Held {
    pub(super) data: Arc<dyn Data>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Held {
    fn live(&self) -> Live<'_> {
        Live { data: &*self.data, snapshot: &self.snapshot }
    }
}

impl Source for Held {
    fn config_map(&self, namespace: &str, name: &str) -> Lookup {
        self.live().config_map(namespace, name)
    }

    fn api_call(&self, path: &str, body: Option<&Value>) -> Lookup {
        self.live().api_call(path, body)
    }

    fn service(&self, url: &str, body: Option<&Value>) -> Lookup {
        self.live().service(url, body)
    }

    fn image(&self, reference: &str) -> Lookup {
        self.live().image(reference)
    }

    fn global(&self, name: &str) -> Lookup {
        self.live().global(name)
    }

    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, String> {
        self.live().get(api_version, kind, namespace, name)
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Arc<Value>>, String> {
        self.live().list(api_version, kind, namespace)
    }

    fn kind_of(&self, group: &str, version: &str, plural: &str) -> Option<String> {
        self.live().kind_of(group, version, plural)
    }

    fn plural_of(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        self.live().plural_of(group, version, kind)
    }

    fn is_namespaced(&self, api_version: &str, kind: &str) -> bool {
        self.live().is_namespaced(api_version, kind)
    }

    fn projection(&self, entry: &str, name: &str) -> Option<String> {
        self.live().projection(entry, name)
    }

    fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        self.live().authorizer()
    }
}

/// Who asks; roles only where some policy wants to know them.
pub(super) fn requester(user: &User<'_>, live: &Live<'_>) -> Result<Requester, String> {
    let mut requester =
        Requester { username: user.name.to_owned(), groups: user.groups.to_vec(), ..Requester::default() };
    if !live.snapshot.needs_roles {
        return Ok(requester);
    }
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        for binding in live.list(RBAC, kind, "")? {
            if !binding["subjects"].as_array().into_iter().flatten().any(|it| is_subject(it, user)) {
                continue;
            }
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            if binding["roleRef"]["kind"] == "Role" {
                let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
                requester.roles.push(format!("{namespace}:{role}"));
            } else {
                requester.cluster_roles.push(role.to_owned());
            }
        }
    }
    Ok(requester)
}

fn is_subject(subject: &Value, user: &User<'_>) -> bool {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    match text("kind") {
        "User" => text("name") == user.name,
        "Group" => user.groups.iter().any(|it| it == text("name")),
        "ServiceAccount" => user.name == format!("system:serviceaccount:{}:{}", text("namespace"), text("name")),
        _ => false,
    }
}
