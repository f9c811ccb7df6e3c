//! Tokens of service accounts for projected volumes.
//!
//! Start at [`wanted`] (pure: what a pod asks for) and [`fetch`]. A token is bound to its pod and lives for a while; well
//! before that is over the volume is written anew with another.

use std::{collections::BTreeMap, time::Duration};

use eyot_instance::Moment;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::json;

use crate::{
    api::{self, ApiError},
    pod::PodKey,
    volumes::Part,
};

/// Life of a token whose volume names none, in seconds, as in Kubernetes.
const SECONDS_DEFAULT: i64 = 3600;
/// The longest that a token is kept, as the kubelet's.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest time between two rounds for one pod.
const KEPT_MIN: Duration = Duration::from_secs(10);

/// A token that a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Whom it is for; the API server when empty.
    pub(crate) audience: String,
    pub(crate) seconds: i64,
}

/// Tokens by what was asked for.
pub(crate) type Tokens = BTreeMap<Wanted, String>;

#[derive(serde::Deserialize)]
struct TokenRequest {
    status: TokenStatus,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

/// What a projected source asks for.
pub(crate) fn wanted_by(source: &k8s_openapi::api::core::v1::ServiceAccountTokenProjection) -> Wanted {
    Wanted {
        audience: source.audience.clone().unwrap_or_default(),
        seconds: source.expiration_seconds.unwrap_or(SECONDS_DEFAULT),
    }
}

/// The tokens that volumes of a pod ask for, each once.
pub(crate) fn wanted(pod: &Pod, part: Part) -> Vec<Wanted> {
    let sources = part.volumes(pod).flat_map(|it| it.projected.iter().flat_map(|it| it.sources.iter().flatten()));
    let mut out: Vec<Wanted> = sources.filter_map(|it| it.service_account_token.as_ref()).map(wanted_by).collect();
    out.sort();
    out.dedup();
    out
}

/// Asks for tokens; also when they are to be replaced, `None` when there are none.
pub(crate) async fn fetch(
    client: &Client,
    key: &PodKey,
    pod: &Pod,
    wanted: Vec<Wanted>,
) -> Result<(Tokens, Option<Moment>), ApiError> {
    let account = pod.spec.as_ref().and_then(|it| it.service_account_name.as_deref()).unwrap_or_default();
    let account = if account.is_empty() { "default" } else { account };
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", key.namespace);
    let (mut tokens, mut renewal) = (Tokens::new(), None::<Moment>);
    for it in wanted {
        let audiences: Vec<&str> = [it.audience.as_str()].into_iter().filter(|it| !it.is_empty()).collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": audiences, "expirationSeconds": it.seconds,
                "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": &*key.name, "uid": &*key.uid },
            },
        });
        let TokenRequest { status } = api::post(client, &path, &request).await?;
        let now = crate::pod::now();
        let expires = Moment(u64::try_from(status.expiration_timestamp.as_millisecond()).unwrap_or(0));
        let due = renew_at(now, expires);
        renewal = Some(renewal.map_or(due, |it| it.min(due)));
        tokens.insert(it, status.token);
    }
    Ok((tokens, renewal))
}

/// When a token made at `now` is replaced: after four fifths of its life, or a day.
fn renew_at(now: Moment, expires: Moment) -> Moment {
    let life = expires.since(now);
    now.plus((life * 4 / 5).clamp(KEPT_MIN, KEPT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_well_before_its_end() {
        let at = |seconds: u64| Moment(seconds * 1000);
        assert_eq!(renew_at(at(0), at(3600)), at(2880));
        assert_eq!(renew_at(at(0), at(365 * 86_400)), at(86_400));
        assert_eq!(renew_at(at(100), at(50)), at(110), "a clock that jumped makes no busy loop");
    }

    #[test]
    fn a_pod_asks_for_each_token_once() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [], "volumes": [
            { "name": "a", "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } },
                { "serviceAccountToken": { "path": "v", "audience": "vault", "expirationSeconds": 600 } }] } },
            { "name": "b", "projected": { "sources": [{ "serviceAccountToken": { "path": "again" } }] } }] } }))
        .unwrap();
        let got: Vec<_> = wanted(&pod, Part::All).into_iter().map(|it| (it.audience, it.seconds)).collect();
        assert_eq!(got, [(String::new(), 3600), ("vault".to_owned(), 600)]);
    }
}
