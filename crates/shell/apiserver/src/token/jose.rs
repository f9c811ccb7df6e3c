//! JSON Web Tokens in their compact form, signed with ES256. Entry points: [`encode`], [`split`].

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Longest token that is looked at: ours have about one KiB.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The pieces of a token, not verified yet.
pub(super) struct Parts<'a> {
    /// What the signature is over.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    /// Which key signed it.
    pub(super) key_id: String,
    payload: &'a str,
}

/// Builds a token; `sign` makes the signature of the bytes it gets.
pub(super) fn encode<E>(
    key_id: &str,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": key_id}).to_string());
    let mut token = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Takes a token apart; `None` when it is none, or is signed in another way.
pub(super) fn split(token: &str) -> Option<Parts<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, payload) = signed.split_once('.')?;
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    // The algorithm is ours to choose: one named by the token could be `none`.
    (head.get("alg")? == "ES256").then_some(())?;
    let key_id = head.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Parts { signed, signature: URL_SAFE_NO_PAD.decode(signature).ok()?, key_id, payload })
}

impl Parts<'_> {
    /// What the token claims; to be read only once the signature is known to be good.
    pub(super) fn claims(&self) -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(self.payload).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_apart_as_they_were_built() {
        let token = encode("k", &json!({"sub": "a"}), |bytes| Ok::<_, ()>(bytes[..3].to_vec())).unwrap();
        let parts = split(&token).unwrap();
        assert_eq!((parts.key_id.as_str(), parts.signature.as_slice()), ("k", &token.as_bytes()[..3]));
        assert_eq!(parts.claims(), Some(json!({"sub": "a"})));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let none = format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
        let huge = "a".repeat(TOKEN_BYTES_MAX + 1);
        for bad in ["", ".", "..", "a.b.c", "e30.e30.e30", "\u{e9}.\u{e9}.\u{e9}", &none, &huge] {
            assert!(split(bad).is_none(), "{bad:.40}");
        }
    }
}
