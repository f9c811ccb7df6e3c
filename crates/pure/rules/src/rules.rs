//! The rules of a schema (`x-kubernetes-validations`). Entry points: [`Rules::compile`], [`Rules::check`].
//!
//! A rule sees the value that it stands at as `self`, and as `oldSelf` what the value was before, where that can be told:
//! fields by name, items of lists by their keys. What an update leaves as it was is not judged again.

use std::{collections::BTreeMap, sync::Arc};

use eyot_model::{
    custom::schema::{Additional, ListType, Rule, Schema, Values},
    status::{Cause, CauseReason},
};
use kube_cel::cel::{Value, objects::OptionalValue};
use serde_json::Value as Json;

use crate::{
    budget::Budget,
    convert, correlate,
    estimate::{self, Share},
    program::{CompileError, Program, RunError},
    scope::Scope,
};

/// A rule that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Path of the field below the schema's.
    pub field: String,
    /// The expression.
    pub expression: String,
    /// What is wrong.
    pub why: String,
}

/// The rules of one schema.
#[derive(Debug, Default)]
pub struct Rules {
    root: Node,
}

/// Rules at one place of a schema, and below.
#[derive(Debug, Default)]
struct Node {
    rules: Vec<Compiled>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    program: Program,
    message: Option<Program>,
    /// Whether it compares with what was before.
    transition: bool,
}

impl Rules {
    /// Compiles the rules of a schema whose path is `path`.
    ///
    /// # Errors
    /// Everything that makes no sense.
    pub fn compile(schema: &Schema, path: &str) -> Result<Rules, Vec<Flaw>> {
        let mut flaws = Vec::new();
        // Metadata and types are known of every object, whether its schema says so or not.
        let root = Schema { embedded: true, ..schema.clone() };
        let root = node(&root, path, None, &mut flaws);
        if flaws.is_empty() { Ok(Rules { root }) } else { Err(flaws) }
    }

    /// What the rules have against a value, given the one before it.
    pub fn check(&self, schema: &Schema, new: &Json, old: Option<&Json>, budget: &mut Budget) -> Vec<Cause> {
        let mut walk = Walk { path: String::new(), causes: Vec::new(), budget };
        walk.node(&self.root, schema, new, old);
        walk.causes
    }

    /// Rules that would cost too much if everything were as large as a request may be, given the schema that they were
    /// compiled for. They are refused when they are written; what an older server took goes on being measured.
    pub fn too_dear(&self, schema: &Schema, path: &str) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        dear(&self.root, schema, path, Share::ONE, &mut flaws);
        flaws
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.properties.is_empty() && self.additional.is_none() && self.items.is_none()
    }
}

/// Compiles from a place on; `uncorrelated` is the path of a list around, of whose items no one knows which was which.
fn node(schema: &Schema, path: &str, uncorrelated: Option<&str>, flaws: &mut Vec<Flaw>) -> Node {
    let rules = schema.rules.iter().enumerate().filter_map(|(i, rule)| {
        let path = format!("{path}.x-kubernetes-validations[{i}]");
        compile(rule, schema, &path, uncorrelated).map_err(|it| flaws.push(it)).ok()
    });
    let rules = rules.collect();
    let keep = |node: Node| Some(node).filter(|it| !it.is_empty());
    let properties = schema.properties.iter().filter_map(|(name, property)| {
        let node = node(property, &format!("{path}.properties[{name}]"), uncorrelated, flaws);
        keep(node).map(|it| (name.clone(), it))
    });
    let properties = properties.collect();
    let additional = match &schema.additional {
        Additional::Schema(schema) => {
            keep(node(schema, &format!("{path}.additionalProperties"), uncorrelated, flaws)).map(Box::new)
        }
        _ => None,
    };
    let lost = if matches!(schema.list, ListType::Map(_)) { uncorrelated } else { uncorrelated.or(Some(path)) };
    let items = schema.items.as_deref().and_then(|it| keep(node(it, &format!("{path}.items"), lost, flaws)));
    Node { rules, properties, additional, items: items.map(Box::new) }
}

