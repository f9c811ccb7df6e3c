//! Names of images in their parts: `registry/path:tag@digest`.
//!
//! Entry point: [`Image::parse`]. A name without a registry means `docker.io`, one without tag and digest `latest`.

use serde_json::{Value, json};

/// The registry of images that name none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Host, with a port perhaps.
    pub registry: String,
    /// Everything between registry and tag.
    pub path: String,
    /// The tag; empty where there is a digest only.
    pub tag: String,
    /// `sha256:…`, or empty.
    pub digest: String,
}

impl Image {
    /// Reads the name of an image.
    pub fn parse(text: &str) -> Result<Image, String> {
        let wrong = |why: &str| Err(format!("bad image: {text}: {why}"));
        let (registry, rest) = match text.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" || host.to_lowercase() != host => {
                (host, rest)
            }
            _ => (DEFAULT_REGISTRY, text),
        };
        let (rest, digest) = rest.split_once('@').unwrap_or((rest, ""));
        let (path, tag) = rest.split_once(':').unwrap_or((rest, ""));
        let part = |it: &str| {
            !it.is_empty()
                && it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"._-".contains(&it))
                && it.starts_with(|it: char| it.is_ascii_alphanumeric())
                && it.ends_with(|it: char| it.is_ascii_alphanumeric())
        };
        if !path.split('/').all(part) {
            return wrong("invalid reference format");
        }
        let in_tag = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
        if tag.len() > 128 || !tag.bytes().all(in_tag) || tag.starts_with(['.', '-']) || rest.ends_with(':') {
            return wrong("invalid tag");
        }
        let hex = |it: &str| it.len() >= 32 && it.bytes().all(|it| it.is_ascii_hexdigit());
        if text.contains('@') && !digest.split_once(':').is_some_and(|it| !it.0.is_empty() && hex(it.1)) {
            return wrong("invalid digest");
        }
        let tag = if tag.is_empty() && digest.is_empty() { "latest" } else { tag };
        Ok(Image { registry: registry.into(), path: path.into(), tag: tag.into(), digest: digest.into() })
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The parts as policies see them in `images`.
    pub fn parts(&self, pointer: &str) -> Value {
        let mut parts = json!({
            "registry": self.registry,
            "name": self.name(),
            "path": self.path,
            "reference": self.to_string(),
            "referenceWithTag": format!("{}/{}:{}", self.registry, self.path, self.tag),
            "jsonPointer": pointer,
        });
        for (key, value) in [("tag", &self.tag), ("digest", &self.digest)] {
            if !value.is_empty() {
                parts[key] = value.as_str().into();
            }
        }
        parts
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if self.digest.is_empty() { write!(f, ":{}", self.tag) } else { write!(f, "@{}", self.digest) }
    }
}

/// The images of a pod or of a pod's controller, by list and container; nothing for other kinds.
pub fn of_resource(resource: &Value) -> Result<Value, String> {
    let prefix: &[&str] = match resource["kind"].as_str().unwrap_or_default() {
        "Pod" => &["spec"],
        "DaemonSet" | "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "Job" => {
            &["spec", "template", "spec"]
        }
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return Ok(Value::Null),
    };
    let pointer = format!("/{}", prefix.join("/"));
    let Some(spec) = resource.pointer(&pointer) else { return Ok(Value::Null) };
    let mut lists = serde_json::Map::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let mut images = serde_json::Map::new();
        for (at, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let image = container["image"].as_str().unwrap_or_default();
            if image.trim().is_empty() {
                continue;
            }
            let name = container["name"].as_str().ok_or("a container has no name")?;
            let image = Image::parse(image).map_err(|it| format!("invalid image '{image}' ({it})"))?;
            images.insert(name.to_owned(), image.parts(&format!("{pointer}/{list}/{at}/image")));
        }
        if !images.is_empty() {
            lists.insert(list.to_owned(), Value::Object(images));
        }
    }
    Ok(if lists.is_empty() { Value::Null } else { Value::Object(lists) })
}

/// The images where a rule's own extractors find them: `{kind: [{path, key, value, name}]}`.
pub fn of_extractors(resource: &Value, extractors: &Value) -> Result<Value, String> {
    let kind = resource["kind"].as_str().unwrap_or_default();
    let Some(all) = extractors[kind].as_array() else { return of_resource(resource) };
    let mut lists = serde_json::Map::new();
    for extractor in all {
        let text = |key: &str| extractor[key].as_str().unwrap_or_default();
        let mut path: Vec<&str> = text("path").split('/').map(str::trim).filter(|it| !it.is_empty()).collect();
        let value = match text("value") {
            "" => path.pop().ok_or("an image extractor has no path")?,
            value => value,
        };
        let mut images = serde_json::Map::new();
        walk(resource, &path, String::new(), &mut |holder, pointer| {
            let image = holder[value].as_str().unwrap_or_default();
            if image.trim().is_empty() {
                return Ok(());
            }
            let pointer = format!("{pointer}/{value}");
            let key = match text("key") {
                "" => pointer.clone(),
                key => holder[key].as_str().ok_or("invalid key")?.to_owned(),
            };
            images.insert(key, Image::parse(image)?.parts(&pointer));
            Ok(())
        })?;
        let name = if text("name").is_empty() { "custom" } else { text("name") };
        lists.insert(name.to_owned(), Value::Object(images));
    }
    Ok(Value::Object(lists))
}

fn walk(
    value: &Value,
    path: &[&str],
    pointer: String,
    found: &mut dyn FnMut(&Value, &str) -> Result<(), String>,
) -> Result<(), String> {
    match (path, value) {
        (_, Value::Null) => Ok(()),
        ([], holder) => found(holder, &pointer),
        (["*", rest @ ..], Value::Array(all)) => {
            all.iter().enumerate().try_for_each(|(at, it)| walk(it, rest, format!("{pointer}/{at}"), found))
        }
        (["*", rest @ ..], Value::Object(all)) => {
            all.iter().try_for_each(|(key, it)| walk(it, rest, format!("{pointer}/{key}"), found))
        }
        ([first, rest @ ..], value) => walk(&value[*first], rest, format!("{pointer}/{first}"), found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_parts() {
        let digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
        for (text, shown) in [
            ("nginx", "docker.io/nginx:latest"),
            ("nginx:1.2", "docker.io/nginx:1.2"),
            ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("team/app", "docker.io/team/app:latest"),
        ] {
            assert_eq!(Image::parse(text).map(|it| it.to_string()).as_deref(), Ok(shown));
        }
        let image = Image::parse(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!((image.tag.as_str(), image.digest.as_str()), ("1", digest));
        for bad in ["", "a//b", "nginx:", "nginx@sha256:12", "UP/per case", "docker.io/A"] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }
}
