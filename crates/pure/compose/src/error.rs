//! Why components cannot become one.

/// Fit for whoever made the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// A part is not what can be linked.
    #[error("{name} cannot be linked: {reason}")]
    NoComponent {
        /// Name of the part.
        name: String,
        /// What it is instead.
        reason: String,
    },
    /// Two parts go by one name.
    #[error("two parts are called {0}: give each layer a title of its own")]
    SameName(String),
    /// More than one library has what a part imports.
    #[error("{importer} imports {import}, which {candidates} export: leave one of them out")]
    Ambiguous {
        /// Name of the part that imports it.
        importer: String,
        /// What it imports.
        import: String,
        /// Names of the parts that have it, and what it is called there.
        candidates: String,
    },
    /// Nobody takes anything from a library.
    #[error("nothing imports what {library} exports ({exports}); not linked are {wanted}")]
    Unused {
        /// Name of the library.
        library: String,
        /// What it exports.
        exports: String,
        /// What the others import and no library has.
        wanted: String,
    },
    /// Libraries need each other.
    #[error("{0} import each other, and none could be first")]
    Cycle(String),
    /// Importer and exporter mean different things by one name.
    #[error("{importer} and {exporter} disagree about {import}: {reason}")]
    Mismatch {
        /// Name of the part that imports it.
        importer: String,
        /// Name of the part that exports it.
        exporter: String,
        /// What is imported.
        import: String,
        /// Where they differ.
        reason: String,
    },
    /// All parts together are too large.
    #[error("the parts have {bytes} bytes together, more than {max}")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The parts fit and still make no component.
    #[error("putting the parts together: {0}")]
    Encode(String),
}
