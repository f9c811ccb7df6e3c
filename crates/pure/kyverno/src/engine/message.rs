//! What users read when they are refused.
//!
//! Entry point: [`blocked`]. The text is that of Kyverno's webhooks: policies, rules and reasons as YAML.

use std::{collections::BTreeMap, fmt::Write};

/// What stands before every refusal of a demand.
pub(super) const VALIDATE: &str = "admission webhook \"validate.kyverno.svc-fail\" denied the request: ";
/// What stands before the refusal when a change fails.
pub(super) const MUTATE: &str = "admission webhook \"mutate.kyverno.svc-fail\" denied the request: ";

/// The reasons by policy and rule.
pub(super) type Reasons = BTreeMap<String, BTreeMap<String, String>>;

/// The refusal of `Kind/namespace/name`.
pub(super) fn blocked(resource: &str, reasons: &Reasons) -> String {
    let mut text = format!("{VALIDATE}\n\nresource {resource} was blocked due to the following policies \n\n");
    for (policy, rules) in reasons {
        let _ = writeln!(text, "{}:", scalar(policy, ""));
        for (rule, message) in rules {
            let _ = writeln!(text, "  {}: {}", scalar(rule, ""), scalar(message, "    "));
        }
    }
    text
}

/// A text as YAML; several lines become a block with an indent.
fn scalar(text: &str, indent: &str) -> String {
    if text.contains('\n') && !indent.is_empty() {
        let chomp = if text.ends_with('\n') { "" } else { "-" };
        let lines: Vec<String> = text.trim_end_matches('\n').lines().map(|it| format!("{indent}{it}")).collect();
        return format!("|{chomp}\n{}", lines.join("\n"));
    }
    let first = text.chars().next();
    let special = |it: char| "!&*-?[]{},#|>@`\"'%:=~ ".contains(it);
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_lowercase().as_str());
    let number = text.parse::<f64>().is_ok();
    let quoted = first.is_none_or(special)
        || text.contains(": ")
        || text.contains(" #")
        || text.ends_with([':', ' '])
        || text.chars().any(char::is_control)
        || word
        || number;
    if quoted { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn reasons_read_as_kyverno_writes_them() {
        let rules = |all: &[(&str, &str)]| all.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        let reasons: Reasons = BTreeMap::from([
            ("a".to_owned(), rules(&[("r", "validation error: it's wrong"), ("s", "plain words")])),
            ("b".to_owned(), rules(&[("t", "two\nlines"), ("u", "")])),
        ]);
        expect![[r#"
            admission webhook "validate.kyverno.svc-fail" denied the request: 

            resource Pod/default/p was blocked due to the following policies 

            a:
              r: 'validation error: it''s wrong'
              s: plain words
            b:
              t: |-
                two
                lines
              u: ''
        "#]]
        .assert_eq(&blocked("Pod/default/p", &reasons));
    }
}
