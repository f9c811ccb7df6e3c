//! `/v1/policies`: modules by the names that clients give them.

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    Server,
    answer::{Asked, Failure},
};

fn shown(id: &str, text: &str) -> Value {
    json!({"id": id, "raw": text})
}

pub(super) async fn list(State(server): State<Server>, asked: Asked) -> Response {
    let now = server.workspace.now();
    let all: Vec<Value> = now.modules.iter().map(|(id, text)| shown(id, text)).collect();
    asked.answer(json!({"result": all}))
}

pub(super) async fn get(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Failure> {
    let now = server.workspace.now();
    let text = now.modules.get(&id);
    let text = text.ok_or_else(|| Failure::not_found(&format!("storage_not_found_error: policy id {id:?}")))?;
    Ok(asked.answer(json!({"result": shown(&id, text)})))
}

pub(super) async fn put(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked,
    text: String,
) -> Result<Response, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::bad("the body holds no module"));
    }
    server.workspace.set_module(&id, Some(text))?;
    Ok(asked.answer(json!({})))
}

pub(super) async fn delete(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Failure> {
    server.workspace.set_module(&id, None)?;
    Ok(asked.answer(json!({})))
}
