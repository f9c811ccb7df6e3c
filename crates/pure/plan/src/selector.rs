//! Label selectors over anything that can look a label up.
//!
//! Deliberately absent: parsing of query strings; the API server does that.

pub use eyot_model::selector::{Operator, Requirement};

/// A conjunction of requirements on labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
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
        self.requirements.iter().all(|it| it.matches(lookup(&it.key)))
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
