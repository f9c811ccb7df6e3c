//! Encodings and digests.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Call, Function, SearchError, function};

type Made = Result<Value, SearchError>;

pub(super) const TABLE: &[Function] = &[
    function("base64_decode", 1, base64_decode),
    function("base64_encode", 1, |it| Ok(STANDARD.encode(it.text(0)?).into())),
    function("parse_json", 1, |it| serde_json::from_str(it.text(0)?).map_err(|why| it.fails(why))),
    function("parse_yaml", 1, parse_yaml),
    function("sha256", 1, |it| Ok(hex::encode(Sha256::digest(it.text(0)?)).into())),
    function("sha1", 1, |it| Ok(hex::encode(super::super::digest::sha1(it.text(0)?.as_bytes())).into())),
    function("md5", 1, |it| Ok(hex::encode(super::super::digest::md5(it.text(0)?.as_bytes())).into())),
];

fn base64_decode(call: &Call<'_>) -> Made {
    // Line breaks are no part of the data.
    let text: String = call.text(0)?.chars().filter(|it| *it != '\n' && *it != '\r').collect();
    let bytes = STANDARD.decode(text).map_err(|it| call.fails(it))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

fn parse_yaml(call: &Call<'_>) -> Made {
    crate::yaml::parse(call.text(0)?).map_err(|it| call.fails(it))
}
