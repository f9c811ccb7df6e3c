//! Conversion between versions by a webhook. Entry points: [`Converted::prepare`] before stored objects are read in
//! another version, [`to_stored`] before one is written.
//!
//! Everything else that reads objects does so at once, from bytes; so what a webhook has to convert is converted
//! beforehand, by request. Only labels and annotations of an object's
//! metadata may be changed by a webhook; the rest is restored.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use eyot_model::{custom::Definition, kinds::Kind, meta, status::ApiError};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    object,
    server::Shared,
    webhook::{self, Client, Target},
};

/// How long a webhook gets for one review, as in Kubernetes.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Objects in one review.
const OBJECTS_MAX: usize = 500;

/// Stored objects that a webhook converted for one request, each beside what it became.
///
/// They are found by where they lie in memory: what is here stays there.
#[derive(Clone, Default)]
pub(crate) struct Converted(Arc<Mutex<HashMap<usize, (Bytes, Bytes)>>>);

/// The webhook of a definition.
struct Converter {
    target: Target,
    version: &'static str,
    client: OnceLock<Result<Client, String>>,
    authorities: Vec<u8>,
}

/// Whether stored bytes must be converted by a webhook to be shown as this kind.
pub(crate) fn is_wanted(kind: &Kind, stored: &[u8]) -> bool {
    let converts = kind.custom.as_ref().is_some_and(|it| it.definition().webhook.is_some());
    converts && object::api_version(stored).is_some_and(|it| it != kind.api_version())
}

impl Converted {
    /// Converts those of the stored objects that need it, so that [`Converted::get`] finds them.
    pub(crate) async fn prepare<'b>(
        &self,
        server: &Shared,
        kind: &Kind,
        stored: impl IntoIterator<Item = &'b Bytes>,
    ) -> Result<(), ApiError> {
        let wanted: Vec<&Bytes> =
            stored.into_iter().filter(|it| is_wanted(kind, it) && self.get(it).is_none()).collect();
        for some in wanted.chunks(OBJECTS_MAX) {
            let parse = |it: &&Bytes| {
                serde_json::from_slice(it).map_err(|it| ApiError::internal(format!("damaged object: {it}")))
            };
            let objects = some.iter().map(parse).collect::<Result<Vec<Value>, ApiError>>()?;
            let converted = convert(server, kind, &kind.api_version(), objects).await?;
            for (stored, mut object) in some.iter().zip(converted) {
                if let Some(custom) = &kind.custom {
                    custom.tidy(&mut object);
                }
                let pair = ((*stored).clone(), Bytes::from(object.to_string()));
                self.0.lock().insert(stored.as_ptr() as usize, pair);
            }
        }
        Ok(())
    }

    /// What a webhook made of stored bytes.
    pub(crate) fn get(&self, stored: &Bytes) -> Option<Bytes> {
        let known = self.0.lock();
        known.get(&(stored.as_ptr() as usize)).filter(|it| it.0.len() == stored.len()).map(|it| it.1.clone())
    }

    /// Forgets what was converted, for streams that go on.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// An object of a served version as it is stored, if a webhook has to say how.
pub(crate) async fn to_stored(server: &Shared, kind: &Kind, object: Value) -> Result<Value, ApiError> {
    let converts = kind.custom.as_ref().is_some_and(|it| it.definition().webhook.is_some());
    if !converts || kind.stored_as.0 == kind.api_version() {
        return Ok(object);
    }
    let converted = convert(server, kind, &kind.stored_as.0, vec![object]).await?;
    converted.into_iter().next().ok_or_else(|| ApiError::internal("a conversion webhook returned nothing"))
}

async fn convert(server: &Shared, kind: &Kind, desired: &str, objects: Vec<Value>) -> Result<Vec<Value>, ApiError> {
    let Some(custom) = &kind.custom else { return Ok(objects) };
    let converter = custom.definition().keep(|| Converter::read(custom.definition()));
    let failed = |why: String| {
        let from = objects.first().map_or("", |it| it["apiVersion"].as_str().unwrap_or_default());
        ApiError::internal(format!("conversion webhook for {from}, Kind={} failed: {why}", kind.kind))
    };
    let Some(converter) = converter else { return Err(failed("it is not described as one".to_owned())) };
    let converted = converter.ask(server, desired, &objects).await.map_err(failed)?;
    if converted.len() != objects.len() {
        return Err(failed(format!("returned {} objects, expected {}", converted.len(), objects.len())));
    }
    let restored = objects.iter().zip(converted).map(|(original, it)| restore(original, it, desired));
    restored.collect::<Result<_, _>>().map_err(failed)
}

/// Accepts what a webhook made of an object, but for metadata that is none of its business.
fn restore(original: &Value, mut converted: Value, desired: &str) -> Result<Value, String> {
    if converted["apiVersion"] != desired || converted["kind"] != original["kind"] {
        return Err(format!("returned {} of kind {}", converted["apiVersion"], converted["kind"]));
    }
    for (field, found, wanted) in [
        ("name", meta::name(&converted), meta::name(original)),
        ("namespace", meta::namespace(&converted), meta::namespace(original)),
        ("uid", meta::uid(&converted), meta::uid(original)),
    ] {
        if found != wanted {
            return Err(format!("returned metadata.{field} {found:?}, expected {wanted:?}"));
        }
    }
    let mut metadata = original.get("metadata").cloned().unwrap_or_else(|| json!({}));
    for field in ["labels", "annotations"] {
        match converted.pointer(&format!("/metadata/{field}")).filter(|it| it.is_object()) {
            Some(value) => metadata[field] = value.clone(),
            None => drop(meta::as_map(&mut metadata).remove(field)),
        }
    }
    converted["metadata"] = metadata;
    Ok(converted)
}

impl Converter {
    fn read(definition: &Definition) -> Option<Converter> {
        let text = definition.webhook.as_ref()?.get();
        let webhook: Value = serde_json::from_str(text).ok()?;
        let config = webhook.get("clientConfig")?;
        let speaks = |version: &str| meta::list(webhook.get("conversionReviewVersions")).iter().any(|it| it == version);
        Some(Converter {
            target: Target::read(config),
            version: if speaks("v1") { "v1" } else { "v1beta1" },
            authorities: webhook::authorities(config),
            client: OnceLock::new(),
        })
    }

    async fn ask(&self, server: &Shared, desired: &str, objects: &[Value]) -> Result<Vec<Value>, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{}", self.version),
            "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
        });
        let client = self.client.get_or_init(|| Client::new(&self.authorities)).as_ref().map_err(Clone::clone)?;
        let url = self.target.url(TIME_MAX);
        let posted = client.post(server, &self.target, &url, Bytes::from(review.to_string()));
        let answer = tokio::time::timeout(TIME_MAX, posted).await;
        let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        let answer = answer.map_err(|why| format!("Post {url:?}: {why}"))?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|it| format!("its answer: {it}"))?;
        let response = answer["response"].take();
        if response["uid"] != uid.as_str() {
            return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
        }
        if response["result"]["status"] != "Success" {
            return Err(response["result"]["message"].as_str().unwrap_or("it gave no reason").to_owned());
        }
        match response["convertedObjects"].clone() {
            Value::Array(objects) => Ok(objects),
            _ => Err("it returned no convertedObjects".to_owned()),
        }
    }
}
