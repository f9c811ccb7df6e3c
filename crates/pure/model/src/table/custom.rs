//! Tables of custom objects: the columns that their definition asks for, or name and age.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::human_duration;
use crate::custom::{Column, Custom, path::Path};

/// The columns of one version of a custom kind.
pub(super) struct Printer {
    columns: Vec<(Column, Option<Path>)>,
}

impl Printer {
    pub(super) fn new(custom: &Custom) -> Printer {
        let own = &custom.version().details().columns;
        let age = || Column {
            name: "Age".to_owned(),
            of_type: "date".to_owned(),
            description: AGE.to_owned(),
            json_path: ".metadata.creationTimestamp".to_owned(),
            ..Column::default()
        };
        let columns = if own.is_empty() { vec![age()] } else { own.clone() };
        let parse = |it: Column| (Path::parse(&it.json_path).ok(), it);
        Printer { columns: columns.into_iter().map(parse).map(|(path, column)| (column, path)).collect() }
    }

    /// `columnDefinitions` of the table.
    pub(super) fn definitions(&self) -> Value {
        let name = json!({"name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0});
        let own = self.columns.iter().map(|(it, _)| {
            json!({
                "name": it.name, "type": it.of_type, "format": it.format,
                "description": it.description, "priority": it.priority,
            })
        });
        std::iter::once(name).chain(own).collect()
    }

    /// One cell for each column.
    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = object["metadata"]["name"].clone();
        let own = self.columns.iter().map(|(column, path)| {
            let found = path.as_ref().and_then(|it| it.find(object).first().copied());
            found.map_or(Value::Null, |it| cell(&column.of_type, it, now))
        });
        std::iter::once(name).chain(own).collect()
    }
}

const NAME: &str = "Name must be unique within a namespace.";
const AGE: &str = "The time when the object was created.";

/// A value as a column of that type shows it; null when it has another type.
fn cell(of_type: &str, value: &Value, now: Timestamp) -> Value {
    match (of_type, value) {
        ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => "<nil>".into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_i64().or_else(|| number.as_f64().map(|it| it as i64)) {
            Some(number) => number.into(),
            None => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => human_duration(now.duration_since(time).as_secs()).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_type_of_their_column() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        for (of_type, value, expected) in [
            ("string", json!("x"), json!("x")),
            ("string", json!(["a", 1]), json!("[\"a\",1]")),
            ("integer", json!(1.9), json!(1)),
            ("integer", json!("1"), Value::Null),
            ("boolean", json!(true), json!(true)),
            ("date", json!("2026-01-01T00:00:00Z"), json!("60m")),
            ("date", json!("soon"), json!("<invalid>")),
        ] {
            assert_eq!(cell(of_type, &value, now), expected, "{of_type} {value}");
        }
    }
}
