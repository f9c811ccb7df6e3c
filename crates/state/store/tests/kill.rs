//! `kill -9` at any instant loses no acknowledged write and never leaves a torn one.
//!
//! The test runs itself again as a process that writes as fast as it can and reports each write before and after, kills
//! it, opens what it left, and compares. `EYOT_KILLS` and `EYOT_SEED` change how often, and with which choices.

mod common;

use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{options, pod};
use eyot_store::{Entry, EventKind, Options, Page, Revision, Scope, Store, Write};

const KILLS: u64 = 300;
/// On a busy machine the test ends after so long, if there were at least 100 kills; not when `EYOT_KILLS` is set.
const PATIENCE: Duration = Duration::from_secs(60);
const KEYS_PER_WRITER: u64 = 4;
const DIR: &str = "EYOT_STORE_KILL_DIR";
const SEED: &str = "EYOT_SEED";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let it = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A value that tells all it must be: any other content under its header is torn.
fn value(name: &str, token: u64, revision: Revision) -> Bytes {
    let mut random = Random(token ^ revision.0);
    let mut value = format!("{name} {token} {revision}\n").into_bytes();
    for _ in 0..token % 400 {
        value.extend(random.next().to_le_bytes());
    }
    value.into()
}

/// Token of a whole value; panics on a torn one.
fn check_value(name: &str, entry: &Entry) -> u64 {
    let header = entry.value.split(|it| *it == b'\n').next().unwrap();
    let header = String::from_utf8(header.to_vec()).unwrap();
    let token = header.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(entry.value == value(name, token, entry.revision), "{name} is torn: {header}");
    token
}

/// Little history, so that rows are deleted all the time.
fn child_options() -> Options {
    Options { history_events_max: 64, ..options() }
}

#[test]
fn kill_minus_nine_loses_no_acknowledged_write() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    if let Some(dir) = std::env::var_os(DIR) {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return threads.block_on(write_until_killed(dir.as_ref(), number(SEED).unwrap()));
    }
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = number(SEED).unwrap_or(clock);
    eprintln!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let (mut random, mut model, start) = (Random(seed), Model::default(), Instant::now());
    let (wanted, mut kills) = (number("EYOT_KILLS"), 0);
    while kills < wanted.unwrap_or(KILLS) {
        let lines = one_life(dir.path(), &mut random);
        model.learn(&lines);
        model.check(dir.path());
        kills += 1;
        if wanted.is_none() && kills >= 100 && start.elapsed() > PATIENCE {
            break;
        }
    }
    eprintln!(
        "{kills} kills, {} acknowledged writes checked ({} unacknowledged ones had happened), {:.1} s",
        model.revisions.len(),
        model.surprises,
        start.elapsed().as_secs_f64()
    );
    assert!(model.revisions.len() as u64 > kills, "the load was too light to prove anything");
}

