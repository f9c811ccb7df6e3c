//! Reads the data of migrations and checks it: whoever holds a [`Book`] has steps between all that it names, and words
//! for every finding. Entry points: [`Book::parse`], [`FILES`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::de::DeserializeOwned;

use super::{
    book::{Book, Saying},
    combination::LAYERS,
};
use crate::{
    flaw::{Flaw, Flaws},
    reason::Reason,
    tree::{Node, Position, Tree, closest, misfit, parse},
};

/// The built-in files, by the names that they have in a catalogue's folder: the moves, and the words of findings.
pub const FILES: [(&str, &str); 2] = [
    ("migration/moves.yaml", include_str!("../../catalog/migration/moves.yaml")),
    ("migration/findings.yaml", include_str!("../../catalog/migration/findings.yaml")),
];

/// What rules say; a test compares the built-in words with the rules.
static RULES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let sayings: Vec<Saying> = serde_saphyr::from_str(FILES[1].1).unwrap_or_default();
    sayings.into_iter().map(|it| it.id).collect()
});

static EMBEDDED: LazyLock<Result<Book, Vec<Flaw>>> = LazyLock::new(|| Book::parse(FILES[0], FILES[1]));

impl Book {
    /// What is built in; read once.
    ///
    /// # Panics
    /// If an embedded file is flawed, which a test rules out.
    pub fn embedded() -> &'static Self {
        match &*EMBEDDED {
            Ok(book) => book,
            Err(flaws) => panic!("the embedded moves are flawed: {}", flaws[0]),
        }
    }

    /// Reads the files of [`FILES`], each given by name and text.
    ///
    /// # Errors
    /// Every flaw, with its place.
    pub fn parse(moves: (&str, &str), findings: (&str, &str)) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let book: Option<(Self, Node)> = read(moves, &mut flaws);
        let sayings: Option<(Vec<Saying>, Node)> = read(findings, &mut flaws);
        let (Some((mut book, moved)), Some((sayings, said))) = (book, sayings) else { return Err(flaws.into_sorted()) };
        let mut check = Check { file: moves.0, node: &moved, flaws: &mut flaws, names: BTreeMap::new() };
        check.names(&book);
        check.parts(&book);
        check.moves(&book);
        Check { file: findings.0, node: &said, flaws: &mut flaws, names: BTreeMap::new() }.sayings(&sayings);
        book.sayings = sayings;
        if flaws.is_empty() { Ok(book) } else { Err(flaws.into_sorted()) }
    }
}

/// A file as values, and as a tree that knows where they stand.
fn read<T: DeserializeOwned>((file, text): (&str, &str), flaws: &mut Flaws) -> Option<(T, Node)> {
    let options = serde_saphyr::options! { with_snippet: false };
    let tree = parse(file, text).map_err(|flaw| flaws.push(*flaw)).ok()?;
    let value = serde_saphyr::from_str_with_options(text, options);
    Some((value.map_err(|error| flaws.push(misfit(file, &error))).ok()?, tree))
}

struct Check<'a, 'f> {
    file: &'a str,
    node: &'a Node,
    flaws: &'f mut Flaws,
    /// The layer of each technology.
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Check<'a, '_> {
    /// Reports what stands at a path of keys and places in lists.
    fn add(&mut self, path: &[&str], reason: Reason) {
        let at = place(self.node, path);
        self.flaws.add(self.file, at, reason);
    }

    fn unknown<'k>(&mut self, path: &[&str], name: &str, known: impl Iterator<Item = &'k str>) {
        let meant = closest(name, known);
        self.add(path, Reason::UnknownName { name: name.to_owned(), meant });
    }

    fn layer(&mut self, path: &[&str], layer: &str) {
        if !LAYERS.contains(&layer) {
            self.unknown(path, layer, LAYERS.into_iter());
        }
    }

    /// A technology that some layer must have; any layer if none is said.
    fn part(&mut self, path: &[&str], layer: Option<&str>, id: &str) {
        let fits = |of: &&str| layer.is_none_or(|layer| layer == *of);
        if !self.names.get(id).is_some_and(fits) {
            let known: Vec<&str> = self.names.iter().filter(|it| fits(it.1)).map(|it| *it.0).collect();
            self.unknown(path, id, known.into_iter());
        }
    }

    fn names(&mut self, book: &'a Book) {
        let mut seen = BTreeSet::new();
        for (at, name) in book.names.iter().enumerate() {
            let path = ["names", &at.to_string()];
            self.layer(&path, &name.layer);
            for text in std::iter::once(&name.id).chain(&name.aliases) {
                if !seen.insert(text) {
                    self.add(&path, Reason::NameTwice { name: text.clone() });
                }
            }
            self.names.insert(&name.id, &name.layer);
        }
    }

    /// What orchestrators bring, stages have, and the matrix compares.
    fn parts(&mut self, book: &Book) {
        for (orchestrator, parts) in &book.usual {
            self.part(&["usual", orchestrator], Some("orchestration"), orchestrator);
            for (layer, id) in parts {
                self.part(&["usual", orchestrator, layer], Some(layer), id);
            }
        }
        for (at, stage) in book.stages.iter().enumerate() {
            for (layer, id) in &stage.has {
                self.part(&["stages", &at.to_string(), "has", layer], Some(layer), id);
            }
        }
        for (at, row) in book.compatibility.iter().enumerate() {
            let at = at.to_string();
            self.part(&["compatibility", &at, "orchestration"], Some("orchestration"), &row.orchestration);
            self.part(&["compatibility", &at, "runtime"], Some("runtime"), &row.runtime);
        }
    }

