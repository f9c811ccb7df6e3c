//! Credentials of `kubernetes.io/dockerconfigjson` secrets.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Access to one registry, or to a part of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    /// Host and port, with a path when it is for some repositories only; without scheme.
    pub registry: String,
    /// User.
    pub username: String,
    /// Password or token; never printed.
    pub password: String,
}

/// Why a secret's content gives no credentials; holds nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not JSON, or no `auths` object inside.
    #[error("not a docker config: no JSON object with an \"auths\" object inside")]
    NotDockerConfig,
    /// One registry's entry is unusable.
    #[error("entry for {registry:?} has neither username and password nor a base64 auth of the form user:password")]
    BadEntry {
        /// Whose.
        registry: String,
    },
}

impl Credential {
    /// Reads the value of a secret's `.dockerconfigjson`.
    pub fn from_docker_config(json: &[u8]) -> Result<Vec<Credential>, CredentialError> {
        let config: Value = serde_json::from_slice(json).map_err(|_| CredentialError::NotDockerConfig)?;
        let auths = config.get("auths").and_then(Value::as_object).ok_or(CredentialError::NotDockerConfig)?;
        auths.iter().map(|(registry, entry)| Credential::from_entry(registry, entry)).collect()
    }

    fn from_entry(registry: &str, entry: &Value) -> Result<Credential, CredentialError> {
        let text = |name| entry.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
        let decoded = || {
            let bytes = STANDARD.decode(text("auth")?.trim()).ok()?;
            let (user, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
            Some((user.to_owned(), password.to_owned()))
        };
        let (username, password) = text("username")
            .zip(text("password"))
            .map(|(user, password)| (user.to_owned(), password.to_owned()))
            .or_else(decoded)
            .ok_or_else(|| CredentialError::BadEntry { registry: registry.to_owned() })?;
        Ok(Credential { registry: normalize(registry), username, password })
    }

    /// The credential for a repository: the one with the longest registry that covers it.
    pub(crate) fn choose<'a>(all: &'a [Credential], host: &str, repository: &str) -> Option<&'a Credential> {
        let wanted = format!("{}/{repository}", normalize(host));
        let covers = |it: &&Credential| {
            wanted.strip_prefix(it.registry.as_str()).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        all.iter().filter(covers).max_by_key(|it| it.registry.len())
    }
}

/// Removes the scheme, the API's path and the many names of Docker Hub.
fn normalize(registry: &str) -> String {
    let bare = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => bare.to_owned(),
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} at {})", self.username, self.registry)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(json: &str, want: Expect) {
        want.assert_debug_eq(&Credential::from_docker_config(json.as_bytes()));
    }

    #[test]
    fn reads_both_forms_and_normalizes_hosts() {
        check(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6YTpi"},
                          "reg:5000/team": {"username": "u", "password": "p"}}}"#,
            expect![[r#"
                Ok(
                    [
                        Credential(me at docker.io),
                        Credential(u at reg:5000/team),
                    ],
                )
            "#]],
        );
        let all = Credential::from_docker_config(br#"{"auths": {"r": {"auth": "bWU6YTpi"}}}"#).unwrap();
        assert_eq!(all[0].password, "a:b");
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        check(
            r#"{"auth": {}}"#,
            expect![[r#"
            Err(
                NotDockerConfig,
            )
        "#]],
        );
        check(
            r#"{"auths": {"r": {"auth": "%"}}}"#,
            expect![[r#"
            Err(
                BadEntry {
                    registry: "r",
                },
            )
        "#]],
        );
    }

    #[test]
    fn the_longest_covering_registry_wins() {
        let one = |registry: &str| Credential {
            registry: registry.to_owned(),
            username: registry.to_owned(),
            password: String::new(),
        };
        let all = [one("reg"), one("reg/team"), one("reg/te")];
        let chosen = |host, repository| Credential::choose(&all, host, repository).map(|it| it.username.as_str());
        assert_eq!(chosen("reg", "team/app"), Some("reg/team"));
        assert_eq!(chosen("reg", "teams"), Some("reg"));
        assert_eq!(chosen("reg:5000", "team"), None);
    }
}
