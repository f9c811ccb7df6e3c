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
    /// Bytes of bodies that came to it by HTTP.
    pub(crate) received: u64,
    /// Bytes of bodies that it gave by HTTP.
    pub(crate) sent: u64,
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
            let container = member.name.clone();
            Some(match &member.running {
                Running::Not => return None,
                Running::Http { guest, .. } => {
                    let it = guest.stats();
                    let requests = Some(Requests { taken: it.requests, in_flight: guest.in_flight() as u64 });
                    let (received, sent) = (it.received_bytes, it.sent_bytes);
                    Usage { container, started, cpu: it.cpu, memory: it.memory_bytes, requests, received, sent }
                }
                Running::Command(process) => {
                    let it = process.stats();
                    let (received, sent) = (it.received_bytes, it.sent_bytes);
                    Usage { container, started, cpu: it.cpu, memory: it.memory_bytes, requests: None, received, sent }
                }
            })
        };
        self.members.iter().filter_map(of).collect()
    }
}
