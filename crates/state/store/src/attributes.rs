//! Labels and selectable fields of one entry, packed into two allocations.

/// What selectors match on, extracted once per version of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// All keys and values, concatenated.
    text: Box<str>,
    /// Where each piece of `text` ends: key, value, key, value; labels first.
    ends: Box<[u32]>,
    labels: u32,
}

impl Attributes {
    /// Packs labels and fields, in the order given.
    pub fn new<K: AsRef<str>, V: AsRef<str>, F: AsRef<str>, W: AsRef<str>>(
        labels: impl IntoIterator<Item = (K, V)>,
        fields: impl IntoIterator<Item = (F, W)>,
    ) -> Attributes {
        let (mut text, mut ends) = (String::new(), Vec::new());
        let mut push = |piece: &str| {
            text.push_str(piece);
            // A value is bounded far below 4 GiB, and so is every piece of it.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        };
        let mut count = 0;
        for (key, value) in labels {
            push(key.as_ref());
            push(value.as_ref());
            count += 1;
        }
        for (key, value) in fields {
            push(key.as_ref());
            push(value.as_ref());
        }
        Attributes { text: text.into(), ends: ends.into(), labels: count }
    }

    /// Labels, in the order they were given.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.labels as usize).map(|it| self.pair(it))
    }

    /// Selectable fields, in the order they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        (self.labels as usize..self.ends.len() / 2).map(|it| self.pair(it))
    }

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|it| it.0 == key).map(|it| it.1)
    }

    /// Value of a selectable field.
    pub fn field(&self, path: &str) -> Option<&str> {
        self.fields().find(|it| it.0 == path).map(|it| it.1)
    }

    fn pair(&self, index: usize) -> (&str, &str) {
        let end = |piece: usize| self.ends[piece] as usize;
        let start = if index == 0 { 0 } else { end(2 * index - 1) };
        (&self.text[start..end(2 * index)], &self.text[end(2 * index)..end(2 * index + 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_labels_and_fields_apart() {
        let it = Attributes::new([("app", "web"), ("größe", "")], [("spec.nodeName", "n1")]);
        assert_eq!(it.labels().collect::<Vec<_>>(), [("app", "web"), ("größe", "")]);
        assert_eq!(it.fields().collect::<Vec<_>>(), [("spec.nodeName", "n1")]);
        assert_eq!((it.label("größe"), it.label("spec.nodeName")), (Some(""), None));
        assert_eq!((it.field("spec.nodeName"), it.field("app")), (Some("n1"), None));
        let none: [(&str, &str); 0] = [];
        assert_eq!(Attributes::new(none, none), Attributes::default());
    }
}
