//! The paths that definitions use: simple ones of dots, and JSON paths as kubectl knows them.
//!
//! Entry points: [`simple`], [`Path::parse`]. Of JSON paths there are fields, indexes, slices, wildcards, unions, filters
//! and recursion; deliberately absent are templates (`{range}`), which columns cannot use.

use serde_json::Value;

/// Most values that one path finds.
const FOUND_MAX: usize = 1000;

/// The fields of a path such as `.spec.replicas`; `None` when it is not that simple. A backslash escapes a dot.
pub fn simple(text: &str) -> Option<Vec<String>> {
    let path = Path::parse(text).ok()?;
    let field = |step: Step| if let Step::Field(name) = step { Some(name) } else { None };
    text.starts_with('.').then(|| path.steps.into_iter().map(field).collect::<Option<Vec<_>>>())?
}

/// The value at the end of a simple path.
pub fn get<'v>(value: &'v Value, fields: &[String]) -> Option<&'v Value> {
    fields.iter().try_fold(value, |value, field| value.get(field))
}

/// Puts a value at the end of a simple path, making the objects on the way.
pub fn set(value: &mut Value, fields: &[String], to: Value) {
    let mut at = value;
    for field in fields {
        at = crate::meta::as_map(at).entry(field.as_str()).or_insert(Value::Null);
    }
    *at = to;
}

/// A JSON path.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    /// From, to, step; negative ones count from the end.
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    Union(Vec<Step>),
    Filter(Box<Filter>),
    /// Everything below, and the value itself.
    Recursive,
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Path {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> Result<Path, String> {
        let mut parser = Parser { rest: text.trim() };
        let path = parser.path()?;
        match parser.rest {
            "" => Ok(path),
            rest => Err(format!("unexpected {rest:?}")),
        }
    }

    /// The values that the path leads to; missing fields lead nowhere.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.steps {
            let mut next = Vec::new();
            found.into_iter().for_each(|it| step.take(it, &mut next));
            next.truncate(FOUND_MAX);
            found = next;
        }
        found
    }
}

impl Step {
    fn take<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match self {
            Step::Field(name) => found.extend(value.get(name)),
            Step::Wildcard => found.extend(below(value)),
            Step::Index(index) => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                found.extend(position(*index, list.len()).and_then(|at| list.get(at)));
            }
            Step::Slice(from, to, step) => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                let at = |bound: Option<i64>, usual: usize| bound.map_or(usual, |it| clamp(it, list.len()));
                let (from, to) = (at(*from, 0), at(*to, list.len()));
                let range = list.get(from..to.max(from)).unwrap_or_default();
                found.extend(range.iter().step_by(usize::try_from(*step).unwrap_or(1).max(1)));
            }
            Step::Union(steps) => steps.iter().for_each(|it| it.take(value, found)),
            Step::Filter(filter) => found.extend(below(value).filter(|it| filter.holds(it))),
            Step::Recursive => {
                if found.len() < FOUND_MAX {
                    found.push(value);
                    below(value).for_each(|it| self.take(it, found));
                }
            }
        }
    }
}

