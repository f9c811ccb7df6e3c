//! The questions that make a scenario. Entry point: [`ask`].
//!
//! Reading and writing lines is all it knows of the terminal, so that a test answers as a person does.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use eyot_advise::{
    Lang, Named, Scenario,
    scenario::{FIELDS, Field, Kind},
};

use super::words::say;

/// A question is only asked when the key before it was given and is none of these words.
const FOLLOWS: &[(&str, &str, &[&str])] = &[
    ("centreNodes", "kind", &["edge", "iot", "serverless", "ai", "microservices", "traditional", "general"]),
    ("centreOrchestration", "centreNodes", &[]),
    ("scaleTime", "autoscaling", &["none"]),
    ("policyLatency", "policy", &["none"]),
    ("workload", "gpu", &["none"]),
    ("meshNeeds", "mesh", &["none"]),
];
/// Wrong answers to one question before it is given up.
const TRIES_MAX: usize = 20;

/// Asks for each key in turn; an empty answer leaves it out.
pub(super) fn ask(file: &str, input: &mut impl BufRead, output: &mut impl Write, lang: Lang) -> Result<Scenario> {
    let intro = say(
        lang,
        "An empty answer leaves a question out; `?` shows an example; `!` ends the questions.",
        "直接回车跳过；`?` 显示示例；`!` 结束提问。",
    );
    writeln!(output, "{intro}")?;
    let mut scenario = None::<Scenario>;
    for field in FIELDS {
        if scenario.as_ref().is_some_and(|it| !is_due(field, it)) {
            continue;
        }
        match question(file, field, scenario.as_ref(), input, output, lang)? {
            Next::Given(next) => scenario = Some(*next),
            Next::LeftOut => {}
            Next::Enough => break,
        }
    }
    let Some(scenario) = scenario else { bail!(say(lang, "nothing was answered", "没有任何回答")) };
    Ok(scenario)
}

enum Next {
    Given(Box<Scenario>),
    LeftOut,
    Enough,
}

fn is_due(field: &Field, scenario: &Scenario) -> bool {
    let Some((_, key, not)) = FOLLOWS.iter().find(|it| it.0 == field.key) else { return true };
    scenario.values.contains_key(*key) && !not.contains(&scenario.word(key))
}

fn question(
    file: &str,
    field: &Field,
    scenario: Option<&Scenario>,
    input: &mut impl BufRead,
    output: &mut impl Write,
    lang: Lang,
) -> Result<Next> {
    for _ in 0..TRIES_MAX {
        write!(output, "{} [{}]{}: ", field.name(lang), field.key, choices(field.kind))?;
        output.flush()?;
        let mut line = String::new();
        let read = input.read_line(&mut line).context("reading an answer")?;
        if read == 0 {
            bail!(say(lang, "the answers ended before the questions; `!` ends them", "回答提前结束；用 `!` 结束提问"));
        }
        let answer = match line.trim() {
            "" => return Ok(Next::LeftOut),
            "!" => return Ok(Next::Enough),
            "?" => {
                writeln!(output, "  {} {}", say(lang, "for example", "例如"), field.example)?;
                continue;
            }
            answer => answer,
        };
        let next = match scenario {
            Some(scenario) => scenario.set(field.key, answer),
            None => Scenario::parse(file, "{}").and_then(|it| it.set(field.key, answer)),
        };
        match next {
            Ok(next) => return Ok(Next::Given(Box::new(next))),
            Err(flaws) => {
                for flaw in &flaws {
                    writeln!(output, "  {}", flaw.reason.text().get(lang))?;
                }
            }
        }
    }
    bail!("{}: {}", field.key, say(lang, "too many wrong answers", "错误回答过多"))
}

fn choices(kind: Kind) -> String {
    match kind {
        Kind::Word(words) | Kind::Words(words) => format!(" ({})", words.join(", ")),
        Kind::Flag => " (true, false)".to_owned(),
        Kind::Text | Kind::Amount(..) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &str, lang: Lang) -> (Result<Scenario>, String) {
        let mut output = Vec::new();
        let scenario = ask("new.yaml", &mut answers.as_bytes(), &mut output, lang);
        (scenario, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn answers_become_a_scenario_that_reads_as_the_same() {
        let (scenario, asked) = answered("my edge\nedge\n\n1\n<4GB\n!\n", Lang::En);
        let scenario = scenario.expect("a scenario");
        assert_eq!((scenario.word("kind"), scenario.title()), ("edge", "my edge"));
        let again = Scenario::parse("new.yaml", &scenario.to_yaml()).expect("reads");
        assert_eq!(again.to_yaml(), scenario.to_yaml());
        assert!(asked.contains("Nodes of one cluster [nodes]: "), "{asked}");
        assert!(!asked.contains("[centreNodes]"), "an edge has no centre: {asked}");
    }

    #[test]
    fn a_wrong_answer_is_told_and_asked_again() {
        let (scenario, asked) = answered("a\nspace\nedge\n?\n!\n", Lang::Zh);
        assert_eq!(scenario.expect("a scenario").word("kind"), "edge");
        assert_eq!(asked.matches("场景类型 [kind]").count(), 2, "{asked}");
        assert!(asked.contains("例如"), "{asked}");
    }

    #[test]
    fn silence_and_an_early_end_are_errors() {
        assert!(answered("!\n", Lang::En).0.is_err());
        let error = answered("a\n", Lang::En).0.expect_err("too short").to_string();
        assert!(error.contains("ended before"), "{error}");
    }
}
