//! Content digests; sha256 alone, as every registry in use has it.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hexadecimal digits; nothing else can be held, so it is safe in a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of some content.
    pub fn of(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }

    pub(crate) fn finish(hasher: Sha256) -> Digest {
        Digest(hasher.finalize().into())
    }

    /// One of `count` numbers, evenly spread.
    pub(crate) fn stripe(&self, count: usize) -> usize {
        usize::from(self.0[0]) % count
    }

    /// The digits after `sha256:`.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// The text is not a sha256 digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest of the form sha256:<64 lower-case hexadecimal digits>")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let digits = text.strip_prefix("sha256:").ok_or(DigestError)?;
        let lower = digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        let mut digest = [0; 32];
        match lower && hex::decode_to_slice(digits, &mut digest).is_ok() {
            true => Ok(Digest(digest)),
            false => Err(DigestError),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_it_writes() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse(), Ok(digest.clone()));
        for bad in ["", "sha256:", "sha512:00", "sha256:../../etc/passwd", &digest.hex()] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad}");
        }
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>(), Err(DigestError));
    }
}
