//! `eyot verify DIR`: deploys what `eyot advise --render` wrote and holds it to its promises.
//!
//! Start at [`main`]. `folder` reads what was rendered, `node` starts an Eyot of its own on a fresh directory (or takes
//! the cluster of `--kubeconfig`), each file of `measure` takes one figure, `report` gives the verdicts, and `write_back`
//! puts figures into a catalogue. What cannot be measured is a verdict of its own, never a pass.

pub(crate) mod flags;
mod folder;
mod http;
mod machine;
mod measure;
mod node;
mod report;
mod write_back;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use eyot_advise::{
    Lang,
    render::{Promise, Promised},
};
use kube::Client;

use crate::{advise, apply, client, deploy};
pub(crate) use flags::VerifyFlags;
use folder::Folder;
use measure::{Figure, Outcome};
use node::Own;
use report::Line;

/// A promise was broken.
const BROKEN: u8 = 3;
/// No promise was broken, but something was not measured.
const UNKNOWN: u8 = 4;

/// Runs the command.
pub(crate) fn main(flags: VerifyFlags) -> ExitCode {
    let lang = flags.language.lang();
    let mut code = ExitCode::SUCCESS;
    let outcome = client::block_on(async {
        code = match &flags.leg {
            Some(dir) => measure::offline::leg(dir, flags.leg_host.as_deref().unwrap_or_default()).await?,
            None => run(&flags, lang).await?,
        };
        Ok(())
    });
    advise::ended(outcome.map(|()| code))
}

async fn run(flags: &VerifyFlags, lang: Lang) -> Result<ExitCode> {
    let folder = Folder::read(flags.dir(), lang)?;
    if let Some(dir) = &flags.write_back {
        // Found out before minutes of measuring, not after.
        write_back::prepare(dir, lang)?;
    }
    let mut own = None;
    let client = match &flags.kubeconfig {
        Some(path) => client::connect(Some(path)).await?,
        None => {
            say(lang, "starting a node of its own", "启动独立节点");
            let node = own.insert(Own::start().await?);
            client::connect(Some(&node.ready.kubeconfig)).await?
        }
    };
    let idle = own.as_ref().and_then(Own::resident_bytes);
    let mut bench = Bench { client, folder, own, idle, flags, lang };
    let is_new = bench.own.is_none() && !bench.is_there().await?;
    bench.deploy().await?;
    let lines = bench.measure().await;
    if is_new {
        bench.tidy().await;
    }
    let told =
        report::Verification { lines, machine: machine::describe(), version: machine::version(), date: flags.date() };
    report::print(&told, flags.format.into(), lang)?;
    if let Some(dir) = &flags.write_back {
        for line in write_back::write(dir, &told, lang)? {
            eprintln!("{line}");
        }
    }
    Ok(told.code())
}

/// Everything that measuring takes.
struct Bench<'a> {
    client: Client,
    folder: Folder,
    own: Option<Own>,
    /// Memory of the node before anything was deployed.
    idle: Option<i64>,
    flags: &'a VerifyFlags,
    lang: Lang,
}

impl Bench<'_> {
    /// Whether the cluster has the namespace already: then it is somebody's, and stays.
    async fn is_there(&self) -> Result<bool> {
        let found = self.namespaces().get_opt(&self.folder.namespace).await.context("looking for the namespace")?;
        Ok(found.is_some())
    }

    fn namespaces(&self) -> kube::Api<k8s_openapi::api::core::v1::Namespace> {
        kube::Api::all(self.client.clone())
    }

    /// Pushes the images that lie in the folder, applies its objects, waits for its service.
    async fn deploy(&mut self) -> Result<()> {
        say(self.lang, "deploying the folder", "部署目录");
        let registry = deploy::registry(&self.client).await?;
        for (image, file) in self.folder.images(&registry) {
            let wasm = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            eyot_registry::push(&image, wasm.into(), &Default::default()).await?;
        }
        self.folder.localize(&registry);
        for object in self.folder.objects.clone() {
            apply::apply(&self.client, object).await?;
        }
        deploy::rolled_out(&self.client, &self.folder.namespace, &self.folder.name, self.flags.timeout()).await
    }

    /// Takes each figure in turn. A measurement that fails is a verdict, not the end.
    async fn measure(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        // Replicas are counted before other loads make some, and memory before there was much of it to use again; what
        // stops the node comes last.
        let mut promises: Vec<(usize, Promise)> = self.folder.promises.iter().cloned().enumerate().collect();
        promises.sort_by_key(|it| match it.1.promised() {
            Some(Promised::ScaleTime) => 0,
            Some(Promised::PodMemory) => 1,
            Some(Promised::Density) => 3,
            Some(Promised::Offline) => 4,
            _ => 2,
        });
        for (place, promise) in promises {
            let began = Instant::now();
            let outcome = match self.figure(&promise).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::unknown(format!("{error:#}"), format!("{error:#}")),
            };
            let line = Line::new(promise, outcome);
            eprintln!("  {} [{:.1} s]", line.measured(), began.elapsed().as_secs_f64());
            lines.push((place, line));
        }
        // They are told in the order in which they were promised.
        lines.sort_by_key(|it| it.0);
        lines.into_iter().map(|it| it.1).collect()
    }

    async fn figure(&mut self, promise: &Promise) -> Result<Outcome> {
        let Some(what) = promise.promised() else {
            return Ok(Outcome::unknown("no such promise is known", "未知的承诺"));
        };
        eprintln!("… {}", eyot_advise::Named::name(&what, self.lang));
        match what {
            Promised::ColdStart => measure::cold_start::take(self).await,
            Promised::Latency => measure::latency::take(self).await,
            Promised::Density => measure::density::take(self, promise).await,
            Promised::PodMemory => measure::memory::of_a_pod(self).await,
            Promised::ControlMemory => Ok(measure::memory::of_the_node(self)),
            Promised::ScaleTime => measure::autoscale::take(self, promise).await,
            Promised::PolicyLatency => measure::policy::take(self).await,
            Promised::Offline => measure::offline::take(self, promise).await,
        }
    }

    /// Removes what was deployed to a cluster that is not ours.
    async fn tidy(&self) {
        if let Err(error) = self.namespaces().delete(&self.folder.namespace, &Default::default()).await {
            eprintln!("eyot: removing namespace {}: {error:#}", self.folder.namespace);
        }
    }
}

/// A line about what is going on, to stderr.
fn say(lang: Lang, en: &str, zh: &str) {
    eprintln!("… {}", if lang == Lang::Zh { zh } else { en });
}

/// A figure that was taken.
fn taken(figure: Figure) -> Outcome {
    Outcome::Taken(figure)
}
