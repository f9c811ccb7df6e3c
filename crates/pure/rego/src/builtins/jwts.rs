//! `io.jwt.*`: tokens decoded, verified and signed.
//!
//! Not supported: ES512, whose curve the cryptography under it does not have.

use serde_json::Value as Json;

use super::{Cx, Failure, Made, Row, text};
use crate::{
    jwt::{JwtError, Key, Token, keys_from, sign},
    value::Value,
};

pub(super) const TABLE: &[Row] = &[
    ("io.jwt.decode", 1, |cx, a| decode(cx, text(a, 0)?, 0)),
    ("io.jwt.decode_verify", 2, decode_verify),
    ("io.jwt.encode_sign", 3, |cx, a| {
        encode(cx, &a[0].to_json().to_string(), &a[1].to_json().to_string(), &a[2].to_json())
    }),
    ("io.jwt.encode_sign_raw", 3, |cx, a| {
        let key: Json = serde_json::from_str(text(a, 2)?).map_err(|error| Failure::Error(error.to_string()))?;
        encode(cx, text(a, 0)?, text(a, 1)?, &key)
    }),
    ("io.jwt.verify_eddsa", 2, |cx, a| verify(cx, "EdDSA", a)),
    ("io.jwt.verify_es256", 2, |cx, a| verify(cx, "ES256", a)),
    ("io.jwt.verify_es384", 2, |cx, a| verify(cx, "ES384", a)),
    ("io.jwt.verify_es512", 2, |cx, a| verify(cx, "ES512", a)),
    ("io.jwt.verify_hs256", 2, |cx, a| verify(cx, "HS256", a)),
    ("io.jwt.verify_hs384", 2, |cx, a| verify(cx, "HS384", a)),
    ("io.jwt.verify_hs512", 2, |cx, a| verify(cx, "HS512", a)),
    ("io.jwt.verify_ps256", 2, |cx, a| verify(cx, "PS256", a)),
    ("io.jwt.verify_ps384", 2, |cx, a| verify(cx, "PS384", a)),
    ("io.jwt.verify_ps512", 2, |cx, a| verify(cx, "PS512", a)),
    ("io.jwt.verify_rs256", 2, |cx, a| verify(cx, "RS256", a)),
    ("io.jwt.verify_rs384", 2, |cx, a| verify(cx, "RS384", a)),
    ("io.jwt.verify_rs512", 2, |cx, a| verify(cx, "RS512", a)),
];

/// How deeply tokens may lie inside of tokens.
const DEPTH_MAX: usize = 8;
/// What checking or making a signature costs.
const SIGNATURE_STEPS: u64 = 500;

fn failed(error: impl ToString) -> Failure {
    Failure::Error(error.to_string())
}

/// A payload that is a token itself; some write it as a string.
fn nested<'a>(token: &Token<'_>, payload: &'a str) -> Option<&'a str> {
    let is_token = token.header["cty"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("JWT"));
    is_token.then(|| payload.trim_matches(['"', '\'']))
}

fn claims(token: &Token<'_>) -> Result<Json, Failure> {
    let claims: Json = serde_json::from_slice(&token.payload).map_err(failed)?;
    if claims.is_object() { Ok(claims) } else { Err("the payload is no object".into()) }
}

fn decode(cx: &mut Cx, encoded: &str, depth: usize) -> Made {
    cx.charge_bytes(encoded.len().saturating_mul(8))?;
    let token = Token::parse(encoded).map_err(failed)?;
    if token.header.get("enc").is_some() {
        return Err("JWT is a JWE object, which is not supported".into());
    }
    if let Some(inner) = nested(&token, &String::from_utf8_lossy(&token.payload)) {
        if depth >= DEPTH_MAX {
            return Err("tokens are nested too deeply".into());
        }
        return decode(cx, inner, depth + 1);
    }
    let payload = Value::from(&claims(&token)?);
    let signature = Value::string(&hex::encode(&token.signature));
    Ok(Value::array(vec![Value::from(&token.header), payload, signature]))
}

fn verify(cx: &mut Cx, algorithm: &str, args: &[Value]) -> Made {
    cx.step(SIGNATURE_STEPS)?;
    let token = Token::parse(text(args, 0)?).map_err(failed)?;
    let keys = match algorithm.starts_with("HS") {
        true => vec![(None, Key::parse(algorithm, text(args, 1)?).map_err(failed)?)],
        false => match keys_from(algorithm, text(args, 1)?) {
            // A key of another kind verifies nothing.
            Err(JwtError::WrongKind(_)) => return Ok(Value::Bool(false)),
            keys => keys.map_err(failed)?,
        },
    };
    Ok(holds(&token, &keys).into())
}

/// Whether the key that the token names verifies it, or where it names none of them, any.
fn holds(token: &Token<'_>, keys: &[(Option<String>, Key)]) -> bool {
    let id = token.header["kid"].as_str();
    if let Some((_, key)) = keys.iter().find(|(kid, _)| kid.is_some() && kid.as_deref() == id) {
        return token.verify_as(key).is_ok();
    }
    keys.iter().any(|(_, key)| token.verify_as(key).is_ok())
}

/// What a token must meet.
struct Constraints<'a> {
    cert: Option<&'a str>,
    secret: Option<&'a str>,
    alg: Option<&'a str>,
    iss: Option<&'a str>,
    aud: Option<&'a str>,
    time_ns: f64,
}

