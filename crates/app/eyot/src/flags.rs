//! The command line, and the checked [`Config`] that `up` runs with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_model::cidr::Cidr;

/// A Kubernetes-shaped platform for WebAssembly, in one binary.
#[derive(Debug, clap::Parser)]
#[command(name = "eyot", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run control plane, node, gateway and image registry in this process.
    Up(Box<UpFlags>),
    /// Push a WebAssembly file to an OCI registry.
    Push(PushFlags),
    /// Push a WebAssembly service, make a function of it, wait, and print its URL and how long the first answer took.
    Deploy(Box<DeployFlags>),
    /// Tell what a WebAssembly file or image is, what it imports and exports, and what it would be allowed.
    ///
    /// Exits with 1 when it cannot run here, and says why.
    Inspect(crate::wasm::InspectFlags),
    /// Compile WebAssembly files and images into a node's directory, so that it starts them without network and compiler.
    Precompile(crate::wasm::PrecompileFlags),
    #[command(flatten)]
    Function(crate::function::FunctionCommand),
    /// Choose the stack for a scenario, show why, and write what runs it; also: audit, migrate, catalog.
    Advise(Box<crate::advise::AdviseFlags>),
    /// Deploy what `advise --render` wrote, measure what it promises, and print promised, measured, verdict.
    ///
    /// Exits with 0 when every promise is kept, 3 when one is broken, 4 when none is broken but something was not measured.
    Verify(Box<crate::verify::VerifyFlags>),
    /// Test, evaluate and time policies, without a node.
    #[command(subcommand)]
    Policy(crate::policy::PolicyCommand),
}

/// Flags of `eyot up`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpFlags {
    /// Where state, images, keys and logs live; one node per directory.
    #[arg(long, env = "EYOT_DATA_DIR", default_value = "/var/lib/eyot")]
    data_dir: PathBuf,
    /// Address of the Kubernetes API (HTTPS); port 0 picks a free one.
    #[arg(long, env = "EYOT_API_LISTEN", default_value = "127.0.0.1:6443")]
    api_listen: SocketAddr,
    /// Address of the gateway (HTTP); port 0 picks a free one.
    #[arg(long, env = "EYOT_HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    http_listen: SocketAddr,
    /// Address of the OCI registry (HTTP, no authentication); port 0 picks a free one.
    #[arg(long, env = "EYOT_REGISTRY_LISTEN", default_value = "127.0.0.1:5000")]
    registry_listen: SocketAddr,
    /// Address of OPA's REST API (HTTP, no authentication); off unless given. Keep it on loopback.
    #[arg(long, env = "EYOT_OPA_LISTEN")]
    opa_listen: Option<SocketAddr>,
    /// Address of OpenFaaS' REST API and its functions (HTTP, password in Secret openfaas/basic-auth); off unless given.
    #[arg(long, env = "EYOT_OPENFAAS_LISTEN")]
    openfaas_listen: Option<SocketAddr>,
    /// Largest body of a request to a function, in MiB; a larger one is answered with 413.
    #[arg(long, env = "EYOT_FUNCTION_BODY_MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    function_body_mib: u32,
    /// Directory of manifests to apply at start and whenever they change.
    #[arg(long, env = "EYOT_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Name of this node; the host name when absent.
    #[arg(long, env = "EYOT_NODE_NAME")]
    node_name: Option<String>,
    /// Range that pod addresses come from.
    #[arg(long, env = "EYOT_CLUSTER_CIDR", default_value = "10.42.0.0/16")]
    cluster_cidr: Cidr,
    /// Most pods on this node; as many as the range of their addresses has room for when absent.
    #[arg(long, env = "EYOT_MAX_PODS", value_parser = clap::value_parser!(u32).range(1..))]
    max_pods: Option<u32>,
    /// Range that Service addresses come from.
    #[arg(long, env = "EYOT_SERVICE_CIDR", default_value = "10.43.0.0/16")]
    service_cidr: Cidr,
    /// CSV file of bearer tokens: token,user,uid,"group,group". Read at start; keep it at mode 0600.
    #[arg(long, env = "EYOT_TOKEN_AUTH_FILE", value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Seconds from one audit of Gatekeeper's constraints to the next.
    #[arg(long, env = "EYOT_AUDIT_INTERVAL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    audit_interval_seconds: u64,
    /// Namespace whose Kyverno PolicyExceptions count, perhaps with `*`; without it none does.
    #[arg(long, env = "EYOT_KYVERNO_EXCEPTIONS", value_name = "NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    kyverno_exceptions: Option<String>,
    /// For which reasons Events tell of Kyverno's policies: PolicyViolation, PolicyError, PolicySkipped, PolicyApplied,
    /// with commas between them, or none.
    #[arg(
        long,
        env = "EYOT_KYVERNO_EVENTS",
        value_name = "REASONS",
        default_value = "PolicyViolation,PolicyError,PolicySkipped"
    )]
    kyverno_events: eyot_kyverno::Reasons,
    /// How log lines on stderr look. `RUST_LOG` chooses what is logged.
    #[arg(long, env = "EYOT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Flags of `eyot push`.
