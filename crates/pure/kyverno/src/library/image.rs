//! References of images: `image(text)`, and what can be asked of one. Entry point: [`register`].
//!
//! They are read as registries' own clients do, which differs from [`crate::image`] in what a short name means: `nginx` is
//! `library/nginx` at `index.docker.io`.

use std::sync::Arc;

use eyot_rules::cel::{
    Context, ExecutionError, Value,
    extractors::{Arguments, This},
    objects::Opaque,
};

use super::{Made, fails, texts};

const DEFAULT_REGISTRY: &str = "index.docker.io";

/// A reference, in parts.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    registry: String,
    repository: String,
    /// Empty where there is a digest.
    tag: String,
    digest: String,
}

impl Opaque for Reference {
    fn runtime_type_name(&self) -> &str {
        "kyverno.image"
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Reference, String> {
        let wrong = || format!("could not parse reference: {text}");
        let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
        // A colon behind the last slash begins a tag, one before it a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (rest, ""),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == "docker.io" { DEFAULT_REGISTRY } else { registry };
        let implied = registry == DEFAULT_REGISTRY && !path.contains('/') && !path.is_empty();
        let repository = if implied { format!("library/{path}") } else { path.to_owned() };
        let in_name = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-./".contains(&it);
        let in_tag = |it: u8| it.is_ascii_alphanumeric() || b"_-.".contains(&it);
        let is_named = (2..=255).contains(&repository.len()) && repository.bytes().all(in_name);
        let is_tagged = tag.len() <= 127 && tag.bytes().all(in_tag) && !rest.ends_with(':');
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let is_digest = hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
        if !is_named || !is_tagged || (text.contains('@') && !is_digest) {
            return Err(wrong());
        }
        let tag = match (digest, tag) {
            ("", "") => "latest",
            ("", tag) => tag,
            _ => "",
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag: tag.to_owned(), digest: digest.to_owned() })
    }
}

pub(super) fn register(context: &mut Context<'static>) {
    context.add_function("image", parse);
    context.add_function("parseImageReference", parse);
    context.add_function("isImage", |arguments: Arguments| {
        let [text] = texts(&arguments)?;
        Ok::<_, ExecutionError>(Value::Bool(Reference::parse(text).is_ok()))
    });
    context.add_function("containsDigest", |it: This<Value>| part(&it.0, |it| Value::Bool(!it.digest.is_empty())));
    context.add_function("registry", |it: This<Value>| part(&it.0, |it| Value::from(it.registry.as_str())));
    context.add_function("repository", |it: This<Value>| part(&it.0, |it| Value::from(it.repository.as_str())));
    context.add_function("tag", |it: This<Value>| part(&it.0, |it| Value::from(it.tag.as_str())));
    context.add_function("digest", |it: This<Value>| part(&it.0, |it| Value::from(it.digest.as_str())));
    context.add_function("identifier", |it: This<Value>| {
        part(&it.0, |it| Value::from(if it.digest.is_empty() { it.tag.as_str() } else { it.digest.as_str() }))
    });
}

fn parse(arguments: Arguments) -> Made {
    let [text] = texts(&arguments)?;
    Ok(Value::Opaque(Arc::new(Reference::parse(text).map_err(|it| fails("image", it))?)))
}

fn part(value: &Value, read: impl Fn(&Reference) -> Value) -> Made {
    let Value::Opaque(it) = value else { return Err(ExecutionError::NoSuchOverload) };
    it.downcast_ref::<Reference>().map(read).ok_or(ExecutionError::NoSuchOverload)
}
