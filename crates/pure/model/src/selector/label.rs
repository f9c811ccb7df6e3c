//! Label selectors, in both of their forms.

use serde_json::{Map, Value};

use super::{REQUIREMENTS_MAX, SelectorError};
use crate::{
    meta,
    validate::names::{label_value, qualified_name},
};

/// A conjunction of label requirements, kept in the order of their keys. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// What it is compared with; sorted, empty for the existence operators.
    pub values: Vec<String>,
}

/// How a label is compared with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is absent or none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer greater than the value.
    GreaterThan,
    /// The label is an integer less than the value.
    LessThan,
}

impl Operator {
    /// Reads the word that selectors in objects use; `Gt` and `Lt` are node affinity's.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            _ => return None,
        })
    }
}

impl LabelSelector {
    /// Parses the query-string form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text };
        let mut requirements = Vec::new();
        if parser.peek().is_some() {
            loop {
                if requirements.len() == REQUIREMENTS_MAX {
                    return Err(SelectorError::TooMany(REQUIREMENTS_MAX));
                }
                requirements.push(parser.requirement()?);
                match parser.next() {
                    Token::End => break,
                    // A trailing comma is an error in Kubernetes too.
                    Token::Punctuation(",") => {}
                    other => return Err(other.unexpected("',' or end of string")),
                }
            }
        }
        Self::new(requirements)
    }

    /// Reads a `{matchLabels, matchExpressions}` object. An absent (null) selector selects nothing, an empty one
    /// everything, as in Kubernetes.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        let Some(selector) = selector.as_object() else {
            let nothing = Self { nothing: true, ..Self::default() };
            return if selector.is_null() { Ok(nothing) } else { Err(SelectorError::Shape("not an object")) };
        };
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").filter(|it| !it.is_null()) {
            let labels = labels.as_object().ok_or(SelectorError::Shape("matchLabels is not an object"))?;
            requirements.extend(equalities(labels)?);
        }
        if let Some(expressions) = selector.get("matchExpressions").filter(|it| !it.is_null()) {
            let list = expressions.as_array().ok_or(SelectorError::Shape("matchExpressions is not a list"))?;
            for expression in list {
                requirements.push(from_expression(expression)?);
            }
        }
        Self::new(requirements)
    }

    /// Reads a plain map of labels, such as a Service's selector. An empty or absent map selects nothing.
    pub fn from_labels(labels: &Value) -> Result<Self, SelectorError> {
        match labels.as_object().filter(|it| !it.is_empty()) {
            Some(labels) => Self::new(equalities(labels)?),
            None => Ok(Self { nothing: true, ..Self::default() }),
        }
    }

    fn new(mut requirements: Vec<Requirement>) -> Result<Self, SelectorError> {
        for requirement in &mut requirements {
            requirement.values.sort();
            requirement.values.dedup();
            requirement.check()?;
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// The terms, all of which must hold.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether it can select nothing at all.
    pub fn selects_nothing(&self) -> bool {
        self.nothing
    }

    /// Whether every term holds for labels that `get` looks up.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|it| it.matches(get(&it.key)))
    }

    /// Whether every term holds for the object's `metadata.labels`.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.matches(|key| labels?.get(key)?.as_str())
    }

    /// Whether every term holds for a map of labels, null standing for none.
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.matches(|key| labels.get(key)?.as_str())
    }
}

