//! Generated names.

use std::hash::{DefaultHasher, Hash, Hasher};

use eyot_plan::template::ALPHABET;
use rand::Rng;

/// Letters that make a generated name unique.
const SUFFIX: usize = 5;
/// Longest name of a pod that is also a valid host name.
const NAME_MAX: usize = 63;

/// A name for a pod of this owner; `base` ends in `-`.
pub(crate) fn pod(base: &str) -> String {
    let keep = NAME_MAX - SUFFIX;
    let mut name = if base.len() > keep { base.get(..keep).unwrap_or(base).to_owned() } else { base.to_owned() };
    let mut rng = rand::rng();
    name.extend((0..SUFFIX).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])));
    name
}

/// A name that depends on `content` only, so that making the same thing twice is noticed.
pub(crate) fn stable(base: &str, content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let mut rest = hasher.finish();
    let mut name = base.to_owned();
    for _ in 0..SUFFIX + 3 {
        let letters = ALPHABET.len() as u64;
        name.push(char::from(ALPHABET[(rest % letters) as usize]));
        rest /= letters;
    }
    name
}

/// A number that stands for a name. Should two names share one, the second waits for the first.
pub(crate) fn number(name: &str) -> i32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() & 0x7fff_ffff) as i32
}

/// A name for an event about this object.
pub(crate) fn event(object: &str) -> String {
    format!("{object}.{:016x}", rand::rng().random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_names_fit_and_differ() {
        let name = pod("web-abc-");
        assert!(name.starts_with("web-abc-") && name.len() == 13 && name != pod("web-abc-"), "{name}");
        assert_eq!(pod(&"x".repeat(100)).len(), NAME_MAX);
    }
}
