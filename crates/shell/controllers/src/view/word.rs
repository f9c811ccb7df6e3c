//! Words that many objects have in common, such as the keys of labels: one copy of each for all.

use std::{
    collections::HashSet,
    fmt,
    ops::Deref,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// Every word that is in use, and at most as many that are not.
static WORDS: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);

/// A text of which there is one copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Word(Arc<str>);

impl Word {
    /// The copy.
    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let mut words = WORDS.lock();
        if let Some(known) = words.get(text) {
            return Word(known.clone());
        }
        if words.len() == words.capacity() {
            words.retain(|it| Arc::strong_count(it) > 1);
        }
        let word: Arc<str> = text.into();
        words.insert(word.clone());
        Word(word)
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, into: S) -> Result<S::Ok, S::Error> {
        into.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Word;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(text.into())
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_copy_of_a_word_as_long_as_somebody_has_it() {
        let one: Word = serde_json::from_str("\"a-word-of-this-test\"").unwrap();
        let other = Word::from("a-word-of-this-test");
        assert!(Arc::ptr_eq(&one.shared(), &other.shared()) && *one == *"a-word-of-this-test");
        drop((one, other));
        (0..10_000).for_each(|it| drop(Word::from(format!("passing-{it}").as_str())));
        assert!(WORDS.lock().len() < 2_000, "words that nobody has are forgotten");
    }
}
