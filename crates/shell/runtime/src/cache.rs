//! Compiled code on disk.
//!
//! A file is what wasmtime's compiler wrote, then a [`Trailer`] of ours: the code comes first because wasmtime maps the
//! file as it is. Files are written beside their place and renamed into it, so a reader sees a whole file or none. The
//! checksum finds broken disks and foreign files, not attackers: whoever can write here can also write checksums.
//!
//! Start at [`Cache::open`]. The directory of each engine is named by what its code depends on (wasmtime's version,
//! settings, CPU features), so other code is never even looked at. Code that was compiled elsewhere ([`crate::ahead`]) lies beside
//! it, under names that hold its architecture and nothing of a processor's features ([`Cache::prepared`]).

use std::{
    collections::HashMap,
    fs::{self, File, FileTimes, OpenOptions},
    hash::{DefaultHasher, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::{ProgramKind, checksum::Checksum};

const MAGIC: [u8; 8] = *b"EYOTCOD2";
const TRAILER_BYTES: usize = 56;

/// Kinds of programs by the number that a trailer has for them.
const KINDS: [ProgramKind; 5] = [
    ProgramKind::HttpComponent,
    ProgramKind::CommandComponent,
    ProgramKind::CommandModule,
    ProgramKind::ServiceComponent,
    ProgramKind::ConcurrentCommand,
];

/// Files that are known to be whole; more than a node runs.
const CHECKED_MAX: usize = 4096;
/// How old the note of a file's last use may become before it is written again.
const USE_STEP: Duration = Duration::from_secs(3600);

/// Code of one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    /// Files whose checksum this process has seen to be right, as they were then.
    checked: Mutex<HashMap<PathBuf, (Stamp, Facts)>>,
}

/// What changes when somebody writes to a file or puts another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    written: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { inode: metadata.ino(), bytes: metadata.len(), written: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// What is known about a cached program besides its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: ProgramKind,
    pub(crate) memory_initial_bytes: u64,
    /// Most native stacks that an instance may hold.
    pub(crate) stacks: u32,
}

/// Why a cached file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
}

impl Cache {
    /// Makes the directory for code of `engine` under `root`.
    pub(crate) fn open(root: &Path, engine: &Engine) -> io::Result<Self> {
        let cache = Self::at(root.join(format!("{:016x}", hash(engine))));
        cache.make()?;
        Ok(cache)
    }

    /// Code for machines of `architecture`, whatever their processors have, that is compiled as `engine` compiles for the least of
    /// them. The directory may be absent.
    pub(crate) fn prepared(root: &Path, architecture: &str, engine: &Engine) -> Self {
        Self::at(root.join(format!("{architecture}-{:016x}", hash(engine))))
    }

    /// The cache that `file` lies in, as if nothing in it had been checked yet.
    pub(crate) fn around(file: &Path) -> Option<Self> {
        file.parent().map(|it| Self::at(it.to_owned()))
    }

    fn at(dir: PathBuf) -> Self {
        Self { dir, checked: Mutex::default() }
    }

    /// Makes the directory.
    pub(crate) fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    /// Whether [`Cache::check`] of a file of at most `bytes` would find it and need not read it.
    pub(crate) fn is_checked(&self, digest: &str, bytes: u64) -> bool {
        self.checked.lock().get(&self.path(digest)).is_some_and(|(stamp, _)| stamp.bytes <= bytes)
    }

    /// Where the code of the program with `digest` is or would be.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        // Digests come from image manifests, which anyone can write: hash what could not be a file name.
        let plain = digest.len() <= 160 && digest.bytes().all(|it| it.is_ascii_alphanumeric() || b":+_-".contains(&it));
        let name = if plain && !digest.is_empty() {
            digest.replace(':', "-")
        } else {
            format!("hashed-{}", hex::encode(Sha256::digest(digest)))
        };
        self.dir.join(name).with_extension("code")
    }

    /// Checks the file of `digest`, unless it is as it was when it was last checked. `Ok(None)` when there is none.
    pub(crate) fn check(&self, digest: &str) -> Result<Option<(PathBuf, Facts)>, CacheError> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CacheError::Read { path, source }),
        };
        let metadata = file.metadata().map_err(|source| CacheError::Read { path: path.clone(), source })?;
        let stamp = Stamp::of(&metadata);
        note_use(&file, &metadata);
        let known = self.checked.lock().get(&path).filter(|(it, _)| *it == stamp).map(|(_, facts)| *facts);
        if let Some(facts) = known {
            return Ok(Some((path, facts)));
        }
        match read_facts(&mut file) {
            Ok(Ok(facts)) => {
                let mut checked = self.checked.lock();
                if checked.len() >= CHECKED_MAX {
                    checked.clear();
                }
                checked.insert(path.clone(), (stamp, facts));
                Ok(Some((path, facts)))
            }
            Ok(Err(what)) => Err(CacheError::Damaged { path, what }),
            Err(source) => Err(CacheError::Read { path, source }),
        }
    }

    /// Writes `code` durably under `digest` and returns where it is.
    pub(crate) fn write(&self, digest: &str, code: &[u8], facts: Facts) -> io::Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(digest);
        let temporary = path.with_extension(format!("{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        let result = write_file(&temporary, code, facts).and_then(|()| fs::rename(&temporary, &path));
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result.map(|()| path)
    }

    /// Removes the file of `digest`, if there is one. Programs that use it go on.
    pub(crate) fn discard(&self, digest: &str) {
        let path = self.path(digest);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "removing damaged compiled code");
        }
    }

    /// Removes what a crash left half written.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "tmp") {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// What code of `engine` depends on. The same in all processes of a release, on all of its architectures.
