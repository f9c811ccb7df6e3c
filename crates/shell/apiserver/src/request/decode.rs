//! Decodes bodies into values. Entry point: [`decode`].
//!
//! Nesting is bounded by serde_json's limit of 128 and by serde-saphyr's budget, which also bounds aliases.

use std::fmt;

use eyot_model::{schema, status::ApiError};
use serde_json::Value;

use super::{accept::Syntax, protobuf, yaml};

/// A body and the keys that it gives twice, of which the last one wins, as in Kubernetes: paths in JSON, texts that
/// begin with `line ` in YAML.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    pub(crate) duplicates: Vec<String>,
}

/// Decodes a whole body.
pub(crate) fn decode(bytes: &[u8], syntax: Syntax) -> Result<Decoded, ApiError> {
    match syntax {
        Syntax::Json => {
            let (value, duplicates) = schema::parse(bytes).map_err(|it| malformed("JSON", &it))?;
            Ok(Decoded { value, duplicates })
        }
        Syntax::Yaml => {
            let (value, duplicates) = yaml::parse(bytes).map_err(|it| malformed("YAML", &it))?;
            Ok(Decoded { value, duplicates })
        }
        Syntax::Protobuf => {
            let value = protobuf::decode(eyot_model::kinds::builtin(), bytes);
            Ok(Decoded { value: value.map_err(|it| malformed("protobuf", &it))?, duplicates: Vec::new() })
        }
    }
}

/// Decodes a whole body of JSON, in which keys may be given twice.
pub(crate) fn plain(bytes: &[u8]) -> Result<Value, ApiError> {
    eyot_model::json::parse(bytes).map_err(|it| malformed("JSON", &it))
}

fn malformed(what: &str, error: &dyn fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the body of the request is not valid {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_of_duplicate_keys_and_reports_them() {
        let decoded = decode(br#"{"a":{"b":[{"c":1,"c":2}]}}"#, Syntax::Json).unwrap();
        assert_eq!(decoded.duplicates.len(), 1);
        assert_eq!(decoded.value.pointer("/a/b/0/c"), Some(&2.into()));
    }

    #[test]
    fn refuses_what_is_malformed_or_too_deep() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for bad in ["", "{", "{}x", "\u{0}", "{\"a\":1e999}", &deep] {
            assert_eq!(decode(bad.as_bytes(), Syntax::Json).unwrap_err().code, 400, "{bad:.20}");
        }
        assert_eq!(decode(b"{\"a\":\"\xff\"}", Syntax::Json).unwrap_err().code, 400);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n".to_owned()
            + "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
            + "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
            + "g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        for bad in ["a: [", "a: 1\n b: 2", &bomb, &deep] {
            assert_eq!(decode(bad.as_bytes(), Syntax::Yaml).unwrap_err().code, 400, "{bad:.20}");
        }
    }

    #[test]
    fn tells_keys_that_yaml_gives_twice_by_line() {
        let decoded = decode(b"kind: Pod\nspec:\n  a: 1\n  b: {c: 1, c: 2}\n  a: 3\n", Syntax::Yaml).unwrap();
        assert_eq!(decoded.value, serde_json::json!({"kind": "Pod", "spec": {"a": 3, "b": {"c": 2}}}));
        let told = ["line 4: key \"c\" already set in map", "line 5: key \"a\" already set in map"];
        assert_eq!(decoded.duplicates, told);
    }

    #[test]
    fn reads_yaml() {
        let decoded = decode(b"kind: Pod\nspec:\n  n: 1\n", Syntax::Yaml).unwrap();
        assert_eq!(decoded.value, serde_json::json!({"kind": "Pod", "spec": {"n": 1}}));
    }
}
