//! Makes room: removes pulled images that nobody uses, and content that nothing refers to.
//!
//! Start at [`Images::collect`]. What was pushed to the embedded registry is its owners' and stays until they delete it. What
//! arrived a short while ago stays too, since pushes and pulls bring content before what refers to it.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Read,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{BlobError, Blobs, Digest, Images, artifact::MANIFEST_BYTES_MAX, catalog::Catalog};

/// What is younger may be part of something under way.
const AGE_MIN: Duration = Duration::from_secs(3600);

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// References to pulled images that were forgotten.
    pub images: usize,
    /// Files removed.
    pub files: usize,
    /// Bytes in those files.
    pub bytes: u64,
}

impl Images {
    /// Removes content that nothing refers to, and pulled images until `wanted` bytes are free, oldest first, but none whose
    /// manifest is in `in_use` (`sha256:…`).
    ///
    /// # Errors
    ///
    /// When files cannot be listed or removed; what was removed before stays removed.
    pub async fn collect(&self, in_use: HashSet<String>, wanted: u64) -> Result<Collected, BlobError> {
        let blobs = self.blobs().clone();
        let work = move || collect(&blobs, &in_use, wanted, AGE_MIN);
        let collected = tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Ok(Collected::default()))?;
        self.forget_resolved();
        Ok(collected)
    }
}

fn collect(blobs: &Blobs, in_use: &HashSet<String>, wanted: u64, age: Duration) -> Result<Collected, BlobError> {
    let files: BTreeMap<Digest, File> = files(blobs, age)?;
    let catalog = blobs.names(Catalog::clone);
    let mut reached = Reached { blobs, catalog: &catalog, seen: HashSet::new() };
    // What stays whatever is wanted: what was pushed, and what pods use.
    let pushed = catalog.repositories.values().flat_map(|it| it.manifests.keys());
    let used = catalog.pulled.values().chain(catalog.extracted.keys()).filter(|it| in_use.contains(&it.to_string()));
    pushed.chain(used).for_each(|it| reached.add(it));
    let orphaned = |seen: &HashSet<Digest>, files: &BTreeMap<Digest, File>| -> u64 {
        files.iter().filter(|(digest, it)| it.is_old && !seen.contains(digest)).map(|(_, it)| it.bytes).sum()
    };
    // Newest first, images are kept as long as enough is removed without them.
    let mut pulled: Vec<(&String, &Digest)> = catalog.pulled.iter().collect();
    pulled.sort_by_key(|(_, digest)| std::cmp::Reverse(files.get(digest).map(|it| it.written)));
    let mut forgotten = Vec::new();
    for (reference, manifest) in pulled {
        let mut own = Reached { blobs, catalog: &catalog, seen: HashSet::new() };
        own.add(manifest);
        // A pod names the manifest that was chosen from an index.
        let is_used = own.seen.iter().any(|it| in_use.contains(&it.to_string()));
        let is_young = files.get(manifest).is_some_and(|it| !it.is_old);
        let with: HashSet<Digest> = reached.seen.union(&own.seen).cloned().collect();
        if is_used || is_young || wanted == 0 || orphaned(&with, &files) >= wanted {
            reached.seen = with;
        } else {
            forgotten.push(reference.clone());
        }
    }
    let seen = reached.seen;
    let mut collected = Collected { images: forgotten.len(), ..Collected::default() };
    let extracted: Vec<Digest> = catalog.extracted.keys().filter(|it| !seen.contains(it)).cloned().collect();
    if !forgotten.is_empty() || !extracted.is_empty() {
        blobs.rename(|it| {
            for reference in &forgotten {
                it.pulled.remove(reference);
            }
            for manifest in &extracted {
                it.extracted.remove(manifest);
            }
        })?;
    }
    for (digest, file) in files.iter().filter(|(digest, it)| it.is_old && !seen.contains(digest)) {
        if blobs.remove(digest)? {
            collected.files += 1;
            collected.bytes += file.bytes;
        }
    }
    Ok(collected)
}

struct File {
    bytes: u64,
    written: SystemTime,
    is_old: bool,
}

fn files(blobs: &Blobs, age: Duration) -> Result<BTreeMap<Digest, File>, BlobError> {
    let root = blobs.root();
    let mut out = BTreeMap::new();
    let now = SystemTime::now();
    for prefix in fs::read_dir(&root).map_err(BlobError::io("listing", &root))?.flatten() {
        for entry in fs::read_dir(prefix.path()).into_iter().flatten().flatten() {
            let digest = entry.file_name().to_str().and_then(|it| format!("sha256:{it}").parse::<Digest>().ok());
            let (Some(digest), Ok(metadata)) = (digest, entry.metadata()) else { continue };
            let written = metadata.modified().unwrap_or(now);
            let is_old = now.duration_since(written).is_ok_and(|it| it >= age);
            out.insert(digest, File { bytes: metadata.len(), written, is_old });
        }
    }
    Ok(out)
}

