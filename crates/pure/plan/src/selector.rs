//! Label selectors over anything that can look a label up.
//!
//! Deliberately absent: parsing of query strings; the API server does that.

/// A conjunction of requirements on labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// How it must relate to the values.
    pub operator: Operator,
    /// Values of `In` and `NotIn`; the single number of `Gt` and `Lt`.
    pub values: Vec<String>,
}

/// How a label must relate to a requirement's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Present and among the values.
    In,
    /// Absent, or not among the values.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// An integer larger than the value (node affinity only).
    Gt,
    /// An integer smaller than the value (node affinity only).
    Lt,
}

impl Operator {
    /// Reads the word the API uses.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

impl Requirement {
    /// The requirement that `key` has exactly `value`.
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), operator: Operator::In, values: vec![value.into()] }
    }

    fn holds(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|it| it == value);
        let number = |text: Option<&str>| text.and_then(|it| it.parse::<i64>().ok());
        let bound = || number(self.values.first().map(String::as_str));
        match self.operator {
            Operator::In => label.is_some_and(listed),
            Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Gt => number(label).zip(bound()).is_some_and(|(label, bound)| label > bound),
            Operator::Lt => number(label).zip(bound()).is_some_and(|(label, bound)| label < bound),
        }
    }
}

impl Selector {
    /// The selector that wants each of these labels to have exactly the given value.
    pub fn equals<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { requirements: labels.into_iter().map(|(key, value)| Requirement::equals(key, value)).collect() }
    }

    /// True when it says nothing, and so matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Decides over labels that `lookup` finds by key.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|it| it.holds(lookup(&it.key)))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn operators_decide_on_present_and_absent_labels() {
        let labels = [("app", "web"), ("size", "7")];
        let lookup = |key: &str| labels.iter().find(|it| it.0 == key).map(|it| it.1);
        let mut got = String::new();
        for (key, word, values) in [
            ("app", "In", "web,db"),
            ("app", "NotIn", "web"),
            ("none", "NotIn", "web"),
            ("none", "In", "web"),
            ("app", "Exists", ""),
            ("none", "DoesNotExist", ""),
            ("size", "Gt", "6"),
            ("size", "Lt", "7"),
            ("app", "Gt", "1"),
        ] {
            let requirement = Requirement {
                key: key.into(),
                operator: Operator::parse(word).unwrap(),
                values: values.split(',').map(str::to_owned).collect(),
            };
            let holds = Selector { requirements: vec![requirement] }.matches(lookup);
            got += &format!("{key} {word} {values} -> {holds}\n");
        }
        expect![[r#"
            app In web,db -> true
            app NotIn web -> false
            none NotIn web -> true
            none In web -> false
            app Exists  -> true
            none DoesNotExist  -> true
            size Gt 6 -> true
            size Lt 7 -> false
            app Gt 1 -> false
        "#]]
        .assert_eq(&got);
        assert!(Selector::default().matches(lookup));
    }
}
