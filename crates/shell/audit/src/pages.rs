//! The objects of a kind, page by page, as many at a time as fit a bound of bytes. Entry point: [`Pages::next`].

use eyot_model::kinds::Kind;
use http::Request;
use kube::Client;
use serde_json::Value;

use crate::violations::AuditError;

/// Bytes of a page that are aimed at: as values they are some times as much.
const PAGE_BYTES: usize = 4 << 20;
/// Objects of the first page, when nothing is known of their size.
const FIRST: usize = 50;
/// How often more objects a page may have than the one before it.
const GROWTH: usize = 4;

/// Where a list is.
pub(crate) struct Pages<'a> {
    client: &'a Client,
    kind: &'a Kind,
    /// Objects of a page, at most and for now.
    most: usize,
    limit: usize,
    /// Nothing after the last page.
    token: Option<String>,
}

impl<'a> Pages<'a> {
    /// All objects of a kind, at most `most` at a time.
    pub(crate) fn new(client: &'a Client, kind: &'a Kind, most: usize) -> Pages<'a> {
        Pages { client, kind, most: most.max(1), limit: FIRST.min(most).max(1), token: Some(String::new()) }
    }

    /// The next page; nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Value>>, AuditError> {
        let Some(token) = self.token.take() else { return Ok(None) };
        let text = match self.read(&token).await {
            Ok(text) => text,
            // A kind that went away since the kinds were looked at has no objects.
            Err(AuditError::List { source, .. }) if is(&source, 404) => return Ok(None),
            // The state that the list began with is forgotten: it goes on with the one of now.
            Err(AuditError::List { source, resource }) if is(&source, 410) => match newer(&source) {
                Some(token) => self.read(&token).await?,
                None => return Err(AuditError::List { resource, source }),
            },
            Err(error) => return Err(error),
        };
        let bytes = text.len();
        let mut list: Value =
            serde_json::from_str(&text).map_err(|error| self.failed(kube::Error::SerdeError(error)))?;
        drop(text);
        self.token = list["metadata"]["continue"].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let mut objects = match list["items"].take() {
            Value::Array(objects) => objects,
            _ => Vec::new(),
        };
        self.limit = following(self.limit, self.most, bytes / objects.len().max(1));
        // Items of a list do not say what they are.
        for object in &mut objects {
            object["apiVersion"] = self.kind.api_version().into();
            object["kind"] = self.kind.kind.as_str().into();
        }
        Ok(Some(objects))
    }

    async fn read(&self, token: &str) -> Result<String, AuditError> {
        let mut path = format!("{}/{}?limit={}", root(self.kind), self.kind.plural, self.limit);
        if !token.is_empty() {
            path.push_str(&format!("&continue={token}"));
        }
        self.client.request_text(Request::get(path).body(Vec::new())?).await.map_err(|it| self.failed(it))
    }

    fn failed(&self, source: kube::Error) -> AuditError {
        AuditError::List { resource: self.kind.plural.clone(), source: source.into() }
    }
}

/// The path below which a kind's objects are.
pub(crate) fn root(kind: &Kind) -> String {
    if kind.group.is_empty() { format!("/api/{}", kind.version) } else { format!("/apis/{}", kind.api_version()) }
}

/// How many objects the next page may have, by what one of the last was on average.
fn following(limit: usize, most: usize, bytes: usize) -> usize {
    (PAGE_BYTES / bytes.max(1)).min(limit * GROWTH).clamp(1, most)
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// The token with which an expired list goes on.
fn newer(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    status.metadata.as_ref()?.continue_.clone().filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_the_size_of_what_they_hold() {
        assert_eq!(following(50, 500, 1000), 200, "it grows step by step");
        assert_eq!(following(200, 500, 1000), 500);
        assert_eq!(following(500, 500, 1 << 20), 4, "and falls at once");
        assert_eq!(following(4, 500, 100 << 20), 1);
        assert_eq!(following(1, 500, 0), 4);
    }
}
