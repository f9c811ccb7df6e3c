//! Reads requests: path, query, media types and body. Pure, except that nothing here knows what is stored.

pub(crate) mod accept;
pub(crate) mod decode;
pub(crate) mod path;
pub(crate) mod protobuf;
pub(crate) mod query;
mod yaml;
