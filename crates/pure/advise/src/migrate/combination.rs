//! A stack in short: `kubernetes+docker+etcd`.
//!
//! Entry point: [`Combination::parse`]. What it leaves out is filled with what the orchestrator brings; each such part is
//! remembered as an assumption.

use std::collections::{BTreeMap, btree_map::Entry};

use serde::Serialize;

use super::book::Book;
use crate::Text;

/// The layers of a combination, in the order in which they are moved.
pub const LAYERS: [&str; 6] = ["orchestration", "storage", "network", "runtime", "mesh", "policy"];

/// One technology a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Combination {
    /// The technology of each layer that is known.
    pub parts: BTreeMap<String, String>,
    /// The layers that nobody named and that were assumed.
    pub assumed: Vec<String>,
}

/// Why a combination was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCombination {
    /// A word that is no technology.
    #[error("{0:?} is no technology known here; known are {1}")]
    Unknown(String, String),
    /// Two technologies of one layer.
    #[error("{0} and {1} are both of the layer {2}: give one of them")]
    Twice(String, String, String),
    /// Nothing orchestrates.
    #[error("{0:?} names no orchestrator: begin with one of {1}")]
    NoOrchestrator(String, String),
}

impl BadCombination {
    /// The same in both languages.
    pub fn text(&self) -> Text {
        let zh = match self {
            Self::Unknown(word, known) => format!("{word:?} 不是已知技术；已知的有 {known}"),
            Self::Twice(one, other, layer) => format!("{one} 与 {other} 同属 {layer} 层：只能给出一个"),
            Self::NoOrchestrator(text, known) => format!("{text:?} 没有编排层：请以 {known} 之一开头"),
        };
        Text::new(self.to_string(), zh)
    }
}

impl Combination {
    /// Reads `kubernetes+docker+etcd`.
    ///
    /// # Errors
    /// When a word is unknown, a layer is named twice, or none orchestrates.
    pub fn parse(text: &str, book: &Book) -> Result<Self, BadCombination> {
        let known = |layer: Option<&str>| {
            let of = book.names.iter().filter(|it| layer.is_none_or(|layer| it.layer == layer));
            of.map(|it| it.id.as_str()).collect::<Vec<_>>().join(", ")
        };
        let mut parts = BTreeMap::<String, String>::new();
        for word in text.split(['+', ',']).map(str::trim).filter(|it| !it.is_empty()) {
            let name = book.name(word).ok_or_else(|| BadCombination::Unknown(word.to_owned(), known(None)))?;
            match parts.get(&name.layer) {
                Some(other) if *other != name.id => {
                    return Err(BadCombination::Twice(other.clone(), name.id.clone(), name.layer.clone()));
                }
                _ => drop(parts.insert(name.layer.clone(), name.id.clone())),
            }
        }
        let Some(orchestrator) = parts.get("orchestration") else {
            return Err(BadCombination::NoOrchestrator(text.to_owned(), known(Some("orchestration"))));
        };
        let mut assumed = Vec::new();
        for (layer, id) in book.usual.get(orchestrator).cloned().unwrap_or_default() {
            if let Entry::Vacant(part) = parts.entry(layer.clone()) {
                part.insert(id);
                assumed.push(layer);
            }
        }
        Ok(Self { parts, assumed })
    }

    /// The technology of a layer.
    pub fn get(&self, layer: &str) -> Option<&str> {
        self.parts.get(layer).map(String::as_str)
    }

    /// The technology of a layer, when it is that one.
    pub fn is(&self, layer: &str, id: &str) -> bool {
        self.get(layer) == Some(id)
    }

    /// Whether programs are WebAssembly.
    pub fn runs_wasm(&self) -> bool {
        self.get("runtime").is_some_and(|it| it.starts_with("wasmedge"))
    }

    /// In short, layer by layer.
    pub fn short(&self) -> String {
        let parts = LAYERS.iter().filter_map(|layer| self.get(layer)).filter(|it| *it != "no-mesh");
        parts.collect::<Vec<_>>().join("+")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, want: Expect) {
        let got = match Combination::parse(text, Book::embedded()) {
            Ok(it) => format!("{} assumed {:?}", it.short(), it.assumed),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn combinations_are_read_and_completed() {
        check("kubernetes+docker+etcd", expect![[r#"kubernetes+etcd+calico+docker assumed ["network"]"#]]);
        check("K3s + WasmEdge + crun + sqlite", expect![[r#"k3s+sqlite+flannel+wasmedge assumed ["network"]"#]]);
        check("k3s+etcd", expect![[r#"k3s+etcd+flannel+docker assumed ["network", "runtime"]"#]]);
        check(
            "k3s+nomad",
            expect![[
                r#""nomad" is no technology known here; known are docker-host, kubernetes, k3s, kubeedge, eyot, docker, wasmedge, wasmedge-gpu, etcd, sqlite, external-db, flannel, calico, cilium, no-mesh, istio, linkerd, cilium-mesh, opa, gatekeeper, kyverno, opa-wasm"#
            ]],
        );
        check("k3s+etcd+sqlite", expect!["etcd and sqlite are both of the layer storage: give one of them"]);
        check(
            "docker+etcd",
            expect![[
                r#""docker+etcd" names no orchestrator: begin with one of docker-host, kubernetes, k3s, kubeedge, eyot"#
            ]],
        );
    }
}
