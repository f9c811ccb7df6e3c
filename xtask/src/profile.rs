//! How the node is built.

/// A profile of cargo's, in the order of how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For tests.
    Dev,
    /// Optimised, a crate at a time.
    Release,
    /// What is shipped: optimised as a whole.
    Dist,
}

impl Profile {
    /// As `--profile` wants it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Dev => "dev",
            Profile::Release => "release",
            Profile::Dist => "dist",
        }
    }

    /// Where cargo puts what it builds, within its target folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            other => other.name(),
        }
    }
}
