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
    #[arg(required = true)]
    targets: Vec<String>,
    /// The node's directory, as `eyot up` is given it.
    #[arg(long, env = "EYOT_DATA_DIR", default_value = "/var/lib/eyot")]
    data_dir: PathBuf,
    /// Address of the node's registry, whose images are read without a socket.
    #[arg(long, env = "EYOT_REGISTRY_LISTEN", default_value = "127.0.0.1:5000")]
    registry_listen: SocketAddr,
    /// Machine to compile for; only this one's own.
    #[arg(long)]
    target: Option<String>,
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