fn dear(node: &Node, schema: &Schema, path: &str, share: Share, flaws: &mut Vec<Flaw>) {
    for (i, it) in node.rules.iter().enumerate() {
        let rounds = estimate::rounds(&it.program.expression, &[("self", schema), ("oldSelf", schema)]);
        if let Some(why) = estimate::excess(rounds * share.times(schema)) {
            let field = format!("{path}.x-kubernetes-validations[{i}].rule");
            flaws.push(Flaw { field, expression: it.rule.rule.clone(), why });
        }
    }
    let most = |of: fn(&Values) -> Option<usize>| schema.values.as_deref().and_then(of);
    for (name, node) in &node.properties {
        if let Some(schema) = schema.properties.get(name) {
            dear(node, schema, &format!("{path}.properties[{name}]"), share, flaws);
        }
    }
    if let (Some(node), Additional::Schema(schema)) = (&node.additional, &schema.additional) {
        let share = share.of_parts(most(|it| it.max_properties));
        dear(node, schema, &format!("{path}.additionalProperties"), share, flaws);
    }
    if let Some((node, schema)) = node.items.as_deref().zip(schema.items.as_deref()) {
        let share = share.of_parts(most(|it| it.max_items));
        dear(node, schema, &format!("{path}.items"), share, flaws);
    }
}

fn compile(rule: &Rule, schema: &Schema, path: &str, uncorrelated: Option<&str>) -> Result<Compiled, Flaw> {
    let flaw = |field: &str, expression: &str, why: String| Flaw {
        field: format!("{path}.{field}"),
        expression: expression.to_owned(),
        why,
    };
    let before = if rule.optional_old_self == Some(true) { None } else { Some(schema) };
    let scope = || Scope::new(&[]).with("self", Some(schema)).with("oldSelf", before);
    let compile = |field: &str, text: &str| {
        Program::compile_in(text, &scope()).map_err(|it: CompileError| flaw(field, text, it.to_string()))
    };
    let program = compile("rule", rule.rule.trim())?;
    let message = match rule.message_expression.trim() {
        "" => None,
        text => Some(compile("messageExpression", text)?),
    };
    let transition = program.names("oldSelf");
    if let Some(list) = uncorrelated.filter(|_| transition) {
        let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
        return Err(flaw("rule", &rule.rule, why));
    }
    if rule.optional_old_self.is_some() && !transition {
        let why = "may not be set if oldSelf is not used in rule".to_owned();
        return Err(flaw("optionalOldSelf", &rule.rule, why));
    }
    Ok(Compiled { rule: rule.clone(), program, message, transition })
}