fn below(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn clamp(index: i64, length: usize) -> usize {
    position(index, length).unwrap_or(0).min(length)
}

impl Filter {
    fn holds(&self, value: &Value) -> bool {
        let left = self.left.of(value);
        let Some((comparison, right)) = &self.test else { return left.is_some() };
        let (Some(left), Some(right)) = (left, right.of(value)) else { return false };
        let order = match (&left, &right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
        };
        match comparison {
            Comparison::Equal => order.is_some_and(|it| it.is_eq()),
            Comparison::NotEqual => order.is_none_or(|it| it.is_ne()),
            Comparison::Less => order.is_some_and(|it| it.is_lt()),
            Comparison::LessOrEqual => order.is_some_and(|it| it.is_le()),
            Comparison::Greater => order.is_some_and(|it| it.is_gt()),
            Comparison::GreaterOrEqual => order.is_some_and(|it| it.is_ge()),
        }
    }
}

impl Operand {
    fn of(&self, value: &Value) -> Option<Value> {
        match self {
            Operand::Literal(literal) => Some(literal.clone()),
            Operand::Path(path) => path.find(value).first().map(|it| (*it).clone()),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn path(&mut self) -> Result<Path, String> {
        let mut steps = Vec::new();
        if !self.eat("$") {
            self.eat("@");
        }
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.eat(".") {
                let is_root = self.rest.is_empty() && steps.is_empty();
                if !is_root && !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.eat("[") {
                steps.push(self.brackets()?);
            } else if steps.is_empty() && self.rest.starts_with(|it: char| it.is_alphanumeric() || it == '_') {
                steps.push(self.name()?);
            } else {
                return Ok(Path { steps });
            }
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A field's name after a dot, or a wildcard.
    fn name(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let (mut name, mut escaped, mut end) = (String::new(), false, self.rest.len());
        for (at, it) in self.rest.char_indices() {
            match it {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' | '(' | ',' | '}' if !escaped => {
                    end = at;
                    break;
                }
                other => name.push(other),
            }
            escaped = false;
        }
        self.rest = &self.rest[end..];
        if name.is_empty() { Err("a field has no name".to_owned()) } else { Ok(Step::Field(name)) }
    }

    fn brackets(&mut self) -> Result<Step, String> {
        if self.eat("?(") {
            let filter = self.filter()?;
            self.space();
            return if self.eat(")]") { Ok(Step::Filter(Box::new(filter))) } else { Err(unclosed()) };
        }
        let mut steps = Vec::new();
        loop {
            self.space();
            steps.push(self.subscript()?);
            self.space();
            if self.eat("]") {
                return Ok(if steps.len() == 1 { steps.remove(0) } else { Step::Union(steps) });
            }
            if !self.eat(",") {
                return Err(unclosed());
            }
        }
    }

    fn subscript(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Step::Field(self.quoted()?.replace("\\.", ".")));
        }
        let end = self.rest.find([']', ',']).ok_or_else(unclosed)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text:?} is not an index"));
        let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        match text.split(':').collect::<Vec<_>>().as_slice() {
            [index] => Ok(Step::Index(number(index)?)),
            [from, to] => Ok(Step::Slice(bound(from)?, bound(to)?, 1)),
            [from, to, step] => Ok(Step::Slice(bound(from)?, bound(to)?, bound(step)?.unwrap_or(1))),
            _ => Err(format!("{text:?} is not an index")),
        }
    }

    fn filter(&mut self) -> Result<Filter, String> {
        const SIGNS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let left = self.operand()?;
        self.space();
        let sign = SIGNS.into_iter().find(|it| self.rest.starts_with(it.0));
        let test = match sign {
            None => None,
            Some((sign, comparison)) => {
                self.eat(sign);
                Some((comparison, self.operand()?))
            }
        };
        Ok(Filter { left, test })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.space();
        if self.rest.starts_with(['@', '$']) {
            return self.path().map(Operand::Path);
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted().map(|it| Operand::Literal(it.into()));
        }
        let end = self.rest.find([')', ' ', '=', '!', '<', '>']).ok_or_else(unclosed)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(text).map(Operand::Literal).map_err(|_| format!("{text:?} is no value"))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = if self.rest.starts_with('\'') { '\'' } else { '"' };
        let inner = &self.rest[1..];
        let end = inner.find(quote).ok_or_else(|| "a quote is not closed".to_owned())?;
        self.rest = &inner[end + 1..];
        Ok(inner[..end].to_owned())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

fn unclosed() -> String {
    "a bracket is not closed".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(path: &str, expected: Value) {
        let value = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "list": [{"type": "A", "n": 1, "status": "True"}, {"type": "B", "n": 2}, {"type": "C", "n": 3}],
        });
        let path = Path::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(json!(path.find(&value)), expected, "{path:?}");
    }

    #[test]
    fn paths_lead_to_values() {
        check(".list[0].type", json!(["A"]));
        check(".list[-1].type", json!(["C"]));
        check("list[*].n", json!([1, 2, 3]));
        check(".list[0:2].n", json!([1, 2]));
        check(".list[::2].n", json!([1, 3]));
        check(".list[0,2].n", json!([1, 3]));
        check(r#".list[?(@.type=="B")].n"#, json!([2]));
        check(".list[?( @.type != 'B' )].n", json!([1, 3]));
        check(".list[?(@.n>=2)].type", json!(["B", "C"]));
        check(".list[?(@.status)].type", json!(["A"]));
        check(r".metadata.labels.a\.b/c", json!(["x"]));
        check(r".metadata.labels['a\.b/c']", json!(["x"]));
        check("..n", json!([1, 2, 3]));
        check(".nothing.here", json!([]));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [".a[", ".a[?(@.b==1]", ".a[x]", ".a..", ".a b", ".a['b]", "{.a}"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn simple_paths_are_dots_and_names() {
        assert_eq!(simple(".spec.replicas"), Some(vec!["spec".to_owned(), "replicas".to_owned()]));
        for bad in ["spec.replicas", ".spec[0]", ".spec.*", "..x", ""] {
            assert_eq!(simple(bad), None, "{bad}");
        }
        let mut value = json!({});
        set(&mut value, &["a".to_owned(), "b".to_owned()], json!(1));
        assert_eq!(get(&value, &["a".to_owned(), "b".to_owned()]), Some(&json!(1)));
    }
}
