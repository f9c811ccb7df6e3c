//! Services: a Configuration and a Route each.

use std::sync::Arc;

use eyot_serving::object::service;
use serde_json::Value;

use super::write::{self, ensure};
use crate::{
    api::{KNATIVE_CONFIGURATIONS, KNATIVE_ROUTES, KNATIVE_SERVICES},
    context::Context,
    queue::Outcome,
    view::{Key, now, rfc3339},
};

/// One pass over one Service: read, decide, write.
pub(super) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let (api, parts) = (&context.api, &context.serving);
    let Some(it) = parts.services.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let (configuration, route) = (parts.configurations.get(&key), parts.routes.get(&key));
    let own = it.json();
    let wanted = service::configuration(&own);
    let store = &parts.configurations;
    ensure(api, &KNATIVE_CONFIGURATIONS, configuration.as_deref(), &it.meta, wanted, store).await?;
    ensure(api, &KNATIVE_ROUTES, route.as_deref(), &it.meta, service::route(&own), &parts.routes).await?;
    let (configuration, route) = (parts.configurations.get(&key), parts.routes.get(&key));
    let json = |it: &Option<Arc<super::Object>>| it.as_ref().map_or(Value::Null, |it| it.json());
    let status = service::status(&own, &json(&configuration), &json(&route), &rfc3339(now()));
    write::status(api, &KNATIVE_SERVICES, &it, status, &parts.services).await
}
