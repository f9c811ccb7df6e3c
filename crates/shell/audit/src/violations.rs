//! Gatekeeper's audit: `status.violations` of constraints. Entry point: [`Violations::run`].
//!
//! An audit lists each kind that constraints are about in pages of a few megabytes, judges every object as if it were created now, and writes
//! the status of the constraints whose result changed. It runs after policies change, and at an interval while there are
//! constraints; without any it sleeps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eyot_gatekeeper::{CONSTRAINTS, Gatekeeper, Violation, constraint_status};
use eyot_model::{
    kinds::{self, Kind, Table},
    meta,
};
use eyot_policy::{Data, Finding, Look};
use http::{Method, Request, header};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::pages::{Pages, root};

/// How often, and how much is shown.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From one audit to the next.
    pub interval: Duration,
    /// How many violations a constraint's status lists; all are counted.
    pub violations_max: usize,
    /// How many objects are in memory at once; fewer where they are large.
    pub chunk: usize,
}

impl Default for Config {
    /// What Gatekeeper does.
    fn default() -> Config {
        Config { interval: Duration::from_secs(60), violations_max: 20, chunk: 500 }
    }
}

/// How long policies must have been quiet before an audit: a folder of them is applied one by one.
const QUIET: Duration = Duration::from_millis(500);
/// How old a constraint's `auditTimestamp` may become while nothing else in its status changes.
const STATUS_AGE_MAX: Duration = Duration::from_secs(600);

/// Something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("listing {resource}: {source}")]
    List { resource: String, source: Box<kube::Error> },
    #[error("writing the status of {constraint}: {source}")]
    Status { constraint: String, source: Box<kube::Error> },
    #[error("building a request: {0}")]
    Request(#[from] http::Error),
    #[error("judging objects was given up")]
    Judge,
}

/// The audit.
pub struct Violations {
    client: Client,
    engine: Arc<Gatekeeper>,
    look: Arc<dyn Look>,
    config: Config,
}

/// What was found for one constraint.
#[derive(Clone, Default)]
struct Tally {
    total: u64,
    listed: Vec<Violation>,
}

type Tallies = BTreeMap<(String, String), Tally>;

impl Violations {
    /// An audit of what `client` lists, by the constraints of `engine`, which look up other objects through `look`.
    pub fn new(client: Client, engine: Arc<Gatekeeper>, look: Arc<dyn Look>, config: Config) -> Violations {
        Violations { client, engine, look, config }
    }

    /// Audits until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        self.engine.on_change(move || tell.notify_one());
        loop {
            let idle = self.engine.constraints().is_empty();
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => {}
                () = tokio::time::sleep(self.config.interval), if !idle => {}
            }
            // Wait until nothing changed for a while.
            while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() && !stop.is_cancelled() {}
            tokio::select! {
                () = stop.cancelled() => return,
                result = self.audit() => {
                    if let Err(error) = result {
                        tracing::warn!("audit of constraints: {error}");
                    }
                }
            }
        }
    }

    async fn audit(&self) -> Result<(), AuditError> {
        let constraints = self.engine.constraints();
        if constraints.is_empty() {
            return Ok(());
        }
        let mut tallies: Tallies = constraints.into_iter().map(|key| (key, Tally::default())).collect();
        let mut table: Option<Arc<Table>> = None;
        self.look.look(&mut |data: &dyn Data| table = Some(data.kinds()));
        let Some(table) = table else { return Ok(()) };
        let namespaces = match table.preferred("", "Namespace") {
            Some(kind) => self.namespaces(kind).await?,
            None => BTreeMap::new(),
        };
        let namespaces = Arc::new(namespaces);
        for kind in self.engine.audited(&table) {
            let mut pages = Pages::new(&self.client, &kind, self.config.chunk);
            while let Some(objects) = pages.next().await? {
                tallies = self.judge(objects, namespaces.clone(), tallies).await?;
            }
        }
        let timestamp = meta::format_time(Timestamp::now());
        for ((kind, name), tally) in &tallies {
            self.write(&table, kind, name, tally, &timestamp).await?;
        }
        Ok(())
    }

    async fn namespaces(&self, kind: &Kind) -> Result<BTreeMap<String, Value>, AuditError> {
        let (mut out, mut pages) = (BTreeMap::new(), Pages::new(&self.client, kind, self.config.chunk));
        while let Some(objects) = pages.next().await? {
            out.extend(objects.into_iter().filter_map(|it| Some((meta::name(&it)?.to_owned(), it))));
        }
        Ok(out)
    }

    /// Judges a chunk away from the threads that serve.
    async fn judge(
        &self,
        objects: Vec<Value>,
        namespaces: Arc<BTreeMap<String, Value>>,
        mut tallies: Tallies,
    ) -> Result<Tallies, AuditError> {
        let (engine, look, shown) = (self.engine.clone(), self.look.clone(), self.config.violations_max);
        let work = move || {
            look.look(&mut |data| {
                let of = |object: &Value| meta::namespace(object).and_then(|it| namespaces.get(it));
                let pairs = objects.iter().map(|object| (object, of(object)));
                engine.audit_all(pairs, Timestamp::now(), data, &mut |object, finding| {
                    let key = (finding.policy[1].clone(), finding.policy[3].clone());
                    if let Some(tally) = tallies.get_mut(&key) {
                        tally.total += 1;
                        if tally.listed.len() < shown {
                            tally.listed.push(violation(object, finding));
                        }
                    }
                });
            });
            tallies
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| AuditError::Judge)
    }

    /// Writes a constraint's status, unless it says the same already.
    async fn write(
        &self,
        table: &Table,
        kind: &str,
        name: &str,
        tally: &Tally,
        timestamp: &str,
    ) -> Result<(), AuditError> {
        let Some(kind) = table.preferred(CONSTRAINTS, kind) else { return Ok(()) };
        let path = format!("{}/{}/{name}", root(kind), kind.plural);
        let fail = |source: kube::Error| AuditError::Status {
            constraint: format!("{} {name}", kind.kind),
            source: source.into(),
        };
        let stored = match self.client.request::<Value>(Request::get(&path).body(Vec::new())?).await {
            Ok(stored) => stored,
            // It is gone by now.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        let old = &stored["status"];
        let new = constraint_status(old, timestamp, tally.total, &tally.listed, self.config.violations_max);
        let same = ["totalViolations", "violations"].iter().all(|field| old.get(field) == new.get(field));
        if same && is_young(old, timestamp) {
            return Ok(());
        }
        let body = json!({"status": {
            "auditTimestamp": timestamp, "totalViolations": tally.total, "violations": new.get("violations"),
        }});
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("{path}/status"))
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body.to_string().into_bytes())?;
        self.client.request::<Value>(request).await.map(drop).map_err(fail)
    }
}

fn is_young(status: &Value, timestamp: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let then = status["auditTimestamp"].as_str().and_then(time);
    let age = then.zip(time(timestamp)).map(|(then, now)| now.duration_since(then).unsigned_abs());
    age.is_some_and(|age| age < STATUS_AGE_MAX)
}

fn violation(object: &Value, finding: Finding) -> Violation {
    let (group, version) = kinds::split_api_version(object["apiVersion"].as_str().unwrap_or_default());
    Violation {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: object["kind"].as_str().unwrap_or_default().to_owned(),
        namespace: meta::namespace(object).unwrap_or_default().to_owned(),
        name: meta::name(object).unwrap_or_default().to_owned(),
        message: finding.message,
        action: finding.action,
    }
}
