//! The catalogue that comes with the software.

use std::sync::LazyLock;

use super::Catalog;

macro_rules! files {
    ($($name:literal)+) => { &[$(($name, include_str!(concat!("../../catalog/", $name)))),+] };
}

/// The files of the embedded catalogue, by name.
pub const FILES: &[(&str, &str)] = files![
    "orchestration.yaml" "runtime.yaml" "storage.yaml" "network.yaml" "mesh.yaml" "policy.yaml" "gateway.yaml"
    "triggers.yaml" "monitoring.yaml" "gpu.yaml" "facts.yaml" "scoring.yaml" "requirements.yaml" "trees.yaml"
    "trees-edge.yaml" "extras.yaml" "charts.yaml" "combinations.yaml" "stacks.yaml" "cases.yaml" "scenarios.yaml" "measured.yaml"
];

static EMBEDDED: LazyLock<Result<Catalog, Vec<crate::Flaw>>> = LazyLock::new(|| Catalog::parse(FILES.iter().copied()));

impl Catalog {
    /// The catalogue that comes with the software; read once.
    ///
    /// # Panics
    ///
    /// If an embedded file is flawed, which a test rules out.
    pub fn embedded() -> &'static Self {
        match &*EMBEDDED {
            Ok(catalog) => catalog,
            Err(flaws) => panic!("the embedded catalogue is flawed: {}", flaws[0]),
        }
    }
}
