//! The command line of functions.

use std::path::PathBuf;

/// Where functions are.
#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// Namespace of the function.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Which cluster; `$KUBECONFIG` or `~/.kube/config` when absent.
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum FunctionCommand {
    /// List functions, their URLs and which revisions answer.
    List {
        /// Those of all namespaces.
        #[arg(long, short = 'A')]
        all: bool,
        #[command(flatten)]
        at: At,
    },
    /// Call a function through the gateway and print its answer.
    Invoke(InvokeFlags),
    /// Print what a function has written.
    Logs {
        /// Name of the function.
        name: String,
        /// Go on as long as it writes, new instances included.
        #[arg(long, short)]
        follow: bool,
        /// Lines of each instance to begin with.
        #[arg(long, default_value_t = 100)]
        tail: i64,
        #[command(flatten)]
        at: At,
    },
    /// Lead all requests from the newest revision that answers to the one that answers beside it, or else to the one before.
    Rollback {
        /// Name of the function.
        name: String,
        /// Another revision: its name, or `v2` for the second.
        #[arg(long)]
        to: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Share requests between revisions: `eyot split hello v1=90 v2=10`; `latest` follows the newest.
    Split {
        /// Name of the function.
        name: String,
        /// REVISION=PERCENT; together 100.
        #[arg(required = true, value_name = "REVISION=PERCENT")]
        shares: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Delete a function and everything made for it.
    Delete {
        /// Name of the function.
        name: String,
        #[command(flatten)]
        at: At,
    },
}

/// Flags of `eyot invoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct InvokeFlags {
    /// Name of the function.
    pub(crate) name: String,
    /// Body of the request; `@FILE` reads one, `@-` reads standard input.
    #[arg(long, short)]
    pub(crate) data: Option<String>,
    /// A file that is the body of the request.
    #[arg(long, short, conflicts_with = "data")]
    pub(crate) file: Option<PathBuf>,
    /// Method; POST with a body and GET without when absent.
    #[arg(long, short = 'X')]
    pub(crate) method: Option<http::Method>,
    /// Path and query.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// A header, as `Name: value`.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Print status and headers of the answer too.
    #[arg(long, short)]
    pub(crate) include: bool,
    /// Do not wait for the answer; prints the id of the call. For a node that has --openfaas-listen.
    #[arg(long = "async")]
    pub(crate) later: bool,
    /// Where the answer of an asynchronous call is sent.
    #[arg(long, value_name = "URL", requires = "later")]
    pub(crate) callback: Option<String>,
    /// A tag of the function, to call what is behind it.
    #[arg(long, conflicts_with = "later")]
    pub(crate) tag: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}
