//! Fills in a schema's defaults, and drops nulls that mean nothing. Entry point: [`fill`]. Filling twice changes
//! nothing more.

use serde_json::Value;

use super::schema::{Additional, Schema};

/// Fills in what is missing or null without being nullable. Nulls that neither a default replaces nor the schema allows
/// are dropped from objects, as if they had not been written.
pub fn fill(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default
                    && map.get(name).is_none_or(|it| it.is_null() && !property.nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            map.retain(|name, value| {
                let Some(property) = schema.property(name) else { return true };
                if value.is_null() && !property.nullable {
                    match (&property.default, &schema.additional) {
                        (Some(default), _) => *value = default.clone(),
                        (None, Additional::Schema(_)) if !schema.properties.contains_key(name) => return true,
                        (None, _) => return false,
                    }
                }
                fill(value, property);
                true
            });
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            for item in list {
                if item.is_null()
                    && !items.nullable
                    && let Some(default) = &items.default
                {
                    *item = default.clone();
                }
                fill(item, items);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, mut object: Value, expected: Value) {
        let schema = Schema::parse(&json!({"type": "object", "properties": schema}));
        fill(&mut object, &schema);
        assert_eq!(object, expected);
        fill(&mut object, &schema);
        assert_eq!(object, expected);
    }

    #[test]
    fn missing_fields_get_their_defaults_at_any_depth() {
        let schema = json!({
            "a": {"type": "string", "default": "A"},
            "b": {"type": "object", "default": {}, "properties": {"c": {"type": "integer", "default": 3}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"x": {"default": true}}}},
            "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"default": 1}}}},
            "n": {"type": "object", "properties": {"x": {"default": 1}}},
        });
        check(
            schema,
            json!({"l": [{}, {"x": false}], "m": {"k": {}}}),
            json!({"a": "A", "b": {"c": 3}, "l": [{"x": true}, {"x": false}], "m": {"k": {"x": 1}}}),
        );
    }

    #[test]
    fn nulls_stay_only_where_they_may() {
        let schema = json!({
            "yes": {"type": "string", "nullable": true, "default": "d"},
            "no": {"type": "string", "default": "d"},
            "gone": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string", "default": "i"}},
        });
        check(
            schema,
            json!({"yes": null, "no": null, "gone": null, "list": [null]}),
            json!({"yes": null, "no": "d", "list": ["i"]}),
        );
    }
}
