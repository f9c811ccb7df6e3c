//! Server-side apply: merges a configuration into an object, or creates it. Entry points: [`apply`], [`scale`].

use bytes::Bytes;
use eyot_model::{
    apply::{self, Writer},
    meta,
    rbac::{Ask, Resource as Objects},
    schema::FieldValidation,
    status::ApiError,
};
use eyot_store::WriteError;
use http::Response;
use serde_json::{Value, json};

use super::{
    create,
    update::{self, Aspect, Changed},
};
use crate::{
    Body, access,
    call::Call,
    commit, incoming, owners, present,
    request::{accept::Syntax, decode},
    subresource,
};

/// Attempts against others who create and delete the same object.
const ATTEMPTS_MAX: usize = 8;

/// Answers `PATCH` of a configuration. What is not there yet is created, but never through a subresource.
pub(crate) async fn apply(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let (api_version, kind) = (call.kind.api_version(), call.kind.kind.clone());
    let config = read(call, &body, (&api_version, &kind))?;
    let config = apply::canonical(&call.kind, config)?;
    for _ in 0..ATTEMPTS_MAX {
        match call.get(name) {
            Ok(_) => match change(call, name, aspect, &config).await {
                Err(gone) if gone.code == 404 && aspect == Aspect::Whole => {}
                changed => return present::respond(call, 200, &changed?.value),
            },
            Err(absent) if aspect != Aspect::Whole => return Err(absent),
            Err(_) => {
                may_create(call, name)?;
                let object = beginning(call, name, &config)?;
                match create::create_named(call, object, name, |_, _| {}).await? {
                    Err(WriteError::Exists { .. }) if !call.query.dry_run => {}
                    created => return created.map_err(|it| commit::error(&call.kind, name, &it)),
                }
            }
        }
    }
    Err(ApiError::modified(&call.kind, name))
}

async fn change(call: &mut Call, name: &str, aspect: Aspect, config: &Value) -> Result<Changed, ApiError> {
    update::change_noted(call, name, aspect, owners::applied, |call, old| {
        let merged = merge(call, Some(old), config)?;
        let mut new = incoming::fields(call, merged, Vec::new())?;
        incoming::settle(call, &mut new, Some(name))?;
        Ok(new)
    })
    .await
}

/// Whoever may patch may not yet create.
fn may_create(call: &Call, name: &str) -> Result<(), ApiError> {
    let ask = Ask::Resource(Objects {
        verb: "create",
        group: &call.kind.group,
        resource: &call.kind.plural,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name,
        ..Objects::default()
    });
    access::authorize(call.shared(), &call.identity, &ask)
}

/// A new object of a configuration.
fn beginning(call: &mut Call, name: &str, config: &Value) -> Result<Value, ApiError> {
    if let Some(uid) = meta::uid(config) {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(ApiError::conflict(&call.kind, name, &why));
    }
    if meta::resource_version(config).is_some() {
        return Err(ApiError::modified(&call.kind, name));
    }
    if meta::name(config).is_none() {
        let message = format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
        return Err(ApiError::bad_request(message));
    }
    let merged = merge(call, None, config)?;
    let mut object = incoming::fields(call, merged, Vec::new())?;
    incoming::settle(call, &mut object, Some(name))?;
    Ok(object)
}

fn merge(call: &Call, live: Option<&Value>, config: &Value) -> Result<Value, ApiError> {
    let force = call.query.force.unwrap_or(false);
    let manager = owners::manager(call);
    let writer = Writer { manager: &manager, subresource: &call.subresource, now: jiff::Timestamp::now() };
    let merged = apply::apply(&call.server.kinds(), &call.kind, &writer, live, config, force);
    merged.map_err(|it| it.status(&call.kind, config))
}

/// Applies a Scale: its replicas are those of the object.
pub(crate) async fn scale(call: &mut Call, name: &str, body: &Bytes) -> Result<Changed, ApiError> {
    let scale = read(call, body, ("autoscaling/v1", "Scale"))?;
    let replicas = subresource::scale_replicas(call, name, &scale)?;
    let mut config = json!({"apiVersion": call.kind.api_version(), "kind": call.kind.kind, "metadata": {"name": name}});
    subresource::set_replicas(&call.kind, &mut config, replicas.into());
    update::change_noted(call, name, Aspect::Scale, owners::applied, |call, old| merge(call, Some(old), &config)).await
}

/// Reads a configuration of that version and kind.
fn read(call: &mut Call, body: &Bytes, (api_version, kind): (&str, &str)) -> Result<Value, ApiError> {
    call.query.check_patch(true)?;
    // JSON is YAML, but its own parser is faster and finds keys that are given twice.
    let is_json = body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'{');
    let decoded = decode::decode(body, if is_json { Syntax::Json } else { Syntax::Yaml });
    let decoded = decoded.map_err(|it| ApiError::bad_request(format!("error decoding YAML: {}", it.message)))?;
    check_twice(call, &decoded.duplicates)?;
    let config = decoded.value;
    if !config.is_object() {
        return Err(ApiError::bad_request("error decoding YAML: the configuration is not an object"));
    }
    if config["apiVersion"] != api_version || config["kind"] != kind {
        let text = |field: &str| config[field].as_str().unwrap_or_default();
        let (group, version) = eyot_model::kinds::split_api_version(text("apiVersion"));
        return Err(ApiError::bad_request(format!("invalid object type: {group}/{version}, Kind={}", text("kind"))));
    }
    if config.get("metadata").is_some_and(|it| !it.is_object() && !it.is_null()) {
        return Err(ApiError::bad_request("metadata is not an object"));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|it| !it.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(config)
}

/// Refuses keys that are given twice, or warns about them, as `fieldValidation` says.
fn check_twice(call: &mut Call, duplicates: &[String]) -> Result<(), ApiError> {
    // YAML's are texts already, JSON's are paths.
    let told =
        |it: &String| if it.starts_with("line ") { it.clone() } else { format!("key {it:?} already set in map") };
    let twice: Vec<String> = duplicates.iter().map(told).collect();
    let message = || format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {}", twice.join("\n  "));
    match call.query.field_validation {
        FieldValidation::Strict if !twice.is_empty() => {
            Err(ApiError::bad_request(format!("error strict decoding YAML: {}", message())))
        }
        FieldValidation::Warn => {
            call.warnings.extend(twice);
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
}
