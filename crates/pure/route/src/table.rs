//! Routes compiled for lookup: by host, then by path, then in order of precedence.

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    Action, Asked, HostPattern, Match, PathMatch, Route,
    conditions::Conditions,
    path::{prefixes, trimmed},
};

/// Answers which rule takes a request.
///
/// Of all rules that fit, the one wins whose host is the most specific (an exact name, then the longest wildcard), then
/// whose path is (exact, then the longest prefix), then one with a method, then the one with most headers, then with
/// most query parameters, then the oldest route, then the first by name, then the first in the route. A lookup
/// allocates nothing.
///
/// A copy shares what it has with its original, and changing one route of it copies little: what is changed while others
/// read is a copy, put in the place of the original.
#[derive(Debug)]
pub struct Table<B> {
    /// In parts by a hash of the name, so that a change copies a part.
    exact: Box<[Arc<Hosts<B>>]>,
    /// Keyed by suffix, with the leading dot.
    wildcard: Arc<Hosts<B>>,
    any: Arc<Paths<B>>,
    fallback: Arc<Paths<B>>,
}

type Hosts<B> = HashMap<Box<str>, Arc<Paths<B>>>;

/// Parts of the exact hosts. With 10,000 of them a change copies forty.
const PARTS: usize = 256;

/// The rule that takes a request.
#[derive(Debug)]
pub struct Found<'a, B> {
    /// What to do.
    pub action: &'a Arc<Action<B>>,
    /// How many bytes of the path the rule's prefix matched; the whole path for an exact match.
    pub matched: usize,
    /// `namespace/name` of the Gateway that it came through; empty where there is none.
    pub via: &'a str,
}

#[derive(Debug)]
struct Paths<B> {
    exact: HashMap<Box<str>, Vec<Entry<B>>>,
    /// Keyed without trailing slash.
    prefix: HashMap<Box<str>, Vec<Entry<B>>>,
    prefix_longest: usize,
}

#[derive(Debug)]
struct Entry<B> {
    conditions: Conditions,
    one_label: bool,
    except: Box<[HostPattern]>,
    via: Arc<str>,
    age: Age,
    action: Arc<Action<B>>,
}

/// Which of two equally specific entries goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    created: i64,
    route: Arc<str>,
    rule: usize,
    alternative: usize,
}

impl<B> Default for Paths<B> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefix: HashMap::new(), prefix_longest: 0 }
    }
}

impl<B> Default for Table<B> {
    fn default() -> Self {
        let exact = (0..PARTS).map(|_| Arc::default()).collect();
        Self { exact, wildcard: Arc::default(), any: Arc::default(), fallback: Arc::default() }
    }
}

impl<B> Clone for Table<B> {
    fn clone(&self) -> Self {
        let (wildcard, any, fallback) = (self.wildcard.clone(), self.any.clone(), self.fallback.clone());
        Self { exact: self.exact.clone(), wildcard, any, fallback }
    }
}

impl<B> Clone for Paths<B> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), prefix: self.prefix.clone(), prefix_longest: self.prefix_longest }
    }
}

impl<B> Clone for Entry<B> {
    fn clone(&self) -> Self {
        Self {
            conditions: self.conditions.clone(),
            one_label: self.one_label,
            except: self.except.clone(),
            via: self.via.clone(),
            age: self.age.clone(),
            action: self.action.clone(),
        }
    }
}

