//! A disk that fills up under a running node.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, Options, eventually};

const SOON: Duration = Duration::from_secs(60);

/// A file system of its own, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this process may not mount.
    fn new(size: &str) -> Result<Option<Disk>> {
        let dir = tempfile::tempdir()?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(dir.path())
            .output()
            .context("running mount")?;
        Ok(mount.status.success().then_some(Disk(dir)))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that is being killed may hold files for a moment.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Writes until nothing more fits.
fn fill(file: &Path) -> Result<()> {
    use std::io::Write;
    let mut out = std::fs::File::create(file)?;
    for chunk in [1 << 20, 4096, 1] {
        let bytes = vec![0; chunk];
        while out.write_all(&bytes).is_ok() {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_stops_nothing_else() -> Result<()> {
    let Some(disk) = Disk::new("192m")? else {
        eprintln!("not run: this process may not mount file systems");
        return Ok(());
    };
    let options = Options { data_dir: Some(disk.path().to_owned()), ..Options::default() };
    let mut node = Node::start_with(options).await?;
    node.sample("hello").await?;
    let filler = disk.path().join("filler");
    fill(&filler)?;
    // What is in the log's last page may still fit, and then not even the end of it may.
    let mut attempt = 0;
    let refused = eventually("a refusal", SOON, async || {
        attempt += 1;
        let (name, value) = (format!("too-much-{attempt}"), format!("--from-literal=text={}", "x".repeat(100_000)));
        let outcome = node.kubectl_outcome(&["create", "configmap", &name, &value]).await?;
        ensure!(outcome.code != 0, "it was stored");
        Ok(outcome.stderr)
    })
    .await?;
    ensure!(refused.contains("full") || refused.contains("no space"), "the reason is told: {refused}");
    for _ in 0..10 {
        ensure!(node.get("hello.localhost", "/").await?.status == 200, "guests answer");
    }
    ensure!(node.kubectl(&["get", "pods", "-o", "name"]).await?.contains("pod/hello"), "reads go on");
    // It is killed there, and comes back with less room than its kubeconfig has bytes.
    node.kill().await?;
    let file = std::fs::OpenOptions::new().write(true).open(&filler)?;
    file.set_len(file.metadata()?.len().saturating_sub(4096))?;
    // Held open it would keep its room.
    drop(file);
    node.restart().await?;
    eventually("an answer after the restart", SOON, async || {
        ensure!(node.get("hello.localhost", "/").await?.status == 200, "guests answer");
        Ok(())
    })
    .await?;
    std::fs::remove_file(&filler)?;
    eventually("writing again", SOON, async || {
        node.kubectl(&["create", "configmap", "fits", "--from-literal=a=b"]).await.map(drop)
    })
    .await?;
    node.stop().await.map(drop)
}
