//! `/v1/query`: queries that nobody has prepared.

use axum::{body::Bytes, extract::State, response::Response};
use eyot_rego::{Bounds, Dialect, Request, Value};
use serde_json::{Map, Value as Json, json};

use super::{
    Server,
    answer::{Asked, Failure},
    data::parse,
};
use crate::decider::now_ns;

pub(super) async fn get(State(server): State<Server>, asked: Asked) -> Result<Response, Failure> {
    let text = asked.text("q").ok_or_else(|| Failure::bad("parameter q is missing"))?;
    let input = match asked.text("input") {
        Some(input) => Some(parse(input.as_bytes(), "input")?),
        None => None,
    };
    run(&server, text, input.as_ref(), &asked)
}

pub(super) async fn post(State(server): State<Server>, asked: Asked, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body, "body")?;
    let text = body["query"].as_str().ok_or_else(|| Failure::bad("the body has no \"query\""))?;
    run(&server, text, body.get("input"), &asked)
}

fn run(server: &Server, text: &str, input: Option<&Json>, asked: &Asked) -> Result<Response, Failure> {
    let now = server.workspace.now();
    let query = now.program.query(text, Dialect::V1);
    let query = query.map_err(|flaws| Failure::flaws("error(s) occurred while parsing query", &flaws))?;
    let request = Request {
        input: input.map(Value::from),
        data: now.document.clone(),
        now_ns: now_ns(),
        bounds: Bounds::default(),
        strict: asked.is("strict-builtin-errors"),
    };
    let outcome = now.program.eval(&query, &request).map_err(|fault| Failure::fault(&fault))?;
    let results = outcome.results.iter();
    let results: Vec<Json> = results
        .map(|it| {
            Json::Object(it.bindings.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<Map<_, _>>())
        })
        .collect();
    Ok(asked.answer(if results.is_empty() { json!({}) } else { json!({"result": results}) }))
}
