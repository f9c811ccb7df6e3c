//! Routes: HTTPRoutes, which the gateway follows.

use std::sync::Arc;

use eyot_serving::{Candidates, assign, object::route, rollout, targets};
use serde_json::{Value, json};

use super::{
    Parts, trial,
    write::{self, ensure},
};
use crate::{
    api::{DeleteOptions, HTTP_ROUTES, KNATIVE_ROUTES, Target},
    context::Context,
    queue::Outcome,
    view::{Key, now, rfc3339},
};

/// One pass over one Route: read, decide, write. What cannot be assigned leaves the HTTPRoutes as they are.
pub(super) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let (api, parts) = (&context.api, &context.serving);
    let Some(it) = parts.routes.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let json = it.json();
    let assigned = assign(&targets(&json["spec"]), &Namespace { parts, namespace: &key.namespace });
    let present = parts.http_routes.controlled_by(&it.meta.uid);
    let main = parts.http_routes.get(&key);
    let (assigned, step) = match assigned {
        Ok(assigned) => {
            let (assigned, step) = trial::take_over(&context, &it, main.as_deref(), assigned);
            (Ok(assigned), step)
        }
        Err(problem) => (Err(problem), None),
    };
    let mut names: Vec<String> = present.iter().map(|it| it.meta.name.to_string()).collect();
    if let Ok(assigned) = &assigned {
        let mut wanted = route::http_routes(&json, assigned, &parts.site);
        if let (Some(step), Some(main)) = (&step, wanted.first_mut()) {
            // Beside the shares that follow from it: both are written at once.
            main["metadata"]["annotations"] = json!({rollout::STATE: step.state.write()});
        }
        let gone = present.iter().filter(|it| wanted.iter().all(|wanted| wanted["metadata"]["name"] != *it.meta.name));
        let gone: Vec<_> = gone.cloned().collect();
        names = wanted.iter().filter_map(|it| it["metadata"]["name"].as_str().map(str::to_owned)).collect();
        for wanted in wanted {
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            let present = present.iter().find(|it| &*it.meta.name == name);
            ensure(api, &HTTP_ROUTES, present.map(|it| &**it), &it.meta, wanted, &parts.http_routes).await?;
        }
        for it in gone {
            let options = DeleteOptions { uid: Some(&it.meta.uid), ..DeleteOptions::default() };
            api.delete(Target::object(&HTTP_ROUTES, &it.meta.namespace, &it.meta.name), options).await?;
        }
    }
    let as_they_are = names.iter().map(|it| parts.http_routes.get(&Key::new(&key.namespace, it)));
    let as_they_are: Vec<Value> = as_they_are.map(|it| it.map_or(Value::Null, |it| it.json())).collect();
    let told = assigned.as_ref().map(Vec::as_slice);
    let refusal = step.as_ref().and_then(|it| it.state.refusal());
    let status = route::status(&json, told, refusal, &as_they_are, &parts.site, &rfc3339(now()));
    let waits = write::status(api, &KNATIVE_ROUTES, &it, status, &parts.routes).await?;
    Ok(step.and_then(|it| it.again).into_iter().chain(waits).min())
}

/// What a Route of a namespace may refer to.
struct Namespace<'a> {
    parts: &'a Parts,
    namespace: &'a str,
}

impl Candidates for Namespace<'_> {
    fn configuration(&self, name: &str) -> Option<Value> {
        self.parts.configurations.get(&Key::new(self.namespace, name)).map(|it| it.json()["status"].clone())
    }

    fn revision(&self, name: &str) -> Option<Value> {
        self.parts.revisions.get(&Key::new(self.namespace, name)).map(|it| it.json()["status"].clone())
    }
}
