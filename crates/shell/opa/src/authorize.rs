//! Requests at the gateway, judged by the policies that are attached to what they go through.

use eyot_dispatch::{Asking, Authorize, Changes, Decision, Way};
use http::HeaderMap;

use crate::{Opa, decider::now_ns, envoy, logs::Entry, spec::OnFailure, state::Policy};

impl Authorize for Opa {
    fn is_concerned(&self, way: &Way<'_>) -> bool {
        self.policies().load().on(way).next().is_some()
    }

    /// Every policy must allow; the first that does not is the answer.
    fn authorize(&self, request: &Asking<'_>) -> Decision {
        let state = self.policies().load();
        let now = jiff::Timestamp::now();
        let input = envoy::input(request, &now.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string());
        let mut changes = Changes::default();
        for policy in state.on(&request.way) {
            match self.ask(policy, &input) {
                Decision::Allow(more) => {
                    changes.request_headers.extend(more.request_headers);
                    changes.request_headers_removed.extend(more.request_headers_removed);
                    changes.response_headers.extend(more.response_headers);
                }
                denied => return denied,
            }
        }
        Decision::Allow(changes)
    }
}

impl Opa {
    fn ask(&self, policy: &Policy, input: &eyot_rego::Value) -> Decision {
        let Some(authorization) = &policy.spec.authorization else { return Decision::Allow(Changes::default()) };
        let decided = policy.decider().and_then(|it| it.decide(&authorization.decision, input, now_ns()));
        self.note(policy, || Entry::new(&authorization.decision, input, &decided));
        let judged = decided.map_err(|error| error.to_string()).and_then(|answer| envoy::decision(&answer));
        judged.unwrap_or_else(|why| {
            tracing::warn!(policy = policy.name, why, "a request could not be judged");
            match authorization.on_failure {
                OnFailure::Fail => envoy::denied(None, HeaderMap::new(), "the request could not be authorised\n"),
                OnFailure::Ignore => Decision::Allow(Changes::default()),
            }
        })
    }
}
