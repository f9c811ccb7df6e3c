//! Kinds of machines that code can be compiled for. Pure.
//!
//! Start at [`Target::parse`]. What a processor has beyond its architecture is named as compilers name it, and only what a node can
//! look for before it runs such code.

use std::fmt;

/// Machines to compile for: an architecture, what their processors have, and how wide their addresses are. Their system is Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    architecture: Architecture,
    /// Features, as the compiler calls them.
    flags: Vec<&'static str>,
    address_bits: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Architecture {
    X86_64,
    Aarch64,
    Riscv64,
}

/// Why there is no such target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The compiler knows no such machine.
    #[error(
        "{0:?}: code is compiled for x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu and riscv64gc-unknown-linux-gnu"
    )]
    Unknown(String),
    /// The architecture has no such feature, or nodes could not tell whether they have it.
    #[error("{name:?} is no feature that nodes of {architecture} look for; known are: {known}")]
    Feature {
        /// What was asked.
        name: String,
        /// Of which architecture.
        architecture: &'static str,
        /// What there is.
        known: String,
    },
    /// No kernel has such addresses.
    #[error("addresses of {0} bits: from 36 to 57 are possible")]
    AddressBits(u32),
}

/// Features of an architecture: how they are called, and how the compiler calls them.
type Features = &'static [(&'static str, &'static [&'static str])];

const X86_64: Features = &[
    ("cmpxchg16b", &["has_cmpxchg16b"]),
    ("sse3", &["has_sse3"]),
    ("ssse3", &["has_ssse3"]),
    ("sse4.1", &["has_sse41"]),
    ("sse4.2", &["has_sse42"]),
    ("popcnt", &["has_popcnt"]),
    ("avx", &["has_avx"]),
    ("avx2", &["has_avx2"]),
    ("bmi1", &["has_bmi1"]),
    ("bmi2", &["has_bmi2"]),
    ("fma", &["has_fma"]),
    ("lzcnt", &["has_lzcnt"]),
    ("x86-64-v2", &["has_cmpxchg16b", "has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"]),
    (
        "x86-64-v3",
        &[
            "has_cmpxchg16b",
            "has_sse3",
            "has_ssse3",
            "has_sse41",
            "has_sse42",
            "has_popcnt",
            "has_avx",
            "has_avx2",
            "has_bmi1",
            "has_bmi2",
            "has_fma",
            "has_lzcnt",
        ],
    ),
];

const AARCH64: Features = &[
    ("lse", &["has_lse"]),
    ("paca", &["has_pauth"]),
    ("fp16", &["has_fp16"]),
    ("dotprod", &["has_dotprod"]),
    ("i8mm", &["has_i8mm"]),
];

impl Architecture {
    const ALL: [Architecture; 3] = [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];

    fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
            Architecture::Riscv64 => "riscv64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64-unknown-linux-gnu",
            Architecture::Aarch64 => "aarch64-unknown-linux-gnu",
            Architecture::Riscv64 => "riscv64gc-unknown-linux-gnu",
        }
    }

    /// How wide addresses of a process are with the kernels in use.
    fn address_bits(self) -> &'static [u32] {
        match self {
            Architecture::X86_64 => &[47],
            Architecture::Aarch64 => &[39, 48],
            Architecture::Riscv64 => &[38, 47],
        }
    }

    fn features(self) -> Features {
        match self {
            Architecture::X86_64 => X86_64,
            Architecture::Aarch64 => AARCH64,
            // wasmtime does not look at what such a processor has.
            Architecture::Riscv64 => &[],
        }
    }
}

impl Target {
    /// The target that Rust calls `name`, or that has this architecture: any processor, addresses of any usual width. The C library
    /// makes no difference.
    ///
    /// # Errors
    ///
    /// When the compiler has none of that name.
    pub fn parse(name: &str) -> Result<Target, TargetError> {
        let unknown = || TargetError::Unknown(name.to_owned());
        let (architecture, rest) = name.split_once('-').unwrap_or((name, "linux"));
        if !rest.split('-').any(|it| it == "linux") {
            return Err(unknown());
        }
        let architecture = if architecture == "riscv64gc" { "riscv64" } else { architecture };
        Target::of(architecture).ok_or_else(unknown)
    }

    /// Machines of this one's architecture.
    pub(crate) fn own() -> Option<Target> {
        Target::of(std::env::consts::ARCH)
    }

