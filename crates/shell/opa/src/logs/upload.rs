//! Sends records to servers that take OPA's decision logs: gzip-compressed arrays, posted to `URL/logs`.
//!
//! Each server has a task of its own with a bounded number of records waiting. What cannot be sent is tried again until
//! newer records push it out.

use std::{
    collections::{HashMap, VecDeque},
    io::Write,
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::bundles::fetch::{HttpClient, bearer, chain, client};

/// Records that may wait for one server.
const WAITING_MAX: usize = 4096;
/// Records in one request.
const BATCH_MAX: usize = 512;
/// How long records are gathered.
const GATHER: Duration = Duration::from_secs(5);
/// Longest exchange with a server.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The servers that records go to.
#[derive(Default)]
pub(super) struct Uploads {
    servers: HashMap<String, (mpsc::Sender<Value>, JoinHandle<()>)>,
}

impl Uploads {
    /// Has a record sent.
    pub(super) fn add(&mut self, url: &str, token_file: Option<&str>, record: Value) {
        let (queue, _) = self.servers.entry(url.to_owned()).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            let uploader = Uploader { url: url.to_owned(), token_file: token_file.map(str::to_owned), client: None };
            (queue, tokio::spawn(uploader.run(waiting)))
        });
        if queue.try_send(record).is_err() {
            tracing::warn!(url, "a decision is not uploaded: too many wait for the server");
        }
    }

    /// Sends what waits, within the time of one exchange.
    pub(super) async fn finish(self) {
        for (_, (queue, task)) in self.servers {
            drop(queue);
            let abort = task.abort_handle();
            if tokio::time::timeout(SEND_TIMEOUT, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

struct Uploader {
    url: String,
    token_file: Option<String>,
    client: Option<HttpClient>,
}

impl Uploader {
    async fn run(mut self, mut waiting: mpsc::Receiver<Value>) {
        let mut records = VecDeque::new();
        let mut open = true;
        while open || !records.is_empty() {
            let due = tokio::time::sleep(GATHER);
            tokio::pin!(due);
            while open && records.len() < BATCH_MAX {
                tokio::select! {
                    record = waiting.recv() => match record {
                        Some(record) => records.push_back(record),
                        None => open = false,
                    },
                    () = &mut due => break,
                }
            }
            if records.is_empty() {
                continue;
            }
            let batch: Vec<&Value> = records.iter().take(BATCH_MAX).collect();
            let count = batch.len();
            match self.send(&batch).await {
                Ok(()) => drop(records.drain(..count)),
                Err(why) if !open => {
                    tracing::warn!(url = self.url, why, decisions = records.len(), "decisions were not uploaded");
                    return;
                }
                Err(why) => {
                    tracing::warn!(url = self.url, why, "uploading decisions failed, trying again");
                    let excess = records.len().saturating_sub(WAITING_MAX);
                    records.drain(..excess);
                    tokio::time::sleep(GATHER).await;
                }
            }
        }
    }

    async fn send(&mut self, batch: &[&Value]) -> Result<(), String> {
        let client = match self.client.take() {
            Some(client) => client,
            None => client()?,
        };
        let client = self.client.insert(client);
        let mut request = Request::post(format!("{}/logs", self.url.trim_end_matches('/')))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip");
        if let Some(bearer) = bearer(self.token_file.as_deref()).await? {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let body = Full::new(compressed(batch).map_err(|error| error.to_string())?).boxed_unsync();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let sending = tokio::time::timeout(SEND_TIMEOUT, client.request(request));
        let response = sending.await.map_err(|_| "the server did not answer in time".to_owned())?;
        let status = response.map_err(|error| chain(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the server answered {status}")) }
    }
}

fn compressed(batch: &[&Value]) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(serde_json::to_string(batch)?.as_bytes())?;
    gzip.finish().map(Bytes::from)
}
