//! What is wrong with a catalogue is told at its place.

use expect_test::{Expect, expect};
use eyot_advise::{Catalog, catalog::FILES};

/// The embedded files with one more.
fn flaws(extra: &str, expected: Expect) {
    let files = FILES.iter().copied().chain([("own.yaml", extra)]);
    let flaws = Catalog::parse(files).expect_err("flawed");
    expected.assert_eq(&flaws.iter().map(|it| format!("{it}\n")).collect::<String>());
}

#[test]
fn entries_are_checked_key_by_key() {
    flaws(
        "technologies:\n  - id: nomad\n    layer: orchestrator\n    specs:\n      nodes: [{value: 1..10ms, source: here}]\n      speed: [{value: 3, source: here}]\n    stars: {resources: 6}\n    needs: {storage: [raft]}\n    color: red\n",
        expect![[r#"
            own.yaml:2:5: nothing is called "raft"
            own.yaml:3:12: nothing is called "orchestrator"; did you mean "orchestration"?
            own.yaml:5:23: nodes: "1..10ms" is a duration such as 10ms, 30s or 30d, and nodes is a number
            own.yaml:6:7: nothing is called "speed"
            own.yaml:7:24: resources: there are five stars at most
            own.yaml:9:5: unknown key "color"
        "#]],
    );
}

#[test]
fn conditions_are_checked_to_the_character() {
    flaws(
        "trees:\n  - id: own\n    source: here\n    rules:\n      - {when: nodes > 10 and, choose: {storage: [etcd]}}\n      - {when: nodez > 10, choose: {storage: [etcd]}}\n      - {when: kind == edgy, choose: {storage: [etcd]}}\n      - {when: (edge or large, choose: {storage: [k3s]}}\n",
        expect![[r#"
            own.yaml:5:30: the condition ends too early
            own.yaml:6:16: "nodez" is neither a key nor a fact; did you mean "nodes"?
            own.yaml:7:21: kind cannot be compared as "== edgy"
            own.yaml:8:9: nothing is called "k3s"
            own.yaml:8:30: the condition ends too early
        "#]],
    );
}

#[test]
fn measurements_join_the_technology_that_they_are_of() {
    let own = "measured:\n  - {technology: sqlite, metric: latency, value: 0.2ms, with: it, on: here, date: 2026-11, source: there}\n";
    let catalog = Catalog::parse(FILES.iter().copied().chain([("own.yaml", own)])).expect("sound");
    let sqlite = catalog.technology("sqlite").expect("it");
    let stated = sqlite.specs.values().find(|it| it.metric.word() == "latency").and_then(|it| it.effective());
    assert!(stated.is_some_and(|it| it.range.to_string() == "200us"));
    flaws(
        "measured:\n  - {technology: sqlight, metric: latency, value: 2GB, with: it, on: here, date: 2026-11}\n",
        expect![[r#"
            own.yaml:2:5: source is missing
            own.yaml:2:51: value: "2GB" is a size such as 512MB or 4GB, and value is a duration such as 10ms, 30s or 30d
        "#]],
    );
}

#[test]
fn a_catalogue_with_an_empty_layer_is_refused() {
    let flaws = Catalog::parse([("own.yaml", "technologies: []\n")]).expect_err("flawed");
    assert_eq!(flaws.len(), 10);
}
