//! `/v1/data`: documents, base and virtual; and the older forms without a frame around the answer.

use axum::{
    body::Bytes,
    extract::{Path, State},
    response::Response,
};
use eyot_rego::{Bounds, Request, Value};
use http::{HeaderMap, StatusCode, header::IF_NONE_MATCH};
use serde_json::{Value as Json, json};

use super::{
    Server,
    answer::{Asked, Failure},
    workspace::{self, lookup},
};
use crate::decider::{DecideError, now_ns};

type Answer = Result<Response, Failure>;

/// The parts of a path.
fn parts(path: Option<Path<String>>) -> Vec<String> {
    let path = path.map(|it| it.0).unwrap_or_default();
    path.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

pub(super) async fn get(State(server): State<Server>, path: Option<Path<String>>, asked: Asked) -> Answer {
    let input = match asked.text("input") {
        Some(text) => Some(parse(text.as_bytes(), "input")?),
        None => None,
    };
    let answer = server.evaluate(&parts(path), input.as_ref(), &asked)?;
    Ok(framed(&asked, answer, json!({})))
}

pub(super) async fn post(
    State(server): State<Server>,
    path: Option<Path<String>>,
    asked: Asked,
    body: Bytes,
) -> Answer {
    let body = if body.is_empty() { json!({}) } else { parse(&body, "body")? };
    let Json::Object(fields) = &body else { return Err(Failure::bad("the body is no object")) };
    let frame = match fields.get("input") {
        Some(_) => json!({}),
        None => json!({"warning": {"code": "api_usage_warning",
            "message": "'input' key missing from the request"}}),
    };
    let answer = server.evaluate(&parts(path), fields.get("input"), &asked)?;
    Ok(framed(&asked, answer, frame))
}

fn framed(asked: &Asked, answer: Option<Json>, mut frame: Json) -> Response {
    if let Some(result) = answer {
        frame["result"] = result;
    }
    frame["decision_id"] = uuid::Uuid::new_v4().to_string().into();
    asked.answer(frame)
}

/// `POST /v0/data/…`: the body is the input, the answer the document.
pub(super) async fn post_v0(
    State(server): State<Server>,
    path: Option<Path<String>>,
    asked: Asked,
    body: Bytes,
) -> Answer {
    let path = parts(path);
    let input = if body.is_empty() { None } else { Some(parse(&body, "body")?) };
    let answer = server.evaluate(&path, input.as_ref(), &asked)?;
    answer.map(|it| asked.plain(&it)).ok_or_else(|| undefined(&path))
}

/// `POST /`: the decision `data.system.main`.
pub(super) async fn main(State(server): State<Server>, asked: Asked, body: Bytes) -> Answer {
    post_v0(State(server), Some(Path("system/main".to_owned())), asked, body).await
}

fn undefined(path: &[String]) -> Failure {
    Failure::new(404, "undefined_document", format!("document missing or undefined: data.{}", path.join(".")))
}

pub(super) async fn put(
    State(server): State<Server>,
    path: Option<Path<String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let (path, value) = (parts(path), parse(&body, "body")?);
    server.check_base(&path)?;
    let only_new = headers.get(IF_NONE_MATCH).is_some_and(|it| it == "*");
    let mut there = false;
    server.workspace.change_data(|data| {
        there = only_new && lookup(data, &path).is_some();
        if there { Ok(()) } else { workspace::put(data, &path, value) }
    })?;
    Ok(if there { StatusCode::NOT_MODIFIED } else { StatusCode::NO_CONTENT })
}

pub(super) async fn patch(
    State(server): State<Server>,
    path: Option<Path<String>>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let (path, patch) = (parts(path), parse(&body, "body")?);
    let Json::Array(operations) = patch else { return Err(Failure::bad("the body is no JSON patch")) };
    server.workspace.change_data(|data| operations.iter().try_for_each(|it| operate(data, &path, it)))?;
    server.check_base(&path)?;
    Ok(StatusCode::NO_CONTENT)
}

/// One operation of a patch; its path goes on from that of the request.
fn operate(data: &mut Json, base: &[String], operation: &Json) -> Result<(), Failure> {
    let path = operation["path"].as_str().ok_or_else(|| Failure::bad("an operation has no path"))?;
    let more = path.split('/').filter(|it| !it.is_empty()).map(|it| it.replace("~1", "/").replace("~0", "~"));
    let path: Vec<String> = base.iter().cloned().chain(more).collect();
    let value = || operation.get("value").cloned().ok_or_else(|| Failure::bad("an operation has no value"));
    match operation["op"].as_str() {
        Some("add") => add(data, &path, value()?),
        Some("replace") => {
            if lookup(data, &path).is_none() {
                return Err(Failure::not_found(&format!(
                    "storage_not_found_error: /{}: document does not exist",
                    path.join("/")
                )));
            }
            workspace::put(data, &path, value()?)
        }
        Some("remove") => workspace::remove(data, &path),
        other => {
            Err(Failure::bad(format!("operation {:?} is none of add, replace and remove", other.unwrap_or_default())))
        }
    }
}

/// Adds a document; into an array it is inserted, at `-` at its end.
fn add(data: &mut Json, path: &[String], value: Json) -> Result<(), Failure> {
    if let Some((last, parents)) = path.split_last() {
        let pointer: String =
            parents.iter().map(|it| format!("/{}", it.replace('~', "~0").replace('/', "~1"))).collect();
        if let Some(Json::Array(items)) = data.pointer_mut(&pointer) {
            let at = if last == "-" { Some(items.len()) } else { last.parse().ok().filter(|it| *it <= items.len()) };
            let at = at.ok_or_else(|| Failure::not_found(&format!("storage_not_found_error: array index {last}")))?;
            items.insert(at, value);
            return Ok(());
        }
    }
    workspace::put(data, path, value)
}

pub(super) async fn delete(State(server): State<Server>, path: Option<Path<String>>) -> Result<StatusCode, Failure> {
    let path = parts(path);
    server.workspace.change_data(|data| workspace::remove(data, &path))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn parse(bytes: &[u8], what: &str) -> Result<Json, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::bad(format!("the {what} is no JSON: {error}")))
}

