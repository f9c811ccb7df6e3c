//! Asks one hook. Entry point: [`ask`].

use bytes::Bytes;
use eyot_model::status::ApiError;
use serde_json::Value;

use super::{
    super::Attempt,
    hook::Hook,
    review::{self, Answer},
    rules::Wanted,
};
use crate::{server::Shared, webhook::Client};

/// Why a hook did not agree.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It said no.
    #[error("{0}")]
    Refused(Box<ApiError>),
    /// It could not be reached, or not in time.
    #[error("failed to call webhook: {0}")]
    Call(String),
    /// Its answer makes no sense.
    #[error("{0}")]
    Answer(String),
}

/// Asks a hook about an attempt, within the time it gets.
pub(super) async fn ask(
    server: &Shared,
    hook: &Hook,
    wanted: &Wanted,
    attempt: &Attempt<'_>,
    object: &Value,
) -> Result<Answer, Failure> {
    if attempt.dry_run() && !hook.rehearses {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::Refused(Box::new(ApiError::bad_request(why))));
    }
    let uid = uuid::Uuid::new_v4().to_string();
    let review = review::review(hook, &uid, wanted, attempt, object).to_string();
    let url = hook.target.url(hook.timeout);
    let failed = |why: String| Failure::Call(format!("Post {url:?}: {why}"));
    let client = hook.client.get_or_init(|| Client::new(&hook.authorities));
    let client = client.as_ref().map_err(|why| failed(why.clone()))?;
    let posted = tokio::time::timeout(hook.timeout, client.post(server, &hook.target, &url, Bytes::from(review))).await;
    let answer = posted.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).map_err(failed)?;
    let answer = serde_json::from_slice(&answer)
        .map_err(|it| Failure::Answer(format!("couldn't get the version of the webhook's answer: {it}")))?;
    review::read(hook, &uid, &answer)
}
