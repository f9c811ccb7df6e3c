//! Runs a container's probes. Only containers that declare probes have this task, and the processes that requests reach by a
//! port as instances of a function, until they listen there: a function is ready when it can be reached, not when it was started.

use std::{net::Ipv4Addr, sync::Weak, time::Duration};

use eyot_instance::{Action, ProbeKind, Probing, Rule, RuleSet};
use futures::FutureExt;
use k8s_openapi::{
    api::core::v1::{Container, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    Owner,
    check::{Check, CheckError, Target},
    machine::Running,
    now,
    session::{Extra, SessionError},
};

/// Name of the port by which requests reach the instances of a function; it is Knative's.
const SERVING_PORT: &str = "user-port";

/// What to probe, how and when.
pub(super) struct Plan {
    pub(super) rules: RuleSet,
    container: Box<str>,
    target: Target,
    startup: Option<One>,
    liveness: Option<One>,
    readiness: Option<One>,
}

struct One {
    check: Result<Check, CheckError>,
    limit: Duration,
    /// Nobody wrote it: its failures are no news.
    is_implied: bool,
}

/// The probes of `container`, if it declares any. After a restart of the node a container need not start up again.
pub(super) fn plan(container: &Container, running: &Running, ip: Ipv4Addr, resumed: bool) -> Option<Box<Plan>> {
    let implied = match running {
        Running::Command(_) => listening(container),
        Running::Http { .. } | Running::Not => None,
    };
    let startup = container.startup_probe.as_ref().or(implied.as_ref()).filter(|_| !resumed);
    let (liveness, readiness) = (container.liveness_probe.as_ref(), container.readiness_probe.as_ref());
    if startup.is_none() && liveness.is_none() && readiness.is_none() {
        return None;
    }
    let one = |probe: &Probe| One {
        check: check(probe, container),
        limit: Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1)),
        is_implied: implied.as_ref() == Some(probe),
    };
    Some(Box::new(Plan {
        rules: RuleSet { startup: startup.map(rule), liveness: liveness.map(rule), readiness: readiness.map(rule) },
        container: container.name.as_str().into(),
        target: Target::of(running, ip),
        startup: startup.map(one),
        liveness: liveness.map(one),
        readiness: readiness.map(one),
    }))
}

/// The startup probe of a function's instance that says nothing of when it may be asked: it listens. It never restarts anything,
/// which is for whoever waits for the instance to say.
fn listening(container: &Container) -> Option<Probe> {
    if container.startup_probe.is_some() || container.readiness_probe.is_some() {
        return None;
    }
    let port = container.ports.iter().flatten().find(|it| it.name.as_deref() == Some(SERVING_PORT))?;
    let tcp_socket = TCPSocketAction { host: None, port: IntOrString::Int(port.container_port) };
    Some(Probe {
        tcp_socket: Some(tcp_socket),
        period_seconds: Some(1),
        failure_threshold: Some(i32::MAX),
        ..Probe::default()
    })
}

fn rule(probe: &Probe) -> Rule {
    let number = |value: Option<i32>, default: u32| value.and_then(|it| u32::try_from(it).ok()).unwrap_or(default);
    Rule {
        initial_delay: Duration::from_secs(number(probe.initial_delay_seconds, 0).into()),
        period: Duration::from_secs(number(probe.period_seconds, 10).max(1).into()),
        successes: number(probe.success_threshold, 1).max(1),
        failures: number(probe.failure_threshold, 3).max(1),
    }
}

fn check(probe: &Probe, container: &Container) -> Result<Check, CheckError> {
    match (&probe.http_get, &probe.tcp_socket, &probe.grpc, &probe.exec) {
        (Some(get), ..) => Check::http(get, container),
        (None, Some(tcp), ..) => Check::tcp(tcp, container),
        (None, None, Some(grpc), _) => Check::grpc(grpc),
        (None, None, None, Some(exec)) => Ok(Check::exec(exec)),
        (None, None, None, None) => Err(CheckError::Unknown),
    }
}

/// Runs a probe's command beside the guest.
async fn exec(owner: Weak<Owner>, container: Box<str>, command: Vec<String>) -> Result<Extra, SessionError> {
    let owner = owner.upgrade().ok_or_else(|| SessionError::NotRunning(container.to_string()))?;
    owner.exec(&container, command, false).await
}

/// Probes until the container's run is over or its pod is gone.
pub(super) async fn run(owner: Weak<Owner>, index: usize, run: u32, plan: Box<Plan>) {
    let Some(asker) = owner.upgrade().map(|it| it.asker()) else { return };
    let mut probing = Probing::begin(&plan.rules, now());
    while let Some((kind, due)) = probing.next(&plan.rules) {
        tokio::time::sleep(due.since(now())).await;
        let one = match kind {
            ProbeKind::Startup => &plan.startup,
            ProbeKind::Liveness => &plan.liveness,
            ProbeKind::Readiness => &plan.readiness,
        };
        let Some(one) = one else { return };
        let verdict = match &one.check {
            Ok(check) => {
                let exec = |command: Vec<String>| exec(owner.clone(), plan.container.clone(), command).boxed();
                check.run(&plan.target, &asker, one.limit, &exec).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let Some(owner) = owner.upgrade() else { return };
        let told = now();
        if let Err(error) = &verdict
            && probing.counts(kind, told)
            && !one.is_implied
        {
            owner.warn(Some(&plan.container), "Unhealthy", format!("{kind:?} probe failed: {error}"));
        }
        let (next, action) = probing.step(&plan.rules, kind, verdict.is_ok(), told);
        probing = next;
        let Some(action) = action else { continue };
        if let Action::Restart(kind) = action {
            let message = format!("Container {} failed {kind:?} probe, will be restarted", plan.container);
            owner.note(Some(&plan.container), "Killing", message);
        }
        owner.probed(index, run, action);
        if action == Action::Started && probing.ready {
            owner.probed(index, run, Action::Ready(true));
        }
        if matches!(action, Action::Restart(_)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_instance_of_a_function_is_started_when_it_listens_unless_it_says_otherwise() {
        let container = |change: fn(&mut Value)| {
            let mut json = json!({"name": "a", "ports": [{"name": "user-port", "containerPort": 9000}]});
            change(&mut json);
            listening(&serde_json::from_value(json).unwrap())
        };
        let probe = container(|_| {}).unwrap();
        assert_eq!(probe.tcp_socket.unwrap().port, IntOrString::Int(9000));
        assert!(container(|it| it["ports"][0]["name"] = "http".into()).is_none(), "no function");
        assert!(container(|it| it["ports"] = Value::Null).is_none());
        for probe in ["readinessProbe", "startupProbe"] {
            let own = json!({"exec": {"command": ["check"]}});
            let mut json = json!({"name": "a", "ports": [{"name": "user-port", "containerPort": 9000}]});
            json[probe] = own;
            assert!(listening(&serde_json::from_value(json).unwrap()).is_none(), "{probe}");
        }
    }
}
