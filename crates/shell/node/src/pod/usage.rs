//! What the containers of a pod have used so far. Start at [`Owner::usage`].

use std::time::Duration;

use eyot_instance::{Moment, State};

use super::{
    Owner,
    machine::{Machine, Running},
};

/// What one container has used since it started.
pub(crate) struct Usage {
    pub(crate) container: Box<str>,
    pub(crate) started: Moment,
    /// Time spent running guest code and the host calls it made.
    pub(crate) cpu: Duration,
    /// Linear memory it has now, in bytes: nothing while nobody asks it anything.
    pub(crate) memory: u64,
    /// What it was asked, when it answers requests.
    pub(crate) requests: Option<Requests>,
}

/// What a container was asked.
pub(crate) struct Requests {
    /// Requests taken.
    pub(crate) taken: u64,
    /// Requests whose answer has not ended.
    pub(crate) in_flight: u64,
}

impl Owner {
    /// What those containers have used that run now.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.machine.lock().usage()
    }
}

impl Machine {
    fn usage(&self) -> Vec<Usage> {
        let of = |member: &super::machine::Member| {
            let State::Running { started } = member.container.state else { return None };
            let (cpu, memory, requests) = match &member.running {
                Running::Not => return None,
                Running::Http { guest, .. } => {
                    let stats = guest.stats();
                    let in_flight = guest.in_flight() as u64;
                    (stats.cpu, stats.memory_bytes, Some(Requests { taken: stats.requests, in_flight }))
                }
                Running::Command(process) => {
                    let stats = process.stats();
                    (stats.cpu, stats.memory_bytes, None)
                }
            };
            Some(Usage { container: member.name.clone(), started, cpu, memory, requests })
        };
        self.members.iter().filter_map(of).collect()
    }
}
