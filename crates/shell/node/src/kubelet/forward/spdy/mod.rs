//! SPDY/3.1 as far as port forwarding needs it: streams opened by the client, data both ways, pings.
//!
//! Deliberately absent: flow control, priorities and pushed streams; Kubernetes' clients neither send nor expect them.

mod frame;
mod headers;
pub(super) mod session;
