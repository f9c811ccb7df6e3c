//! `providers.aws.sign_req`: signature version 4 for a request to AWS.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ring::{digest, hmac};

use super::{Cx, Failure, Made, Row, whole, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("providers.aws.sign_req", 3, sign_request)];

/// Headers that proxies change and that are therefore not signed.
const UNSIGNED: [&str; 3] = ["authorization", "user-agent", "x-amzn-trace-id"];

/// The texts that an object must have, by name.
fn required<'a>(args: &'a [Value], at: usize, names: &[&str], what: &str) -> Result<Vec<&'a str>, Failure> {
    if !matches!(args[at], Value::Object(_)) {
        return Err(wrong_type(args, at, "object"));
    }
    let listed = |names: Vec<&&str>| Value::set(names.into_iter().map(|it| Value::string(it))).to_string();
    let missing: Vec<&&str> = names.iter().filter(|it| args[at].field(it).is_none()).collect();
    if !missing.is_empty() {
        return Err(Failure::Type(format!("operand {} missing required {what}(s): {}", at + 1, listed(missing))));
    }
    let texts: Vec<Option<&str>> = names.iter().map(|it| args[at].field(it).and_then(Value::as_str)).collect();
    let wrong: Vec<&&str> = names.iter().zip(&texts).filter(|(_, it)| it.is_none()).map(|it| it.0).collect();
    if !wrong.is_empty() {
        return Err(Failure::Type(format!(
            "operand {} invalid values for required {what}(s): {}",
            at + 1,
            listed(wrong)
        )));
    }
    Ok(texts.into_iter().flatten().collect())
}

fn sign_request(cx: &mut Cx, args: &[Value]) -> Made {
    let request = required(args, 0, &["method", "url"], "request parameters")?;
    let names = ["aws_access_key", "aws_region", "aws_secret_access_key", "aws_service"];
    let config = required(args, 1, &names, "AWS config parameters")?;
    let unsigned = match args[1].field("disable_payload_signing") {
        None => false,
        Some(Value::Bool(it)) => *it,
        Some(_) => {
            return Err(Failure::Type(
                "operand 2 invalid value for 'disable_payload_signing' in AWS config".to_owned(),
            ));
        }
    };
    let at = Timestamp::from_nanosecond(whole(args, 2)?).ok().filter(|it| it.as_second() >= 0);
    let at =
        at.ok_or_else(|| Failure::Type("operand 3 could not convert time_ns value into a unix timestamp".to_owned()))?;
    let token = args[1].field("aws_session_token").and_then(Value::as_str);

    let body = body(&args[0]);
    cx.charge_bytes(body.len())?;
    let hash = if unsigned { "UNSIGNED-PAYLOAD".to_owned() } else { sha256(body.as_bytes()) };
    let url = Url::parse(request[1])?;
    let (region, secret, service) = (config[1], config[2], config[3]);
    let (date, time) = (at.strftime("%Y%m%d").to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string());

    let mut added = BTreeMap::from([("host", url.host), ("x-amz-date", &time)]);
    if service == "s3" || service == "glacier" {
        added.insert("x-amz-content-sha256", &hash);
    }
    if let Some(token) = token {
        added.insert("x-amz-security-token", token);
    }
    let given = headers(&args[0])?;
    let mut signed: BTreeMap<String, String> =
        added.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    signed.extend(given.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
    signed.retain(|name, _| !UNSIGNED.contains(&name.as_str()));

    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let list: Vec<&str> = signed.keys().map(String::as_str).collect();
    let list = list.join(";");
    let canonical = format!("{}\n{}\n{}\n{lines}\n{list}\n{hash}", request[0], url.path, url.query);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key = [&*date, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| authenticated(&key, part));
    let signature = hex::encode(authenticated(&key, &to_sign));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={list},Signature={signature}", config[0]);

    let mut all: BTreeMap<Value, Value> =
        given.iter().map(|(name, value)| (Value::string(name), Value::string(value))).collect();
    all.extend(added.iter().map(|(name, value)| (Value::string(name), Value::string(value))));
    all.insert(Value::string("Authorization"), Value::string(&authorization));
    let Value::Object(fields) = &args[0] else { return Err(wrong_type(args, 0, "object")) };
    let mut fields = (**fields).clone();
    fields.insert(Value::string("headers"), Value::object(all));
    Ok(Value::object(fields))
}

/// What is sent: the raw body, else the body in JSON.
fn body(request: &Value) -> String {
    match (request.field("raw_body").and_then(Value::as_str), request.field("body")) {
        (Some(raw), _) => raw.to_owned(),
        (None, Some(body)) => body.to_json().to_string(),
        (None, None) => String::new(),
    }
}

fn headers(request: &Value) -> Result<BTreeMap<String, String>, Failure> {
    let Some(headers) = request.field("headers") else { return Ok(BTreeMap::new()) };
    let Value::Object(fields) = headers else {
        return Err(Failure::Type("operand 1 headers must be an object".to_owned()));
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn authenticated(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
}

struct Url<'a> {
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Url<'a>, Failure> {
        let (_, rest) = text.split_once("://").ok_or_else(|| Failure::Error(format!("{text:?} is no URL")))?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let at = before.find('/').unwrap_or(before.len());
        let (host, path) = before.split_at(at);
        Ok(Url { host: host.rsplit('@').next().unwrap_or(host), path, query })
    }
}
