//! Globs: `*` stands for any text, `?` for one character.
//!
//! Entry point: [`matches`]. It takes time in proportion to the product of both lengths at worst, and never recurses.

use eyot_policy::glob;

/// Whether the whole text fits the glob.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    glob == "*" || glob == text || is_glob(glob) && glob::matches(glob, text)
}

/// Whether a text has a character that makes it a glob.
pub(crate) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether any of the globs fits.
pub(crate) fn any<'a>(globs: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    globs.into_iter().any(|it| matches(it, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (glob, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?*", "", false),
            ("?*", "a", true),
            ("*:latest", "nginx:latest", true),
            ("*:latest", "nginx:1", false),
            ("a*b*c", "aXbXbYc", true),
            ("a*b*c", "aXbXbY", false),
            ("pod-?", "pod-1", true),
            ("pod-?", "pod-12", false),
            ("ä*", "äö", true),
            ("**a", "bba", true),
        ] {
            assert_eq!(matches(glob, text), fits, "{glob} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let text = "a".repeat(2_000);
        assert!(!matches(&format!("{}b", "a*".repeat(200)), &text));
    }
}
