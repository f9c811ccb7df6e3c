//! WasmEdge as a second engine: a supervised process of its own for each guest.
//!
//! Start at [`WasmEdge::find`] and [`WasmEdge::spawn`]. The result is a [`Process`] like any other: output, exit code, kill,
//! limits and usage are what they are for guests of this process. What a guest may reach is said on the program's command
//! line ([`arguments`]) and held by WasmEdge; its sockets lie in a network namespace of their own, which leads nowhere.
//!
//! Deliberately absent: components, which WasmEdge's command line does not run, and a network. A guest that is to be reached
//! or to call others runs on the usual engine.

mod outside;
mod supervise;

use std::{
    ffi::OsString,
    io::Read,
    os::fd::AsRawFd,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use outside::Outside;

use crate::{GuestSpec, Mount, Process, Runtime, StartError, guest, inspect, meter::Meter};

/// The program, as packages name it.
const PROGRAM: &str = "wasmedge";
/// Where it is looked for besides `PATH`.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// Size of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// Why WasmEdge cannot run guests here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WasmEdgeError {
    /// It is not installed.
    #[error(
        "there is no program wasmedge on this node: install the package wasmedge (Debian 13 and later, or the project's own \
         releases), or put it on the node's PATH"
    )]
    Absent,
    /// A tool that keeps its guests off the network is not installed.
    #[error("WasmEdge's guests are kept off the node's network by unshare, which is not there: install util-linux")]
    NoUnshare,
}

/// A WasmEdge that is installed.
#[derive(Clone, Debug)]
pub struct WasmEdge {
    program: PathBuf,
    unshare: PathBuf,
    /// Ends the guest when this process ends, and keeps it from gaining privileges, where it is installed.
    setpriv: Option<PathBuf>,
    background: tokio::runtime::Handle,
}

impl WasmEdge {
    /// Looks for it on `PATH`, in `/usr/bin` and in `/usr/local/bin`. Cheap enough to be asked at every start, so that what is
    /// installed later is found.
    ///
    /// # Errors
    ///
    /// When it, or what it is started with, is not there.
    pub fn find(runtime: &Runtime) -> Result<WasmEdge, WasmEdgeError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places: Vec<PathBuf> = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from)).collect();
        Ok(WasmEdge {
            program: find(&places, PROGRAM).ok_or(WasmEdgeError::Absent)?,
            unshare: find(&places, "unshare").ok_or(WasmEdgeError::NoUnshare)?,
            setpriv: find(&places, "setpriv"),
            background: runtime.background(),
        })
    }

    /// Starts the preview-1 module in file `wasm`.
    ///
    /// # Errors
    ///
    /// When the file is no module, or the spec holds what a command line cannot say. What goes wrong later is its
    /// [`crate::Exit`].
    pub fn spawn(&self, wasm: &Path, spec: GuestSpec) -> Result<Process, StartError> {
        guest::check_strings(&spec)?;
        let initial_bytes = check(wasm)?;
        if let Some(limit) = spec.memory_bytes
            && initial_bytes > limit
        {
            return Err(StartError::MemoryLimit { needed: initial_bytes, limit });
        }
        for mount in &spec.mounts {
            sayable(mount)?;
        }
        let meter = Arc::new(Meter::new(spec.cpu_millis, None));
        let outside = Arc::new(Outside::new(meter, spec.memory_bytes));
        Ok(supervise::start(self, wasm.to_owned(), spec, outside))
    }

    /// The whole command: kept off the network, ended with this process, then WasmEdge itself.
    fn command(&self, wasm: &Path, spec: &GuestSpec) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.unshare.clone().into()];
        if !rustix::process::geteuid().is_root() {
            // Whoever may not make a network namespace may in a user namespace of its own.
            words.extend(["--user", "--map-current-user"].map(OsString::from));
        }
        words.extend(["--net", "--"].map(OsString::from));
        if let Some(setpriv) = &self.setpriv {
            words.push(setpriv.clone().into());
            words.extend(["--no-new-privs", "--pdeathsig", "KILL", "--"].map(OsString::from));
        }
        words.push(self.program.clone().into());
        words.extend(arguments(wasm, spec));
        words
    }
}

/// The program `name` in the first of `places` that has it.
fn find(places: &[PathBuf], name: &str) -> Option<PathBuf> {
    let is_program = |it: &PathBuf| it.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    places.iter().filter(|it| it.is_absolute()).map(|it| it.join(name)).find(is_program)
}

/// What WasmEdge is told. Its own name for the guest's first argument is the file's.
fn arguments(wasm: &Path, spec: &GuestSpec) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for mount in &spec.mounts {
        let mut word = OsString::from(&mount.guest);
        word.push(":");
        match &mount.held {
            // As this process has it open: nobody else can put another there.
            Some(held) => word.push(format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd())),
            None => word.push(&mount.host),
        }
        if mount.read_only {
            word.push(":readonly");
        }
        words.extend(["--dir".into(), word]);
    }
    for (name, value) in &spec.env {
        words.extend(["--env".into(), format!("{name}={value}").into()]);
    }
    if let Some(bytes) = spec.memory_bytes {
        words.extend(["--memory-page-limit".into(), (bytes / PAGE).to_string().into()]);
    }
    words.push("--".into());
    words.push(wasm.into());
    words.extend(spec.args.iter().skip(1).map(OsString::from));
    words
}

