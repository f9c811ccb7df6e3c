//! What a route says, in plain structs.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};
use regex::bytes::{Regex, RegexBuilder};

use crate::{HeaderChange, HostPattern, PathMatch, Redirect, Rewrite};

/// One HTTPRoute as attached to listeners, or one Ingress.
#[derive(Clone, Debug)]
pub struct Route<B> {
    /// `namespace/name`; decides between routes of the same age.
    pub name: Arc<str>,
    /// Creation time in seconds; the older of two equal matches wins.
    pub created: i64,
    /// Hosts served. A route without any serves nothing.
    pub hosts: Vec<HostScope>,
    /// Whether every other route goes first, whatever hosts and paths say: the default backend of an Ingress.
    pub fallback: bool,
    /// Rules in order.
    pub rules: Vec<Rule<B>>,
}

/// Hosts served by one route through one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostScope {
    /// The names: what route and listener have in common.
    pub pattern: HostPattern,
    /// Names that a more specific listener of the same Gateway takes away.
    pub except: Vec<HostPattern>,
    /// `namespace/name` of the Gateway whose listener it is; empty where there is none.
    pub via: Arc<str>,
}

impl HostScope {
    /// All names of `pattern`.
    pub fn all(pattern: HostPattern) -> Self {
        Self { pattern, except: Vec::new(), via: "".into() }
    }
}

/// Requests that fit any of `matches` get `action`.
#[derive(Clone, Debug)]
pub struct Rule<B> {
    /// Alternatives; none at all means every path.
    pub matches: Vec<Match>,
    /// What happens.
    pub action: Arc<Action<B>>,
}

/// What a request must look like; all parts must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Path.
    pub path: PathMatch,
    /// Method, if it matters.
    pub method: Option<Method>,
    /// Headers that must be there. Of several for one name the first counts.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters that must be there. Of several for one name the first counts.
    pub query: Vec<QueryMatch>,
}

impl Match {
    /// A match on the path alone.
    pub fn path(path: PathMatch) -> Self {
        Self { path, method: None, headers: Vec::new(), query: Vec::new() }
    }
}

/// A header with a value that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Name.
    pub name: HeaderName,
    /// Value.
    pub value: Wanted,
}

/// A query parameter whose first occurrence has a value that fits, after percent-decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    /// Name.
    pub name: Box<str>,
    /// Value.
    pub value: Wanted,
}

/// A value that is asked for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These bytes.
    Exact(Box<[u8]>),
    /// Whatever is of this expression from its beginning to its end.
    Pattern(Regex),
}

/// Size of a compiled expression in bytes: a table with thousands of them stays small.
const PATTERN_SIZE_MAX: usize = 256 << 10;

impl Wanted {
    /// A value with exactly these bytes.
    pub fn exact(value: impl AsRef<[u8]>) -> Self {
        Self::Exact(value.as_ref().into())
    }

    /// Any value that as a whole is of an expression in RE2's syntax. It takes time in proportion to the value, whatever it says.
    ///
    /// # Errors
    /// It does not parse, or is too large.
    pub fn pattern(expression: &str) -> Result<Self, String> {
        let build = |it: &str| {
            let built = RegexBuilder::new(it).size_limit(PATTERN_SIZE_MAX).dfa_size_limit(PATTERN_SIZE_MAX).build();
            built.map_err(|error| error.to_string())
        };
        // By itself first: parentheses that do not match must not pair with those around it.
        build(expression)?;
        build(&format!("^(?:{expression})$")).map(Self::Pattern)
    }

    /// Whether a value fits.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *value,
            Self::Pattern(pattern) => pattern.is_match(value),
        }
    }
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) => one == other,
            (Self::Pattern(one), Self::Pattern(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Wanted {}

/// What happens to the requests of one rule.
#[derive(Clone, Debug)]
pub struct Action<B> {
    /// `namespace/name` of the route, for messages and counts.
    pub route: Arc<str>,
    /// Changes to the request's headers.
    pub request_headers: HeaderChange,
    /// Changes to the response's headers.
    pub response_headers: HeaderChange,
    /// Answer with a redirect; backends are then not asked.
    pub redirect: Option<Redirect>,
    /// Change host or path before forwarding.
    pub rewrite: Option<Rewrite>,
    /// Where requests go, by weight.
    pub backends: Vec<Backend<B>>,
    /// Where copies of requests go, whose responses nobody sees.
    pub mirrors: Vec<Mirror<B>>,
    /// Longest time to the end of the response.
    pub timeout: Option<Duration>,
}

impl<B> Action<B> {
    /// Forwards to `backends` and changes nothing.
    pub fn forward(route: Arc<str>, backends: Vec<Backend<B>>) -> Self {
        Self {
            route,
            request_headers: HeaderChange::default(),
            response_headers: HeaderChange::default(),
            redirect: None,
            rewrite: None,
            backends,
            mirrors: Vec::new(),
            timeout: None,
        }
    }
}

/// A destination of copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror<B> {
    /// Of so many requests …
    pub denominator: u32,
    /// … so many are copied.
    pub numerator: u32,
    /// Where to.
    pub target: B,
}

impl<B> Mirror<B> {
    /// Whether the request that `random` belongs to is copied.
    pub fn takes(&self, random: u64) -> bool {
        random % u64::from(self.denominator.max(1)) < u64::from(self.numerator)
    }
}

/// One destination of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend<B> {
    /// Share of the rule's requests, relative to the other backends; zero gets none.
    pub weight: u32,
    /// The destination, or why there is none. Requests that fall on an invalid one are answered with 500.
    pub target: Result<B, Arc<str>>,
}
