//! Guests that nobody wrote, under the limits that hold everybody: the host neither falls nor hangs nor grows, and both
//! compilers mean the same by the same code.
//!
//! `EYOT_HOSTILE_CASES=N` runs N times as many. The fuzz targets `module`, `service` and `calls` do the same for ever.

mod hostility;

use eyot_runtime::describe;
use hostility::{Arena, caller, command, component, noise, resident, service};

/// How much more of this process may be resident after the many than after the first few: what allocators and caches keep.
const GROWTH_MAX: u64 = 96 << 20;

fn times() -> u64 {
    std::env::var("EYOT_HOSTILE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// Runs `one` for each case, and looks at memory between the first quarter and the end.
async fn each(cases: u64, mut one: impl AsyncFnMut(u64)) {
    let cases = cases * times();
    let mut before = 0;
    for case in 0..cases {
        one(case).await;
        if case == cases / 4 {
            before = resident();
        }
    }
    let after = resident();
    assert!(after < before + GROWTH_MAX, "resident memory went from {before} to {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_nobody_wrote_stay_within_their_limits() {
    let arena = Arena::new(false).await;
    let mut ran = 0;
    each(200, async |case| {
        let Some(wasm) = command(&noise(case, 3000)) else { return };
        ran += usize::from(arena.run(&format!("command-{case}"), &wasm).await);
    })
    .await;
    arena.neighbour_answers().await;
    assert!(ran >= 40, "only {ran} could be loaded");
}

#[tokio::test]
async fn components_that_nobody_wrote_are_described_and_refused() {
    let arena = Arena::new(false).await;
    let mut described = 0;
    each(200, async |case| {
        let Some(wasm) = component(&noise(case, 2000)) else { return };
        described += usize::from(describe(&wasm).is_ok());
        let (answer, _) = arena.ask(&format!("component-{case}"), &wasm).await;
        assert!(answer.is_err(), "none has an entry point: {answer:?}");
    })
    .await;
    assert!(described >= 50, "only {described} could be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_compilers_mean_the_same() {
    let (hurried, optimised) = (Arena::new(true).await, Arena::new(false).await);
    let (mut compared, mut answered) = (0, 0);
    each(150, async |case| {
        let Some(wasm) = service(&noise(case, 3000)) else { return };
        let name = format!("service-{case}");
        let ((early, is_early), (late, _)) = (hurried.ask(&name, &wasm).await, optimised.ask(&name, &wasm).await);
        // Their frames differ in size, and so the depth at which a stack ends.
        let is_deep = |it: &Result<String, _>| it.as_ref().is_ok_and(|it| it.contains("stack"));
        if !is_deep(&early) && !is_deep(&late) {
            assert_eq!(early, late, "{name}");
            compared += usize::from(is_early);
            answered += usize::from(late.is_ok_and(|it| it.starts_with("200")));
        }
    })
    .await;
    hurried.neighbour_answers().await;
    optimised.neighbour_answers().await;
    assert!(compared >= 40 && answered >= 5, "only {compared} were compared, and {answered} returned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_nobody_would_make_harm_nobody_where_instances_are_reused() {
    let arena = Arena::new(false).await;
    let mut answered = 0;
    each(60, async |case| {
        let Some((wasm, _)) = caller(&noise(case, 1200)) else { return };
        answered += arena.ask_often(&format!("often-{case}"), &wasm).await.unwrap_or(0);
        arena.neighbour_answers().await;
    })
    .await;
    assert!(answered >= 5, "only {answered} came as far as an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_nobody_would_make_harm_nobody() {
    let arena = Arena::new(true).await;
    let mut answered = 0;
    each(300, async |case| {
        let Some((wasm, calls)) = caller(&noise(case, 1200)) else { return };
        let (answer, _) = arena.ask(&format!("calls-{case}"), &wasm).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{calls}"));
        assert!(!answer.contains("lost"), "the host fell: {answer}\n{calls}");
        answered += usize::from(answer.as_bytes()[0].is_ascii_digit());
        arena.neighbour_answers().await;
    })
    .await;
    assert!(answered >= 5, "only {answered} came as far as an answer");
}