impl<B> Table<B> {
    /// Compiles `routes`, in any order.
    pub fn compile<'a>(routes: impl IntoIterator<Item = &'a Route<B>>) -> Self
    where
        B: 'a,
    {
        let mut table = Self::default();
        for route in routes {
            table.add(route);
        }
        let hosts = table.exact.iter_mut().chain([&mut table.wildcard]).flat_map(|it| Arc::make_mut(it).values_mut());
        hosts.chain([&mut table.any, &mut table.fallback]).for_each(|it| Arc::make_mut(it).sort());
        table
    }

    /// Puts `new` in the place of `old`, which has to be as it was when it came into the table.
    pub fn replace(&mut self, old: Option<&Route<B>>, new: Option<&Route<B>>) {
        if let Some(old) = old {
            for scope in &old.hosts {
                self.remove(old, &scope.pattern);
            }
        }
        if let Some(new) = new {
            self.add(new);
            for scope in &new.hosts {
                self.paths(new.fallback, &scope.pattern).sort();
            }
        }
    }

    fn remove(&mut self, route: &Route<B>, pattern: &HostPattern) {
        let paths = self.paths(route.fallback, pattern);
        paths.remove(&route.name);
        if !paths.is_empty() {
            return;
        }
        match pattern {
            _ if route.fallback => {}
            HostPattern::Exact(name) => drop(Arc::make_mut(&mut self.exact[part(name)]).remove(name)),
            HostPattern::Wildcard { suffix, .. } => drop(Arc::make_mut(&mut self.wildcard).remove(suffix)),
            HostPattern::Any => {}
        }
    }

    fn add(&mut self, route: &Route<B>) {
        let everything = [Match::path(PathMatch::Prefix("/".into()))];
        for (rule_at, rule) in route.rules.iter().enumerate() {
            let matches = if rule.matches.is_empty() { &everything[..] } else { &rule.matches[..] };
            for (alternative, one) in matches.iter().enumerate() {
                let age = Age { created: route.created, route: route.name.clone(), rule: rule_at, alternative };
                for scope in &route.hosts {
                    let one_label = matches!(scope.pattern, HostPattern::Wildcard { one_label: true, .. });
                    let entry = Entry {
                        conditions: Conditions::of(one),
                        one_label,
                        except: scope.except.clone().into(),
                        via: scope.via.clone(),
                        age: age.clone(),
                        action: rule.action.clone(),
                    };
                    self.paths(route.fallback, &scope.pattern).add(&one.path, entry);
                }
            }
        }
    }

    fn paths(&mut self, fallback: bool, pattern: &HostPattern) -> &mut Paths<B> {
        let paths = match pattern {
            _ if fallback => &mut self.fallback,
            HostPattern::Exact(name) => Arc::make_mut(&mut self.exact[part(name)]).entry(name.clone()).or_default(),
            HostPattern::Wildcard { suffix, .. } => {
                Arc::make_mut(&mut self.wildcard).entry(suffix.clone()).or_default()
            }
            HostPattern::Any => &mut self.any,
        };
        Arc::make_mut(paths)
    }

    /// The rule that takes the request, if any does.
    pub fn find(&self, asked: &Asked<'_>) -> Option<Found<'_, B>> {
        if let Some(found) = self.exact[part(asked.host)].get(asked.host).and_then(|it| it.find(asked, false)) {
            return Some(found);
        }
        if !self.wildcard.is_empty()
            && let Some(found) = self.find_wildcard(asked)
        {
            return Some(found);
        }
        self.any.find(asked, false).or_else(|| self.fallback.find(asked, false))
    }

    fn find_wildcard(&self, asked: &Asked<'_>) -> Option<Found<'_, B>> {
        let dots = asked.host.char_indices().filter(|(at, byte)| *byte == '.' && *at > 0);
        dots.enumerate().find_map(|(labels_before, (at, _))| {
            self.wildcard.get(&asked.host[at..]).and_then(|it| it.find(asked, labels_before > 0))
        })
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        let no_host = self.exact.iter().all(|it| it.is_empty()) && self.wildcard.is_empty();
        no_host && self.any.is_empty() && self.fallback.is_empty()
    }
}

/// The part of the exact hosts that a name is in.
fn part(host: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    hasher.finish() as usize % PARTS
}

impl<B> Paths<B> {
    fn add(&mut self, path: &PathMatch, entry: Entry<B>) {
        let entries = match path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default(),
            PathMatch::Prefix(prefix) => {
                let prefix = trimmed(prefix);
                self.prefix_longest = self.prefix_longest.max(prefix.len());
                self.prefix.entry(prefix.into()).or_default()
            }
        };
        entries.push(entry);
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty()
    }

    /// Takes out what a route brought in.
    fn remove(&mut self, route: &str) {
        for entries in [&mut self.exact, &mut self.prefix] {
            entries.retain(|_, entries| {
                entries.retain(|it| *it.age.route != *route);
                !entries.is_empty()
            });
        }
        self.prefix_longest = self.prefix.keys().map(|it| it.len()).max().unwrap_or(0);
    }

    fn sort(&mut self) {
        for entries in self.exact.values_mut().chain(self.prefix.values_mut()) {
            entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
            // Mostly there is one, and a vector makes room for four.
            entries.shrink_to_fit();
        }
    }

    fn find(&self, asked: &Asked<'_>, several_labels: bool) -> Option<Found<'_, B>> {
        let first = |entries: &'_ [Entry<B>]| entries.iter().position(|it| it.takes(asked, several_labels));
        if let Some(entries) = self.exact.get(asked.path)
            && let Some(at) = first(entries)
        {
            return Some(entries[at].found(asked.path.len()));
        }
        if self.prefix.is_empty() {
            return None;
        }
        prefixes(asked.path, self.prefix_longest).find_map(|prefix| {
            let entries = self.prefix.get(prefix)?;
            let at = first(entries)?;
            Some(entries[at].found(prefix.len()))
        })
    }
}

impl<B> Entry<B> {
    fn found(&self, matched: usize) -> Found<'_, B> {
        Found { action: &self.action, matched, via: &self.via }
    }

    fn rank(&self) -> (Reverse<bool>, Reverse<usize>, Reverse<usize>, &Age) {
        let Conditions { method, headers, query } = &self.conditions;
        (Reverse(method.is_some()), Reverse(headers.len()), Reverse(query.len()), &self.age)
    }

    fn takes(&self, asked: &Asked<'_>, several_labels: bool) -> bool {
        !(self.one_label && several_labels)
            && self.conditions.hold(asked)
            && !self.except.iter().any(|it| it.matches(asked.host))
    }
}
