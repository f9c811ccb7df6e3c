//! The command line of `eyot verify`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::advise::flags::{Language, Layout};

/// Flags of `eyot verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyFlags {
    /// The folder that `eyot advise --render` wrote.
    #[arg(required_unless_present = "leg")]
    dir: Option<PathBuf>,
    /// How the verdicts are printed.
    #[arg(long, value_enum, default_value_t = Layout::Table)]
    pub(super) format: Layout,
    /// Measure on this cluster instead of a node of its own; the folder's namespace is removed afterwards, unless it was there before.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Small samples, for a first look: 10 repetitions and 200 pods. What they leave open is told.
    #[arg(long)]
    quick: bool,
    /// How often what is measured one at a time is repeated; 50 when absent.
    #[arg(long, conflicts_with = "quick", value_parser = clap::value_parser!(u32).range(5..=100_000))]
    samples: Option<u32>,
    /// Most pods that the density sample starts; as many as promised, up to this, or to 3000 when absent.
    #[arg(long, conflicts_with = "quick", value_parser = clap::value_parser!(u32).range(2..=60_000))]
    density: Option<u32>,
    /// Seconds to wait for the rollout, and for the density sample.
    #[arg(long, default_value_t = 60)]
    pub(super) timeout_seconds: u64,
    /// Write the figures as measured values into this catalogue; the built-in one is written there first when it is empty.
    #[arg(long, value_name = "CATALOG_DIR")]
    pub(super) write_back: Option<PathBuf>,
    /// The date that written values carry; today when absent.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<jiff::civil::Date>,
    /// Restarts the node of that directory where it has no network: how `verify` measures that.
    #[arg(long, hide = true, value_name = "DIR")]
    pub(super) leg: Option<PathBuf>,
    /// The host that must answer then.
    #[arg(long, hide = true, value_name = "HOST")]
    pub(super) leg_host: Option<String>,
    #[command(flatten)]
    pub(super) language: Language,
}

impl VerifyFlags {
    /// The rendered folder.
    pub(super) fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(""))
    }

    /// How often what is measured one at a time is repeated.
    pub(super) fn samples(&self) -> u32 {
        self.samples.unwrap_or(if self.quick { 10 } else { 50 })
    }

    /// Most pods that are started at once.
    pub(super) fn density(&self) -> i32 {
        let most = self.density.unwrap_or(if self.quick { 200 } else { 3000 });
        i32::try_from(most).unwrap_or(i32::MAX)
    }

    /// The date that figures carry.
    pub(super) fn date(&self) -> String {
        self.date.unwrap_or_else(|| jiff::Zoned::now().date()).to_string()
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}
