//! What can be done with WebAssembly files and images without a node: `eyot inspect` and `eyot precompile`.

mod inspect;
mod precompile;
mod source;

use std::{net::SocketAddr, path::PathBuf};

pub(crate) use inspect::run as inspect;
pub(crate) use precompile::run as precompile;

/// Where images come from, and under which name.
#[derive(Debug, clap::Args)]
pub(crate) struct RegistryFlags {
    /// User name for the registry.
    #[arg(long, env = "EYOT_REGISTRY_USER")]
    username: Option<String>,
    /// Password for the registry; better given through the environment.
    #[arg(long, env = "EYOT_REGISTRY_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// Flags of `eyot inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectFlags {
    /// A .wasm file or an image reference.
    target: String,
    /// Another program of the image than the one it starts, by its path or name.
    #[arg(long)]
    program: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Flags of `eyot precompile`.
#[derive(Debug, clap::Args)]
pub(crate) struct PrecompileFlags {
    /// .wasm files and image references. Images are pulled into the node's store and stay there; the node must be stopped.
    #[arg(required = true, value_name = "FILE|IMAGE")]
    programs: Vec<String>,
    /// The node's directory, as `eyot up` is given it; with --target one to be brought to other machines.
    #[arg(long, short = 'o', env = "EYOT_DATA_DIR", default_value = "/var/lib/eyot")]
    data_dir: PathBuf,
    /// Address of the node's registry, whose images are read without a socket.
    #[arg(long, env = "EYOT_REGISTRY_LISTEN", default_value = "127.0.0.1:5000")]
    registry_listen: SocketAddr,
    /// Machines to compile for, such as aarch64-unknown-linux-gnu, with any processor; this one with all its processor has when absent.
    #[arg(long)]
    target: Option<String>,
    /// What the processors of these machines all have, such as lse or x86-64-v3. Others compile again.
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', requires = "target")]
    cpu_features: Vec<String>,
    /// How wide addresses of a process are on these machines, such as 39; all usual widths when absent.
    #[arg(long, value_name = "BITS", value_delimiter = ',', requires = "target")]
    address_bits: Vec<u32>,
    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For reading.
    Text,
    /// One JSON object.
    Json,
}
