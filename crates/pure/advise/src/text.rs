//! Words in two languages. Entry points: [`Lang`], [`Text`].

use serde::{Deserialize, Serialize};

/// A language that the advisor speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese, the language of the documents that the catalogue comes from.
    Zh,
}

/// The same words in every language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl Text {
    /// Both wordings.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }

    /// A proper noun, which is the same in every language.
    pub fn name(name: &str) -> Self {
        Self::new(name, name)
    }

    /// The words in `lang`.
    pub fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Zh => &self.zh,
        }
    }
}

/// What has a name that people read.
pub trait Named {
    /// The name in English and in Chinese.
    fn names(&self) -> (&'static str, &'static str);

    /// The name in `lang`.
    fn name(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.names().0,
            Lang::Zh => self.names().1,
        }
    }
}
