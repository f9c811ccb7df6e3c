//! `eyot-bench NAME [--json FILE]`: benchmarks of the release binary, each printed as a table and written as JSON.
//!
//! Started by `cargo xtask bench`, which builds what it needs and says where it lies. What starts a node drives it from
//! outside, as a user would; `store`, `runtime` and `advise` measure one part alone, in this process.

mod advise;
mod api;
mod bare;
mod first;
mod floor;
mod http;
mod kernels;
mod machine;
mod memory;
mod neighbour;
mod peer;
mod pods;
mod policy;
mod report;
mod runtime;
mod scale;
mod serverless;
mod soak;
mod startup;
mod store;
mod watch;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Map, Value, json};

/// Measures Eyot and prints medians and 99th percentiles.
#[derive(Parser)]
#[command(name = "eyot-bench")]
struct Flags {
    /// What to measure.
    name: Name,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How many pods count as many.
    #[arg(long, default_value_t = 3000)]
    pods: usize,
    /// How often a thing is repeated that is measured one at a time.
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// Wasm files that `runtime` measures besides its own, the samples when none is named; and `http` besides the samples.
    #[arg(long = "guest", value_name = "FILE")]
    guests: Vec<PathBuf>,
    /// Kubeconfig of another API server, against which `api` does the same.
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    /// A process of that server, to tell its memory; may be given several times.
    #[arg(long = "peer-pid", value_name = "PID")]
    peer_pids: Vec<u32>,
    /// How many objects `api` creates and lists.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// The parts of `serverless` to run; all when none is named.
    #[arg(long, value_name = "PART")]
    only: Vec<serverless::Part>,
    /// How many functions `serverless` leaves at zero to see what they cost.
    #[arg(long, default_value_t = 2000)]
    functions: usize,
    /// How many requests `soak` makes, an instance each.
    #[arg(long, default_value_t = 10_000_000)]
    requests: u64,
    /// Has `memory` put a Service and a route before its pods.
    #[arg(long)]
    routed: bool,
    /// Has `http` measure each guest once more with its instances reused.
    #[arg(long)]
    reuse: bool,
    /// Where the hidden server listens.
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// How many objects `policy` has audited.
    #[arg(long, default_value_t = 100_000)]
    audited: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Exec to ready: empty, and with many pods.
    Startup,
    /// POST of a pod to Ready.
    Pods,
    /// A Deployment from 0 to many replicas and back.
    Scale,
    /// Memory and processor time of an idle node.
    Memory,
    /// Requests a second beside `wasmtime serve`.
    Http,
    /// Durable writes and watches of the store alone.
    Store,
    /// Guests started and called in process.
    Runtime,
    /// Operations of the API server, beside those of another one when its kubeconfig is given.
    Api,
    /// What policies add to writes and requests, how soon a changed one is in force, and what an audit takes.
    Policy,
    /// Functions: at zero, in bursts, updated, scaled.
    Serverless,
    /// Answers of the advisor, in process.
    Advise,
    /// Calls beside guests that spin, allocate and flood their log: of `runtime`, this alone; not part of `all`.
    Neighbour,
    /// Many requests, an instance each, and the memory of the process meanwhile; not part of `all`.
    Soak,
    /// A server that others are measured beside.
    #[value(hide = true)]
    BareHyper,
    /// All of them, one after another.
    All,
}

const EACH: [Name; 11] = [
    Name::Startup,
    Name::Pods,
    Name::Scale,
    Name::Memory,
    Name::Http,
    Name::Store,
    Name::Runtime,
    Name::Api,
    Name::Policy,
    Name::Serverless,
    Name::Advise,
];

/// As in the node: what runs in this process is measured as it runs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    take_small_pages();
    let flags = Flags::parse();
    if flags.name == Name::BareHyper {
        return bare::serve(flags.listen, flags.guests.first().map(PathBuf::as_path));
    }
    tokio::runtime::Runtime::new().context("starting a runtime")?.block_on(run(flags))
}

/// As in the node, too. The kernel makes huge pages of the allocator's heap whenever it comes to it, and fills them: memory then
/// grows by megabytes at once that nobody asked for.
#[allow(unsafe_code, reason = "the call has no safe wrapper among the dependencies")]
fn take_small_pages() {
    let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes integers and changes how this process's memory is backed, not what is in it.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, yes, none, none, none) };
}

async fn run(flags: Flags) -> Result<()> {
    let chosen = if flags.name == Name::All { EACH.to_vec() } else { vec![flags.name] };
    let mut results = Map::new();
    for name in chosen {
        let label = format!("{name:?}").to_lowercase();
        eprintln!("… {label}");
        let result = measure(name, &flags).await.with_context(|| format!("measuring {label}"))?;
        report::print(&label, &result);
        results.insert(label, result);
    }
    let machine = machine::describe();
    report::print("machine", &machine);
    if let Some(path) = &flags.json {
        let all = json!({ "machine": machine, "results": results });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

async fn measure(name: Name, flags: &Flags) -> Result<Value> {
    match name {
        Name::Startup => startup::run(flags.pods).await,
        Name::Pods => pods::run(flags.samples).await,
        Name::Scale => scale::run(flags.pods).await,
        Name::Memory => memory::run(flags.pods, flags.routed).await,
        Name::Http => peer::run(&flags.guests, flags.reuse).await,
        Name::Store => store::run(store::StoreOptions::default()).await,
        Name::Runtime => runtime::run(runtime::Options::new(&flags.guests)).await,
        Name::Api => {
            let (peer, peer_pids) = (flags.peer.clone(), flags.peer_pids.clone());
            api::run(&api::Options { peer, peer_pids, objects: flags.objects, samples: flags.samples }).await
        }
        Name::Policy => policy::run(flags.samples, flags.audited).await,
        Name::Serverless => {
            let (only, samples, functions) = (flags.only.clone(), flags.samples, flags.functions);
            serverless::run(&serverless::Options { only, samples, functions }).await
        }
        Name::Advise => advise::run(flags.samples),
        Name::Neighbour => neighbour::alone(runtime::CALLS).await,
        Name::Soak => soak::run(flags.requests).await,
        Name::BareHyper => unreachable!("served by main"),
        Name::All => unreachable!("taken apart by main"),
    }
}
