//! The front of the shop: `GET /` lists the items, `GET /order?item=NAME&count=N` prices an order.
//!
//! Everything it knows it asks of the Service `stock` of its own namespace, by plain name.

use serde::{Deserialize, Serialize};
use wstd::http::{Body, Client, Error, Request, Response, StatusCode};

#[derive(Serialize, Deserialize)]
struct Item {
    name: String,
    cents: u64,
    left: u64,
}

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let stock = std::env::var("STOCK_URL").unwrap_or_else(|_| "http://stock".to_owned());
    match request.uri().path() {
        "/" => list(&stock).await,
        "/healthz" => text(StatusCode::OK, "open\n".to_owned()),
        "/order" => order(&stock, request.uri().query().unwrap_or_default()).await,
        _ => text(StatusCode::NOT_FOUND, "the shop has / and /order\n".to_owned()),
    }
}

async fn list(stock: &str) -> Result<Response<Body>, Error> {
    let (status, body) = ask(format!("{stock}/items")).await?;
    if status != StatusCode::OK {
        return text(StatusCode::BAD_GATEWAY, format!("stock answered {status}\n"));
    }
    let items: Vec<Item> = serde_json::from_slice(&body)?;
    let lines =
        items.iter().map(|i| format!("{:<10} {:>5}.{:02}  {} left\n", i.name, i.cents / 100, i.cents % 100, i.left));
    text(StatusCode::OK, lines.collect())
}

async fn order(stock: &str, query: &str) -> Result<Response<Body>, Error> {
    let find =
        |name: &str| query.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v);
    let (Some(name), Some(count)) = (find("item"), find("count").unwrap_or("1").parse::<u64>().ok()) else {
        return text(StatusCode::BAD_REQUEST, "an order is ?item=NAME&count=N\n".to_owned());
    };
    let (status, body) = ask(format!("{stock}/items/{name}")).await?;
    if status == StatusCode::NOT_FOUND {
        return text(StatusCode::NOT_FOUND, format!("no {name} here\n"));
    }
    if status != StatusCode::OK {
        return text(StatusCode::BAD_GATEWAY, format!("stock answered {status}\n"));
    }
    let item: Item = serde_json::from_slice(&body)?;
    if count > item.left {
        return text(StatusCode::CONFLICT, format!("only {} {name} left\n", item.left));
    }
    let cents = item.cents * count;
    text(StatusCode::OK, format!("{count} {name}: {}.{:02}\n", cents / 100, cents % 100))
}

/// Sends a GET and reads the whole answer.
async fn ask(url: String) -> Result<(StatusCode, Vec<u8>), Error> {
    let request = Request::get(url).body(Body::empty())?;
    let response = Client::new().send(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    Ok((status, body.contents().await?.to_vec()))
}

fn text(status: StatusCode, body: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "text/plain").body(body.into())?)
}
