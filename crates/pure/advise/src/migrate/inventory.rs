//! A user's manifests as objects with their places. Entry point: [`inventory`].

use serde_json::Value;

use crate::Text;

use super::OBJECTS_MAX;

/// One object and where it was found.
#[derive(Clone, Debug)]
pub struct Item {
    /// The file it came from.
    pub file: String,
    /// The line on which its document begins, from one.
    pub line: usize,
    /// The object.
    pub object: Value,
}

/// Why a file holds no objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInventory {
    /// It is no YAML.
    #[error("{file}:{line}: not valid YAML: {message}")]
    Yaml {
        /// The file.
        file: String,
        /// The line on which the document begins.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A document is no object.
    #[error("{file}:{line}: expected a Kubernetes object with apiVersion and kind")]
    NoObject {
        /// The file.
        file: String,
        /// The line on which the document begins.
        line: usize,
    },
    /// There is nothing in it.
    #[error("{file}: holds no objects")]
    Empty {
        /// The file.
        file: String,
    },
    /// There is too much in it.
    #[error("{file}: more than {OBJECTS_MAX} objects")]
    TooMany {
        /// The file.
        file: String,
    },
}

impl BadInventory {
    /// The same in both languages.
    pub fn text(&self) -> Text {
        let zh = match self {
            Self::Yaml { file, line, message } => format!("{file}:{line}: 不是有效的 YAML：{message}"),
            Self::NoObject { file, line } => format!("{file}:{line}: 应为带 apiVersion 与 kind 的 Kubernetes 对象"),
            Self::Empty { file } => format!("{file}: 没有任何对象"),
            Self::TooMany { file } => format!("{file}: 超过 {OBJECTS_MAX} 个对象"),
        };
        Text::new(self.to_string(), zh)
    }
}

/// Reads every object of a YAML stream or a JSON document; lists give their items.
///
/// # Errors
/// When a document is no YAML or no object, or when there are none or too many.
pub fn inventory(file: &str, text: &str) -> Result<Vec<Item>, BadInventory> {
    let mut items = Vec::new();
    for (line, document) in documents(text) {
        let value: Value = serde_saphyr::from_str(document).map_err(|error| {
            let line = line + error.location().map_or(0, |it| (it.line() as usize).saturating_sub(1));
            let message = error.to_string().lines().next().unwrap_or_default().to_owned();
            BadInventory::Yaml { file: file.to_owned(), line, message }
        })?;
        collect(file, line, value, &mut items)?;
    }
    match items.len() {
        0 => Err(BadInventory::Empty { file: file.to_owned() }),
        it if it > OBJECTS_MAX => Err(BadInventory::TooMany { file: file.to_owned() }),
        _ => Ok(items),
    }
}

fn collect(file: &str, line: usize, value: Value, items: &mut Vec<Item>) -> Result<(), BadInventory> {
    let no_object = || BadInventory::NoObject { file: file.to_owned(), line };
    match value {
        Value::Null => Ok(()),
        Value::Object(mut list) if is_list(&list) => {
            let Some(Value::Array(objects)) = list.remove("items") else { return Err(no_object()) };
            objects.into_iter().try_for_each(|it| collect(file, line, it, items))
        }
        Value::Object(object) if object.get("kind").is_some_and(Value::is_string) => {
            let object = Value::Object(object);
            object["apiVersion"].as_str().ok_or_else(no_object)?;
            items.push(Item { file: file.to_owned(), line, object });
            Ok(())
        }
        _ => Err(no_object()),
    }
}

fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && object.contains_key("items")
}

/// The documents of a stream with the line on which each begins.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            found.push((first, &text[begin..at]));
            (begin, first) = (at + line.len(), number + 2);
        }
        at += line.len();
    }
    found.push((first, &text[begin..]));
    found.retain(|it| !it.1.trim().is_empty());
    found
}
