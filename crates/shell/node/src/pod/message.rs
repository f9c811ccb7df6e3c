//! What a guest leaves behind for people when it ends: the file at `terminationMessagePath`, else the end of its log.
//!
//! Start at [`Message::prepare`], before the guest starts, and [`Message::read`], after it has ended. Only processes have
//! one: a guest that answers requests never ends by itself.

use std::{
    collections::VecDeque,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use eyot_runtime::Mount;
use k8s_openapi::api::core::v1::Container;

use crate::{
    logs::{
        Log,
        read::{Reader, Selection},
    },
    volumes::{self, beneath, write::make_private},
};

/// Most bytes that all processes of a pod may have in the directories that they get for it: their words are shorter, and the disk is
/// everybody's.
pub(super) const BYTES_MAX: u64 = 1 << 20;
/// Most bytes that are taken from the file, as the kubelet's.
const FILE_BYTES_MAX: u64 = 4096;
/// Most bytes that are taken from the log, as the kubelet's.
const LOG_BYTES_MAX: usize = 2048;
/// Most lines that are taken from the log.
const LOG_LINES_MAX: usize = 80;
const PATH_DEFAULT: &str = "/dev/termination-log";

/// Where to look for a message.
pub(super) struct Message {
    /// What the guest's path leads into: what lies outside is not read.
    root: Mount,
    /// Where it leads there.
    file: PathBuf,
    /// Whether the log will do when the guest failed and the file is empty.
    from_log: bool,
}

impl Message {
    /// Sees to it that the guest can write its message: a path outside of its volumes gets a directory of its own. Blocks.
    pub(super) fn prepare(container: &Container, mounts: &mut Vec<Mount>, directory: &Path) -> io::Result<Message> {
        let path = container.termination_message_path.as_deref().filter(|it| !it.is_empty()).unwrap_or(PATH_DEFAULT);
        let path = Path::new(path);
        let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let inside = mounts.iter().filter_map(|it| Some((it, path.strip_prefix(&it.guest).ok()?)));
        if let Some((mount, rest)) = inside.max_by_key(|(it, _)| it.guest.len()) {
            return Ok(Message { root: mount.clone(), file: rest.to_owned(), from_log });
        }
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "terminationMessagePath names no file");
        let (parent, name) = (path.parent().and_then(Path::to_str), path.file_name());
        let (parent, name) = (parent.ok_or_else(missing)?, name.ok_or_else(missing)?);
        let root = self::directory(directory).join(&container.name);
        // What an earlier run left is not this run's message.
        match volumes::remove_tree(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        make_private(&root)?;
        fs::File::create(root.join(name))?;
        let root = Mount { host: root, held: None, guest: parent.to_owned(), read_only: false };
        mounts.push(root.clone());
        Ok(Message { root, file: name.into(), from_log })
    }

    /// The message of a guest that ended with `code`. Closes the log, so that its last line is in it. Blocks.
    pub(super) fn read(&self, code: i32, log: &Log) -> String {
        let text = self.in_file().unwrap_or_default();
        if !text.is_empty() || !self.from_log || code == 0 {
            return text;
        }
        log.close();
        tail(log.path()).unwrap_or_default()
    }

    fn in_file(&self) -> io::Result<String> {
        // The guest may have put a link there, and another may at any time.
        let root = match &self.root.held {
            Some(held) => held.try_clone()?,
            None => beneath::hold(&self.root.host)?,
        };
        let Some(file) = beneath::find(root, &self.file, false)?.filter(|it| it.is_file().unwrap_or(false)) else {
            return Ok(String::new());
        };
        let mut bytes = Vec::new();
        fs::File::open(file.fixed_path())?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Where the directories lie that processes of the pod get, whose own is `pod_directory`.
pub(super) fn directory(pod_directory: &Path) -> PathBuf {
    pod_directory.join("messages")
}

/// The end of a log.
fn tail(path: &Path) -> io::Result<String> {
    let mut reader = Reader::open(path, Selection { tail: Some(LOG_LINES_MAX), ..Selection::default() })?;
    let mut kept = VecDeque::new();
    loop {
        let chunk = reader.next()?;
        if chunk.is_empty() {
            break;
        }
        kept.extend(chunk);
        let surplus = kept.len().saturating_sub(LOG_BYTES_MAX);
        kept.drain(..surplus);
    }
    Ok(String::from_utf8_lossy(kept.make_contiguous()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eyot_runtime::{LogSink, LogStream};

    use super::*;

    fn container(path: &str, policy: &str) -> Container {
        Container {
            name: "c".into(),
            termination_message_path: Some(path.into()),
            termination_message_policy: Some(policy.into()),
            ..Container::default()
        }
    }

    #[test]
    fn a_message_comes_from_its_file_and_else_from_the_log_of_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::new(&root.path().join("0.log"), Arc::default());
        log.write(LogStream::Stdout, b"first\nsecond");
        let mut mounts = Vec::new();
        let fallback = container("/dev/end", "FallbackToLogsOnError");
        let message = Message::prepare(&fallback, &mut mounts, root.path()).unwrap();
        assert_eq!((mounts.len(), mounts[0].guest.as_str()), (1, "/dev"));
        assert_eq!(message.read(0, &log), "");
        assert_eq!(message.read(1, &log), "first\nsecond");
        let file = mounts[0].host.join("end");
        fs::write(&file, vec![b'x'; 5000]).unwrap();
        assert_eq!(message.read(1, &log).len(), 4096);
        let other = Message::prepare(&container("/dev/end", "File"), &mut Vec::new(), root.path()).unwrap();
        assert_eq!(other.read(1, &log), "", "an earlier run's message is gone");
    }

    #[test]
    fn a_path_in_a_volume_is_read_there_and_never_outside() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::new(&root.path().join("0.log"), Arc::default());
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(root.path().join("secret"), "not yours").unwrap();
        let mut mounts = vec![Mount { host: volume.clone(), held: None, guest: "/v".into(), read_only: false }];
        let message = Message::prepare(&container("/v/end", "File"), &mut mounts, root.path()).unwrap();
        assert_eq!(mounts.len(), 1, "the volume will do");
        fs::write(volume.join("end"), "done").unwrap();
        assert_eq!(message.read(0, &log), "done");
        fs::remove_file(volume.join("end")).unwrap();
        std::os::unix::fs::symlink("../secret", volume.join("end")).unwrap();
        assert_eq!(message.read(0, &log), "");
        // A part of a volume that is moved away while the guest runs, for a link to come in its place.
        fs::create_dir(volume.join("part")).unwrap();
        mounts[0].host = volume.join("part");
        mounts[0].held = Some(beneath::hold(&mounts[0].host).unwrap().into());
        let message = Message::prepare(&container("/v/secret", "File"), &mut mounts, root.path()).unwrap();
        fs::rename(volume.join("part"), volume.join("moved")).unwrap();
        std::os::unix::fs::symlink(root.path(), volume.join("part")).unwrap();
        assert_eq!(message.read(0, &log), "");
        fs::write(volume.join("moved/secret"), "its own").unwrap();
        assert_eq!(message.read(0, &log), "its own");
    }
}
