//! Regular expressions as Go reads them, which is how Kubernetes and OPA do, in terms of the `regex` crate. Entry point:
//! [`translate`].
//!
//! Go's classes `\d \w \s` and its word boundaries are ASCII: `^\w+$` is no rule for names that lets letters of any script
//! pass. Inside of brackets Go knows neither nesting nor set operators, and a brace that counts nothing is a brace.
//!
//! Deliberately absent: compiling, whose bounds are for whoever runs the expression to say.

use std::{iter::Peekable, str::Chars};

/// What does not stand for itself.
const MARKS: &str = r"\.+*?()|[]{}^$#&-~";

/// Puts a Go expression in terms of the `regex` crate. What is wrong in Go may be right afterwards, but never the reverse.
pub fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(it) = chars.next() {
        match it {
            '\\' => escape(&mut out, &mut chars),
            '[' => class(&mut out, &mut chars),
            '{' if !counts(chars.clone()) => out.push_str("\\{"),
            other => out.push(other),
        }
    }
    out
}

/// Whether what follows a brace makes it a repetition: `n}`, `n,}` or `n,m}`.
fn counts(mut chars: Peekable<Chars<'_>>) -> bool {
    let mut digits = || {
        let mut count = 0;
        while chars.next_if(char::is_ascii_digit).is_some() {
            count += 1;
        }
        (count, chars.next())
    };
    match digits() {
        (0, _) => false,
        (_, Some('}')) => true,
        (_, Some(',')) => digits().1 == Some('}'),
        _ => false,
    }
}

/// The rest of what stands in brackets, after the first of them.
fn class(out: &mut String, chars: &mut Peekable<Chars<'_>>) {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    while let Some(it) = chars.next() {
        let leads = std::mem::replace(&mut first, false);
        match it {
            '\\' => escape(out, chars),
            '[' if chars.peek() == Some(&':') => {
                // A class such as `[:alpha:]`, up to its end.
                out.push('[');
                while let Some(it) = chars.next() {
                    out.push(it);
                    if it == ':' && chars.next_if_eq(&']').is_some() {
                        out.push(']');
                        break;
                    }
                }
            }
            ']' if !leads => return out.push(']'),
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(it);
            }
            '-' if leads || chars.peek() == Some(&'-') || chars.peek() == Some(&']') => out.push_str("\\-"),
            other => out.push(other),
        }
    }
}

/// What follows a backslash.
fn escape(out: &mut String, chars: &mut Peekable<Chars<'_>>) {
    let plain = match chars.next() {
        Some('d') => "[0-9]",
        Some('D') => "[^0-9]",
        Some('w') => "[0-9A-Za-z_]",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => "[\\t\\n\\f\\r ]",
        Some('S') => "[^\\t\\n\\f\\r ]",
        Some('b') => "(?-u:\\b)",
        Some('B') => "(?-u:\\B)",
        Some('Q') => return quoted(out, chars),
        Some(named @ ('p' | 'P' | 'x')) => {
            out.push('\\');
            out.push(named);
            if chars.peek() == Some(&'{') {
                for it in chars.by_ref() {
                    out.push(it);
                    if it == '}' {
                        break;
                    }
                }
            }
            return;
        }
        // Marks that say something here when they are escaped.
        Some('<') => "<",
        Some('>') => ">",
        Some(other) => {
            out.push('\\');
            return out.push(other);
        }
        None => "\\",
    };
    out.push_str(plain);
}

/// What is quoted, up to `\E`: every mark stands for itself.
fn quoted(out: &mut String, chars: &mut Peekable<Chars<'_>>) {
    while let Some(it) = chars.next() {
        if it == '\\' && chars.next_if_eq(&'E').is_some() {
            return;
        }
        if MARKS.contains(it) {
            out.push('\\');
        }
        out.push(it);
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn check(pattern: &str, good: &[&str], bad: &[&str]) {
        let regex = Regex::new(&translate(pattern)).unwrap_or_else(|it| panic!("{pattern}: {it}"));
        good.iter().for_each(|it| assert!(regex.is_match(it), "{pattern} {it}"));
        bad.iter().for_each(|it| assert!(!regex.is_match(it), "{pattern} {it}"));
    }

    #[test]
    fn classes_are_ascii() {
        check(r"^\d+$", &["12"], &["", "1a", "١"]);
        check(r"^[\w.-]+$", &["a_b.c-9"], &["é", " "]);
        check(r"^\W$", &["é", " "], &["a", "_"]);
        check(r"^[\D]$", &["é", "a", "١"], &["1"]);
        check(r"^a\sb$", &["a b", "a\tb"], &["a\u{a0}b", "a\u{b}b"]);
        check(r"\bé", &["aé"], &["é", " é"]);
        check(r"^é\B$", &["é"], &["éa"]);
    }

    #[test]
    fn brackets_hold_characters_alone() {
        check("b", &["abc"], &["xyz"]);
        check(r"^[[\]a-]+$", &["[", "]", "a-"], &["b"]);
        check(r"^[]x]$", &["]", "x"], &["y"]);
        check(r"^[^]x]$", &["y"], &["]", "x"]);
        check(r"^[a&&b]+$", &["a&b"], &["c"]);
        check(r"^[[:alpha:]_]+$", &["ab_"], &["1"]);
        check(r"^[{}]+$", &["{}"], &["a"]);
    }

    #[test]
    fn braces_that_count_nothing_and_quotes_stand_for_themselves() {
        check("^{.*}$", &["{a}"], &["a"]);
        check(r"^a{2}b{1,}c{0,1}$", &["aabb", "aabc"], &["ab"]);
        check("^a{,2}$", &["a{,2}"], &["aa"]);
        check("^a{x}$", &["a{x}"], &["a"]);
        check(r"^\p{Greek}\x{61}\pN$", &["λa1"], &["aa1"]);
        check(r"^\Qa.b|{c}\E+$", &["a.b|{c}", "a.b|{c}}"], &["axb", "a.b"]);
        check(r"^\/a\-b\_\<c\>$", &["/a-b_<c>"], &["ab"]);
        check(r"^\Q<a>_\b\E$", &["<a>_\\b"], &["a_b"]);
        check(r"^(?P<n>a)(?i)b$", &["ab", "aB"], &["Ab"]);
        check(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", &["a.b-c"], &["a..b", "-a"]);
    }

    #[test]
    fn nonsense_stays_nonsense() {
        for pattern in ["(", "[", "[[:alpha", "\\", "*a", "(?=a)", "a{2,1}", "\\p{", "[\\"] {
            assert!(Regex::new(&translate(pattern)).is_err(), "{pattern}");
        }
    }
}