fn constraints<'a>(cx: &Cx, value: &'a Value) -> Result<Constraints<'a>, Failure> {
    let Value::Object(fields) = value else { return Err("operand 2 must be object".into()) };
    let (mut cert, mut secret, mut alg, mut iss, mut aud) = (None, None, None, None, None);
    let mut time_ns = cx.now_ns() as f64;
    for (name, value) in fields.iter() {
        let name = name.as_str().unwrap_or_default();
        let string = || value.as_str().ok_or_else(|| Failure::Error(format!("{name} constraint: must be a string")));
        match name {
            "cert" => cert = Some(string()?),
            "secret" => secret = Some(string()?),
            "alg" => alg = Some(string()?),
            "iss" => iss = Some(string()?),
            "aud" => aud = Some(string()?),
            "time" => match value {
                Value::Number(number) if number.as_f64() >= 0.0 => time_ns = number.as_f64(),
                _ => return Err("token time constraint: must be a number that is not negative".into()),
            },
            other => return Err(format!("unknown token validation constraint: {other}").into()),
        }
    }
    let secret = secret.filter(|it| !it.is_empty());
    match (cert, secret) {
        (Some(_), Some(_)) => Err("duplicate key constraints".into()),
        (None, None) => Err("no key constraint".into()),
        _ => Ok(Constraints { cert, secret, alg, iss, aud, time_ns }),
    }
}

fn decode_verify(cx: &mut Cx, args: &[Value]) -> Made {
    let constraints = constraints(cx, &args[1])?;
    let mut encoded = text(args, 0)?.to_owned();
    cx.charge_bytes(encoded.len().saturating_mul(16))?;
    let unverified = || Value::array(vec![Value::Bool(false), Value::object([]), Value::object([])]);
    // The keys are read first: unreadable ones are an error whatever the token says.
    if let Some(cert) = constraints.cert {
        readable(cert)?;
    }
    for _ in 0..DEPTH_MAX {
        cx.step(SIGNATURE_STEPS)?;
        let token = Token::parse(&encoded).map_err(failed)?;
        if !has_plain_header(&token) || constraints.alg.is_some_and(|it| it != token.algorithm()) {
            return Ok(unverified());
        }
        let algorithm = token.algorithm();
        let keys = match (constraints.cert, constraints.secret) {
            (Some(cert), _) => keys_from(algorithm, cert).or_else(|error| match error {
                JwtError::Algorithm(_) => Err(failed(error)),
                // Keys of another kind do not verify it, which is no error.
                _ => Ok(Vec::new()),
            })?,
            (_, secret) if algorithm.starts_with("HS") => {
                vec![(None, Key::parse(algorithm, secret.unwrap_or_default()).map_err(failed)?)]
            }
            _ => return Err("the secret is no key for the token's algorithm".into()),
        };
        if !holds(&token, &keys) {
            return Ok(unverified());
        }
        let payload = String::from_utf8_lossy(&token.payload).into_owned();
        if let Some(inner) = nested(&token, &payload) {
            encoded = inner.to_owned();
            continue;
        }
        let claims = claims(&token)?;
        if !meets(&claims, &constraints)? {
            return Ok(unverified());
        }
        return Ok(Value::array(vec![Value::Bool(true), Value::from(&token.header), Value::from(&claims)]));
    }
    Err("tokens are nested too deeply".into())
}

/// Whether a text holds keys of any kind.
fn readable(text: &str) -> Result<(), Failure> {
    let kinds = ["RS256", "ES256", "EdDSA"];
    let mut errors = kinds.iter().filter_map(|it| keys_from(it, text).err());
    // Keys that are only of another kind were read.
    let readable = |it: &&str| !matches!(keys_from(it, text), Err(error) if !matches!(error, JwtError::WrongKind(_)));
    if kinds.iter().any(readable) { Ok(()) } else { Err(errors.next().map_or_else(|| "no key".into(), failed)) }
}

/// Whether the header has an algorithm and demands nothing that is not understood here.
fn has_plain_header(token: &Token<'_>) -> bool {
    let typed = token.header.get("typ").is_none_or(Json::is_string);
    !token.algorithm().is_empty() && token.header.get("crit").is_none() && typed
}

fn meets(claims: &Json, constraints: &Constraints<'_>) -> Result<bool, Failure> {
    if constraints.iss.is_some_and(|it| claims["iss"] != it) {
        return Ok(false);
    }
    let aud = match (claims.get("aud"), constraints.aud) {
        (None, wanted) => wanted.is_none(),
        (Some(_), None) => false,
        (Some(Json::Array(all)), Some(wanted)) => all.iter().any(|it| it == wanted),
        (Some(one), Some(wanted)) => one == wanted,
    };
    if !aud {
        return Ok(false);
    }
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Json::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(Failure::Error(format!("{name} value must be a number"))),
    };
    let now = constraints.time_ns / 1e9;
    Ok(seconds("exp")?.is_none_or(|it| now < it) && seconds("nbf")?.is_none_or(|it| now >= it))
}

fn encode(cx: &mut Cx, header: &str, payload: &str, key: &Json) -> Made {
    let parsed: Json = serde_json::from_str(header).map_err(failed)?;
    let algorithm = parsed["alg"].as_str().ok_or("unknown signature algorithm")?;
    let is_jwt = parsed["typ"].as_str().is_none_or(|it| it.is_empty() || it == "JWT");
    if is_jwt && serde_json::from_str::<serde::de::IgnoredAny>(payload).is_err() {
        return Err("type is JWT but payload is not JSON".into());
    }
    let key = match key["keys"].as_array() {
        Some(keys) => keys.first().ok_or("the key set is empty")?,
        None => key,
    };
    cx.step(SIGNATURE_STEPS)?;
    let token = sign(algorithm, header, payload, key).map_err(failed)?;
    cx.text(&token)
}
