//! A request through the gateway and its whole answer, one after another on a kept connection: no queue is measured.

use anyhow::{Result, ensure};
use eyot_advise::Text;

use super::{Figure, Outcome};
use crate::{
    deploy,
    verify::{Bench, http::Connection, taken},
};

/// Requests for each sample of what takes longer.
const TIMES: u32 = 20;
const WARM_UP: u32 = 20;

pub(in crate::verify) async fn take(bench: &Bench<'_>) -> Result<Outcome> {
    let address = deploy::gateway(&bench.client).await?;
    let began = std::time::Instant::now();
    Connection::first_answer(&address, &bench.folder.host, began, bench.flags.timeout()).await?;
    let mut connection = Connection::open(&address, &bench.folder.host).await?;
    let mut samples = Vec::new();
    for index in 0..WARM_UP + bench.flags.samples() * TIMES {
        let (took, status) = connection.get().await?;
        ensure!(status.is_success(), "{} answers {status}", bench.folder.host);
        if index >= WARM_UP {
            samples.push(took);
        }
    }
    let count = samples.len();
    let how = Text::new(
        format!("p99 of {count} requests through the gateway, each a fresh instance"),
        format!("经网关 {count} 个请求的 p99，每个请求一个新实例"),
    );
    Ok(Figure::of_durations(samples, how).map_or_else(|| Outcome::unknown("no samples", "没有样本"), taken))
}
