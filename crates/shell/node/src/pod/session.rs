//! Joining others to a pod's guests: watching what one prints, writing to its standard input, and running another program
//! beside it.
//!
//! Start at [`Owner::watch_guest`] and [`Owner::exec`]. A program run beside a guest has the container's environment, volumes,
//! address and limits, but memory of its own; it ends with the container's present run.

use std::sync::Arc;

use bytes::Bytes;
use eyot_registry::{Credential, Image, PullPolicy};
use eyot_runtime::{LogSink, Process, Stdin};
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{
    Owner,
    machine::{Machine, Member, Running},
    start,
};
use crate::{api, buckets, env, logs::tap};

/// Other programs of one container at once.
const EXTRAS_MAX: usize = 32;

/// The writing end of a guest's standard input, for one client at a time.
pub(crate) struct InputPipe {
    pipe: tokio::sync::Mutex<Option<Stdin>>,
    /// Whether the first client is the last: the guest's input ends when it leaves.
    once: bool,
}

/// What a client sees of a guest.
pub(crate) struct Watched {
    /// What it prints from now on.
    pub(crate) output: tap::Reader,
    /// Where it reads, if its container asks for standard input.
    pub(crate) input: Option<Arc<InputPipe>>,
}

/// A program that runs beside a guest. Dropping it kills the program.
pub(crate) struct Extra {
    pub(crate) process: Arc<Process>,
    /// What it prints.
    pub(crate) output: tap::Reader,
    /// The other end of `output`, to be closed when the program has ended.
    pub(crate) tap: tap::Tap,
    pub(crate) input: Option<Stdin>,
}

/// Why nobody can be joined to a guest. Worded for the user of kubectl.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("container {0} not found in the pod")]
    NoContainer(String),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("too many clients are joined to container {0} already")]
    TooMany(String),
    #[error("reading the pod: {0}")]
    Pod(#[from] api::ApiError),
    #[error("no command is named")]
    NoCommand,
    #[error("finding the image of container {container}: {reason}")]
    Image { container: String, reason: String },
    #[error(
        "{command:?} is not in image {image}: a WebAssembly image has no shell and no tools but the programs put into it"
    )]
    NotFound { command: String, image: String },
    #[error("image {0} has no tar, which kubectl cp would run in it: mount a volume for files to read and write")]
    NoTar(String),
    #[error("{command:?} is no command but a {kind}, which answers requests")]
    NoProcess { command: String, kind: String },
    #[error("{command:?}: {reason}")]
    Start { command: String, reason: String },
}

impl Extra {
    /// Waits for the end; comes to the exit code and the first `bytes_max` bytes of what was printed.
    pub(super) async fn finish(mut self, bytes_max: usize) -> (i32, String) {
        drop(self.input.take());
        let mut text = Vec::new();
        let output = async {
            while let Some((_, chunk)) = self.output.next().await {
                let room = bytes_max.saturating_sub(text.len()).min(chunk.len());
                text.extend_from_slice(&chunk[..room]);
            }
        };
        let end = async {
            let exit = self.process.wait().await;
            self.tap.close();
            exit
        };
        let (exit, ()) = tokio::join!(end, output);
        (exit.code, String::from_utf8_lossy(&text).into_owned())
    }
}

impl InputPipe {
    /// The input of what runs, if it has one.
    pub(super) fn of(running: &Running, once: bool) -> Option<Arc<InputPipe>> {
        let Running::Command(process) = running else { return None };
        let pipe = process.take_stdin()?;
        Some(Arc::new(InputPipe { pipe: tokio::sync::Mutex::new(Some(pipe)), once }))
    }

    /// Writes what a client sends, once those before it have left. Dropping it is leaving.
    pub(crate) async fn feed(&self, mut from: mpsc::Receiver<Bytes>) {
        let mut turn = Turn { pipe: self.pipe.lock().await, once: self.once };
        while let Some(bytes) = from.recv().await {
            let Some(pipe) = turn.pipe.as_mut() else { return };
            if pipe.write_all(&bytes).await.is_err() {
                // The guest has ended, or reads no more.
                *turn.pipe = None;
                return;
            }
        }
    }
}

struct Turn<'a> {
    pipe: tokio::sync::MutexGuard<'a, Option<Stdin>>,
    once: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.once {
            *self.pipe = None;
        }
    }
}

impl Machine {
    fn running_member(&mut self, container: &str) -> Result<&mut Member, SessionError> {
        let member = self.members.iter_mut().find(|it| *it.name == *container);
        let member = member.ok_or_else(|| SessionError::NoContainer(container.to_owned()))?;
        match member.running {
            Running::Not => Err(SessionError::NotRunning(container.to_owned())),
            Running::Http { .. } | Running::Command(_) => Ok(member),
        }
    }
}

