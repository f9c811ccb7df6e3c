//! `eyot advise`: which stack answers a scenario, why, and how to get there.
//!
//! Start at [`main`]. The decision, the rendering and the plan are `eyot-advise`'s; here files are read and written,
//! questions asked, and answers laid out. `report` turns an answer into sections, which are printed as tables or as
//! Markdown; JSON comes from the answer itself.

mod answer;
mod audit;
mod compare;
mod diagram;
mod explain;
mod files;
pub(crate) mod flags;
mod migrate;
mod questions;
mod refusal;
mod render;
pub(crate) mod report;
mod words;

use std::{io::IsTerminal, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use eyot_advise::{Catalog, Decision, Flaw, Lang, Scenario, advise, catalog::Id, layer::Layer, solve};
use serde_json::json;

pub(crate) use files::{catalog, write_catalog};
pub(crate) use flags::AdviseFlags;
use flags::{Action, Format};
use report::Report;
use words::say;

/// Nothing satisfies the scenario, or an audit found errors.
const NO_ANSWER: u8 = 3;

/// Runs the command, whatever it is asked for.
pub(crate) fn main(flags: AdviseFlags) -> ExitCode {
    let lang = flags.common.language.lang();
    ended(run(flags, lang))
}

/// Prints what went wrong, and tells the shell.
pub(crate) fn ended(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("eyot: {}", crate::client::told(&error));
        ExitCode::FAILURE
    })
}

fn run(flags: AdviseFlags, lang: Lang) -> Result<ExitCode> {
    let catalog = catalog(flags.common.catalog.as_deref(), lang)?;
    match &flags.action {
        Some(action) => {
            flags.refuse_with_action()?;
            match action {
                Action::Audit(flags) => audit::run(flags, &catalog, lang),
                Action::Migrate(action) => migrate::run(action, flags.common.catalog.as_deref(), lang),
                Action::Catalog(flags) => files::export(&flags.dir, lang),
            }
        }
        None => choose(&flags, &catalog, lang),
    }
}

/// Reads the scenario, or asks for it, and answers.
fn choose(flags: &AdviseFlags, catalog: &Catalog, lang: Lang) -> Result<ExitCode> {
    let mut scenario = match &flags.scenario {
        Some(path) => files::scenario(path, lang)?,
        None => ask(flags, lang)?,
    };
    let before = advise(catalog, &scenario);
    let asked = scenario.clone();
    for change in &flags.what_if {
        let (key, value) = change.split_once('=').with_context(|| words::no_equals(lang, change))?;
        scenario = scenario.set(key.trim(), value.trim()).map_err(|flaws| told(&flaws, lang))?;
    }
    let after = if flags.what_if.is_empty() { before.clone() } else { advise(catalog, &scenario) };
    let decision = match after {
        Ok(decision) => decision,
        Err(no) => {
            refusal::print(&no, flags.format, lang)?;
            return Ok(ExitCode::from(NO_ANSWER));
        }
    };
    if let Some(names) = &flags.compare {
        compare::print(catalog, &scenario, &names[0], &names[1], flags.format, lang)?;
    } else if let Some(layer) = &flags.explain {
        let layer = words::layer(layer, lang)?;
        explain::print(catalog, &decision, layer, flags.format, lang)?;
    } else {
        let changed = (!flags.what_if.is_empty()).then(|| before.as_deref_or_none());
        show(flags, catalog, &asked, changed, &decision, lang)?;
    }
    if let Some(dir) = &flags.render {
        render::write(dir, &scenario, &decision, catalog, flags, lang)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a result holds when it holds an answer.
trait Held {
    fn as_deref_or_none(&self) -> Option<&Decision>;
}

impl<E> Held for Result<Decision, E> {
    fn as_deref_or_none(&self) -> Option<&Decision> {
        self.as_ref().ok()
    }
}

/// The answer in the format asked for. `before` is the answer without what-ifs, where there are some.
fn show(
    flags: &AdviseFlags,
    catalog: &Catalog,
    asked: &Scenario,
    before: Option<Option<&Decision>>,
    decision: &Decision,
    lang: Lang,
) -> Result<()> {
    match flags.format {
        Format::Json => {
            let mut value = serde_json::to_value(decision).context("writing the answer as JSON")?;
            if let Some(before) = before {
                let chosen = before.map(|it| it.chosen().clone());
                value["what_if"] = json!({ "changes": flags.what_if, "before": chosen });
            }
            print_json(&value)
        }
        Format::Mermaid => {
            print(&diagram::of(catalog, decision, lang));
            Ok(())
        }
        Format::Table | Format::Markdown => {
            let mut report = answer::report(catalog, decision, lang);
            if let Some(before) = before {
                report.insert(0, answer::what_if(catalog, asked, before, decision, &flags.what_if, lang));
            }
            print_report(&report, flags.format)
        }
    }
}

fn ask(flags: &AdviseFlags, lang: Lang) -> Result<Scenario> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!(say(
            lang,
            "give a scenario file (`-` reads standard input), or run on a terminal to be asked; examples/scenarios/ has some",
            "请给出场景文件（`-` 读取标准输入），或在终端上运行以回答提问；示例见 examples/scenarios/"
        ));
    }
    let file = flags.output.as_path();
    if file.exists() {
        bail!(words::file_exists(lang, file));
    }
    let name = file.display().to_string();
    // Questions go to stderr: stdout carries the answer alone.
    let scenario = questions::ask(&name, &mut std::io::stdin().lock(), &mut std::io::stderr(), lang)?;
    files::write(file, scenario.to_yaml().as_bytes())?;
    eprintln!("{}", words::written(lang, file));
    Ok(scenario)
}

/// Every flaw on a line of its own.
pub(crate) fn told(flaws: &[Flaw], lang: Lang) -> anyhow::Error {
    let lines: Vec<_> = flaws.iter().map(|it| it.line(lang)).collect();
    anyhow!("{}", lines.join("\n      "))
}

pub(crate) fn print_report(report: &Report, format: Format) -> Result<()> {
    print(&if format == Format::Markdown { report.markdown() } else { report.table() });
    Ok(())
}

pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value).context("writing JSON")? + "\n"));
    Ok(())
}

/// To stdout; a reader that left early (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes());
}

/// The name of a technology as people write it.
fn named<'a>(catalog: &'a Catalog, id: &'a Id, lang: Lang) -> &'a str {
    catalog.technology(id.as_str()).map_or(id.as_str(), |it| it.name.get(lang))
}

/// Every layer that is not left out, with its option.
fn filled<'a>(catalog: &'a Catalog, stack: &'a solve::Stack) -> impl Iterator<Item = (Layer, &'a Id)> {
    stack.iter().filter(|(_, id)| catalog.technology(id.as_str()).is_none_or(|it| !it.empty))
}
