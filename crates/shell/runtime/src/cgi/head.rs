//! The header block that a CGI or WAGI program begins its output with (RFC 3875, 6.3). Pure.

use http::{HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};

/// Most headers of one block.
const HEADERS_MAX: usize = 100;

/// Reads the block that `text` begins with, and how many bytes it has. `None` while its end is not there yet.
///
/// # Errors
///
/// A line that is no header, a status that is none, or neither a content type nor a location nor a status.
pub(super) fn parse(text: &[u8]) -> Result<Option<(Parts, usize)>, String> {
    let Some((block, length)) = block(text) else { return Ok(None) };
    let (mut head, ()) = Response::new(()).into_parts();
    let mut status = None;
    for line in block.split(|it| *it == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let shown = || String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let colon = line.iter().position(|it| *it == b':').ok_or_else(|| format!("{:?} is no header", shown()))?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| format!("{:?} is no header", shown()))?;
        let value = line[colon + 1..].trim_ascii();
        if name == "status" {
            status = Some(read_status(value).ok_or_else(|| format!("{:?} is no status", shown()))?);
            continue;
        }
        if head.headers.len() >= HEADERS_MAX {
            return Err(format!("it has more than {HEADERS_MAX} headers"));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| format!("{:?} is no header", shown()))?;
        head.headers.append(name, value);
    }
    let is_redirect = head.headers.contains_key(header::LOCATION);
    if status.is_none() && !is_redirect && !head.headers.contains_key(header::CONTENT_TYPE) {
        return Err("it names neither content-type nor location nor status".to_owned());
    }
    // RFC 3875, 6.2.3: a location without a status redirects.
    head.status = status.unwrap_or(if is_redirect { StatusCode::FOUND } else { StatusCode::OK });
    // The body's frames tell its length.
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.remove(header::CONNECTION);
    Ok(Some((head, length)))
}

/// The block without the empty line after it, and its length with that.
fn block(text: &[u8]) -> Option<(&[u8], usize)> {
    let mut start = 0;
    while let Some(end) = text[start..].iter().position(|it| *it == b'\n').map(|it| start + it) {
        if text[start..end].strip_suffix(b"\r").unwrap_or(&text[start..end]).is_empty() {
            return Some((&text[..start], end + 1));
        }
        start = end + 1;
    }
    None
}

/// `404` or `404 Not Found`; nothing informational.
fn read_status(value: &[u8]) -> Option<StatusCode> {
    let code = value.split(|it| *it == b' ').next()?;
    StatusCode::from_bytes(code).ok().filter(|it| !it.is_informational())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, want: Expect) {
        let got = match parse(text.as_bytes()) {
            Ok(None) => "more".to_owned(),
            Ok(Some((head, length))) => format!("{} {:?} | {}", head.status, head.headers, &text[length..]),
            Err(why) => why,
        };
        want.assert_eq(&got);
    }

    #[test]
    fn blocks_are_read_as_cgi_has_them() {
        check(
            "Content-Type: text/plain\n\nbody\n\n",
            expect![[r#"200 OK {"content-type": "text/plain"} | body

"#]],
        );
        check(
            "Status: 404 Not Found\r\nContent-Type: text/html\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
            expect![[r#"404 Not Found {"content-type": "text/html", "x-a": "1", "x-a": "2"} | "#]],
        );
        check("Location: /there\n\n", expect![[r#"302 Found {"location": "/there"} | "#]]);
        check("Content-Type: text/plain\n", expect!["more"]);
        check("", expect!["more"]);
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        check("hello\n\n", expect![[r#""hello" is no header"#]]);
        check("\n", expect!["it names neither content-type nor location nor status"]);
        check("Status: 700x\n\n", expect![[r#""Status: 700x" is no status"#]]);
        check("Status: 100\n\n", expect![[r#""Status: 100" is no status"#]]);
        check("Content-Type: a\u{1}b\n\n", expect![[r#""Content-Type: a\u{1}b" is no header"#]]);
    }
}