impl Requirement {
    /// The requirement that `key` has exactly `value`.
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Requirement { key: key.into(), operator: Operator::In, values: vec![value.into()] }
    }

    /// Whether it holds for a label's value, `None` for an absent label.
    pub fn matches(&self, label: Option<&str>) -> bool {
        let has = |label: &str| self.values.iter().any(|it| it == label);
        match self.operator {
            Operator::In => label.is_some_and(has),
            Operator::NotIn => !label.is_some_and(has),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label).is_some_and(|(label, value)| label > value),
            Operator::LessThan => self.compare(label).is_some_and(|(label, value)| label < value),
        }
    }

    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }

    fn check(&self) -> Result<(), SelectorError> {
        qualified_name(&self.key).map_err(|why| SelectorError::Key(self.key.clone(), why))?;
        let count = self.values.len();
        let wrong = |why: &str| Err(SelectorError::Values(format!("{:?}: {why}", self.values)));
        match self.operator {
            Operator::In | Operator::NotIn if count == 0 => {
                return wrong("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Exists | Operator::DoesNotExist if count > 0 => {
                return wrong("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan
                if count != 1 || self.values.iter().any(|it| it.parse::<i64>().is_err()) =>
            {
                return wrong("for 'Gt', 'Lt' operators, exactly one integer value is required");
            }
            _ => {}
        }
        for (i, value) in self.values.iter().enumerate() {
            label_value(value).map_err(|why| SelectorError::Value(i, self.key.clone(), value.clone(), why))?;
        }
        Ok(())
    }
}

fn equalities(labels: &Map<String, Value>) -> Result<Vec<Requirement>, SelectorError> {
    let one = |(key, value): (&String, &Value)| {
        let value = value.as_str().ok_or(SelectorError::Shape("a label is not a string"))?;
        Ok(Requirement::equals(key.as_str(), value))
    };
    labels.iter().map(one).collect()
}

fn from_expression(expression: &Value) -> Result<Requirement, SelectorError> {
    let key = expression.get("key").and_then(Value::as_str).ok_or(SelectorError::Shape("an expression has no key"))?;
    let word = expression.get("operator").and_then(Value::as_str).unwrap_or("");
    // Numbers are compared by node affinity alone.
    let operator = Operator::parse(word).filter(|it| !matches!(it, Operator::GreaterThan | Operator::LessThan));
    let operator = operator.ok_or_else(|| SelectorError::Operator(word.into()))?;
    let values = meta::list(expression.get("values")).iter().filter_map(Value::as_str).map(Into::into).collect();
    Ok(Requirement { key: key.into(), operator, values })
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, it) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let values = it.values.join(",");
            match it.operator {
                Operator::In if it.values.len() == 1 => write!(f, "{comma}{}={values}", it.key),
                Operator::NotIn if it.values.len() == 1 => write!(f, "{comma}{}!={values}", it.key),
                Operator::In => write!(f, "{comma}{} in ({values})", it.key),
                Operator::NotIn => write!(f, "{comma}{} notin ({values})", it.key),
                Operator::Exists => write!(f, "{comma}{}", it.key),
                Operator::DoesNotExist => write!(f, "{comma}!{}", it.key),
                Operator::GreaterThan => write!(f, "{comma}{}>{values}", it.key),
                Operator::LessThan => write!(f, "{comma}{}<{values}", it.key),
            }?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    End,
    Word(&'a str),
    Punctuation(&'a str),
}

impl Token<'_> {
    fn unexpected(self, expected: &'static str) -> SelectorError {
        let (Token::Word(found) | Token::Punctuation(found)) = self else {
            return SelectorError::Syntax { found: String::new(), expected };
        };
        SelectorError::Syntax { found: found.into(), expected }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn token(&self) -> (Token<'a>, &'a str) {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if text.is_empty() {
            return (Token::End, text);
        }
        for mark in ["==", "!=", "=", "!", "(", ")", ",", ">", "<"] {
            if let Some(rest) = text.strip_prefix(mark) {
                return (Token::Punctuation(&text[..mark.len()]), rest);
            }
        }
        let special = [' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<'];
        let (word, rest) = text.split_at(text.find(special).unwrap_or(text.len()));
        (Token::Word(word), rest)
    }

    fn peek(&self) -> Option<Token<'a>> {
        Some(self.token().0).filter(|it| *it != Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.token();
        self.rest = rest;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek() == Some(Token::Punctuation("!"));
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key.to_owned(),
            other => return Err(other.unexpected("identifier")),
        };
        if absent {
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: vec![] });
        }
        let (operator, values) = match self.peek() {
            None | Some(Token::Punctuation(",")) => (Operator::Exists, vec![]),
            _ => self.comparison()?,
        };
        Ok(Requirement { key, operator, values })
    }

    fn comparison(&mut self) -> Result<(Operator, Vec<String>), SelectorError> {
        Ok(match self.next() {
            Token::Punctuation("=" | "==") => (Operator::In, vec![self.value()]),
            Token::Punctuation("!=") => (Operator::NotIn, vec![self.value()]),
            Token::Punctuation(">") => (Operator::GreaterThan, vec![self.value()]),
            Token::Punctuation("<") => (Operator::LessThan, vec![self.value()]),
            Token::Word("in") => (Operator::In, self.values()?),
            Token::Word("notin") => (Operator::NotIn, self.values()?),
            other => return Err(other.unexpected("in, notin, =, ==, !=, gt, lt")),
        })
    }

    /// One value, which may be empty.
    fn value(&mut self) -> String {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next();
                word.into()
            }
            _ => String::new(),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Punctuation("(") => {}
            other => return Err(other.unexpected("'('")),
        }
        let mut values = vec![self.value()];
        loop {
            match self.next() {
                Token::Punctuation(",") => values.push(self.value()),
                Token::Punctuation(")") => return Ok(values),
                other => return Err(other.unexpected("',' or ')'")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}")).matches_labels(&labels)
    }

    #[test]
    fn query_strings_select() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app",
            "!other",
            "app!=db",
            "other!=x",
            "app in (web, db)",
            "n>4",
            "n<6",
            "tier notin (back),app",
            "other notin (a)",
            " app = web , tier = front ",
        ] {
            assert!(selects(yes, labels.clone()), "{yes}");
        }
        for no in ["app=db", "other", "!app", "app!=web", "app in (db)", "app=web,tier=back", "n>5", "app>1", "app="] {
            assert!(!selects(no, labels.clone()), "{no}");
        }
    }

    #[test]
    fn empty_values_are_values() {
        assert!(selects("app=", json!({"app": ""})));
        assert!(selects("app in (,x)", json!({"app": ""})));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["=", "a=b,", "a in", "a in (", "a in b", "!", "a b", "-a=b", "a=b c", "a=-", "a>b", ",", "a in (b c)"]
        {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prints_what_it_parsed() {
        for text in ["a=b,c!=d,!e,f", "a in (b,c),d notin (e,f),g>1"] {
            let once = LabelSelector::parse(text).expect("parses");
            assert_eq!(LabelSelector::parse(&once.to_string()).expect("parses"), once);
        }
        assert_eq!(LabelSelector::parse("b,a in (z,y)").expect("parses").to_string(), "a in (y,z),b");
    }

    #[test]
    fn objects_select_like_query_strings() {
        let object = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}, {"key": "e", "operator": "Exists"}],
        });
        let selector = LabelSelector::from_value(&object).expect("reads");
        assert_eq!(selector.to_string(), "app=web,e,tier!=x");
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Almost"}]});
        assert_eq!(LabelSelector::from_value(&bad), Err(SelectorError::Operator("Almost".into())));
    }

    #[test]
    fn absent_selects_nothing_and_empty_everything() {
        assert!(!LabelSelector::from_value(&Value::Null).expect("reads").matches_labels(&json!({"a": "b"})));
        assert!(LabelSelector::from_value(&json!({})).expect("reads").matches_labels(&json!({"a": "b"})));
        assert!(!LabelSelector::from_labels(&json!({})).expect("reads").matches_labels(&json!({"a": "b"})));
    }
}
