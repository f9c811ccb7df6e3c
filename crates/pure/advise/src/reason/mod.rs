//! Why something is so: [`Reason`], a closed set, each told in both languages by [`Reason::text`].

mod text;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::text::Text;

/// Why. Fields are what the words need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the wording of each, in text.rs, tells what its fields are")]
pub enum Reason {
    NotYaml { message: String },
    NotAMapping,
    NotAScalar { key: String },
    KeyMissing { key: String },
    UnknownKey { key: String, meant: Option<String> },
}

impl Reason {
    /// In both languages.
    pub fn text(&self) -> Text {
        text::of(self)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        let debug = format!("{self:?}");
        let code = debug.split([' ', '{', '(']).next().unwrap_or_default();
        let mut fields = to.serialize_struct("Reason", 3)?;
        fields.serialize_field("code", &snake(code))?;
        fields.serialize_field("en", &text.en)?;
        fields.serialize_field("zh", &text.zh)?;
        fields.end()
    }
}

/// `UnknownKey` as `unknown_key`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
