//! `eyot policy eval`.

use anyhow::Result;
use serde_json::{Value, json};

use super::load::{Sources, told};

/// Flags of `eyot policy eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvalFlags {
    #[command(flatten)]
    sources: Sources,
    /// How the results look.
    #[arg(long, short, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// End with 1 when the query is undefined.
    #[arg(long)]
    fail: bool,
    /// End with 1 when the query has results.
    #[arg(long)]
    fail_defined: bool,
    /// The query, for example `data.kubernetes.admission.deny`.
    query: String,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Everything, with the places of expressions.
    Json,
    /// For people: the variables of a query that has some, else the values.
    Pretty,
    /// The values alone; texts without quotes.
    Raw,
    /// The variables alone.
    Bindings,
    /// The values alone, as JSON arrays.
    Values,
}

/// Evaluates; the exit code.
pub(super) fn run(flags: &EvalFlags) -> Result<u8> {
    let loaded = flags.sources.load()?;
    let query = loaded.program.query(&flags.query, loaded.dialect);
    let query = query.map_err(|flaws| anyhow::anyhow!("{}", told(&flaws)))?;
    let outcome = loaded.program.eval(&query, &loaded.request)?;
    for print in &outcome.prints {
        eprintln!("{}: {}", print.place, print.text);
    }
    let results: Vec<Value> = outcome
        .results
        .iter()
        .map(|solution| {
            let expressions = solution.expressions.iter().map(|(text, value, position)| {
                let location = json!({"row": position.line, "col": position.column});
                json!({"value": value.to_json(), "text": text, "location": location})
            });
            let bindings: serde_json::Map<_, _> =
                solution.bindings.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
            let mut result = json!({"expressions": expressions.collect::<Vec<_>>()});
            if !bindings.is_empty() {
                result["bindings"] = bindings.into();
            }
            result
        })
        .collect();
    print(flags.format, &results)?;
    let defined = !results.is_empty();
    Ok(u8::from((flags.fail && !defined) || (flags.fail_defined && defined)))
}

fn print(format: Format, results: &[Value]) -> Result<()> {
    let values = |result: &Value| -> Vec<Value> {
        result["expressions"].as_array().into_iter().flatten().map(|it| it["value"].clone()).collect()
    };
    match format {
        Format::Json => {
            let whole = if results.is_empty() { json!({}) } else { json!({"result": results}) };
            println!("{}", serde_json::to_string_pretty(&whole)?);
        }
        Format::Pretty if results.is_empty() => println!("undefined"),
        Format::Pretty => {
            for value in
                results.iter().flat_map(|it| it.get("bindings").map_or_else(|| values(it), |it| vec![it.clone()]))
            {
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
        }
        Format::Raw => {
            for value in results.iter().flat_map(values) {
                match value {
                    Value::String(text) => println!("{text}"),
                    other => println!("{other}"),
                }
            }
        }
        Format::Bindings => {
            let all: Vec<&Value> = results.iter().map(|it| &it["bindings"]).collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Format::Values => {
            for result in results {
                println!("{}", Value::Array(values(result)));
            }
        }
    }
    Ok(())
}