#[derive(Debug, clap::Args)]
pub(crate) struct PushFlags {
    /// The .wasm file: a component or a module.
    pub(crate) file: PathBuf,
    /// Where to, for example `localhost:5000/hello:v1`.
    pub(crate) reference: String,
    /// A component whose exports the file imports, or another such component does. Once for each, chains in their order; they are
    /// linked where the image is pulled.
    #[arg(long, value_name = "LIBRARY")]
    pub(crate) link: Vec<PathBuf>,
    /// User name for the registry.
    #[arg(long, env = "EYOT_REGISTRY_USER")]
    pub(crate) username: Option<String>,
    /// Password for the registry; better given through the environment.
    #[arg(long, env = "EYOT_REGISTRY_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
}

/// Flags of `eyot deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeployFlags {
    /// The .wasm file: a `wasi:http` component, or a command that reads standard input and writes standard output.
    pub(crate) file: PathBuf,
    /// Name of the function; the file's stem when absent.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Namespace to deploy into.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Make a Deployment, a Service and an HTTPRoute instead of a function: instances that are always there.
    #[arg(long)]
    pub(crate) deployment: bool,
    /// Host name that the HTTPRoute answers to; `NAME.localhost` when absent.
    #[arg(long, requires = "deployment")]
    pub(crate) host: Option<String>,
    /// How many replicas the Deployment has.
    #[arg(long, default_value_t = 1, requires = "deployment")]
    pub(crate) replicas: u32,
    /// Instances that a function always has; 0 lets it go to zero.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) min_scale: Option<u32>,
    /// Most instances that a function may have.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) max_scale: Option<u32>,
    /// Requests that one instance of a function takes at once; 0 for any number.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) concurrency: Option<u32>,
    /// Requests under way, or per second with the metric rps, that one instance shall have.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) target: Option<f64>,
    /// What the load is averaged over, such as 30s; a function goes to zero after as long without a request.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) window: Option<String>,
    /// Seconds that a request may take, at most 600.
    #[arg(long, value_name = "SECONDS", conflicts_with = "deployment")]
    pub(crate) timeout: Option<u32>,
    /// An annotation of the revision, as KEY=VALUE.
    #[arg(long = "annotation", value_name = "KEY=VALUE", conflicts_with = "deployment")]
    pub(crate) annotations: Vec<String>,
    /// Let requests go on to the revisions that they go to now.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) no_traffic: bool,
    /// Give the new revision a host name of its own: TAG-NAME.NAMESPACE.localhost.
    #[arg(long, conflicts_with = "deployment")]
    pub(crate) tag: Option<String>,
    /// Whether the program is a command that is run for each request, and what its output is.
    #[arg(long, value_enum, default_value_t = PerRequest::Auto, conflicts_with = "deployment")]
    pub(crate) per_request: PerRequest,
    /// An argument of a command that is run for each request.
    #[arg(long = "arg", value_name = "ARGUMENT", allow_hyphen_values = true, conflicts_with = "deployment")]
    pub(crate) args: Vec<String>,
    /// Requests that one instance of the program answers, one after another; a fresh one for each when absent.
    ///
    /// What is given up is the wall between requests: memory and connections that one leaves behind are the next one's.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) reuse: Option<u32>,
    /// Environment variables for the guest, as NAME=VALUE.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Variables from all keys of an object, as secret:NAME or config-map:NAME.
    #[arg(long = "env-from", value_name = "KIND:NAME")]
    pub(crate) env_from: Vec<String>,
    /// Files from all keys of an object, as PATH=secret:NAME or PATH=config-map:NAME.
    #[arg(long = "mount", value_name = "PATH=KIND:NAME", conflicts_with = "deployment")]
    pub(crate) mounts: Vec<String>,
    /// Memory limit of an instance, as a Kubernetes quantity.
    #[arg(long)]
    pub(crate) memory: Option<String>,
    /// Limit on the processor of an instance, as a Kubernetes quantity.
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Seconds to wait for the rollout.
    #[arg(long = "wait-timeout", alias = "timeout-seconds", value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout_seconds: u64,
    /// Which cluster; `$KUBECONFIG` or `~/.kube/config` when absent.
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// How a command answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PerRequest {
    /// As `body` where the program is a command that opens no sockets.
    Auto,
    /// Standard output is the body; another exit code than 0 is a 500.
    Body,
    /// The same, sent as it is written.
    Stream,
    /// Standard output is headers, an empty line and the body, as CGI and WAGI have it.
    Cgi,
    /// Never: the program serves by itself.
    Never,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// What `up` runs with; holding one means every check has passed.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) api_listen: SocketAddr,
    pub(crate) http_listen: SocketAddr,
    pub(crate) registry_listen: SocketAddr,
    pub(crate) opa_listen: Option<SocketAddr>,
    pub(crate) openfaas_listen: Option<SocketAddr>,
    /// Bytes of a request's body to a function.
    pub(crate) function_body_max: u64,
    pub(crate) manifests: Option<PathBuf>,
    pub(crate) node_name: String,
    pub(crate) cluster_cidr: Cidr,
    pub(crate) max_pods: Option<u32>,
    pub(crate) service_cidr: Cidr,
    pub(crate) token_auth_file: Option<PathBuf>,
    pub(crate) audit_interval: Duration,
    pub(crate) kyverno: eyot_kyverno::Settings,
}

