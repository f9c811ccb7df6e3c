//! Requests and answers in the shapes of Envoy's external authorisation, which policies for OPA's Envoy plugin expect.
//! Entry points: [`input`] and [`decision`].
//!
//! Absent: bodies (`parsed_body` is null) and dynamic metadata.

use bytes::Bytes;
use eyot_dispatch::{Asking, Changes, Decision, Sender};
use eyot_rego::Value;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

/// The input document for a request.
pub(crate) fn input(request: &Asking<'_>, now: &str) -> Value {
    let head = request.head;
    let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let text = Value::string;
    let http = Value::record([
        ("method", text(head.method.as_str())),
        ("headers", headers(request, target)),
        ("path", text(target)),
        ("host", text(request.host)),
        ("scheme", text("http")),
        ("protocol", text(&format!("{:?}", head.version))),
        ("query", text(head.uri.query().unwrap_or_default())),
        ("size", text(head.headers.get(http::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()).unwrap_or("-1"))),
    ]);
    let source = match request.sender {
        Sender::Client(address) => peer(address),
        Sender::Guest(caller) => {
            Value::record([("principal", text(&format!("pod/{}/{}", caller.namespace, caller.pod)))])
        }
    };
    let destination = request.listener.map_or_else(|| Value::record([]), peer);
    let way = [
        ("gateway", request.way.gateway),
        ("route", request.way.route),
        ("ingress", request.way.ingress),
        ("service", request.way.service),
    ];
    let extensions = Value::record(way.into_iter().filter_map(|(name, it)| Some((name, text(it?)))));
    let attributes = Value::record([
        ("request", Value::record([("http", http), ("time", text(now))])),
        ("source", source),
        ("destination", destination),
        ("contextExtensions", extensions),
    ]);
    Value::record([
        ("attributes", attributes),
        ("parsed_path", parsed_path(head.uri.path())),
        ("parsed_query", parsed_query(head.uri.query().unwrap_or_default())),
        ("parsed_body", Value::Null),
        ("truncated_body", Value::Bool(false)),
        ("version", Value::record([("encoding", text("protojson")), ("ext_authz", text("v3"))])),
    ])
}

fn peer(address: std::net::SocketAddr) -> Value {
    let socket = Value::record([
        ("address", Value::string(&address.ip().to_canonical().to_string())),
        ("portValue", Value::int(address.port())),
    ]);
    Value::record([("address", Value::record([("socketAddress", socket)]))])
}

/// Headers by name, several of one name joined, with the pseudo headers that Envoy shows.
fn headers(request: &Asking<'_>, target: &str) -> Value {
    let map = &request.head.headers;
    let ordinary = map.keys().map(|name| {
        let values = map.get_all(name).iter().map(|it| String::from_utf8_lossy(it.as_bytes()));
        let joined = values.collect::<Vec<_>>().join(",");
        (Value::string(name.as_str()), Value::string(&joined))
    });
    let pseudo = [(":method", request.head.method.as_str()), (":path", target), (":authority", request.host)];
    let pseudo = pseudo.into_iter().chain([(":scheme", "http")]);
    Value::object(ordinary.chain(pseudo.map(|(name, value)| (Value::string(name), Value::string(value)))))
}

fn parsed_path(path: &str) -> Value {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    Value::array(decoded.trim_start_matches('/').split('/').map(Value::string).collect())
}

fn parsed_query(query: &str) -> Value {
    let mut fields = std::collections::BTreeMap::<Value, Vec<Value>>::new();
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |it: &str| Value::string(&percent_decode_str(&it.replace('+', " ")).decode_utf8_lossy());
        fields.entry(decode(name)).or_default().push(decode(value));
    }
    Value::object(fields.into_iter().map(|(name, values)| (name, Value::array(values))))
}

/// What a policy's answer means. The error tells why it means nothing.
pub(crate) fn decision(answer: &Value) -> Result<Decision, String> {
    if let Value::Bool(allowed) = answer {
        return Ok(if *allowed { Decision::Allow(Changes::default()) } else { denied(None, HeaderMap::new(), "") });
    }
    let Some(Value::Bool(allowed)) = answer.field("allowed") else {
        return Err(format!("the answer is {}, neither a boolean nor an object with \"allowed\"", answer.type_name()));
    };
    let set = pairs(answer.field("headers"), "headers")?;
    if *allowed {
        return Ok(Decision::Allow(Changes {
            request_headers: set,
            request_headers_removed: names(answer.field("request_headers_to_remove"))?,
            response_headers: pairs(answer.field("response_headers_to_add"), "response_headers_to_add")?,
        }));
    }
    let status = match answer.field("http_status") {
        None => None,
        Some(Value::Number(number)) => {
            let code = number.as_whole().and_then(|it| u16::try_from(it).ok());
            let status = code.and_then(|it| StatusCode::from_u16(it).ok());
            Some(status.filter(|it| it.as_u16() >= 200).ok_or_else(|| format!("http_status {number} is no status"))?)
        }
        Some(other) => return Err(format!("http_status is {}, not a number", other.type_name())),
    };
    let mut headers = HeaderMap::new();
    let added = pairs(answer.field("response_headers_to_add"), "response_headers_to_add")?;
    for (name, value) in set.into_iter().chain(added) {
        headers.append(name, value);
    }
    let body = answer.field("body").and_then(Value::as_str).unwrap_or_default();
    Ok(denied(status, headers, body))
}

