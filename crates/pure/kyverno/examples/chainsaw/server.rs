//! Commands that talk to the server.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long a script may take.
const SCRIPT_MAX: Duration = Duration::from_secs(60);

/// What `kubectl` answers; its error otherwise.
pub(crate) fn kubectl(arguments: &[&str], input: Option<&str>) -> Result<String, String> {
    let mut command = Command::new("kubectl");
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|it| format!("kubectl: {it}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    }
    let output = child.wait_with_output().map_err(|it| format!("kubectl: {it}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Tools that a script may want and that say nothing about policies.
const FOREIGN: [&str; 9] =
    ["helm ", "curl ", "docker ", "openssl ", "minikube", "kind ", "kyverno apply", "kyverno test", "wget "];

/// Which foreign tool a script, or a file that it runs, wants.
pub(crate) fn foreign(directory: &Path, script: &str) -> Option<&'static str> {
    let mut texts = vec![script.to_owned()];
    for word in script.split_whitespace().filter(|it| it.ends_with(".sh")) {
        texts.extend(std::fs::read_to_string(directory.join(word)));
    }
    FOREIGN.into_iter().find(|tool| texts.iter().any(|it| it.contains(tool)))
}

/// Runs a script in a directory.
pub(crate) fn script(directory: &Path, script: &str, variables: &[(String, String)]) -> Result<Output, String> {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).current_dir(directory).envs(variables.iter().cloned());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    wait(child.map_err(|it| format!("bash: {it}"))?)
}

fn wait(mut child: Child) -> Result<Output, String> {
    let start = Instant::now();
    while child.try_wait().map_err(|it| it.to_string())?.is_none() {
        if start.elapsed() > SCRIPT_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("a script took more than {} s", SCRIPT_MAX.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().map_err(|it| it.to_string())
}
