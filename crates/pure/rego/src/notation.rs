//! Values as Rego writes them, read back: JSON, sets (`{1, 2}`, `set()`), and objects whose keys are any value. Entry point:
//! [`Value::parse`].

use crate::{number::Number, value::Value};

/// How deeply values may be nested.
const DEPTH_MAX: usize = 256;

impl Value {
    /// Reads the notation that values are displayed in; nothing if the text is not exactly one value.
    pub fn parse(text: &str) -> Option<Value> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(value)
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &str) -> bool {
        self.space();
        let after = self.rest.strip_prefix(word);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.space();
        match self.rest.chars().next()? {
            '"' => self.string(),
            '[' => self.array(depth),
            '{' => self.braces(depth),
            '-' | '0'..='9' => self.number(),
            _ if self.take("set(") => self.take(")").then(|| Value::set([])),
            _ if self.take("null") => Some(Value::Null),
            _ if self.take("true") => Some(Value::Bool(true)),
            _ if self.take("false") => Some(Value::Bool(false)),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        Number::parse(number).map(Value::Number)
    }

    fn string(&mut self) -> Option<Value> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (text, rest) = self.rest.split_at(end?.0 + 1);
        self.rest = rest;
        serde_json::from_str::<String>(text).ok().map(|it| Value::string(&it))
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.take("[");
        let mut items = Vec::new();
        while !self.take("]") {
            if !items.is_empty() && !self.take(",") {
                return None;
            }
            items.push(self.value(depth + 1)?);
        }
        Some(Value::array(items))
    }

    /// An object or a set: the first item tells.
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.take("{");
        let (mut fields, mut members) = (Vec::new(), Vec::new());
        while !self.take("}") {
            if !(fields.is_empty() && members.is_empty() || self.take(",")) {
                return None;
            }
            let item = self.value(depth + 1)?;
            if self.take(":") {
                fields.push((item, self.value(depth + 1)?));
            } else {
                members.push(item);
            }
            if !fields.is_empty() && !members.is_empty() {
                return None;
            }
        }
        Some(if members.is_empty() { Value::object(fields) } else { Value::set(members) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_read_back() {
        for text in [
            "null",
            "[]",
            "set()",
            "{}",
            r#"{"a": [1, -2.5, true], "b": {"c"}}"#,
            r#"{[1, 2]: "x", {1}: null}"#,
            r#""quote \" backslash \\ newline \n ünïcode""#,
            "12345678901234567890",
        ] {
            let value = Value::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(value.to_string(), text);
        }
        assert_eq!(Value::parse(" { 1 ,1, 2 } "), Some(Value::set([Value::int(1), Value::int(2)])));
    }

    #[test]
    fn what_is_no_value_is_not_read() {
        for text in ["", "{1: 2, 3}", "[1 2]", "[1,]", "\"a", "nul", "1 2", "set(1)", &"[".repeat(1_000_000)] {
            assert_eq!(Value::parse(text), None, "{}", &text[..text.len().min(20)]);
        }
    }
}
