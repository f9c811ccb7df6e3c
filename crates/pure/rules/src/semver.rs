//! Semantic versions: `semver(text)`, `isSemver(text)` and what can be asked of one. Entry point: [`register`].
//!
//! Their comparisons share their names with those of [amounts](crate::quantities), which know both.

use std::{cmp::Ordering, sync::Arc};

use kube_cel::cel::{
    Context, ExecutionError, Value,
    extractors::{Arguments, This},
    objects::Opaque,
};

/// Names of the functions below.
pub(crate) const KNOWN: &str = " isSemver major minor patch semver ";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    /// Identifiers before a release; none for a release.
    pre: Vec<String>,
}

impl Opaque for Version {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Semver"
    }
}

impl Version {
    /// Reads `1.2.3-rc.1+build`. What comes after `+` does not count. With `lenient`, a `v` before it, leading zeros and
    /// missing numbers are forgiven.
    fn parse(text: &str, lenient: bool) -> Option<Version> {
        let text = if lenient { text.trim_start_matches(['v', 'V']) } else { text };
        let (text, build) = text.split_once('+').map_or((text, None), |it| (it.0, Some(it.1)));
        let (core, pre) = text.split_once('-').map_or((text, None), |it| (it.0, Some(it.1)));
        let known = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
        if build.is_some_and(|it| !it.split('.').all(known)) {
            return None;
        }
        let mut parts: Vec<&str> = core.split('.').collect();
        if lenient && parts.len() < 3 {
            parts.resize(3, "0");
        }
        let number = |it: &&str| {
            let plain = it.chars().all(|it| it.is_ascii_digit()) && (lenient || *it == "0" || !it.starts_with('0'));
            it.parse::<u64>().ok().filter(|_| plain)
        };
        let numbers: Vec<u64> = parts.iter().map(number).collect::<Option<_>>()?;
        let pre: Vec<String> = pre.map_or(Vec::new(), |it| it.split('.').map(str::to_owned).collect());
        let is_number = |it: &str| it.chars().all(|it| it.is_ascii_digit());
        if !pre.iter().all(|it| known(it) && !(is_number(it) && it.len() > 1 && it.starts_with('0'))) {
            return None;
        }
        Some(Version { numbers: numbers.try_into().ok()?, pre })
    }

    fn order(&self, other: &Version) -> Ordering {
        let by_numbers = self.numbers.cmp(&other.numbers);
        by_numbers.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            // A release comes after what led to it.
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre).map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => a.cmp(b),
                });
                let differs = parts.into_iter().find(|it| it.is_ne());
                differs.unwrap_or_else(|| self.pre.len().cmp(&other.pre.len()))
            }
        })
    }
}

pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function("semver", |Arguments(args): Arguments| {
        let (text, lenient) = text_of(&args)?;
        let version = Version::parse(&text, lenient);
        let version =
            version.ok_or_else(|| ExecutionError::function_error("semver", format!("invalid version {text:?}")))?;
        Ok::<_, ExecutionError>(Value::Opaque(Arc::new(version)))
    });
    context.add_function("isSemver", |Arguments(args): Arguments| {
        let (text, lenient) = text_of(&args)?;
        Ok::<_, ExecutionError>(Value::Bool(Version::parse(&text, lenient).is_some()))
    });
    context.add_function("major", |this: This<Value>| part(&this.0, 0));
    context.add_function("minor", |this: This<Value>| part(&this.0, 1));
    context.add_function("patch", |this: This<Value>| part(&this.0, 2));
}

fn text_of(args: &[Value]) -> Result<(Arc<String>, bool), ExecutionError> {
    match args {
        [Value::String(text)] => Ok((text.clone(), false)),
        [Value::String(text), Value::Bool(lenient)] => Ok((text.clone(), *lenient)),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn version(value: &Value) -> Option<&Version> {
    match value {
        Value::Opaque(it) => it.downcast_ref::<Version>(),
        _ => None,
    }
}

fn part(value: &Value, at: usize) -> Result<Value, ExecutionError> {
    let version = version(value).ok_or(ExecutionError::NoSuchOverload)?;
    i64::try_from(version.numbers[at]).map(Value::Int).map_err(|_| ExecutionError::NoSuchOverload)
}

/// How two versions are ordered; `None` for what is none.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    Some(version(a)?.order(version(b)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Program};

    fn check(text: &str) {
        let program = Program::compile(text, &[]).unwrap_or_else(|it| panic!("{text}: {it}"));
        assert_eq!(program.run(&[], 0, &mut Budget::new(10_000)), Ok(Value::Bool(true)), "{text}");
    }

    #[test]
    fn versions_are_ordered_as_semver_says() {
        check("semver('1.2.3').isLessThan(semver('1.10.0')) && semver('2.0.0').isGreaterThan(semver('2.0.0-rc.1'))");
        check(
            "semver('1.0.0-alpha.2').compareTo(semver('1.0.0-alpha.10')) == -1 && semver('1.0.0-1').isLessThan(semver('1.0.0-a'))",
        );
        check(
            "semver('1.2.3+a').compareTo(semver('1.2.3+b')) == 0 && semver('1.2.3').major() + semver('1.2.3').patch() == 4",
        );
        check(
            "isSemver('1.2.3') && !isSemver('1.2') && !isSemver('v1.2.3') && !isSemver('01.0.0') && !isSemver('1.0.0-01')",
        );
        check("isSemver('v1.2', true) && semver('v01.2', true).minor() == 2");
        check("semver('1.0.0').minor() == 0 && quantity('1Gi').isGreaterThan(quantity('1Mi'))");
        let broken = Program::compile("semver('x').major() == 1", &[]).unwrap();
        assert!(broken.run(&[], 0, &mut Budget::new(1000)).is_err());
    }
}