/// A refusal; 403 unless another status is given.
pub(crate) fn denied(status: Option<StatusCode>, headers: HeaderMap, body: &str) -> Decision {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Decision::Deny { status: status.unwrap_or(StatusCode::FORBIDDEN), headers, body }
}

/// What belongs to the connection, not to a policy.
const FRAMING: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "upgrade"];

fn pairs(value: Option<&Value>, field: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let objects: Vec<&Value> = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(other) => vec![other],
    };
    let mut found = Vec::new();
    for object in objects {
        let Value::Object(fields) = object else { return Err(format!("{field} is {}", object.type_name())) };
        for (name, value) in fields.iter() {
            let name = header_name(name, field)?;
            let values = match value {
                Value::Array(items) => items.to_vec(),
                one => vec![one.clone()],
            };
            for value in values {
                let text = value.as_str().ok_or_else(|| format!("{field}: {name} is {}", value.type_name()))?;
                let value =
                    HeaderValue::from_str(text).map_err(|_| format!("{field}: {name} has a malformed value"))?;
                found.push((name.clone(), value));
            }
        }
    }
    Ok(found)
}

fn header_name(name: &Value, field: &str) -> Result<HeaderName, String> {
    let text = name.as_str().ok_or_else(|| format!("{field} has a name that is no text"))?;
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{field}: {text:?} is no header"))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("{field}: {name} is not a policy's to set"));
    }
    Ok(name)
}

fn names(value: Option<&Value>) -> Result<Vec<HeaderName>, String> {
    const FIELD: &str = "request_headers_to_remove";
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|it| header_name(it, FIELD)).collect(),
        Some(Value::Set(items)) => items.iter().map(|it| header_name(it, FIELD)).collect(),
        Some(other) => Err(format!("{FIELD} is {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_dispatch::Way;
    use http::Request;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_looks_as_envoy_shows_it() {
        let request = Request::get("/a%20b/c?x=1&x=2&y=a+b").header("x-one", "1").header("x-one", "2").body(());
        let head = request.unwrap().into_parts().0;
        let asking = Asking {
            way: Way { gateway: Some("g/d"), route: Some("n/r"), service: Some("n/s"), ..Way::default() },
            head: &head,
            host: "web.test",
            sender: Sender::Client("10.0.0.9:4000".parse().unwrap()),
            listener: Some("127.0.0.1:80".parse().unwrap()),
        };
        expect![[r#"{"attributes":{"contextExtensions":{"gateway":"g/d","route":"n/r","service":"n/s"},"destination":{"address":{"socketAddress":{"address":"127.0.0.1","portValue":80}}},"request":{"http":{"headers":{":authority":"web.test",":method":"GET",":path":"/a%20b/c?x=1&x=2&y=a+b",":scheme":"http","x-one":"1,2"},"host":"web.test","method":"GET","path":"/a%20b/c?x=1&x=2&y=a+b","protocol":"HTTP/1.1","query":"x=1&x=2&y=a+b","scheme":"http","size":"-1"},"time":"now"},"source":{"address":{"socketAddress":{"address":"10.0.0.9","portValue":4000}}}},"parsed_body":null,"parsed_path":["a b","c"],"parsed_query":{"x":["1","2"],"y":["a b"]},"truncated_body":false,"version":{"encoding":"protojson","ext_authz":"v3"}}"#]]
        .assert_eq(&input(&asking, "now").to_json().to_string());
    }

    #[test]
    fn answers_mean_what_they_mean_to_envoy() {
        let judged = |answer: serde_json::Value| match decision(&Value::from(&answer)) {
            Ok(Decision::Allow(it)) => {
                format!("allow {:?} -{:?} {:?}", it.request_headers, it.request_headers_removed, it.response_headers)
            }
            Ok(Decision::Deny { status, headers, body }) => format!("{status} {headers:?} {body:?}"),
            Err(error) => error,
        };
        let answers = [
            json!(true),
            json!(false),
            json!({"allowed": true, "headers": {"x-a": "1"}, "request_headers_to_remove": ["x-b"],
                "response_headers_to_add": {"x-c": ["2", "3"]}}),
            json!({"allowed": false, "http_status": 401, "body": "no", "headers": {"www-authenticate": "Basic"}}),
            json!({"allowed": "yes"}),
            json!({"allowed": false, "http_status": 99}),
            json!({"allowed": true, "headers": {"Host": "x"}}),
            json!({"allowed": true, "headers": {"x-a": "a\nb"}}),
            json!(null),
        ];
        let lines: Vec<String> = answers.map(judged).into();
        expect![[r#"
            allow [] -[] []
            403 Forbidden {} b""
            allow [("x-a", "1")] -["x-b"] [("x-c", "2"), ("x-c", "3")]
            401 Unauthorized {"www-authenticate": "Basic"} b"no"
            the answer is object, neither a boolean nor an object with "allowed"
            http_status 99 is no status
            headers: host is not a policy's to set
            headers: x-a has a malformed value
            the answer is null, neither a boolean nor an object with "allowed""#]]
        .assert_eq(&lines.join("\n"));
    }
}
