//! Plain requests to the API: paths, verbs and errors.
//!
//! Deliberately absent: typed objects. Callers decode into whatever part of an object they need.

use std::borrow::Cow;

use http::{Method, Request, header::CONTENT_TYPE};
use kube::{Client, core::Status};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

/// A resource of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    /// `v1` or `group/version`.
    pub(crate) api_version: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) plural: Cow<'static, str>,
    pub(crate) namespaced: bool,
}

impl Resource {
    const fn new(api_version: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Self {
        Self {
            api_version: Cow::Borrowed(api_version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// `deployments.apps`, or `pods` for the core group.
    pub(crate) fn qualified(&self) -> String {
        match self.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural),
            None => self.plural.to_string(),
        }
    }
}

pub(crate) static PODS: Resource = Resource::new("v1", "Pod", "pods", true);
pub(crate) static SERVICES: Resource = Resource::new("v1", "Service", "services", true);
pub(crate) static NODES: Resource = Resource::new("v1", "Node", "nodes", false);
pub(crate) static NAMESPACES: Resource = Resource::new("v1", "Namespace", "namespaces", false);
pub(crate) static EVENTS: Resource = Resource::new("v1", "Event", "events", true);
pub(crate) static CONFIG_MAPS: Resource = Resource::new("v1", "ConfigMap", "configmaps", true);
pub(crate) static SERVICE_ACCOUNTS: Resource = Resource::new("v1", "ServiceAccount", "serviceaccounts", true);
pub(crate) static DEPLOYMENTS: Resource = Resource::new("apps/v1", "Deployment", "deployments", true);
pub(crate) static REPLICA_SETS: Resource = Resource::new("apps/v1", "ReplicaSet", "replicasets", true);
pub(crate) static STATEFUL_SETS: Resource = Resource::new("apps/v1", "StatefulSet", "statefulsets", true);
pub(crate) static DAEMON_SETS: Resource = Resource::new("apps/v1", "DaemonSet", "daemonsets", true);
pub(crate) static CONTROLLER_REVISIONS: Resource =
    Resource::new("apps/v1", "ControllerRevision", "controllerrevisions", true);
pub(crate) static REPLICATION_CONTROLLERS: Resource =
    Resource::new("v1", "ReplicationController", "replicationcontrollers", true);
pub(crate) static CLAIMS: Resource = Resource::new("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true);
pub(crate) static VOLUMES: Resource = Resource::new("v1", "PersistentVolume", "persistentvolumes", false);
pub(crate) static STORAGE_CLASSES: Resource =
    Resource::new("storage.k8s.io/v1", "StorageClass", "storageclasses", false);
pub(crate) static JOBS: Resource = Resource::new("batch/v1", "Job", "jobs", true);
pub(crate) static CRON_JOBS: Resource = Resource::new("batch/v1", "CronJob", "cronjobs", true);
pub(crate) static AUTOSCALERS: Resource =
    Resource::new("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true);
pub(crate) static BUDGETS: Resource = Resource::new("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true);
pub(crate) static ENDPOINTS: Resource = Resource::new("v1", "Endpoints", "endpoints", true);
pub(crate) static LEASES: Resource = Resource::new("coordination.k8s.io/v1", "Lease", "leases", true);
pub(crate) static ENDPOINT_SLICES: Resource =
    Resource::new("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true);

pub(crate) static KNATIVE_SERVICES: Resource = Resource::new(eyot_serving::API_VERSION, "Service", "services", true);
pub(crate) static KNATIVE_CONFIGURATIONS: Resource =
    Resource::new(eyot_serving::API_VERSION, "Configuration", "configurations", true);
pub(crate) static KNATIVE_REVISIONS: Resource = Resource::new(eyot_serving::API_VERSION, "Revision", "revisions", true);
pub(crate) static KNATIVE_ROUTES: Resource = Resource::new(eyot_serving::API_VERSION, "Route", "routes", true);
pub(crate) static HTTP_ROUTES: Resource =
    Resource::new("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", true);

/// One object, or a subresource of it, or a collection when `name` is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) resource: &'a Resource,
    /// Empty for cluster-scoped objects, or for a collection over all namespaces.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: &'static str,
}

impl<'a> Target<'a> {
    pub(crate) fn collection(resource: &'a Resource, namespace: &'a str) -> Self {
        Self { resource, namespace, name: "", subresource: "" }
    }

    pub(crate) fn object(resource: &'a Resource, namespace: &'a str, name: &'a str) -> Self {
        Self { resource, namespace, name, subresource: "" }
    }

    pub(crate) fn sub(self, subresource: &'static str) -> Self {
        Self { subresource, ..self }
    }

    /// Path of the request; names of objects are URL-safe by the API's own rules.
    pub(crate) fn path(&self) -> String {
        let mut path = if self.resource.api_version.contains('/') { "/apis/" } else { "/api/" }.to_owned();
        path.push_str(&self.resource.api_version);
        if !self.namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(self.namespace);
        }
        for part in ["", &self.resource.plural, self.name, self.subresource].iter().skip(1) {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {path}")]
pub(crate) struct ApiError {
    verb: &'static str,
    path: String,
    #[source]
    source: Box<kube::Error>,
}

impl ApiError {
    pub(crate) fn new(verb: &'static str, path: String, source: kube::Error) -> Self {
        Self { verb, path, source: Box::new(source) }
    }

    /// What was read does not bear out what a cache says: see [`ApiError::is_conflict`].
    pub(crate) fn conflict(verb: &'static str, path: String, message: &str) -> Self {
        let status = Status::failure(message, "Conflict").with_code(409);
        Self::new(verb, path, kube::Error::Api(status.boxed()))
    }

    fn status(&self) -> Option<(u16, &str)> {
        match &*self.source {
            kube::Error::Api(status) => Some((status.code, &status.reason)),
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(|it| it.0 == 404)
    }

    /// The object exists already.
    pub(crate) fn exists(&self) -> bool {
        self.status().is_some_and(|it| it.0 == 409 && it.1 == "AlreadyExists")
    }

    /// The object has changed since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(|it| it.0 == 409 && it.1 != "AlreadyExists")
    }

    /// The history asked for is no longer kept.
    pub(crate) fn is_gone(&self) -> bool {
        self.status().is_some_and(|it| it.0 == 410)
    }

    /// The namespace is on its way out and takes nothing new.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|it| it.0 == 403)
    }

    /// What the API said, for conditions and events.
    pub(crate) fn message(&self) -> String {
        match &*self.source {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        }
    }
}

/// How to delete.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeleteOptions<'a> {
    /// Only the object of this identity.
    pub(crate) uid: Option<&'a str>,
    /// Only if it has not changed since; a conflict otherwise.
    pub(crate) version: Option<&'a str>,
    /// `Background`, `Foreground` or `Orphan`.
    pub(crate) propagation: Option<&'static str>,
    /// Seconds a pod gets to end.
    pub(crate) grace_seconds: Option<i64>,
}

/// The API as the controllers use it.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
}

impl Api {
    pub(crate) async fn get<T: DeserializeOwned>(&self, target: Target<'_>, query: &str) -> Result<T, ApiError> {
        self.send(Method::GET, "getting", &target, query, "", Vec::new()).await
    }

    /// What a server answers that has no objects, such as one of metrics.
    pub(crate) async fn get_path<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, ApiError> {
        let request = request(Method::GET, path, query, "", Vec::new());
        self.client.request(request).await.map_err(|source| ApiError::new("getting", path.to_owned(), source))
    }

    /// Creates. What was made of it is not even parsed: nobody needs it of thousands of pods.
    pub(crate) async fn create(&self, target: Target<'_>, body: Vec<u8>) -> Result<IgnoredAny, ApiError> {
        let path = target.path();
        let request = request(Method::POST, &path, "", "application/json", body);
        let sent = self.client.request_text(request).await;
        sent.map(|_| IgnoredAny).map_err(|source| ApiError::new("creating", path, source))
    }

    /// Creates, and returns what was made of it.
    pub(crate) async fn create_as<T: DeserializeOwned>(
        &self,
        target: Target<'_>,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        self.send(Method::POST, "creating", &target, "", "application/json", body).await
    }

    pub(crate) async fn merge<T: DeserializeOwned>(&self, target: Target<'_>, patch: &Value) -> Result<T, ApiError> {
        let body = patch.to_string().into_bytes();
        self.send(Method::PATCH, "patching", &target, "", "application/merge-patch+json", body).await
    }

    pub(crate) async fn patch_json<T: DeserializeOwned>(
        &self,
        target: Target<'_>,
        patch: &Value,
    ) -> Result<T, ApiError> {
        let body = patch.to_string().into_bytes();
        self.send(Method::PATCH, "patching", &target, "", "application/json-patch+json", body).await
    }

    /// Merges lists by the keys of their entries, as conditions are by their type.
    pub(crate) async fn strategic(&self, target: Target<'_>, patch: &Value) -> Result<IgnoredAny, ApiError> {
        let body = patch.to_string().into_bytes();
        self.send(Method::PATCH, "patching", &target, "", "application/strategic-merge-patch+json", body).await
    }

    pub(crate) async fn replace<T: DeserializeOwned>(&self, target: Target<'_>, body: &Value) -> Result<T, ApiError> {
        self.send(Method::PUT, "replacing", &target, "", "application/json", body.to_string().into_bytes()).await
    }

    /// Deletes; what is gone already counts as deleted.
    pub(crate) async fn delete(&self, target: Target<'_>, options: DeleteOptions<'_>) -> Result<(), ApiError> {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(uid) = options.uid {
            body["preconditions"]["uid"] = uid.into();
        }
        if let Some(version) = options.version {
            body["preconditions"]["resourceVersion"] = version.into();
        }
        if let Some(propagation) = options.propagation {
            body["propagationPolicy"] = propagation.into();
        }
        if let Some(seconds) = options.grace_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        let body = body.to_string().into_bytes();
        let done = self.send::<IgnoredAny>(Method::DELETE, "deleting", &target, "", "application/json", body).await;
        match done {
            Err(error) if error.is_not_found() => Ok(()),
            // The name belongs to another object by now.
            Err(error) if error.is_conflict() && options.uid.is_some() && options.version.is_none() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Starts a watch of a collection; the stream yields decoded events.
    pub(crate) async fn watch<T: DeserializeOwned + Clone + Send + 'static>(
        &self,
        target: Target<'_>,
        query: &str,
    ) -> Result<futures::stream::BoxStream<'static, Result<kube::core::WatchEvent<T>, kube::Error>>, ApiError> {
        use futures::StreamExt;
        let path = target.path();
        let request = request(Method::GET, &path, query, "", Vec::new());
        match self.client.request_events::<T>(request).await {
            Ok(stream) => Ok(stream.boxed()),
            Err(source) => Err(ApiError::new("watching", path, source)),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        verb: &'static str,
        target: &Target<'_>,
        query: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        let path = target.path();
        let request = request(method, &path, query, content_type, body);
        self.client.request(request).await.map_err(|source| ApiError::new(verb, path, source))
    }
}

/// Percent-encodes what is not safe in a query value.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
        out
    })
}

fn request(method: Method, path: &str, query: &str, content_type: &'static str, body: Vec<u8>) -> Request<Vec<u8>> {
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // Names come from the API, which admits none that a path cannot carry; should one slip through, the root path
    // answers with an error instead of a panic here.
    *request.uri_mut() = uri.parse().unwrap_or_default();
    if !content_type.is_empty() {
        request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    }
    request
}