/// Everything that some manifests refer to.
struct Reached<'a> {
    blobs: &'a Blobs,
    catalog: &'a Catalog,
    seen: HashSet<Digest>,
}

impl Reached<'_> {
    fn add(&mut self, manifest: &Digest) {
        let mut open = vec![manifest.clone()];
        while let Some(digest) = open.pop() {
            if !self.seen.insert(digest.clone()) {
                continue;
            }
            // The program that was taken out of the layers.
            open.extend(self.catalog.extracted.get(&digest).cloned());
            // Whatever is small enough may be a manifest; a layer or a config that is one by chance only keeps more.
            let is_small = self.blobs.size(&digest).is_some_and(|it| it <= MANIFEST_BYTES_MAX);
            if !is_small {
                continue;
            }
            if let Some(json) = json(&self.blobs.path(&digest)) {
                open.extend(references(&json));
            }
        }
    }
}

/// What is in a file if that is JSON; of others one byte is read.
fn json(path: &Path) -> Option<Value> {
    let mut file = fs::File::open(path).ok()?;
    let mut content = vec![0];
    file.read_exact(&mut content).ok().filter(|()| content[0] == b'{')?;
    file.read_to_end(&mut content).ok()?;
    serde_json::from_slice(&content).ok()
}

/// The digests of a manifest's descriptors.
fn references(json: &Value) -> Vec<Digest> {
    let list = |field: &str| json[field].as_array().cloned().unwrap_or_default();
    let all = json.get("config").cloned().into_iter().chain(list("layers")).chain(list("manifests"));
    let digests = all.chain(json.get("subject").cloned()).filter_map(|it| it["digest"].as_str()?.parse().ok());
    digests.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::Repository;

    /// An artifact of one layer; its manifest.
    fn artifact(blobs: &Blobs, content: &[u8]) -> Digest {
        let layer = blobs.put(content).unwrap();
        let config = blobs.put(b"{}").unwrap();
        let descriptor = |it: &Digest| json!({ "mediaType": "x", "digest": it.to_string(), "size": 1 });
        let manifest = json!({ "schemaVersion": 2, "config": descriptor(&config), "layers": [descriptor(&layer)] });
        blobs.put(manifest.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_nobody_uses_goes_and_what_was_pushed_or_runs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let (pushed, running, idle) =
            (artifact(&blobs, b"pushed"), artifact(&blobs, b"running"), artifact(&blobs, b"idle, and larger"));
        let orphan = blobs.put(b"nobody's").unwrap();
        blobs
            .rename(|it| {
                let repository: &mut Repository = it.repositories.entry("own".into()).or_default();
                repository.manifests.insert(pushed.clone(), "x".into());
                it.pulled.insert("docker.io/running:1".into(), running.clone());
                it.pulled.insert("docker.io/idle:1".into(), idle.clone());
            })
            .unwrap();
        let in_use = HashSet::from([running.to_string()]);
        let young = collect(&blobs, &in_use, u64::MAX, AGE_MIN).unwrap();
        assert_eq!(young.files, 0, "what has just come stays");
        assert!(blobs.size(&orphan).is_some());
        blobs.rename(|it| it.pulled.insert("docker.io/idle:1".into(), idle.clone())).unwrap();
        let none = collect(&blobs, &in_use, 0, Duration::ZERO).unwrap();
        assert_eq!((none.images, none.files), (0, 1), "only what nothing refers to");
        let all = collect(&blobs, &in_use, u64::MAX, Duration::ZERO).unwrap();
        assert_eq!((all.images, all.files), (1, 2), "its manifest and its layer; its config is others' as well");
        for digest in [&pushed, &running, &Digest::of(b"pushed"), &Digest::of(b"running"), &Digest::of(b"{}")] {
            assert!(blobs.size(digest).is_some());
        }
        assert!(blobs.size(&idle).is_none() && blobs.names(|it| it.pulled.len() == 1));
    }

    #[test]
    fn no_more_images_go_than_needed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            let manifest = artifact(&blobs, name.repeat(10_000).as_bytes());
            blobs.rename(|it| it.pulled.insert(name.into(), manifest)).unwrap();
        }
        let got = collect(&blobs, &HashSet::new(), 5_000, Duration::ZERO).unwrap();
        assert_eq!(got.images, 1);
        assert!(got.bytes >= 10_000 && blobs.names(|it| it.pulled.len() == 2));
    }
}
