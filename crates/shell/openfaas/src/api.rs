//! The few calls of the Kubernetes API that are made here, by path.

use http::{Method, Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::Value;

use crate::Failure;

/// Tries of a change that others race for.
const TRIES: usize = 4;

/// The Kubernetes API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
}

/// The path of Knative Services of a namespace, or of one of them.
pub(crate) fn services(namespace: &str, name: Option<&str>) -> String {
    path(&format!("/apis/{}/namespaces/{namespace}/services", eyot_serving::API_VERSION), name)
}

/// The path of secrets of a namespace, or of one of them.
pub(crate) fn secrets(namespace: &str, name: Option<&str>) -> String {
    path(&format!("/api/v1/namespaces/{namespace}/secrets"), name)
}

/// The path of namespaces, or of one of them.
pub(crate) fn namespaces(name: Option<&str>) -> String {
    path("/api/v1/namespaces", name)
}

fn path(collection: &str, name: Option<&str>) -> String {
    name.map_or_else(|| collection.to_owned(), |name| format!("{collection}/{name}"))
}

impl Api {
    pub(crate) fn new(client: Client) -> Api {
        Api { client }
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
        let body = body.map(|it| it.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| Failure::new(500, error.to_string()))?;
        self.client.request(request).await.map_err(failure)
    }

    /// The object at `path`, if there is one.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.call(Method::GET, path, "application/json", None).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if failure.status == 404 => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The objects of a collection.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut list = self.call(Method::GET, path, "application/json", None).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Makes an object.
    pub(crate) async fn create(&self, collection: &str, object: &Value) -> Result<(), Failure> {
        self.call(Method::POST, collection, "application/json", Some(object)).await.map(drop)
    }

    /// Reads the object at `path`, changes it and writes it back, again where others were faster. False where there is none,
    /// or `change` says that it is not to be changed.
    pub(crate) async fn change(&self, path: &str, change: impl Fn(&mut Value) -> bool) -> Result<bool, Failure> {
        let mut tries = 0;
        loop {
            let Some(mut object) = self.get(path).await? else { return Ok(false) };
            if !change(&mut object) {
                return Ok(false);
            }
            tries += 1;
            match self.call(Method::PUT, path, "application/json", Some(&object)).await {
                Err(failure) if failure.status == 409 && tries < TRIES => {}
                Err(failure) => return Err(failure),
                Ok(_) => return Ok(true),
            }
        }
    }

    /// Merges `patch` into the object at `path`.
    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<(), Failure> {
        self.call(Method::PATCH, path, "application/merge-patch+json", Some(patch)).await.map(drop)
    }

    /// Deletes the object at `path`, and later what belongs to it.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let options =
            serde_json::json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" });
        self.call(Method::DELETE, path, "application/json", Some(&options)).await.map(drop)
    }
}

/// What the API refused is the client's fault and told in its words; anything else is not.
fn failure(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let code = match status.code {
                422 => 400,
                code @ (400..=409 | 413 | 429) => code,
                _ => 500,
            };
            Failure::new(code, status.message.clone())
        }
        other => Failure::new(500, other.to_string()),
    }
}