impl TryFrom<UpFlags> for Config {
    type Error = anyhow::Error;

    fn try_from(flags: UpFlags) -> Result<Config> {
        let node_name = match flags.node_name {
            Some(name) => name,
            None => host_name().context("reading the host name; name the node with --node-name")?,
        };
        ensure!(
            is_node_name(&node_name),
            "node name {node_name:?}: must be lower-case letters, digits, '-' and '.', at most 63 long; set --node-name"
        );
        ensure!(
            !flags.cluster_cidr.overlaps(&flags.service_cidr),
            "--cluster-cidr {} and --service-cidr {} overlap",
            flags.cluster_cidr,
            flags.service_cidr
        );
        if let Some(dir) = &flags.manifests {
            ensure!(dir.is_dir(), "--manifests {}: no such directory", dir.display());
        }
        Ok(Config {
            data_dir: std::path::absolute(&flags.data_dir).context("--data-dir")?,
            api_listen: flags.api_listen,
            http_listen: flags.http_listen,
            registry_listen: flags.registry_listen,
            opa_listen: flags.opa_listen,
            openfaas_listen: flags.openfaas_listen,
            function_body_max: u64::from(flags.function_body_mib) << 20,
            manifests: flags.manifests,
            node_name,
            cluster_cidr: flags.cluster_cidr,
            max_pods: flags.max_pods,
            service_cidr: flags.service_cidr,
            token_auth_file: flags.token_auth_file,
            audit_interval: Duration::from_secs(flags.audit_interval_seconds),
            kyverno: eyot_kyverno::Settings { exceptions: flags.kyverno_exceptions, events: flags.kyverno_events },
        })
    }
}

fn host_name() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(name.trim().to_ascii_lowercase())
}

fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 63 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(args: &str, want: Expect) {
        let cli = Cli::try_parse_from(["eyot", "up"].into_iter().chain(args.split_whitespace()));
        let got = match cli {
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
            Ok(Cli { command: Command::Up(flags) }) => match Config::try_from(*flags) {
                Ok(config) => format!("{} {} {}", config.node_name, config.cluster_cidr, config.service_cidr),
                Err(error) => format!("{error:#}"),
            },
            Ok(_) => unreachable!("only `up` is parsed here"),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_a_checked_config() {
        check("--node-name a", expect!["a 10.42.0.0/16 10.43.0.0/16"]);
        check(
            "--node-name A_b",
            expect![[
                r#"node name "A_b": must be lower-case letters, digits, '-' and '.', at most 63 long; set --node-name"#
            ]],
        );
        check(
            "--node-name a --cluster-cidr 10.0.0.0/8",
            expect!["--cluster-cidr 10.0.0.0/8 and --service-cidr 10.43.0.0/16 overlap"],
        );
        check(
            "--cluster-cidr 10.0.0.1/8",
            expect![[
                r#"error: invalid value '10.0.0.1/8' for '--cluster-cidr <CLUSTER_CIDR>': "10.0.0.1/8" is not an aligned IPv4 range with a prefix from /8 to /29, such as 10.42.0.0/16"#
            ]],
        );
        check(
            "--kyverno-events PolicyViolation,Oops",
            expect![[
                r#"error: invalid value 'PolicyViolation,Oops' for '--kyverno-events <REASONS>': "Oops" is none of PolicyViolation, PolicyApplied, PolicyError, PolicySkipped"#
            ]],
        );
        check("--node-name a --manifests /absent", expect!["--manifests /absent: no such directory"]);
    }
}