    fn of(architecture: &str) -> Option<Target> {
        let architecture = Architecture::ALL.into_iter().find(|it| it.name() == architecture)?;
        Some(Target { architecture, flags: Vec::new(), address_bits: architecture.address_bits().to_vec() })
    }

    /// Only machines whose processors have all these features, such as `lse` or `x86-64-v3`.
    ///
    /// # Errors
    ///
    /// When the architecture has no such feature, or a node could not tell.
    pub fn with_features(mut self, names: &[String]) -> Result<Target, TargetError> {
        let features = self.architecture.features();
        for name in names {
            let Some((_, flags)) = features.iter().find(|(it, _)| it == name) else {
                let known: Vec<_> = features.iter().map(|(name, _)| *name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(TargetError::Feature { name: name.clone(), architecture: self.architecture.name(), known });
            };
            self.flags.extend(flags.iter().copied());
        }
        self.flags.sort_unstable();
        self.flags.dedup();
        Ok(self)
    }

    /// Only machines whose processes have addresses of one of these widths.
    ///
    /// # Errors
    ///
    /// When no machine has such addresses.
    pub fn with_address_bits(mut self, bits: &[u32]) -> Result<Target, TargetError> {
        if let Some(odd) = bits.iter().find(|it| !(36..=57).contains(*it)) {
            return Err(TargetError::AddressBits(*odd));
        }
        self.address_bits = bits.to_vec();
        Ok(self)
    }

    /// What the directories of its code are called by.
    pub(crate) fn name(&self) -> &'static str {
        self.architecture.name()
    }

    pub(crate) fn triple(&self) -> &'static str {
        self.architecture.triple()
    }

    pub(crate) fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    pub(crate) fn address_bits(&self) -> &[u32] {
        &self.address_bits
    }

    /// The same machines, with any processor.
    pub(crate) fn baseline(&self) -> Target {
        Target { flags: Vec::new(), ..self.clone() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(name: &str, features: &[&str], want: Expect) {
        let features: Vec<_> = features.iter().map(|it| (*it).to_owned()).collect();
        let got = match Target::parse(name).and_then(|it| it.with_features(&features)) {
            Ok(it) => format!("{it} {:?} {:?}", it.flags(), it.address_bits()),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn targets_are_called_as_rust_calls_them() {
        check("aarch64-unknown-linux-gnu", &[], expect!["aarch64-unknown-linux-gnu [] [39, 48]"]);
        check("aarch64-unknown-linux-musl", &["lse"], expect![[r#"aarch64-unknown-linux-gnu ["has_lse"] [39, 48]"#]]);
        check("riscv64gc-unknown-linux-gnu", &[], expect!["riscv64gc-unknown-linux-gnu [] [38, 47]"]);
        check(
            "x86_64",
            &["sse3", "x86-64-v2"],
            expect![[
                r#"x86_64-unknown-linux-gnu ["has_cmpxchg16b", "has_popcnt", "has_sse3", "has_sse41", "has_sse42", "has_ssse3"] [47]"#
            ]],
        );
    }

    #[test]
    fn what_nobody_compiles_for_is_refused_with_what_there_is() {
        for name in ["armv7-unknown-linux-gnueabihf", "aarch64-apple-darwin", "", "s390x-unknown-linux-gnu"] {
            assert_eq!(Target::parse(name), Err(TargetError::Unknown(name.to_owned())));
        }
        check(
            "aarch64-apple-darwin",
            &[],
            expect![[
                r#""aarch64-apple-darwin": code is compiled for x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu and riscv64gc-unknown-linux-gnu"#
            ]],
        );
        check(
            "aarch64",
            &["neon2"],
            expect![[
                r#""neon2" is no feature that nodes of aarch64 look for; known are: lse, paca, fp16, dotprod, i8mm"#
            ]],
        );
        check("riscv64", &["v"], expect![[r#""v" is no feature that nodes of riscv64 look for; known are: none"#]]);
        let narrow = Target::parse("aarch64").unwrap().with_address_bits(&[39, 32]);
        assert_eq!(narrow, Err(TargetError::AddressBits(32)));
    }

    #[test]
    fn every_feature_of_a_level_is_one_of_its_own() {
        for (level, flags) in X86_64.iter().filter(|(_, flags)| flags.len() > 1) {
            let alone = |flag: &str| X86_64.iter().any(|(_, it)| *it == [flag]);
            assert!(flags.iter().all(|it| alone(it)), "{level}");
        }
    }
}
