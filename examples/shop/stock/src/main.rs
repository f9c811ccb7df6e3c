//! The back of the shop: `GET /items` lists what is in stock, `GET /items/NAME` gives one item.
//!
//! The list is a JSON file mounted from a ConfigMap, read anew for every request.

use serde::{Deserialize, Serialize};
use wstd::http::{Body, Error, Request, Response, StatusCode};

/// Where the ConfigMap is mounted.
const ITEMS: &str = "/etc/shop/items.json";

#[derive(Serialize, Deserialize)]
struct Item {
    name: String,
    cents: u64,
    left: u64,
}

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let items: Vec<Item> = match std::fs::read(ITEMS)
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()))
    {
        Ok(items) => items,
        Err(why) => {
            eprintln!("reading {ITEMS}: {why}");
            return json(StatusCode::INTERNAL_SERVER_ERROR, &serde_json::json!({ "error": "no list of items" }));
        }
    };
    match request.uri().path() {
        "/" | "/healthz" => json(StatusCode::OK, &serde_json::json!({ "items": items.len() })),
        "/items" => json(StatusCode::OK, &items),
        path => match path.strip_prefix("/items/").and_then(|name| items.iter().find(|item| item.name == name)) {
            Some(item) => json(StatusCode::OK, item),
            None => json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "no such item" })),
        },
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Error> {
    let body = serde_json::to_vec(value)?;
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.into())?)
}
