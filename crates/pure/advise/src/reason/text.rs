//! The wording of each reason, in English and in Chinese.

use super::Reason;
use crate::text::Text;

/// The words of a reason.
pub(super) fn of(reason: &Reason) -> Text {
    match reason {
        Reason::NotYaml { message } => Text::new(format!("not YAML: {message}"), format!("不是合法的 YAML：{message}")),
        Reason::NotAMapping => Text::new("expected keys with values", "此处应为键值映射"),
        Reason::NotAScalar { key } => {
            Text::new(format!("{key}: expected a single value"), format!("{key}：此处应为单个值"))
        }
        Reason::KeyMissing { key } => Text::new(format!("{key} is missing"), format!("缺少 {key}")),
        Reason::UnknownKey { key, meant: Some(meant) } => Text::new(
            format!("unknown key {key:?}; did you mean {meant:?}?"),
            format!("未知的键 {key:?}；是否想写 {meant:?}？"),
        ),
        Reason::UnknownKey { key, meant: None } => {
            Text::new(format!("unknown key {key:?}"), format!("未知的键 {key:?}"))
        }
    }
}
