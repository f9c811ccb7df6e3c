//! Texts with wildcards: `*` is any text, `?` any one character. Entry point: [`matches`].

/// Whether a text is what a pattern means. Takes time in proportion to the product of their lengths, at worst.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star stood, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                from += width(text, from);
            }
            // No byte of a character is one of a shorter one, so that bytes may be compared.
            Some(it) if *it == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += width(text, *taken);
                    (at, from) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|it| *it == b'*')
}

/// Bytes of the character that begins there.
fn width(text: &[u8], at: usize) -> usize {
    let more = text[at + 1..].iter().take_while(|it| **it & 0b1100_0000 == 0b1000_0000);
    1 + more.count()
}

/// Whether a text begins or ends with what a pattern says before or after its one star (`kube-*`, `*-system`, `*a*`), or is
/// the pattern: the simpler wildcards of Gatekeeper.
pub fn affix_matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

/// Whether a pattern has wildcards at all.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_any_text_and_marks_one_character() {
        for (pattern, text, want) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("?", "é", true),
            ("??", "é", false),
            ("é?", "éa", true),
            ("*é", "aéé", true),
            ("*?b", "aéb", true),
            ("è", "é", false),
            ("?*", "", false),
            ("*:latest", "registry/a:latest", true),
            ("a*b*c", "axbxbxc", true),
            ("kube-*", "kube-system", true),
            ("kube-*", "my-kube-system", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
        let long = "a".repeat(20_000);
        assert!(!matches(&format!("{}b", "*a".repeat(50)), &long));
    }

    #[test]
    fn affixes_match_at_one_end_or_anywhere() {
        for (pattern, text, want) in [
            ("kube-*", "kube-system", true),
            ("*-system", "kube-system", true),
            ("*be-s*", "kube-system", true),
            ("kube", "kube-system", false),
            ("k*m", "kube-system", false),
        ] {
            assert_eq!(affix_matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
