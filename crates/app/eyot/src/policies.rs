//! The engines of policy that judge what is written here. Entry point: [`engines`].

use std::sync::Arc;

use eyot_gatekeeper::Gatekeeper;
use eyot_kyverno::Kyverno;
use eyot_opa::Opa;
use eyot_policy::Engine;
use eyot_serving::Serving;
use eyot_vap::AdmissionPolicies;

/// Every engine, in the order in which they are asked. One without policies costs nothing.
pub(crate) fn engines(gatekeeper: &Arc<Gatekeeper>, kyverno: &Arc<Kyverno>, opa: &Opa) -> Vec<Arc<dyn Engine>> {
    // What a kind defaults and refuses by itself comes before anybody's policies.
    vec![
        Arc::new(Serving),
        Arc::new(AdmissionPolicies::new()),
        gatekeeper.clone(),
        kyverno.clone(),
        Arc::new(opa.clone()),
    ]
}