struct Walk<'b> {
    path: String,
    causes: Vec<Cause>,
    budget: &'b mut Budget,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, schema: &Schema, value: &Json, old: Option<&Json>) {
        if value.is_null() || self.budget.is_spent() {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(&node.rules, schema, value, old);
        }
        match value {
            Json::Object(map) => {
                for (name, value) in map {
                    let old = old.and_then(|it| it.get(name));
                    let known = node.properties.get(name).zip(schema.properties.get(name));
                    if let Some((node, property)) = known {
                        let dot = if self.path.is_empty() { "" } else { "." };
                        self.child(&format!("{dot}{name}"), |it| it.node(node, property, value, old));
                    } else if let (Some(node), Additional::Schema(schema)) = (&node.additional, &schema.additional) {
                        self.child(&format!("[{name}]"), |it| it.node(node, schema, value, old));
                    }
                }
            }
            Json::Array(list) => {
                let Some((node, items)) = node.items.as_deref().zip(schema.items.as_deref()) else { return };
                let before = old.and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
                for (i, item) in list.iter().enumerate() {
                    let old = match &schema.list {
                        ListType::Map(keys) => {
                            before.iter().find(|it| keys.iter().all(|key| it.get(key) == item.get(key)))
                        }
                        _ => None,
                    };
                    self.child(&format!("[{i}]"), |it| it.node(node, items, item, old));
                }
            }
            _ => {}
        }
    }

    fn child(&mut self, segment: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(segment);
        visit(self);
        self.path.truncate(length);
    }

    fn rules(&mut self, rules: &[Compiled], schema: &Schema, value: &Json, old: Option<&Json>) {
        let unchanged = old == Some(value);
        let wanted = |it: &&Compiled| match it.transition {
            true => old.is_some() || it.rule.optional_old_self == Some(true),
            false => !unchanged,
        };
        let mut wanted = rules.iter().filter(wanted).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let now = convert::typed(value, schema);
        let before = old.map(|it| match correlate::has_unordered(schema) {
            true => convert::typed(&correlate::aligned(it, value, schema), schema),
            false => convert::typed(it, schema),
        });
        let bytes = convert::size(value) + old.map_or(0, convert::size);
        for it in wanted {
            let before = match (it.rule.optional_old_self, &before) {
                (Some(true), Some(before)) => Value::Opaque(Arc::new(OptionalValue::of(before.clone()))),
                (Some(true), None) => Value::Opaque(Arc::new(OptionalValue::none())),
                (_, before) => before.clone().unwrap_or(Value::Null),
            };
            let variables = [("self", &now), ("oldSelf", &before)];
            match it.program.run(&variables, bytes, self.budget) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => self.broken(it, value, &variables, bytes),
                Ok(_) => self.failed(value, &format!("did not evaluate to a bool: {}", it.rule.rule.trim())),
                Err(RunError::Cost) => {
                    let rule = it.rule.rule.trim();
                    let why = "no further validation rules will be run due to call cost exceeds limit for rule";
                    self.failed(value, &format!("'{}': {why}: {rule}", RunError::Cost));
                    return;
                }
                Err(error @ RunError::Failed(_)) => {
                    self.failed(value, &format!("{error} evaluating rule: {}", it.rule.rule.trim()));
                }
            }
        }
    }

    /// Notes that a rule does not hold, in its own words.
    fn broken(&mut self, it: &Compiled, value: &Json, variables: &[(&str, &Value)], bytes: usize) {
        let computed = it.message.as_ref().and_then(|program| match program.run(variables, bytes, self.budget) {
            Ok(Value::String(text)) if !text.trim().is_empty() && !text.contains('\n') => Some(text.trim().to_owned()),
            _ => None,
        });
        let stated = Some(it.rule.message.clone()).filter(|it| !it.is_empty());
        let message = computed.or(stated).unwrap_or_else(|| format!("failed rule: {}", it.rule.rule.trim()));
        let path = format!("{}{}", self.path, it.rule.field_path);
        let path = path.trim_start_matches('.').to_owned();
        self.causes.push(match it.rule.reason.as_str() {
            "FieldValueForbidden" => Cause::forbidden(path, &message),
            "FieldValueRequired" => Cause::required(path, &message),
            "FieldValueDuplicate" => {
                Cause { reason: CauseReason::FieldValueDuplicate, ..Cause::invalid(path, &shown(value), &message) }
            }
            _ => Cause::invalid(path, &shown(value), &message),
        });
    }

    fn failed(&mut self, value: &Json, why: &str) {
        self.causes.push(Cause::invalid(&self.path, &shown(value), why));
    }
}

