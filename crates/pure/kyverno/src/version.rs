//! Semantic versions, and ranges of them: `>=1.0.0 <2.0.0 || !1.5.x`.
//!
//! Entry points: [`Version::parse`], [`in_range`].

use std::cmp::Ordering;

/// A version; what stands behind `+` does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: [u64; 3],
    /// What stands behind `-`, by dots.
    pre: Vec<String>,
}

impl Version {
    /// Reads `major.minor.patch[-pre][+build]`.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let text = text.split_once('+').map_or(text, |it| it.0);
        let (core, pre) = text.split_once('-').map_or((text, None), |it| (it.0, Some(it.1)));
        let mut parts = core.split('.');
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let part = parts.next()?;
            let plain = part == "0" || !part.starts_with(['0', '+']);
            *number = part.parse().ok().filter(|_| plain)?;
        }
        let pre: Vec<String> = pre.map(|it| it.split('.').map(str::to_owned).collect()).unwrap_or_default();
        let whole = parts.next().is_none() && pre.iter().all(|it| !it.is_empty());
        whole.then_some(Version { numbers, pre })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let each = self.pre.iter().zip(&other.pre).map(|(left, right)| compare_pre(left, right));
                each.into_iter().find(|it| it.is_ne()).unwrap_or_else(|| self.pre.len().cmp(&other.pre.len()))
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare_pre(left: &str, right: &str) -> Ordering {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

const OPERATORS: [&str; 9] = [">=", "<=", "==", "!=", ">", "<", "=", "!", ""];

/// Whether a version lies in a range.
pub(crate) fn in_range(version: &Version, range: &str) -> Result<bool, String> {
    let mut any = false;
    for part in range.split("||") {
        let mut all = true;
        let mut terms = 0;
        let mut waiting = String::new();
        for word in part.split_whitespace() {
            waiting.push_str(word);
            if OPERATORS.contains(&waiting.as_str()) {
                continue;
            }
            terms += 1;
            all &= fits(version, &waiting)?;
            waiting.clear();
        }
        if terms == 0 || !waiting.is_empty() {
            return Err(format!("Could not parse range {range:?}"));
        }
        any |= all;
    }
    Ok(any)
}

fn fits(version: &Version, term: &str) -> Result<bool, String> {
    let operator = OPERATORS.iter().find(|it| term.starts_with(**it)).copied().unwrap_or("");
    let text = &term[operator.len()..];
    let wrong = || format!("Could not parse version {text:?} in {term:?}");
    let (low, high) = if text.split('.').any(|it| matches!(it, "x" | "X" | "*")) {
        spread(text).ok_or_else(wrong)?
    } else {
        let exact = Version::parse(text).ok_or_else(wrong)?;
        (exact.clone(), Some(exact))
    };
    // With a wildcard, `high` is the first version behind it.
    let wild = high.as_ref() != Some(&low);
    let below = |it: &Option<Version>| it.as_ref().is_none_or(|it| version < it);
    let inside = if wild { *version >= low && below(&high) } else { *version == low };
    Ok(match operator {
        ">=" => *version >= low,
        "<" => *version < low,
        "<=" if wild => below(&high),
        "<=" => *version <= low,
        ">" if wild => !below(&high),
        ">" => *version > low,
        "!=" | "!" => !inside,
        _ => inside,
    })
}

/// First version of a wildcard, and the first behind it.
fn spread(text: &str) -> Option<(Version, Option<Version>)> {
    let fixed = text.split('.').take_while(|it| !matches!(*it, "x" | "X" | "*"));
    let fixed: Vec<u64> = fixed.map(str::parse).collect::<Result<_, _>>().ok()?;
    let version = |numbers: [u64; 3]| Version { numbers, pre: Vec::new() };
    match *fixed.as_slice() {
        [] => Some((version([0; 3]), None)),
        [major] => Some((version([major, 0, 0]), Some(version([major + 1, 0, 0])))),
        [major, minor] => Some((version([major, minor, 0]), Some(version([major, minor + 1, 0])))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_versions() {
        for (version, range, holds) in [
            ("4.1.3", ">=4.1.x", true),
            ("4.1.3", ">= 4.1.0 <5.0.0", true),
            ("1.2.3", "<1.2.3 || >2.0.0", false),
            ("2.5.0", "<1.2.3 || >2.0.0", true),
            ("1.2.3", "1.2.x", true),
            ("1.3.0", "1.2.x", false),
            ("1.2.3", "!1.2.3", false),
            ("1.2.3-rc.1", "<1.2.3", true),
            ("1.2.3-rc.2", ">1.2.3-rc.1", true),
        ] {
            assert_eq!(in_range(&Version::parse(version).unwrap(), range), Ok(holds), "{version} {range}");
        }
        assert!(in_range(&Version::parse("1.0.0").unwrap(), "abc").is_err());
        assert!(Version::parse("1.0").is_none() && Version::parse("01.0.0").is_none());
    }
}
