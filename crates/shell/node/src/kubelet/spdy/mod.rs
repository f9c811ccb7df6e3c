//! SPDY/3.1 as far as Kubernetes' clients need it: streams opened by the client, data both ways, pings.
//!
//! Start at [`connection::run`]. Deliberately absent: flow control, priorities and pushed streams; the clients neither send
//! nor expect them.

pub(super) mod connection;
mod frame;
mod headers;

pub(super) use frame::data;
