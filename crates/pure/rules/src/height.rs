//! How deeply an expression is nested, told from its text. Entry point: [`height`].
//!
//! Whatever looks at an expression recurses, and so does the parser, which bounds brackets and not what lies between them:
//! each `+` of a long sum is one level more. What is told here is never less than it is; strings and comments are passed
//! over.

/// What was seen between two brackets.
#[derive(Default)]
struct Level {
    /// The highest expression that is complete.
    highest: usize,
    /// Operators that follow each other.
    chain: usize,
    /// What the last of them is about: a value with its fields, indexes and calls.
    operand: usize,
}

impl Level {
    fn total(&self) -> usize {
        self.highest.max(self.chain).max(self.operand)
    }

    fn operator(&mut self) {
        self.chain = self.chain.max(self.operand) + 1;
        self.operand = 0;
    }

    /// Another expression begins.
    fn separate(&mut self) {
        *self = Level { highest: self.total(), ..Level::default() };
    }
}

/// Levels of an expression, at most.
pub(crate) fn height(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut outer, mut level) = (Vec::new(), Level::default());
    // Where something is no string though it begins like one, nothing more is passed over: no one knows what it is.
    let (mut at, mut trusts) = (0, true);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' | b'`' | b'/' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' if trusts => {
                match after_token(bytes, at) {
                    Some(end) => {
                        if &bytes[at..end] == b"in" {
                            level.operator();
                        }
                        at = end;
                        continue;
                    }
                    None if *byte == b'/' => level.operator(),
                    None => trusts = false,
                }
            }
            b'(' | b'[' | b'{' => {
                level.operand += 1;
                outer.push(std::mem::take(&mut level));
            }
            b')' | b']' | b'}' => close(&mut outer, &mut level),
            b'.' => level.operand += 1,
            b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'i' => level.operator(),
            // `.?field` and `[?index]` go on with what is before them.
            b'?' if at > 0 && matches!(bytes[at - 1], b'.' | b'[') => {}
            b'&' | b'|' | b'?' | b':' | b',' => level.separate(),
            _ => {}
        }
        at += 1;
    }
    while !outer.is_empty() {
        close(&mut outer, &mut level);
    }
    level.total()
}

fn close(outer: &mut Vec<Level>, level: &mut Level) {
    if let Some(around) = outer.pop() {
        let inner = std::mem::replace(level, around).total();
        level.operand = level.operand.max(inner + 1);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_mark(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'"' | b'\''))
}

/// Where a word, a string or a comment ends; `None` where there is none.
fn after_token(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at] {
        b'"' | b'\'' => after_string(bytes, at, false),
        b'`' => {
            let length = bytes[at + 1..].iter().position(|it| !is_word(*it) && !b".-/ ".contains(it))?;
            (bytes[at + 1 + length] == b'`').then_some(at + length + 2)
        }
        b'/' => {
            let rest = bytes[at..].strip_prefix(b"//")?;
            Some(rest.iter().position(|it| *it == b'\n').map_or(bytes.len(), |it| at + 2 + it))
        }
        _ => {
            let end = bytes[at..].iter().position(|it| !is_word(*it)).map_or(bytes.len(), |it| at + it);
            match &bytes[at..end] {
                _ if !is_mark(bytes.get(end)) => Some(end),
                b"r" | b"R" | b"br" | b"bR" | b"Br" | b"BR" => after_string(bytes, end, true),
                b"b" | b"B" | b"in" => Some(end),
                // A number before a raw string, for one.
                _ => None,
            }
        }
    }
}

/// Where the text goes on behind a string whose first mark is at `at`; `None` where there is no whole one.
fn after_string(bytes: &[u8], at: usize, raw: bool) -> Option<usize> {
    let mark = *bytes.get(at)?;
    let is_triple = bytes[at..].starts_with(&[mark; 3]);
    let width = if is_triple { 3 } else { 1 };
    let mut at = at + width;
    loop {
        match *bytes.get(at)? {
            it if it == mark && (!is_triple || bytes[at..].starts_with(&[mark; 3])) => return Some(at + width),
            b'\\' if !raw => at += escape(&bytes[at + 1..])?,
            b'\n' | b'\r' if !is_triple => return None,
            _ => at += 1,
        }
    }
}

/// Bytes of an escape, given what follows its backslash.
fn escape(rest: &[u8]) -> Option<usize> {
    let digits = |count: usize, radix: u32| {
        let digits = rest.get(1..=count)?;
        digits.iter().all(|it| char::from(*it).is_digit(radix)).then_some(2 + count)
    };
    match rest.first()? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => digits(2, 16),
        b'u' => digits(4, 16),
        b'U' => digits(8, 16),
        b'0'..=b'3' => digits(2, 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_other_is_one_level_more_each() {
        for (text, wanted) in [
            ("", 0),
            ("a", 0),
            ("a + b + c", 2),
            ("a.b.c + d.e == 1", 5),
            ("a.b && c.d || e.f.g", 2),
            ("f(a + b + c)", 3),
            ("(a + b) + c", 3),
            ("[1, 2 + 3, 4][0].x", 4),
            ("a.?b[?0].?c", 3),
            ("a in b in c", 2),
            ("index.interest", 1),
            ("a / b // c / d\n/ e", 2),
            (r#"'a.b.c' + r'\' + "\".." + '''a'.b''' // a.b.c"#, 3),
            (r#"b'..' + br".." + bR'.\'"#, 2),
            (r"'\x41\u0041\101.' + ''", 1),
            ("a.`b.c-d/e`", 1),
            ("((((", 4),
            ("))))", 0),
        ] {
            assert_eq!(height(text), wanted, "{text}");
        }
        for part in ["1+", "a.", "-", "x in ", "a[0]", "'a'+", "a.?"] {
            assert!(height(&part.repeat(1000)) >= 1000, "{part}");
        }
    }

    #[test]
    fn what_is_no_string_hides_nothing() {
        for text in [
            r"'\q1+1+1'",
            "'1+1+1\n'",
            "'''+'1+1+1'",
            r"1r'\'+1+1'",
            r"0x1r'\'+1+1'",
            r"rb'\'+1+1'",
            r"'\q//1+1+1'",
            "'//1+1+1",
            "a.`b//`+1+1",
            "`+1+1",
        ] {
            assert!(height(text) >= 2, "{text}");
        }
    }
}
