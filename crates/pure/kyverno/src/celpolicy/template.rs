//! Objects with expressions in them, as `generate[].template` has them. Entry point: [`Template::compile`].
//!
//! A text that is nothing but `(( expression ))` becomes the expression's value, whatever that is; expressions inside of a
//! longer text become text. `\((` stands for two parentheses.

use eyot_rules::{Budget, Environment, Value as Cel, Variable, to_json};
use eyot_vap::{Expression, Language};
use serde_json::Value;

/// Objects to fill in.
#[derive(Debug)]
pub(super) struct Template {
    objects: Vec<Part>,
}

/// A value of a template.
#[derive(Debug)]
enum Part {
    Fixed(Value),
    /// The value of an expression.
    Whole(Box<Expression>),
    /// Texts and expressions, one after the other.
    Mixed(Vec<Segment>),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

#[derive(Debug)]
enum Segment {
    Text(String),
    Filled(Box<Expression>),
}

impl Template {
    /// Reads a template; without `interpolates` nothing in it is an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compile(
        text: &str,
        interpolates: bool,
        language: &Language,
        variables: &[Variable],
    ) -> Result<Template, String> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|it| format!("it is no YAML: {it}"))?;
        let objects: Vec<Value> = objects.into_iter().filter(|it| !it.is_null()).collect();
        if objects.is_empty() || !objects.iter().all(Value::is_object) {
            return Err("it must hold objects".to_owned());
        }
        let part = |it: Value| if interpolates { part(it, language, variables) } else { Ok(Part::Fixed(it)) };
        Ok(Template { objects: objects.into_iter().map(part).collect::<Result<_, _>>()? })
    }

    /// The objects, filled in.
    ///
    /// # Errors
    /// What went wrong in an expression.
    pub(super) fn fill(&self, seen: &Environment, budget: &mut Budget) -> Result<Vec<Value>, String> {
        self.objects.iter().map(|it| filled(it, seen, budget)).collect()
    }
}

fn part(value: Value, language: &Language, variables: &[Variable]) -> Result<Part, String> {
    Ok(match value {
        Value::String(text) if text.contains("((") => {
            let mut segments = segments(&text, language, variables)?;
            match segments.as_slice() {
                [Segment::Filled(_)] => match segments.pop() {
                    Some(Segment::Filled(it)) => Part::Whole(it),
                    _ => Part::Fixed(Value::Null),
                },
                _ => Part::Mixed(segments),
            }
        }
        Value::Array(all) => {
            Part::List(all.into_iter().map(|it| part(it, language, variables)).collect::<Result<_, _>>()?)
        }
        Value::Object(all) => {
            let fields = all.into_iter().map(|(key, it)| Ok((key, part(it, language, variables)?)));
            Part::Map(fields.collect::<Result<_, String>>()?)
        }
        other => Part::Fixed(other),
    })
}

fn segments(text: &str, language: &Language, variables: &[Variable]) -> Result<Vec<Segment>, String> {
    let (mut segments, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\\((") {
            literal.push_str("((");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("((") {
            let end = end_of(after).ok_or_else(|| format!("a placeholder is not closed with '))': {text}"))?;
            let expression = after[..end].trim();
            if expression.is_empty() {
                return Err(format!("a placeholder is empty: {text}"));
            }
            let compiled = Expression::compile_with(expression, language, variables);
            if let Some(why) = compiled.flaw() {
                return Err(format!("(( {expression} )): {why}"));
            }
            if !literal.is_empty() {
                segments.push(Segment::Text(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Filled(Box::new(compiled)));
            rest = &after[end + 2..];
        } else {
            let end = rest.char_indices().nth(1).map_or(rest.len(), |it| it.0);
            literal.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    if !literal.is_empty() {
        segments.push(Segment::Text(literal));
    }
    Ok(segments)
}

/// Where the parentheses close that an expression stands in.
fn end_of(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) => quote = Some(open).filter(|it| *it != c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth > 0 => depth -= 1,
            (None, ')') => return text[at..].starts_with("))").then_some(at),
            _ => {}
        }
    }
    None
}

fn filled(part: &Part, seen: &Environment, budget: &mut Budget) -> Result<Value, String> {
    let value = |it: &Expression, budget: &mut Budget| {
        let value = it.run(seen, budget)?;
        to_json(&value).map(|json| (value, json)).ok_or_else(|| format!("the value of (( {} )) is no JSON", it.text))
    };
    Ok(match part {
        Part::Fixed(it) => it.clone(),
        Part::Whole(it) => value(it, budget)?.1,
        Part::Mixed(segments) => {
            let mut text = String::new();
            for segment in segments {
                match segment {
                    Segment::Text(it) => text.push_str(it),
                    Segment::Filled(it) => match value(it, budget)? {
                        (Cel::String(it), _) => text.push_str(&it),
                        (_, json @ (Value::Number(_) | Value::Bool(_))) => text.push_str(&json.to_string()),
                        _ => return Err(format!("(( {} )) inside of a text must make a text", it.text)),
                    },
                }
            }
            text.into()
        }
        Part::List(all) => all.iter().map(|it| filled(it, seen, budget)).collect::<Result<_, _>>()?,
        Part::Map(all) => {
            let fields = all.iter().map(|(key, it)| Ok((key.clone(), filled(it, seen, budget)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::{super::GENERATING, *};

    fn filled_in(text: &str) -> Result<Value, String> {
        let template = Template::compile(text, true, &GENERATING, &[])?;
        let seen =
            Environment::new().with("object", Arc::new(json!({"metadata": {"name": "a", "labels": {"x": "1"}}})));
        template.fill(&seen, &mut Budget::new(Budget::WRITE)).map(Value::Array)
    }

    #[test]
    fn expressions_become_values_or_parts_of_texts() {
        let text = "kind: A\nname: (( object.metadata.name ))-b\nlabels: (( object.metadata.labels ))\n\
                    plain: \\((x))\nquoted: (( \":))\" + 'c' ))\nlist: [(( string(f(1)) ))]";
        assert!(filled_in(text).unwrap_err().contains("f"), "unknown functions are told");
        let text = text.replace("string(f(1))", "1 + (2 * 3)");
        let found = filled_in(&text).unwrap();
        let wanted = json!([{
            "kind": "A", "name": "a-b", "labels": {"x": "1"}, "plain": "((x))", "quoted": ":))c", "list": [7],
        }]);
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for (text, why) in
            [("kind: (( object", "not closed"), ("kind: (( ))", "is empty"), ("- a", "must hold objects")]
        {
            let told = filled_in(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
