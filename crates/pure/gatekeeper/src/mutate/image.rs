//! References to images and their parts, as `AssignImage` sets them.

use std::sync::LazyLock;

use eyot_model::status::Cause;
use regex::Regex;
use serde_json::Value;

/// The parts to set; empty ones stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    domain: String,
    path: String,
    tag: String,
}

fn pattern(text: &str) -> Regex {
    // The patterns below are constants that a test compiles; one that matches nothing refuses everything.
    Regex::new(text).unwrap_or_else(|_| unreachable!("a constant pattern compiles"))
}

static DOMAIN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:[0-9A-Za-z_][0-9A-Za-z_\-]*\.[0-9A-Za-z_\-.]*[0-9A-Za-z_](?::\d+)?|localhost(?::\d+)?)$")
});
static PATH: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*$"));
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?::[0-9A-Za-z_][0-9A-Za-z_.\-]{0,127}|@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})$",
    )
});

impl Parts {
    /// Reads the parameters of an AssignImage; tells what is wrong with them.
    pub(crate) fn read(parameters: &Value, causes: &mut Vec<Cause>) -> Parts {
        let text = |name: &str| parameters[name].as_str().unwrap_or_default().to_owned();
        let parts = Parts { domain: text("assignDomain"), path: text("assignPath"), tag: text("assignTag") };
        if parts.domain.is_empty() && parts.path.is_empty() && parts.tag.is_empty() {
            let why = "at least one of [assignDomain, assignPath, assignTag] must be set";
            causes.push(Cause::required("spec.parameters", why));
        }
        for (name, text, form) in [
            ("assignDomain", &parts.domain, &DOMAIN),
            ("assignPath", &parts.path, &PATH),
            ("assignTag", &parts.tag, &TAG),
        ] {
            if !text.is_empty() && !form.is_match(text) {
                let why = format!("does not match {}", form.as_str());
                causes.push(Cause::invalid(format!("spec.parameters.{name}"), &parameters[name], &why));
            }
        }
        // Without a domain, what stands before the first slash of the path would be read as one.
        if parts.domain.is_empty() && !domain(&parts.path).0.is_empty() {
            let why = "a path whose first part looks like a domain needs assignDomain";
            causes.push(Cause::invalid("spec.parameters.assignPath", &parameters["assignPath"], why));
        }
        parts
    }

    /// The reference with these parts in it.
    pub(crate) fn applied(&self, reference: &str) -> String {
        let (old_domain, rest) = domain(reference);
        let (old_path, old_tag) = rest.find([':', '@']).map_or((rest, ""), |at| rest.split_at(at));
        let choose = |new: &'_ str, old: &'_ str| if new.is_empty() { old.to_owned() } else { new.to_owned() };
        let (domain, path) = (choose(&self.domain, old_domain), choose(&self.path, old_path));
        let slash = if domain.is_empty() { "" } else { "/" };
        format!("{domain}{slash}{path}{}", choose(&self.tag, old_tag))
    }
}

/// The domain of a reference, and what follows it.
fn domain(reference: &str) -> (&str, &str) {
    match reference.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("", reference),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_set_and_others_stay() {
        let apply = |parameters: Value, reference: &str| {
            let mut causes = Vec::new();
            let parts = Parts::read(&parameters, &mut causes);
            assert_eq!(causes, [], "{parameters}");
            parts.applied(reference)
        };
        for (parameters, reference, want) in [
            (json!({"assignDomain": "eyot.dev:5000"}), "nginx", "eyot.dev:5000/nginx"),
            (json!({"assignDomain": "eyot.dev"}), "docker.io/library/nginx:1", "eyot.dev/library/nginx:1"),
            (json!({"assignPath": "a/b"}), "localhost/nginx:1", "localhost/a/b:1"),
            (json!({"assignTag": ":2"}), "library/nginx:1", "library/nginx:2"),
            (json!({"assignTag": ":2"}), "library/nginx", "library/nginx:2"),
            (json!({"assignDomain": "a.b", "assignPath": "c", "assignTag": ":d"}), "e:f", "a.b/c:d"),
        ] {
            assert_eq!(apply(parameters, reference), want);
        }
    }

    #[test]
    fn parts_that_would_run_into_others_are_refused() {
        for parameters in [
            json!({}),
            json!({"assignDomain": "nodots"}),
            json!({"assignDomain": "a.b/c"}),
            json!({"assignPath": "a:b"}),
            json!({"assignPath": "eyot.dev/b"}),
            json!({"assignTag": "2"}),
            json!({"assignTag": "@sha256:abc"}),
        ] {
            let mut causes = Vec::new();
            Parts::read(&parameters, &mut causes);
            assert_ne!(causes, [], "{parameters}");
        }
    }
}
