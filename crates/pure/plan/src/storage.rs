//! Which volume a claim gets, and what becomes of a volume when its claim goes.
//!
//! Entry points: [`claim`] and [`phase`]. A claim names its volume and the volume names its claim; a claim is bound when both
//! do. A class may ask to wait until a pod that uses the claim has a node, which the claim then names.
//!
//! Deliberately absent: making volumes. [`ClaimStep::Provision`] says who is to make one.

use std::fmt;

use crate::selector::Selector;

/// What matters of a PersistentVolumeClaim.
#[derive(Clone, Debug, Default)]
pub struct Claim<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Identity.
    pub uid: &'a str,
    /// Name of its class; empty for none.
    pub class: &'a str,
    /// Name of the volume it has or asks for; empty for any.
    pub volume: &'a str,
    /// Access modes it needs, all of them.
    pub modes: &'a [String],
    /// Bytes it needs.
    pub bytes: u64,
    /// Whether it wants a device instead of a file system.
    pub block: bool,
    /// Labels of the volume, if that matters.
    pub selector: Option<Selector>,
    /// Whether its binding was completed before.
    pub bound: bool,
    /// The node that its first pod is on; empty while there is none.
    pub node: &'a str,
}

/// What matters of a PersistentVolume.
#[derive(Clone, Debug, Default)]
pub struct Volume<'a> {
    /// Name.
    pub name: &'a str,
    /// Name of its class; empty for none.
    pub class: &'a str,
    /// Access modes it offers.
    pub modes: &'a [String],
    /// Bytes it holds.
    pub bytes: u64,
    /// Whether it is a device.
    pub block: bool,
    /// Labels.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The claim it belongs to or is kept for.
    pub owner: Option<Owner<'a>>,
    /// Being deleted.
    pub deleting: bool,
}

/// `claimRef` of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Identity; empty where a person keeps a volume for a claim to come.
    pub uid: &'a str,
}

impl Owner<'_> {
    /// Whether this means the claim: by identity where one is told.
    fn is(&self, claim: &Claim<'_>) -> bool {
        self.namespace == claim.namespace && self.name == claim.name && (self.uid.is_empty() || self.uid == claim.uid)
    }
}

/// What a claim's StorageClass says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class<'a> {
    /// Who makes volumes.
    pub provisioner: &'a str,
    /// Whether to wait for the first pod that uses a claim.
    pub waits: bool,
}

/// Where a claim's class was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassOf<'a> {
    /// The claim names none.
    None,
    /// It names one that does not exist.
    Missing,
    /// It names this one.
    Known(Class<'a>),
}

/// What to do about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// Nothing: it is bound.
    Keep,
    /// Bind it to the volume at this place, or complete that.
    Bind(usize),
    /// Its volume is gone or belongs to another; the reason, for people.
    Lost(String),
    /// Have this provisioner make a volume.
    Provision(String),
    /// Wait, and say why.
    Wait {
        /// Reason of the event.
        reason: &'static str,
        /// Whether somebody must do something.
        worrying: bool,
        /// For people.
        message: String,
    },
}

/// A provisioner that makes nothing: people do.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// The node's own provisioner, which makes directories.
const LOCAL_PATH: &str = "eyot.io/local-path";

/// Decides about a claim that is not being deleted.
pub fn claim(claim: &Claim<'_>, volumes: &[Volume<'_>], class: ClassOf<'_>) -> ClaimStep {
    if !claim.volume.is_empty() {
        return named(claim, volumes);
    }
    let kept = volumes.iter().position(|it| !it.deleting && it.owner.is_some_and(|owner| owner.is(claim)));
    let waits = matches!(class, ClassOf::Known(Class { waits: true, .. })) && claim.node.is_empty();
    let found = kept.or_else(|| if waits { None } else { smallest(claim, volumes) });
    if let Some(index) = found {
        return ClaimStep::Bind(index);
    }
    let wait = |reason, worrying, message: String| ClaimStep::Wait { reason, worrying, message };
    match class {
        ClassOf::None => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            wait("FailedBinding", false, message.to_owned())
        }
        ClassOf::Missing => {
            let message = format!("storageclass.storage.k8s.io {:?} not found", claim.class);
            wait("ProvisioningFailed", true, message)
        }
        ClassOf::Known(_) if waits => {
            let message = "waiting for first consumer to be created before binding";
            wait("WaitForFirstConsumer", false, message.to_owned())
        }
        ClassOf::Known(Class { provisioner: NO_PROVISIONER, .. }) => {
            let message = "no persistent volumes available for this claim, and its class makes none";
            wait("FailedBinding", false, message.to_owned())
        }
        ClassOf::Known(Class { provisioner: LOCAL_PATH, .. }) if claim.block => {
            let message = format!("{LOCAL_PATH} makes file systems only, and the claim asks for volumeMode Block");
            wait("ProvisioningFailed", true, message)
        }
        ClassOf::Known(Class { provisioner, .. }) => ClaimStep::Provision(provisioner.to_owned()),
    }
}