    fn moves(&mut self, book: &Book) {
        for (at, way) in book.moves.iter().enumerate() {
            let at = at.to_string();
            let layer = Some(way.layer.as_str()).filter(|it| *it != "*");
            layer.into_iter().for_each(|it| self.layer(&["moves", &at, "layer"], it));
            for (end, ids) in [("from", &way.from), ("to", &way.to)] {
                ids.iter().filter(|it| *it != "*").for_each(|it| self.part(&["moves", &at, end], layer, it));
            }
            if way.steps.is_empty() {
                self.add(&["moves", &at], Reason::KeyMissing { key: "steps".to_owned() });
            }
            for (step, when) in way.steps.iter().enumerate().filter_map(|it| Some((it.0, it.1.when.as_ref()?))) {
                self.layer(&["moves", &at, "steps", &step.to_string(), "when"], when);
            }
        }
        let pairs = book.names.iter().flat_map(|from| book.names.iter().map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from.layer == to.layer && from.id != to.id) {
            if book.steps(&to.layer, Some(&from.id), &to.id).is_none() {
                self.add(&["moves"], Reason::NoWay { from: from.id.clone(), to: to.id.clone() });
            }
        }
    }

    /// Rules look their words up: each must be there, and what no rule says never would be.
    fn sayings(&mut self, sayings: &[Saying]) {
        let mut missing: BTreeSet<&str> = RULES.iter().map(String::as_str).collect();
        for (at, saying) in sayings.iter().enumerate() {
            let (path, id) = ([&*at.to_string()], saying.id.as_str());
            if !RULES.contains(id) {
                self.unknown(&path, id, RULES.iter().map(String::as_str));
            } else if !missing.remove(id) {
                self.add(&path, Reason::NameTwice { name: id.to_owned() });
            }
        }
        missing.into_iter().for_each(|it| self.add(&[], Reason::KeyMissing { key: it.to_owned() }));
    }
}

/// Where the value at a path stands, or the last of its parents that is there.
fn place(node: &Node, path: &[&str]) -> Position {
    let Some((first, rest)) = path.split_first() else { return node.at };
    let next = match &node.value {
        Tree::Map(entries) => entries.iter().find(|it| it.0 == *first).map(|it| &it.2),
        Tree::List(items) => first.parse::<usize>().ok().and_then(|it| items.get(it)),
        _ => None,
    };
    next.map_or(node.at, |it| place(it, rest))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// What is said about the built-in files with something else in place of a text of them.
    #[track_caller]
    fn check(what: &str, instead: &str, want: Expect) {
        let [moves, findings] = FILES.map(|(name, text)| (name, text.replace(what, instead)));
        assert!(FILES.iter().any(|it| it.1.contains(what)), "{what}");
        let read = Book::parse((moves.0, &moves.1), (findings.0, &findings.1));
        let flaws = read.err().unwrap_or_default();
        want.assert_eq(&flaws.iter().take(2).map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn what_is_built_in_is_sound() {
        assert!(Book::embedded().names.len() > 10);
    }

    #[test]
    fn flaws_are_told_with_their_place() {
        check(
            "{id: calico, layer: network,",
            "{id: calico, layer: net,",
            expect![[r#"
            migration/moves.yaml:17:5: nothing is called "net"
            migration/moves.yaml:31:57: nothing is called "calico"; did you mean "cilium"?"#]],
        );
        check("aliases: [k8s]", "aliases: [k3s]", expect![[r#"migration/moves.yaml:7:5: "k3s" is there twice"#]]);
        check(
            "    from: [docker-host]",
            "    from: [docker-hots]",
            expect![[r#"migration/moves.yaml:149:11: nothing is called "docker-hots"; did you mean "docker-host"?"#]],
        );
        check(
            "has: {orchestration: docker-host,",
            "has: {orchestration: dockerhost,",
            expect![[r#"migration/moves.yaml:50:26: nothing is called "dockerhost"; did you mean "docker-host"?"#]],
        );
        check(
            "        when: storage",
            "        when: disk",
            expect![[r#"migration/moves.yaml:92:15: nothing is called "disk""#]],
        );
        check(
            "- id: shell\n",
            "- id: shel\n",
            expect![[r#"
            migration/findings.yaml:4:1: shell is missing
            migration/findings.yaml:19:3: nothing is called "shel"; did you mean "shell"?"#]],
        );
        check(
            "- id: shell\n  weight: change",
            "- id: shell\n  weight: heavy",
            expect![
                "migration/findings.yaml:20:11: not what belongs here: unknown variant `heavy`, expected one of blocks, change, look"
            ],
        );
        check(
            "    source: eyot\n    steps:",
            "    sauce: eyot\n    steps:",
            expect![
                "migration/moves.yaml:165:5: not what belongs here: unknown field `sauce`, expected one of layer, from, to, source, steps"
            ],
        );
        check(
            "  - layer: \"*\"",
            "  - layer: mesh",
            expect![[r#"
            migration/moves.yaml:76:3: no move leads from docker-host to kubeedge
            migration/moves.yaml:76:3: no move leads from kubernetes to docker-host"#]],
        );
        check(
            "names:\n",
            "names: [\n",
            expect![[r#"migration/moves.yaml:5:3: not YAML: "-" is only valid inside a block"#]],
        );
    }
}