/// WasmEdge's notation of directories has no way to write a colon in a name.
fn sayable(mount: &Mount) -> Result<(), StartError> {
    let host = mount.host.as_os_str().as_encoded_bytes();
    if host.contains(&b':') || mount.guest.contains(':') {
        let (host, guest) = (mount.host.display().to_string(), mount.guest.clone());
        return Err(StartError::Mount { host, guest, reason: "WasmEdge takes no colon in a path".into() });
    }
    Ok(())
}

/// The memory that the module in `wasm` starts with, in bytes. Refuses what WasmEdge's command line would not run.
fn check(wasm: &Path) -> Result<u64, StartError> {
    /// More than any file the node takes in.
    const BYTES_MAX: u64 = 1 << 30;
    let failed = |reason: String| StartError::Invalid(format!("{}: {reason}", wasm.display()));
    let mut content = Vec::new();
    let file = std::fs::File::open(wasm).map_err(|error| failed(error.to_string()))?;
    file.take(BYTES_MAX).read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
    let seen = inspect::Seen::read(&content).map_err(|error| failed(error.to_string()))?;
    if seen.is_component() {
        return Err(StartError::Invalid(
            "WasmEdge runs modules (WASI preview 1) and this is a component: leave runtimeClassName out".into(),
        ));
    }
    if !seen.exports.iter().any(|it| it == "_start") {
        return Err(StartError::Invalid("the module exports no _start, so that there is nothing to run".into()));
    }
    Ok(seen.memory_initial_bytes)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_dispatch::Caller;

    use super::*;
    use crate::{LogSink, LogStream};

    struct Nothing;

    impl LogSink for Nothing {
        fn write(&self, _: LogStream, _: &[u8]) {}
    }

    impl eyot_dispatch::Outbound for Nothing {
        fn send(
            self: Arc<Self>,
            _: Caller,
            _: http::Request<eyot_dispatch::Body>,
        ) -> futures::future::BoxFuture<'static, Result<http::Response<eyot_dispatch::Body>, eyot_dispatch::CallError>>
        {
            Box::pin(async { Err(eyot_dispatch::CallError::Connect("nowhere".into())) })
        }
    }

    fn spec() -> GuestSpec {
        let caller = Caller { namespace: "default".into(), pod: "pod".into() };
        GuestSpec::new(caller, Arc::new(Nothing), Arc::new(Nothing))
    }

    #[test]
    fn a_spec_becomes_a_command_line() {
        let mut spec = spec();
        spec.args = ["app", "--verbose", "two words"].map(str::to_owned).to_vec();
        spec.env = vec![("GREETING".into(), "a=b c".into())];
        spec.memory_bytes = Some(10 * PAGE + 1);
        spec.mounts = vec![
            Mount { host: "/var/data".into(), held: None, guest: "/data".into(), read_only: false },
            Mount { host: "/etc/app".into(), held: None, guest: "/config".into(), read_only: true },
        ];
        let words = arguments(Path::new("/blobs/app.wasm"), &spec);
        let words: Vec<_> = words.iter().map(|it| it.to_string_lossy()).collect();
        expect![[r#"
            --dir
            /data:/var/data
            --dir
            /config:/etc/app:readonly
            --env
            GREETING=a=b c
            --memory-page-limit
            10
            --
            /blobs/app.wasm
            --verbose
            two words"#]]
        .assert_eq(&words.join("\n"));
    }

    #[test]
    fn guests_are_kept_off_the_network_and_end_with_the_node() {
        let background = tokio::runtime::Runtime::new().unwrap();
        let edge = WasmEdge {
            program: "/usr/bin/wasmedge".into(),
            unshare: "/usr/bin/unshare".into(),
            setpriv: Some("/usr/bin/setpriv".into()),
            background: background.handle().clone(),
        };
        let words = edge.command(Path::new("/a.wasm"), &spec());
        let words: Vec<_> = words.iter().map(|it| it.to_string_lossy()).filter(|it| !it.contains("user")).collect();
        let want = "/usr/bin/unshare --net -- /usr/bin/setpriv --no-new-privs --pdeathsig KILL -- /usr/bin/wasmedge -- /a.wasm";
        assert_eq!(words.join(" "), want);
    }

    #[test]
    fn what_a_command_line_cannot_say_is_refused() {
        let odd = Mount { host: "/var/a:b".into(), held: None, guest: "/data".into(), read_only: true };
        assert!(sayable(&odd).unwrap_err().to_string().contains("no colon"));
        let dir = tempfile::tempdir().unwrap();
        let written = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
            check(&path)
        };
        assert_eq!(written("a", r#"(module (memory 3) (func (export "_start")))"#), Ok(3 * PAGE));
        assert!(written("b", "(component)").unwrap_err().to_string().contains("is a component"));
        assert!(written("c", "(module)").unwrap_err().to_string().contains("no _start"));
    }

    #[test]
    fn a_program_is_what_can_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let places = [PathBuf::from("relative"), dir.path().to_owned()];
        let file = dir.path().join(PROGRAM);
        std::fs::write(&file, "").unwrap();
        assert_eq!(find(&places, PROGRAM), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(&places, PROGRAM), Some(file));
    }
}
