//! The command line of `eyot advise`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use eyot_advise::Lang;

/// Flags of `eyot advise`.
#[derive(Debug, clap::Args)]
pub(crate) struct AdviseFlags {
    #[command(subcommand)]
    pub(super) action: Option<Action>,
    /// The scenario, a YAML file; `-` is standard input. Without it, on a terminal, questions are asked.
    pub(super) scenario: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Tell how one layer came out: rules, requirements, alternatives, specifications.
    #[arg(long, value_name = "LAYER", conflicts_with = "compare")]
    pub(super) explain: Option<String>,
    /// Compare two stacks: names of reference stacks, or technologies separated by commas.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(super) compare: Option<Vec<String>>,
    /// Change a key of the scenario and show what that changes, as KEY=VALUE; an empty value removes the key.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) what_if: Vec<String>,
    /// Write a folder that runs the chosen stack: manifests, configuration, a page that says how.
    #[arg(long, value_name = "DIR")]
    pub(super) render: Option<PathBuf>,
    /// Let --render replace files that are there already.
    #[arg(long, requires = "render")]
    pub(super) force: bool,
    /// Where the answers to the questions are written.
    #[arg(long, value_name = "FILE", default_value = "scenario.yaml")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) common: Common,
}

/// In which language to answer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Language {
    /// Language of the answer; that of the environment (LC_ALL, LC_MESSAGES, LANG) when absent.
    #[arg(long, value_enum, global = true)]
    lang: Option<LangFlag>,
}

/// What every command of the advisor takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) language: Language,
    /// A folder of YAML files that stands in place of the built-in catalogue; `eyot advise catalog DIR` writes one.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) catalog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LangFlag {
    /// English.
    En,
    /// Simplified Chinese.
    Zh,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables of at most 100 columns.
    Table,
    /// One JSON document.
    Json,
    /// A page of Markdown.
    Markdown,
    /// A flowchart for Mermaid.
    Mermaid,
}

/// How reports are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// Tables of at most 100 columns.
    Table,
    /// One JSON document.
    Json,
    /// A page of Markdown.
    Markdown,
}

impl From<Layout> for Format {
    fn from(it: Layout) -> Self {
        match it {
            Layout::Table => Self::Table,
            Layout::Json => Self::Json,
            Layout::Markdown => Self::Markdown,
        }
    }
}

/// What else the advisor does.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Look for contradictions in the catalogue: unreachable rules, scores that cannot be reproduced, and more.
    Audit(AuditFlags),
    /// Plan the way from one stack to another, and judge manifests that are to go it.
    Migrate(MigrateFlags),
    /// Write the built-in catalogue to a folder, to be changed there.
    Catalog(CatalogFlags),
}

/// Flags of `eyot advise audit`.
#[derive(Debug, clap::Args)]
pub(super) struct AuditFlags {
    /// How the findings are printed.
    #[arg(long, value_enum, default_value_t = Layout::Table)]
    pub(super) format: Layout,
}

/// Flags of `eyot advise migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct MigrateFlags {
    /// The stack today, such as kubernetes+docker+etcd.
    #[arg(long, value_name = "STACK")]
    pub(super) from: String,
    /// The stack to come, such as k3s+wasmedge+sqlite.
    #[arg(long, value_name = "STACK")]
    pub(super) to: String,
    /// Manifests to judge: YAML or JSON files, or folders of them; `-` is standard input.
    pub(super) inventory: Vec<PathBuf>,
    /// How the plan is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// Flags of `eyot advise catalog`.
#[derive(Debug, clap::Args)]
pub(super) struct CatalogFlags {
    /// The folder; made when absent. Files that are there already are left alone and reported.
    pub(super) dir: PathBuf,
}

impl Language {
    /// The language to answer in.
    pub(crate) fn lang(&self) -> Lang {
        match self.lang {
            Some(LangFlag::En) => Lang::En,
            Some(LangFlag::Zh) => Lang::Zh,
            None => of_environment(|name| std::env::var(name).ok()),
        }
    }
}

/// The first of the three variables that is set decides, as for other programs.
fn of_environment(value: impl Fn(&str) -> Option<String>) -> Lang {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(value).find(|it| !it.is_empty());
    if set.is_some_and(|it| it.to_ascii_lowercase().starts_with("zh")) { Lang::Zh } else { Lang::En }
}

impl AdviseFlags {
    /// What only a scenario's answer takes says nothing to the other commands.
    pub(super) fn refuse_with_action(&self) -> Result<()> {
        let own = [
            ("a scenario", self.scenario.is_some()),
            ("--explain", self.explain.is_some()),
            ("--compare", self.compare.is_some()),
            ("--what-if", !self.what_if.is_empty()),
            ("--render", self.render.is_some()),
            ("--format before the command", self.format != Format::Table),
        ];
        for (name, given) in own {
            ensure!(!given, "{name} does not go with audit, migrate or catalog");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_the_language() {
        let of =
            |set: &[(&str, &str)]| of_environment(|name| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()));
        assert_eq!(of(&[]), Lang::En);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")]), Lang::Zh);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]), Lang::En);
        assert_eq!(of(&[("LANG", "en_US"), ("LC_ALL", ""), ("LC_MESSAGES", "zh")]), Lang::Zh);
    }
}