fn hash(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    hasher.finish()
}

/// Notes that a file is used now, for whoever must choose what to remove. Failing that, it goes a little sooner.
fn note_use(file: &File, metadata: &fs::Metadata) {
    let now = SystemTime::now();
    let is_old = metadata.accessed().is_ok_and(|it| now.duration_since(it).is_ok_and(|it| it > USE_STEP));
    if is_old {
        let _ = file.set_times(FileTimes::new().set_accessed(now));
    }
}

fn write_file(path: &Path, code: &[u8], facts: Facts) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(code)?;
    let mut checksum = Checksum::new();
    checksum.update(code);
    file.write_all(&trailer(checksum, code.len() as u64, facts))?;
    file.sync_all()
}

/// Reads the whole file; the inner error says what is wrong with its content.
fn read_facts(file: &mut File) -> io::Result<Result<Facts, &'static str>> {
    let len = file.metadata()?.len();
    let Some(code_bytes) = len.checked_sub(TRAILER_BYTES as u64) else { return Ok(Err("it is too short")) };
    let mut checksum = Checksum::new();
    let mut buffer = vec![0; 128 << 10];
    let mut left = code_bytes;
    while left > 0 {
        let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact(&mut buffer[..chunk])?;
        checksum.update(&buffer[..chunk]);
        left -= chunk as u64;
    }
    let mut found = [0; TRAILER_BYTES];
    file.read_exact(&mut found)?;
    if found[..8] != MAGIC {
        return Ok(Err("its trailer is missing"));
    }
    let Some(kind) = KINDS.get(usize::from(found[8])).copied() else { return Ok(Err("its kind is unknown")) };
    let memory_initial_bytes = u64::from_le_bytes(found[16..24].try_into().expect("eight bytes"));
    let stacks = u32::from_le_bytes(found[12..16].try_into().expect("four bytes"));
    let facts = Facts { kind, memory_initial_bytes, stacks };
    if found != trailer(checksum, code_bytes, facts) {
        return Ok(Err("its checksum does not match"));
    }
    Ok(Ok(facts))
}

/// Magic, kind, padding, stacks, initial memory, checksum over the code and all of these.
fn trailer(mut checksum: Checksum, code_bytes: u64, facts: Facts) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(&MAGIC);
    trailer[8] = KINDS.iter().position(|it| *it == facts.kind).and_then(|it| it.try_into().ok()).unwrap_or(u8::MAX);
    trailer[12..16].copy_from_slice(&facts.stacks.to_le_bytes());
    trailer[16..24].copy_from_slice(&facts.memory_initial_bytes.to_le_bytes());
    checksum.update(&trailer[..24]);
    checksum.update(&code_bytes.to_le_bytes());
    trailer[24..].copy_from_slice(&checksum.finish());
    trailer
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FACTS: Facts = Facts { kind: ProgramKind::CommandModule, memory_initial_bytes: 65_536, stacks: 7 };

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        (dir, cache)
    }

    #[test]
    fn what_was_written_is_found_and_private() {
        let (_dir, cache) = cache();
        assert!(cache.check("sha256:ab").unwrap().is_none());
        let path = cache.write("sha256:ab", &[7; 300_000], FACTS).unwrap();
        assert!(!cache.is_checked("sha256:ab", u64::MAX), "what was only written may have met a broken disk");
        assert_eq!(cache.check("sha256:ab").unwrap(), Some((path.clone(), FACTS)));
        assert!(cache.is_checked("sha256:ab", 400_000) && !cache.is_checked("sha256:ab", 200_000));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let (_dir, cache) = cache();
        let path = cache.write("d", &[42; 100], FACTS).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            assert!(cache.check("d").is_err(), "flip at {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(cache.check("d").is_err(), "cut at {at}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.check("d").is_ok());
        fs::write(&path, &whole[1..]).unwrap();
        assert!(cache.check("d").is_err(), "a file that changed is read again");
        cache.discard("d");
        assert!(cache.check("d").unwrap().is_none());
    }

    #[test]
    fn no_digest_escapes_the_directory() {
        let (dir, cache) = cache();
        for digest in ["../../etc/passwd", "", "a/b", "sha256:..", "x".repeat(500).as_str()] {
            assert_eq!(cache.path(digest).parent(), Some(dir.path()), "{digest}");
        }
        assert_ne!(cache.path("a/b"), cache.path("a/c"));
    }
}