impl Owner {
    /// Joins a client to the guest of `container`.
    pub(crate) fn watch_guest(&self, container: &str) -> Result<Watched, SessionError> {
        let mut machine = self.machine.lock();
        let member = machine.running_member(container)?;
        let log = member.log.as_ref().ok_or_else(|| SessionError::NotRunning(container.to_owned()))?;
        let output = log.tap().ok_or_else(|| SessionError::TooMany(container.to_owned()))?;
        Ok(Watched { output, input: member.input.clone() })
    }

    /// Runs `command` beside the guest of `container`: a program of the same image by its path or name.
    pub(crate) async fn exec(
        self: &Arc<Self>,
        container: &str,
        command: Vec<String>,
        wants_stdin: bool,
    ) -> Result<Extra, SessionError> {
        let name = command.first().filter(|it| !it.is_empty()).ok_or(SessionError::NoCommand)?.clone();
        let (ip, image_id, run) = {
            let mut machine = self.machine.lock();
            let ip = machine.ip;
            let member = machine.running_member(container)?;
            let ip = ip.ok_or_else(|| SessionError::NotRunning(container.to_owned()))?;
            (ip, member.image_id.clone(), member.run)
        };
        let pod = api::get::<Pod>(&self.shared.client, &self.key.path()).await?;
        let pod = Arc::new(pod.ok_or_else(|| SessionError::NotRunning(container.to_owned()))?);
        let spec = env::container_named(&pod, container);
        let spec = spec.ok_or_else(|| SessionError::NoContainer(container.to_owned()))?;
        let failed = |reason: String| SessionError::Start { command: name.clone(), reason };
        let credentials = start::credentials(self, &pod).await.map_err(|it| failed(it.message))?;
        let image = self.image(container, image_id.as_deref(), spec.image.as_deref(), &credentials).await?;
        let extra = self.launch(&pod, &spec, &image, ip, command, wants_stdin).await?;
        self.adopt(container, run, &extra.process)?;
        Ok(extra)
    }

    /// Runs `command`, a program of `image`, with all that `container` has but its memory.
    pub(super) async fn launch(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        container: &Container,
        image: &Image,
        ip: std::net::Ipv4Addr,
        command: Vec<String>,
        wants_stdin: bool,
    ) -> Result<Extra, SessionError> {
        let name = command.first().filter(|it| !it.is_empty()).ok_or(SessionError::NoCommand)?.clone();
        let failed = |reason: String| SessionError::Start { command: name.clone(), reason };
        let found = self.shared.images.program(image, &name).await.map_err(|error| failed(error.to_string()))?;
        let program = found.ok_or_else(|| match name.as_str() {
            "tar" => SessionError::NoTar(image.reference.clone()),
            _ => SessionError::NotFound { command: name.clone(), image: image.reference.clone() },
        })?;
        let program = self.shared.runtime.load(&program.wasm, &program.digest).await;
        let program = program.map_err(|error| failed(error.to_string()))?;
        if !program.kind().is_command() {
            return Err(SessionError::NoProcess { command: name, kind: program.kind().to_string() });
        }
        let resolved = start::resolve(self, pod, container, ip, &image.env).await;
        let (env, mounts) = resolved.map_err(|it| failed(it.message))?;
        let (tap, output) = tap::pair();
        let sink: Arc<dyn LogSink> = Arc::new(tap.clone());
        let mut spec =
            start::spec(self, pod, container, ip, command, env, mounts, sink).map_err(|it| failed(it.message))?;
        spec.stdin = wants_stdin;
        let buckets = buckets::of(&self.shared, &self.key.namespace, &program).await;
        spec.buckets = buckets.map_err(|error| failed(error.to_string()))?;
        let process = Arc::new(program.spawn(spec).map_err(|error| failed(error.to_string()))?);
        let input = process.take_stdin();
        Ok(Extra { process, output, tap, input })
    }

    /// The image that the container runs, as it was when it started if that is still there.
    async fn image(
        &self,
        container: &str,
        image_id: Option<&str>,
        reference: Option<&str>,
        credentials: &[Credential],
    ) -> Result<Image, SessionError> {
        if let Some(id) = image_id
            && let Ok(image) = self.shared.images.pull(id, PullPolicy::Never, credentials).await
        {
            return Ok(image);
        }
        let image = self.shared.images.pull(reference.unwrap_or_default(), PullPolicy::IfNotPresent, credentials).await;
        image.map_err(|error| SessionError::Image { container: container.to_owned(), reason: error.to_string() })
    }

    /// Sees to it that `process` ends with the container's run.
    fn adopt(&self, container: &str, run: u32, process: &Arc<Process>) -> Result<(), SessionError> {
        let mut machine = self.machine.lock();
        let member = machine.running_member(container)?;
        if member.run != run {
            return Err(SessionError::NotRunning(container.to_owned()));
        }
        member.extras.retain(|it| it.strong_count() > 0);
        if member.extras.len() >= EXTRAS_MAX {
            return Err(SessionError::TooMany(container.to_owned()));
        }
        member.extras.push(Arc::downgrade(process));
        Ok(())
    }
}
