//! Paths of the distribution API: pure, text in, meaning out.

use uuid::Uuid;

use crate::Digest;

use super::error::{Code, Refusal};

/// Longest repository name.
const NAME_BYTES_MAX: usize = 255;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Catalog,
    Tags { repository: String },
    Manifest { repository: String, reference: String },
    Blob { repository: String, digest: Digest },
    Uploads { repository: String },
    Upload { repository: String, id: Uuid },
    Referrers { repository: String, digest: Digest },
}

impl Route {
    /// Reads a path. Names of repositories contain slashes, so it is read from its end.
    pub(crate) fn parse(path: &str) -> Result<Route, Refusal> {
        let unknown = || Refusal::not_found(Code::Unsupported, format!("{path} is no path of the distribution API"));
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        let rest = match rest {
            "" | "/" => return Ok(Route::Root),
            "/_catalog" => return Ok(Route::Catalog),
            rest => rest.strip_prefix('/').ok_or_else(unknown)?,
        };
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Ok(Route::Uploads { repository: repository(name)? });
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Route::Tags { repository: repository(name)? });
        }
        let (head, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let id =
                last.parse().map_err(|_| Refusal::not_found(Code::BlobUploadUnknown, format!("no upload {last}")))?;
            return Ok(Route::Upload { repository: repository(name)?, id });
        }
        let (name, kind) = head.rsplit_once('/').ok_or_else(unknown)?;
        match kind {
            "manifests" => Ok(Route::Manifest { repository: repository(name)?, reference: reference(last)? }),
            "blobs" => Ok(Route::Blob { repository: repository(name)?, digest: digest(last)? }),
            "referrers" => Ok(Route::Referrers { repository: repository(name)?, digest: digest(last)? }),
            _ => Err(unknown()),
        }
    }
}

pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|it| Refusal::bad(Code::DigestInvalid, format!("{text:?} is {it}")))
}

/// A repository name: components of lower-case letters and digits, joined by separators.
fn repository(name: &str) -> Result<String, Refusal> {
    let component = |it: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let edges = it.bytes().next().is_some_and(plain) && it.bytes().next_back().is_some_and(plain);
        let runs = it.split(|it: char| it.is_ascii_lowercase() || it.is_ascii_digit());
        edges && runs.into_iter().all(|it| matches!(it, "" | "." | "_" | "__") || it.bytes().all(|it| it == b'-'))
    };
    match name.len() <= NAME_BYTES_MAX && name.split('/').all(component) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::bad(Code::NameInvalid, format!("{name:?} is no valid repository name"))),
    }
}

/// A tag or a digest.
fn reference(text: &str) -> Result<String, Refusal> {
    if text.contains(':') {
        return digest(text).map(|it| it.to_string());
    }
    let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let valid = text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|it| word(it) || matches!(it, b'.' | b'-'));
    match valid {
        true => Ok(text.to_owned()),
        // What a tag cannot be is no tag that exists: the spec's answer is 404, to a PUT as well.
        false => Err(Refusal::not_found(Code::ManifestUnknown, format!("{text:?} is neither tag nor digest"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"");
        let repository = || "a/b-c/manifests".to_owned();
        let id = Uuid::nil();
        for (path, want) in [
            ("/v2/".to_owned(), Route::Root),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/b-c/manifests/tags/list".to_owned(), Route::Tags { repository: repository() }),
            (
                "/v2/a/b-c/manifests/manifests/v1.0".to_owned(),
                Route::Manifest { repository: repository(), reference: "v1.0".to_owned() },
            ),
            (
                format!("/v2/a/b-c/manifests/blobs/{digest}"),
                Route::Blob { repository: repository(), digest: digest.clone() },
            ),
            ("/v2/a/b-c/manifests/blobs/uploads/".to_owned(), Route::Uploads { repository: repository() }),
            (format!("/v2/a/b-c/manifests/blobs/uploads/{id}"), Route::Upload { repository: repository(), id }),
            (format!("/v2/a/b-c/manifests/referrers/{digest}"), Route::Referrers { repository: repository(), digest }),
        ] {
            assert_eq!(Route::parse(&path).ok(), Some(want), "{path}");
        }
    }

    #[test]
    fn invalid_names_are_refused() {
        for path in [
            "/v2/Upper/tags/list",
            "/v2/-a/tags/list",
            "/v2/a..b/tags/list",
            "/v2/a___b/tags/list",
            "/v2/../../etc/tags/list",
            "/v2/a//b/tags/list",
            "/v2/a/manifests/.hidden",
            "/v2/a/manifests/sha256:12",
            "/v2/a/blobs/uploads/../../x",
            "/v1/a",
            "/v2/a",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        for name in ["a", "a.b_c__d--e/f0"] {
            assert!(repository(name).is_ok(), "{name}");
        }
    }
}