/// What a message shows of a value: of objects and lists no more than what they are.
fn shown(value: &Json) -> Json {
    match value {
        Json::Object(_) => "object".into(),
        Json::Array(_) => "array".into(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn schema(spec: Json) -> Schema {
        Schema::parse(&json!({"type": "object", "properties": {"spec": spec}}))
    }

    fn check(spec: Json, new: Json, old: Option<Json>, expected: Expect) {
        let schema = schema(spec);
        let rules = Rules::compile(&schema, "~").expect("compiles");
        let old = old.map(|it| json!({"spec": it}));
        let causes = rules.check(&schema, &json!({"spec": new}), old.as_ref(), &mut Budget::new(Budget::WRITE));
        expected.assert_eq(&causes.iter().map(|it| format!("{} {it}\n", it.reason.as_str())).collect::<String>());
    }

    fn flaws(spec: Json, expected: Expect) {
        let schema = schema(spec);
        let flaws = Rules::compile(&schema, "~").map_or_else(|it| it, |it| it.too_dear(&schema, "~"));
        expected.assert_eq(&flaws.iter().map(|it| format!("{}: {}\n", it.field, it.why)).collect::<String>());
    }

    #[test]
    fn rules_judge_where_they_stand() {
        let spec = json!({"type": "object", "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]},
            "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.n > 0", "fieldPath": ".n", "reason": "FieldValueForbidden", "message": "positive, please"}]}},
            "map": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": [{"rule": "size(self) < 3"}]}},
        }, "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "messageExpression": "'min is ' + string(self.min)"},
            {"rule": "has(self.gone) ? self.min / 0 == 1 : true", "message": "never"},
        ]});
        let mut open = spec.clone();
        open["properties"]["gone"] = json!({"type": "string"});
        check(open.clone(), json!({"min": 1, "max": 2, "name": "a", "list": [{"n": 1}]}), None, expect![""]);
        check(
            open,
            json!({"min": 3, "max": 2, "name": "b", "list": [{"n": 1}, {"n": 0}], "map": {"k": "long"}, "gone": ""}),
            None,
            expect![[r#"
                FieldValueInvalid spec: Invalid value: "object": min is 3
                FieldValueInvalid spec: Invalid value: "object": Division by zero of Int(3) evaluating rule: has(self.gone) ? self.min / 0 == 1 : true
                FieldValueForbidden spec.list[1].n: Forbidden: positive, please
                FieldValueInvalid spec.map[k]: Invalid value: "long": failed rule: size(self) < 3
                FieldValueInvalid spec.name: Invalid value: "b": failed rule: self.startsWith('a')
            "#]],
        );
    }

    #[test]
    fn transitions_compare_with_what_was() {
        let spec = json!({"type": "object", "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n"}]}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"},
                "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "members stay"}]},
            "once": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "message": "must begin with 1"}]},
        }});
        check(spec.clone(), json!({"fixed": "a", "once": 1}), None, expect![""]);
        check(
            spec.clone(),
            json!({"fixed": "a", "once": 2}),
            None,
            expect![[r#"
            FieldValueInvalid spec.once: Invalid value: 2: must begin with 1
        "#]],
        );
        check(spec.clone(), json!({"set": ["b", "a"]}), Some(json!({"set": ["a", "b"]})), expect![""]);
        check(
            spec.clone(),
            json!({"set": ["a", "c"]}),
            Some(json!({"set": ["a", "b"]})),
            expect![[r#"
            FieldValueInvalid spec.set: Invalid value: "array": members stay
        "#]],
        );
        let old = json!({"fixed": "a", "once": 1, "list": [{"k": "a", "n": 5}, {"k": "b", "n": 1}]});
        let new =
            json!({"fixed": "b", "once": 2, "list": [{"k": "b", "n": 2}, {"k": "c", "n": 0}, {"k": "a", "n": 4}]});
        check(
            spec,
            new,
            Some(old),
            expect![[r#"
            FieldValueInvalid spec.fixed: Invalid value: "b": is immutable
            FieldValueInvalid spec.list[2]: Invalid value: "object": failed rule: self.n >= oldSelf.n
        "#]],
        );
    }

    #[test]
    fn a_field_of_what_is_not_there_or_has_none_fails_the_rule() {
        let any = json!({"x-kubernetes-preserve-unknown-fields": true});
        let spec = json!({"type": "object", "properties": {
            "o": {"type": "object", "nullable": true, "properties": {"f": {"type": "boolean"}}}, "any": any,
            "n": {"type": "string", "nullable": true, "x-kubernetes-validations": [{"rule": "self.size() > 1"}]},
        }, "x-kubernetes-validations": [{"rule": "!self.o.f"}, {"rule": "!self.any.f"}]});
        check(spec.clone(), json!({"o": {"f": false}, "any": {"f": false}, "n": null}), None, expect![""]);
        check(
            spec,
            json!({"o": null, "any": "text"}),
            None,
            expect![[r#"
                FieldValueInvalid spec: Invalid value: "object": no such key: o evaluating rule: !self.o.f
                FieldValueInvalid spec: Invalid value: "object": no such overload evaluating rule: !self.any.f
            "#]],
        );
    }

    #[test]
    fn what_stays_as_it_was_is_not_judged_again() {
        let spec = json!({"type": "object", "properties": {"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 5"}]}, "m": {"type": "integer"}}});
        check(spec, json!({"n": 1, "m": 2}), Some(json!({"n": 1, "m": 1})), expect![""]);
    }

    #[test]
    fn flawed_rules_are_told_by_path() {
        flaws(
            json!({"type": "object", "properties": {
                "a": {"type": "string", "x-kubernetes-validations": [{"rule": "self ==", }, {"rule": "true", "messageExpression": "nope"}]},
                "l": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}},
            }, "x-kubernetes-validations": [{"rule": "self.b == 1"}, {"rule": "self.a.x == 1", "optionalOldSelf": true}]}),
            expect![[r#"
                ~.properties[spec].x-kubernetes-validations[0].rule: compilation failed: undefined field 'b'
                ~.properties[spec].x-kubernetes-validations[1].optionalOldSelf: may not be set if oldSelf is not used in rule
                ~.properties[spec].properties[a].x-kubernetes-validations[0].rule: compilation failed: ERROR: <input>:1:8: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER} | self == | ......
                ~.properties[spec].properties[a].x-kubernetes-validations[1].messageExpression: compilation failed: undeclared reference to 'nope' (in container '')
                ~.properties[spec].properties[l].items.x-kubernetes-validations[0].rule: oldSelf cannot be used on the uncorrelatable portion of the schema within ~.properties[spec].properties[l]
            "#]],
        );
    }

    #[test]
    fn a_rule_that_would_cost_too_much_is_refused() {
        let list = |max: Json, rule: &str| json!({"type": "array", "items": {"type": "string"}, "maxItems": max, "x-kubernetes-validations": [{"rule": rule}]});
        let pairs = "self.all(a, self.exists(b, a == b))";
        flaws(
            list(json!(null), pairs),
            expect![[r#"
            ~.properties[spec].x-kubernetes-validations[0].rule: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
        "#]],
        );
        flaws(list(json!(100), pairs), expect![""]);
        flaws(list(json!(null), "self.all(a, a.startsWith('x'))"), expect![""]);
        let nested = json!({"type": "array", "items": {"type": "object", "properties": {"names": list(json!(20), "self.all(a, a != '')")}}});
        flaws(
            nested,
            expect![[r#"
            ~.properties[spec].items.properties[names].x-kubernetes-validations[0].rule: estimated rule cost exceeds budget by factor of 2.1x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
        "#]],
        );
    }

    #[test]
    fn a_rule_that_costs_too_much_fails_the_write() {
        let spec = json!({"type": "array", "items": {"type": "integer"},
            "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"}, {"rule": "false"}]});
        let list: Vec<i64> = (0..2000).collect();
        check(
            spec,
            json!(list),
            None,
            expect![[r#"
            FieldValueInvalid spec: Invalid value: "array": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.all(a, self.all(b, self.all(c, a + b + c >= 0)))
        "#]],
        );
    }
}
