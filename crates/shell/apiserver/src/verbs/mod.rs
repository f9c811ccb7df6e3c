//! The generic verbs, one module each. They know objects as values and bytes; what one kind does differently is in
//! [`crate::strategy`].

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod update;
pub(crate) mod watch;
