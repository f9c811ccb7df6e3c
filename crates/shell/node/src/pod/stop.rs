//! Winds a pod down. Start at [`stop`].
//!
//! First the pod is reported as not ready, then its hooks run, then guests finish the requests inside them, all within the
//! grace; then its guests and addresses go, and last its object. A command receives no signal, because WASI has none: after
//! its hook, and a moment for connections to end, it is killed.

use std::{io, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use k8s_openapi::api::core::v1::{Lifecycle, Pod};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Owner, RETRY, check, machine::Running, now, start};
use crate::{api, env, volumes};

/// How long a killed process may take to be gone.
const KILL_TIME: Duration = Duration::from_secs(5);
/// How long connections of a process may take to end by themselves; idle ones never do.
const SOCKETS_TIME: Duration = Duration::from_secs(2);
const SOCKETS_PERIOD: Duration = Duration::from_millis(50);

/// Winds the pod down within `grace` and deletes its object; with `None` the object is gone already.
pub(super) async fn stop(owner: &Arc<Owner>, grace: Option<Duration>) {
    if let Some(grace) = grace {
        wind_down(owner, Instant::now() + grace).await;
    }
    release(owner).await;
    if grace.is_some() {
        let work = async {
            while let Err(error) = api::delete_now(&owner.shared.client, &owner.key.path(), &owner.key.uid).await {
                tracing::warn!(pod = %owner.key, error = &error as &dyn std::error::Error, "deleting a stopped pod");
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = owner.shared.token.cancelled() => return,
            () = work => {}
        }
    }
    remove(start::directories(owner)).await;
}

/// Frees what a finished pod no longer needs. Its logs stay.
pub(super) async fn settle(owner: &Arc<Owner>) {
    release(owner).await;
    let memory = owner.shared.memory_directory(&owner.key);
    remove(memory.into_iter().chain([owner.shared.pod_directory(&owner.key)]).collect()).await;
}

async fn wind_down(owner: &Arc<Owner>, deadline: Instant) {
    let (guests, (running, any_process)) = {
        let machine = owner.machine.lock();
        (machine.http_guests(), machine.running())
    };
    if running.is_empty() {
        return;
    }
    for container in &running {
        owner.note(Some(container), "Killing", format!("Stopping container {container}"));
    }
    let has_hooks = owner.machine.lock().has_hooks;
    let pod = match has_hooks {
        true => api::get::<Pod>(&owner.shared.client, &owner.key.path()).await.ok().flatten(),
        false => None,
    };
    let is_busy = any_process || pod.is_some() || guests.iter().any(|it| it.in_flight() > 0);
    if !is_busy {
        return;
    }
    let patch = owner.machine.lock().compose(now());
    owner.report(patch).await;
    if let Some(pod) = pod {
        pre_stop(owner, &pod, deadline).await;
    }
    // What arrives from now on is refused untouched, so that the gateway takes it to another pod.
    let drained = join_all(guests.iter().map(|it| it.drain()));
    if timeout_at(deadline, drained).await.is_err() {
        tracing::info!(pod = %owner.key, "requests were cut off at the end of the grace period");
    }
    let ip = owner.machine.lock().ip;
    if let (true, Some(ip)) = (any_process, ip) {
        let deadline = deadline.min(Instant::now() + SOCKETS_TIME);
        // Two looks: between them whoever still knew the address as ready has learnt better.
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            quiet = if connections_to(ip) == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(SOCKETS_PERIOD).await;
        }
    }
}

/// How many TCP connections a process has at this address. Only the kernel knows what goes on inside a process.
fn connections_to(ip: Ipv4Addr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    established(&table, ip)
}

/// Counts lines of the kernel's table with this local address and the state `01`, established.
fn established(table: &str, ip: Ipv4Addr) -> usize {
    let local = format!("{:08X}:", u32::from_ne_bytes(ip.octets()));
    let rows = table.lines().skip(1).filter(|row| {
        let mut columns = row.split_whitespace().skip(1);
        columns.next().is_some_and(|it| it.starts_with(&local)) && columns.nth(1) == Some("01")
    });
    rows.count()
}

async fn pre_stop(owner: &Arc<Owner>, pod: &Pod, deadline: Instant) {
    let targets: Vec<check::Target> = {
        let machine = owner.machine.lock();
        let ip = machine.ip.unwrap_or(Ipv4Addr::LOCALHOST);
        machine.members.iter().map(|it| check::Target::of(&it.running, ip)).collect()
    };
    let hooks = env::all_containers(pod).zip(targets).filter_map(|(container, target)| match &container.lifecycle {
        Some(Lifecycle { pre_stop: Some(hook), .. }) if target.is_there() => Some((container, hook, target)),
        _ => None,
    });
    let run = hooks.map(async |(container, hook, target)| {
        let left = deadline.saturating_duration_since(Instant::now());
        let exec = |command: Vec<String>| owner.exec(&container.name, command, false).boxed();
        if let Err(error) = check::hook(hook, container, &target, &owner.asker(), left, &exec).await {
            owner.warn(Some(&container.name), "FailedPreStopHook", error.to_string());
        }
    });
    join_all(run).await;
}

/// Lets guests, addresses and the pod's IP go.
async fn release(owner: &Owner) {
    let (processes, ip) = {
        let mut machine = owner.machine.lock();
        (machine.release_all(now()), machine.ip)
    };
    for process in &processes {
        process.kill();
    }
    for process in processes {
        if timeout(KILL_TIME, process.wait()).await.is_err() {
            tracing::warn!(pod = %owner.key, "a process did not end when it was killed");
        }
    }
    if let Some(ip) = ip {
        let mut machine = owner.machine.lock();
        if machine.give_up_address() {
            owner.shared.network.release(ip);
        }
    }
    // From here on nobody begins to write late volumes. Who has begun ends before the directories go.
    if owner.shared.late_writes.try_lock().is_none() {
        let shared = owner.shared.clone();
        let _ = tokio::task::spawn_blocking(move || drop(shared.late_writes.lock())).await;
    }
}

async fn remove(directories: Vec<PathBuf>) {
    let present: Vec<PathBuf> = directories.into_iter().filter(|it| it.exists()).collect();
    if present.is_empty() {
        return;
    }
    let work = move || {
        for directory in present {
            match volumes::remove_tree(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = directory.display().to_string();
                    tracing::warn!(path, error = &error as &dyn std::error::Error, "removing a pod's directory");
                }
                _ => {}
            }
        }
    };
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "removing a pod's directories");
    }
}

impl check::Target {
    /// Whether there is a guest to talk to.
    fn is_there(&self) -> bool {
        !matches!(self, check::Target::Nobody)
    }

    /// The guest behind `running`.
    pub(super) fn of(running: &Running, ip: Ipv4Addr) -> check::Target {
        match running {
            Running::Not => check::Target::Nobody,
            Running::Http { guest, published, .. } => {
                check::Target::Guest { guest: guest.clone(), ports: published.ports(), ip }
            }
            Running::Command(_) => check::Target::Address(ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_at_the_pod_only() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 07002A0A:1F90 00000000:0000 0A 0:0\n\
                     1: 07002A0A:1F90 01002A0A:C350 01 0:0\n\
                     2: 07002A0A:1F90 01002A0A:C351 06 0:0\n\
                     3: 08002A0A:1F90 01002A0A:C352 01 0:0\n";
        // As a machine with the little end first writes them.
        #[cfg(target_endian = "little")]
        assert_eq!(established(table, Ipv4Addr::new(10, 42, 0, 7)), 1);
        assert_eq!(established(table, Ipv4Addr::new(10, 42, 0, 9)), 0);
    }
}
