//! Creates objects. Entry point: [`create`]; one parse, one serialisation, one write.

use bytes::Bytes;
use eyot_model::{
    defaults, meta, prepare,
    status::{ApiError, Cause},
};
use eyot_store::WriteError;
use http::Response;
use serde_json::Value;

use crate::{
    Body,
    admit::{Attempt, Operation, Options, admit},
    call::Call,
    commit::{self, Stored},
    definitions::conversion,
    incoming, owners, present, strategy,
};

/// Names tried for one `generateName` before giving up; each has 27⁵ possibilities.
const NAMES_MAX: usize = 8;

/// Answers `POST` of a collection.
pub(crate) async fn create(call: &mut Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    let mut object = incoming::object(call, &body)?;
    incoming::settle(call, &mut object, None)?;
    if meta::resource_version(&object).is_some() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let generated = meta::name(&object).is_none();
    for attempt in 1.. {
        let name = name(call, &object)?;
        let retry = if generated { Some(object.clone()) } else { None };
        match create_named(call, object, &name, owners::created).await? {
            Ok(response) => return Ok(response),
            Err(WriteError::Exists { .. }) if generated && attempt < NAMES_MAX => {}
            Err(error) => return Err(commit::error(&call.kind, &name, &error)),
        }
        object = retry.unwrap_or_default();
    }
    Err(ApiError::internal("no name was tried"))
}

fn name(call: &Call, object: &Value) -> Result<String, ApiError> {
    if let Some(name) = meta::name(object) {
        return Ok(name.to_owned());
    }
    match meta::generate_name(object) {
        Some(base) => Ok(prepare::generated_name(base, rand::random())),
        None => {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            Err(ApiError::invalid(&call.kind, "", vec![cause]))
        }
    }
}

/// Creates an object of that name; `note` notes who owns what.
pub(super) async fn create_named(
    call: &mut Call,
    mut object: Value,
    name: &str,
    note: fn(&mut Call, &mut Value),
) -> Result<Result<Response<Body>, WriteError>, ApiError> {
    meta::metadata_mut(&mut object).insert("name".into(), name.into());
    defaults::apply(&call.kind, &mut object);
    note(call, &mut object);
    let uid = uuid::Uuid::new_v4().to_string();
    prepare::create(&call.kind, &mut object, &uid, jiff::Timestamp::now());
    let prepared = strategy::create(call.shared(), &call.kind, &mut object)?;
    let attempt = Attempt {
        operation: Operation::Create,
        kind: &call.kind,
        subresource: "",
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name,
        identity: &call.identity,
        options: Options::Create(&call.query),
        old: None,
    };
    let admitted = admit(call.shared(), &attempt, &mut object).await?;
    let _place = admitted.place;
    let warnings = prepared.warnings.into_iter().chain(admitted.warnings);
    let object = conversion::to_stored(call.shared(), &call.kind, object).await?;
    let stored = Stored::new(&call.kind, object)?.charged(admitted.charge);
    let key = call.key(name);
    if call.query.dry_run {
        if let Some(current) = call.shared().store.get(&key) {
            return Ok(Err(WriteError::Exists { current }));
        }
        call.warnings.extend(warnings);
        let rehearsed = stored.rehearsed(None);
        call.prepare([&rehearsed]).await?;
        return present::respond(call, 201, &rehearsed).map(Ok);
    }
    match commit::create(call.shared(), key, stored).await {
        Ok(entry) => {
            prepared.claims.into_iter().for_each(strategy::Claim::keep);
            call.warnings.extend(warnings);
            call.prepare([&entry.value]).await?;
            present::respond(call, 201, &entry.value).map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}