/// A claim that names its volume.
fn named(claim: &Claim<'_>, volumes: &[Volume<'_>]) -> ClaimStep {
    let found = volumes.iter().position(|it| it.name == claim.volume);
    let ours = found.is_some_and(|it| volumes[it].owner.is_some_and(|owner| owner.is(claim)));
    match (found, claim.bound) {
        (Some(at), true) if ours && volumes[at].owner.is_some_and(|it| !it.uid.is_empty()) => ClaimStep::Keep,
        (Some(at), _) if ours => ClaimStep::Bind(at),
        (Some(at), true) if volumes[at].owner.is_none() => ClaimStep::Bind(at),
        (Some(_), true) => ClaimStep::Lost(format!("volume {:?} belongs to another claim", claim.volume)),
        (None, true) => ClaimStep::Lost(format!("volume {:?} does not exist any more", claim.volume)),
        (Some(at), false) => {
            let volume = &volumes[at];
            let why = match () {
                () if volume.owner.is_some() => "belongs to another claim",
                () if volume.deleting => "is being deleted",
                () if !suits(claim, volume) => "is too small, or of another class, mode or kind",
                () => return ClaimStep::Bind(at),
            };
            let message = format!("volume {:?} {why}", claim.volume);
            ClaimStep::Wait { reason: "FailedBinding", worrying: true, message }
        }
        (None, false) => {
            let message = format!("volume {:?} does not exist yet", claim.volume);
            ClaimStep::Wait { reason: "FailedBinding", worrying: false, message }
        }
    }
}

/// The smallest free volume that will do; of several the first by name.
fn smallest(claim: &Claim<'_>, volumes: &[Volume<'_>]) -> Option<usize> {
    let free = |it: &Volume<'_>| it.owner.is_none() && !it.deleting && suits(claim, it) && is_selected(claim, it);
    let suitable = volumes.iter().enumerate().filter(|(_, it)| free(it));
    suitable.min_by_key(|(_, it)| (it.bytes, it.name)).map(|it| it.0)
}

fn suits(claim: &Claim<'_>, volume: &Volume<'_>) -> bool {
    volume.class == claim.class
        && volume.block == claim.block
        && volume.bytes >= claim.bytes
        && claim.modes.iter().all(|it| volume.modes.contains(it))
}

fn is_selected(claim: &Claim<'_>, volume: &Volume<'_>) -> bool {
    let label = |key: &str| volume.labels.iter().find(|it| it.0 == key).map(|it| it.1);
    claim.selector.as_ref().is_none_or(|it| it.matches(label))
}

/// A volume's phase. Displayed as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Free.
    Available,
    /// A claim has it.
    Bound,
    /// The claim that had it is gone.
    Released,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The phase of a volume, given the claim that has the name it is kept for.
