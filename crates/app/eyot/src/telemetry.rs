//! Log lines on stderr: stdout belongs to the `ready` line.

use tracing_subscriber::EnvFilter;

use crate::flags::LogFormat;

/// Installs the subscriber. `RUST_LOG` overrides what is logged.
pub(crate) fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    // Where stderr is a file on a full disk, a line is lost. Told about it there, the library would panic in whoever logs.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
