//! The administrator's list of tokens: a CSV file of token, user, uid and groups, as Kubernetes reads it. Entry point:
//! [`StaticTokens::read`].

use std::{collections::HashMap, fs, io, os::unix::fs::PermissionsExt, path::Path, path::PathBuf};

use sha2::{Digest, Sha256};

use crate::Identity;

/// The file with tokens cannot be used. Never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not a token with its user.
    #[error("{path}: line {line}: {what}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Users by the hash of their token: looking one up takes as long whether or not a guess comes close.
#[derive(Default)]
pub(crate) struct StaticTokens(HashMap<[u8; 32], Identity>);

impl StaticTokens {
    /// Reads a file. Lines are `token,user,uid` and perhaps `,"group,group"`; empty ones and those that begin with `#`
    /// count for nothing. Of a token that is given twice the last line counts.
    pub(crate) fn read(path: &Path) -> Result<StaticTokens, TokenFileError> {
        let at = |source| TokenFileError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(at)?;
        if fs::metadata(path).map_err(at)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the file with tokens can be read by other users of this machine");
        }
        let mut tokens = StaticTokens::default();
        for (at, line) in text.lines().enumerate() {
            let what = match entry(line.trim()) {
                Ok(None) => continue,
                Ok(Some((token, identity))) => match tokens.0.insert(hash(token.as_str()), identity) {
                    None => continue,
                    Some(_) => {
                        tracing::warn!(path = %path.display(), line = at + 1, "a token is given twice");
                        continue;
                    }
                },
                Err(what) => what,
            };
            return Err(TokenFileError::Line { path: path.to_owned(), line: at + 1, what });
        }
        Ok(tokens)
    }

    /// Whose token it is.
    pub(crate) fn find(&self, token: &str) -> Option<Identity> {
        if self.0.is_empty() { None } else { self.0.get(&hash(token)).cloned() }
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn entry(line: &str) -> Result<Option<(String, Identity)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let columns = columns(line).ok_or("a quotation mark is not closed")?;
    let [token, user, uid, rest @ ..] = columns.as_slice() else {
        return Err("token, user and uid are needed, separated by commas");
    };
    if token.is_empty() || user.is_empty() {
        return Err("the token or the user is empty");
    }
    let groups = rest.first().map(String::as_str).unwrap_or_default();
    let groups = groups.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(Some((token.clone(), Identity { uid: uid.clone(), ..Identity::new(user.as_str(), groups) })))
}

/// The columns of a line of CSV; a quoted one may hold commas, and quotation marks doubled.
fn columns(line: &str) -> Option<Vec<String>> {
    let (mut columns, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => column.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(std::mem::take(&mut column).trim().to_owned()),
            char => column.push(char),
        }
    }
    columns.push(column.trim().to_owned());
    (!quoted).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StaticTokens, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.csv");
        fs::write(&path, text).unwrap();
        StaticTokens::read(&path).map_err(|it| it.to_string())
    }

    #[test]
    fn lines_name_users_and_groups() {
        let tokens = read("# who\n\nsecret1,eve,7\nsecret2, bob ,8,\"staff, night\"\nsecret3,ann,9,one\n").unwrap();
        let groups = |token: &str| tokens.find(token).map(|it| (it.user, it.uid, it.groups.join(" ")));
        assert_eq!(groups("secret1"), Some(("eve".into(), "7".into(), "system:authenticated".into())));
        assert_eq!(groups("secret2"), Some(("bob".into(), "8".into(), "staff night system:authenticated".into())));
        assert_eq!(groups("secret3"), Some(("ann".into(), "9".into(), "one system:authenticated".into())));
        assert_eq!(groups("secret"), None);
    }

    #[test]
    fn a_bad_line_is_named_and_its_token_is_not() {
        for bad in ["secret,eve", ",eve,1", "secret,,1", "secret,eve,1,\"open"] {
            let error = read(&format!("ok,ann,1\n{bad}\n")).err().unwrap();
            assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
        }
    }
}