impl Server {
    /// The document at a path: of the workspace, else of the first policy that knows it.
    pub(super) fn evaluate(
        &self,
        path: &[String],
        input: Option<&Json>,
        asked: &Asked,
    ) -> Result<Option<Json>, Failure> {
        let now = self.workspace.now();
        let input = input.map(Value::from);
        if !now.has(path) {
            return self.of_policies(path, input);
        }
        let keys: Vec<Value> = path.iter().map(|it| Value::string(it)).collect();
        let request = Request {
            input,
            data: now.document.clone(),
            now_ns: now_ns(),
            bounds: Bounds::default(),
            strict: asked.is("strict-builtin-errors"),
        };
        let value = now.program.at(&keys, &request).map_err(|fault| Failure::fault(&fault))?;
        Ok(value.map(|it| it.to_json()))
    }

    fn of_policies(&self, path: &[String], input: Option<Value>) -> Result<Option<Json>, Failure> {
        let path = path.join("/");
        let state = self.opa.policies().load();
        let knows = state.policies.values().filter_map(|it| it.decider().ok()).find(|it| it.has(&path));
        let Some(decider) = knows else { return Ok(None) };
        match decider.decide(&path, &input.unwrap_or(Value::Null), now_ns()) {
            Ok(value) => Ok(Some(value.to_json())),
            Err(DecideError::Undefined(_)) => Ok(None),
            Err(error) => Err(Failure::new(500, "internal_error", error.to_string())),
        }
    }

    /// Refuses data where rules are: they could not be told apart.
    fn check_base(&self, path: &[String]) -> Result<(), Failure> {
        let now = self.workspace.now();
        let taken = now
            .program
            .rules()
            .iter()
            .find(|rule| rule.path.len() <= path.len() && rule.path.iter().zip(path).all(|(a, b)| a == b));
        match taken {
            None => Ok(()),
            Some(rule) => Err(Failure::bad(format!(
                "path /{} is that of a rule in {}: data cannot be written there",
                path.join("/"),
                rule.file
            ))),
        }
    }
}
