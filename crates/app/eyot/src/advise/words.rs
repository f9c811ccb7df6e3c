//! Words of the commands themselves, in both languages.

use std::path::Path;

use anyhow::{Result, anyhow};
use eyot_advise::{Lang, Named, layer::Layer};

/// One of two wordings.
pub(crate) fn say<'a>(lang: Lang, en: &'a str, zh: &'a str) -> &'a str {
    match lang {
        Lang::En => en,
        Lang::Zh => zh,
    }
}

/// The layer of that name: its word, or what people call it in either language.
pub(super) fn layer(text: &str, lang: Lang) -> Result<Layer> {
    let wanted = text.trim().to_lowercase();
    let is = |it: &&Layer| {
        let names = it.names();
        it.word() == wanted || names.0.to_lowercase() == wanted || names.1 == wanted
    };
    Layer::ALL.iter().find(is).copied().ok_or_else(|| {
        let known = Layer::WORDS.join(", ");
        match lang {
            Lang::En => anyhow!("--explain {text}: no such layer; there are {known}"),
            Lang::Zh => anyhow!("--explain {text}：没有此层；可用的有 {known}"),
        }
    })
}

pub(super) fn no_equals(lang: Lang, change: &str) -> String {
    match lang {
        Lang::En => format!("--what-if {change}: expected KEY=VALUE"),
        Lang::Zh => format!("--what-if {change}：应为 键=值"),
    }
}

pub(super) fn file_exists(lang: Lang, file: &Path) -> String {
    let file = file.display();
    match lang {
        Lang::En => {
            format!("{file} is there already: advise on it with `eyot advise {file}`, or name another with --output")
        }
        Lang::Zh => format!("{file} 已存在：用 `eyot advise {file}` 对其求解，或用 --output 指定其他文件"),
    }
}

pub(super) fn written(lang: Lang, file: &Path) -> String {
    let file = file.display();
    match lang {
        Lang::En => format!("written to {file}; `eyot advise {file}` answers again"),
        Lang::Zh => format!("已写入 {file}；`eyot advise {file}` 可再次求解"),
    }
}