/// Starts a writer, kills it at a random instant, and gives what it reported.
fn one_life(dir: &Path, random: &mut Random) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_minus_nine_loses_no_acknowledged_write", "--nocapture"])
        .env(DIR, dir)
        .env(SEED, random.next().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (ready, lines) = drain(&mut child);
    ready.recv_timeout(Duration::from_secs(120)).expect("the writer begins");
    std::thread::sleep(Duration::from_micros(random.below(90_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.join().unwrap()
}

/// Collects a child's reports so that it never waits for us; the channel tells when it is ready.
fn drain(child: &mut Child) -> (mpsc::Receiver<()>, std::thread::JoinHandle<Vec<String>>) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (begin, ready) = mpsc::channel();
    let lines = std::thread::spawn(move || {
        let (mut lines, mut line) = (Vec::new(), String::new());
        // A report is one write to the pipe, so that only a whole line was sent.
        while output.read_line(&mut line).is_ok_and(|it| it > 0) && line.ends_with('\n') {
            if line.starts_with("ready") {
                let _ = begin.send(());
            }
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        lines
    });
    (ready, lines)
}

async fn write_until_killed(dir: &Path, seed: u64) {
    let store = Store::open(dir, child_options()).unwrap();
    let mut random = Random(seed);
    report(&format!("ready {}", store.revision()));
    let writers = 16 + random.below(49);
    let gate = Arc::new(tokio::sync::RwLock::new(()));
    for writer in 0..writers {
        let (store, gate, random) = (store.clone(), gate.clone(), Random(random.next()));
        tokio::spawn(write_for_ever(store, gate, writer, random));
    }
    loop {
        tokio::time::sleep(Duration::from_micros(random.below(40_000))).await;
        // A pause, in which the store deletes rows.
        let _pause = gate.write().await;
        tokio::time::sleep(Duration::from_micros(random.below(80_000))).await;
        if random.below(4) == 0 {
            store.compact(store.revision()).await.unwrap();
        }
    }
}

async fn write_for_ever(store: Store, gate: Arc<tokio::sync::RwLock<()>>, writer: u64, mut random: Random) {
    loop {
        let name = format!("w{writer}k{}", random.below(KEYS_PER_WRITER));
        let (token, made) = (random.next(), name.clone());
        let produce = move |revision| value(&made, token, revision);
        let (operation, write) = match store.get(&pod(&name)) {
            None => ("create", Write::create(pod(&name), produce)),
            Some(_) if random.below(4) == 0 => ("delete", Write::delete(pod(&name), None, produce)),
            Some(it) => ("update", Write::update(pod(&name), it.revision, produce)),
        };
        let _open = gate.read().await;
        report(&format!("try {operation} {name} {token}"));
        let entry = store.write(write).await.unwrap();
        report(&format!("done {operation} {name} {token} {}", entry.revision));
    }
}

fn report(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What a key may hold: the acknowledged state, or that after the write that was under way.
#[derive(Default)]
struct Known {
    /// Token and revision of the value; `None` when there is none.
    acknowledged: Option<(u64, Revision)>,
    /// Token that the write under way would leave, `None` for a delete.
    under_way: Option<Option<u64>>,
}

/// Everything that writers reported.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, Known>,
    revisions: HashSet<Revision>,
    newest: Revision,
    /// Unacknowledged writes that had happened.
    surprises: u64,
    /// State and revision at the last check, to replay history upon.
    before: BTreeMap<String, Bytes>,
    checked: Revision,
}

impl Model {
    fn learn(&mut self, lines: &[String]) {
        let mut opened = Revision(0);
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "ready" => opened = Revision(number(1)),
                "try" => {
                    let known = self.keys.entry(words[2].to_owned()).or_default();
                    known.under_way = Some((words[1] != "delete").then(|| number(3)));
                }
                "done" => {
                    let (token, revision) = (number(3), Revision(number(4)));
                    assert!(revision > opened, "{line} after an open at {opened}");
                    assert!(self.revisions.insert(revision), "revision {revision} twice");
                    self.newest = self.newest.max(revision);
                    let known = self.keys.get_mut(words[2]).expect("a try before");
                    known.acknowledged = (words[1] != "delete").then_some((token, revision));
                    known.under_way = None;
                }
                // What the test harness prints.
                _ => {}
            }
        }
    }

    /// Opens what is left, and compares every key with what was reported.
    fn check(&mut self, dir: &Path) {
        let store = Store::open(dir, child_options()).unwrap();
        assert!(store.revision() >= self.newest, "{} of {}", store.revision(), self.newest);
        let list = store.list(&Scope::all("/pods"), &Page::default()).unwrap();
        let mut found: BTreeMap<String, (u64, Revision)> = BTreeMap::new();
        for entry in &list.entries {
            let name = entry.key.name.to_string();
            found.insert(name.clone(), (check_value(&name, entry), entry.revision));
        }
        assert!(found.keys().all(|it| self.keys.contains_key(it)), "an object nobody wrote");
        for (name, known) in &mut self.keys {
            let found = found.get(name).copied();
            if found != known.acknowledged {
                let under_way = known
                    .under_way
                    .unwrap_or_else(|| panic!("{name}: {found:?}, acknowledged {:?}", known.acknowledged));
                assert_eq!(found.map(|it| it.0), under_way, "{name}: acknowledged {:?}", known.acknowledged);
                assert!(found.is_none_or(|it| self.revisions.insert(it.1)), "{name}: revision used twice");
                self.surprises += 1;
            }
            *known = Known { acknowledged: found, under_way: None };
        }
        self.replay(&store, &list.entries);
        self.checked = store.revision();
        self.newest = self.checked;
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        threads.block_on(store.close());
    }

    /// If history reaches back to the last check, it leads from the state then to the state now.
    fn replay(&mut self, store: &Store, now: &[Arc<Entry>]) {
        let now: BTreeMap<String, Bytes> = now.iter().map(|it| (it.key.name.to_string(), it.value.clone())).collect();
        let then = std::mem::replace(&mut self.before, now);
        let Ok(mut watch) = store.watch(&Scope::all("/pods"), self.checked, 1) else { return };
        let mut state = then;
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while let Ok(Some(event)) = threads.block_on(async { tokio::time::timeout(Duration::ZERO, watch.next()).await })
        {
            let event = event.unwrap();
            let name = event.key().name.to_string();
            match event.kind {
                EventKind::Deleted => state.remove(&name),
                EventKind::Created | EventKind::Updated => state.insert(name, event.entry.value.clone()),
            };
        }
        assert_eq!(state.keys().collect::<Vec<_>>(), self.before.keys().collect::<Vec<_>>());
        assert!(state == self.before, "history leads elsewhere");
    }
}