pub fn phase(volume: &Volume<'_>, claim: Option<&Claim<'_>>) -> Phase {
    let Some(owner) = volume.owner else { return Phase::Available };
    match claim.filter(|it| owner.is(it)) {
        Some(claim) if claim.volume == volume.name && !owner.uid.is_empty() => Phase::Bound,
        Some(claim) if claim.volume.is_empty() => Phase::Available,
        _ if owner.uid.is_empty() => Phase::Available,
        _ => Phase::Released,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const LOCAL: ClassOf<'static> = ClassOf::Known(Class { provisioner: "eyot.io/local-path", waits: true });
    const NOW: ClassOf<'static> = ClassOf::Known(Class { provisioner: "eyot.io/local-path", waits: false });

    fn modes() -> Vec<String> {
        vec!["ReadWriteOnce".to_owned()]
    }

    fn volume<'a>(name: &'a str, bytes: u64, modes: &'a [String], owner: Option<(&'a str, &'a str)>) -> Volume<'a> {
        let owner = owner.map(|(name, uid)| Owner { namespace: "shop", name, uid });
        Volume { name, class: "local", modes, bytes, owner, ..Volume::default() }
    }

    fn wish(modes: &[String]) -> Claim<'_> {
        let (namespace, name, uid) = ("shop", "data", "u1");
        Claim { namespace, name, uid, class: "local", modes, bytes: 10, ..Claim::default() }
    }

    #[track_caller]
    fn check(step: &ClaimStep, volumes: &[Volume<'_>], want: Expect) {
        want.assert_eq(&match step {
            ClaimStep::Bind(at) => format!("bind {}", volumes[*at].name),
            other => format!("{other:?}"),
        });
    }

    #[test]
    fn a_claim_gets_what_is_kept_for_it_else_the_smallest_that_will_do() {
        let modes = modes();
        let wish = wish(&modes);
        let mut all = vec![
            volume("small", 5, &modes, None),
            volume("large", 50, &modes, None),
            volume("right", 20, &modes, None),
            volume("taken", 15, &modes, Some(("other", "u2"))),
        ];
        check(&claim(&wish, &all, NOW), &all, expect!["bind right"]);
        all.push(volume("kept", 10, &modes, Some(("data", ""))));
        check(&claim(&wish, &all, NOW), &all, expect!["bind kept"]);
        check(&claim(&Claim { volume: "large", ..wish.clone() }, &all, NOW), &all, expect!["bind large"]);
        let refused = claim(&Claim { volume: "small", ..wish.clone() }, &all, NOW);
        check(
            &refused,
            &all,
            expect![[
                r#"Wait { reason: "FailedBinding", worrying: true, message: "volume \"small\" is too small, or of another class, mode or kind" }"#
            ]],
        );
        let selector = Some(Selector::equals([("tier", "fast")]));
        all[1].labels = vec![("tier", "fast")];
        all.truncate(4);
        check(&claim(&Claim { selector, ..wish }, &all, NOW), &all, expect!["bind large"]);
    }

    #[test]
    fn a_class_that_waits_waits_for_a_node_and_is_then_provisioned() {
        let modes = modes();
        let wish = wish(&modes);
        let free = [volume("free", 50, &modes, None)];
        check(
            &claim(&wish, &free, LOCAL),
            &free,
            expect![[
                r#"Wait { reason: "WaitForFirstConsumer", worrying: false, message: "waiting for first consumer to be created before binding" }"#
            ]],
        );
        let placed = Claim { node: "edge", ..wish.clone() };
        check(&claim(&placed, &free, LOCAL), &free, expect!["bind free"]);
        check(&claim(&placed, &[], LOCAL), &[], expect![[r#"Provision("eyot.io/local-path")"#]]);
        check(&claim(&wish, &[], NOW), &[], expect![[r#"Provision("eyot.io/local-path")"#]]);
        check(
            &claim(&Claim { block: true, ..wish.clone() }, &[], NOW),
            &[],
            expect![[
                r#"Wait { reason: "ProvisioningFailed", worrying: true, message: "eyot.io/local-path makes file systems only, and the claim asks for volumeMode Block" }"#
            ]],
        );
        check(
            &claim(&wish, &[], ClassOf::Missing),
            &[],
            expect![[
                r#"Wait { reason: "ProvisioningFailed", worrying: true, message: "storageclass.storage.k8s.io \"local\" not found" }"#
            ]],
        );
        check(
            &claim(&wish, &[], ClassOf::None),
            &[],
            expect![[
                r#"Wait { reason: "FailedBinding", worrying: false, message: "no persistent volumes available for this claim and no storage class is set" }"#
            ]],
        );
    }

    #[test]
    fn a_bound_claim_stays_and_one_whose_volume_went_is_lost() {
        let modes = modes();
        let bound = Claim { volume: "v", bound: true, ..wish(&modes) };
        let held = [volume("v", 1, &modes, Some(("data", "u1")))];
        check(&claim(&bound, &held, LOCAL), &held, expect!["Keep"]);
        let half = Claim { bound: false, ..bound.clone() };
        check(&claim(&half, &held, LOCAL), &held, expect!["bind v"]);
        check(&claim(&bound, &[], LOCAL), &[], expect![[r#"Lost("volume \"v\" does not exist any more")"#]]);
        let stolen = [volume("v", 1, &modes, Some(("other", "u2")))];
        check(&claim(&bound, &stolen, LOCAL), &[], expect![[r#"Lost("volume \"v\" belongs to another claim")"#]]);
    }

    #[test]
    fn a_volume_is_released_when_its_claim_is_gone_or_another() {
        let modes = modes();
        let of = |owner, claim: Option<(&str, &str)>| {
            let claim =
                claim.map(|(uid, volume)| Claim { namespace: "shop", name: "data", uid, volume, ..Claim::default() });
            phase(&volume("v", 1, &modes, owner), claim.as_ref()).to_string()
        };
        assert_eq!(of(None, None), "Available");
        assert_eq!(of(Some(("data", "")), None), "Available");
        assert_eq!(of(Some(("data", "u1")), Some(("u1", ""))), "Available", "its binding is under way");
        assert_eq!(of(Some(("data", "u1")), Some(("u1", "v"))), "Bound");
        assert_eq!(of(Some(("data", "u1")), Some(("u1", "w"))), "Released");
        assert_eq!(of(Some(("data", "u1")), Some(("u2", "v"))), "Released");
        assert_eq!(of(Some(("data", "u1")), None), "Released");
    }
}
