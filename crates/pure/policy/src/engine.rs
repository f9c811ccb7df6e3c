//! What an engine of policies is. Entry point: [`Engine`].

use eyot_model::status::{Cause, Reason};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Data, Review, Turns};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// Which policy says so, for logs.
    pub policy: String,
    /// What the client reads, in the words of the engine's original.
    pub message: String,
    /// Whether the message stands behind `pods "a" is forbidden: `, as the API server's own refusals do. Those of engines
    /// that are webhooks elsewhere stand for themselves.
    pub is_reason: bool,
    /// Status code, mostly 403.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: Reason,
}

impl Denial {
    /// A refusal with code 403 whose message stands for itself.
    pub fn forbidden(policy: impl Into<String>, message: impl Into<String>) -> Denial {
        let (code, reason) = (403, Reason::Forbidden);
        Denial { policy: policy.into(), message: message.into(), is_reason: false, code, reason }
    }
}

/// What an engine has to say about an object in its final form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Reasons to refuse, in the order in which they are told. None lets the request pass.
    pub denials: Vec<Denial>,
    /// What the client is told beside the answer.
    pub warnings: Vec<String>,
    /// What an audit log would hold.
    pub audit_annotations: Vec<(String, String)>,
}

/// What an engine made of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutation {
    /// Whether it changed it.
    pub changed: bool,
    /// What the client is told beside the answer.
    pub warnings: Vec<String>,
    /// What an audit log would hold.
    pub audit_annotations: Vec<(String, String)>,
}

/// How one rule of a policy looks upon a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It does not, and is only told.
    Warn,
    /// It could not be evaluated.
    Error,
    /// It is not about this object.
    Skip,
}

/// What a policy finds when stored objects are looked at in the background.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Group, kind, namespace (or empty) and name of the policy.
    pub policy: [String; 4],
    /// Which of its rules; empty where it has only one.
    pub rule: String,
    /// How the rule looks upon the object.
    pub outcome: Outcome,
    /// What the policy would do about it, in its own word: `deny`, `dryrun`, `Enforce`, …
    pub action: String,
    /// What is wrong.
    pub message: String,
    /// What else belongs into a report; null when nothing.
    pub details: Value,
}

/// Something that a policy does by itself once it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// `create`, `delete`, …, or `*` for all.
    pub verb: &'static str,
    /// API group, or `*` for all.
    pub group: String,
    /// Plural, or `*` for all.
    pub resource: String,
    /// Empty for all namespaces, and for kinds without.
    pub namespace: String,
    /// The policy's field that asks for it.
    pub field: String,
}

/// An engine of policies. One object of it serves all requests at once.
///
/// The server calls [`check`](Engine::check) before it stores an object that the engine [`governs`](Engine::governs), and
/// [`put`](Engine::put) or [`remove`](Engine::remove) afterwards, one at a time and before the writer gets its answer: a
/// policy whose write was acknowledged is in force. At start it puts everything that is stored before it answers anybody.
///
/// Everything here is bounded in time and memory by the engine itself. An evaluation that fails follows the policy's own
/// failure policy and is never silently a yes.
pub trait Engine: Send + Sync {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// The CustomResourceDefinitions of its kinds. Those that are missing are installed at start.
    fn definitions(&self) -> Vec<Value> {
        Vec::new()
    }

    /// Whether objects of this kind are policies of it, or what policies refer to by name and keep compiled. Cheap, and
    /// true of kinds that are not served yet.
    fn governs(&self, group: &str, kind: &str) -> bool;

    /// Compiles an object that it governs, and gives it what the server owes it: defaults and status. Nothing is put in
    /// force. Returns warnings.
    ///
    /// # Errors
    /// Everything that is wrong with it, by field path.
    fn check(&self, object: &mut Value, old: Option<&Value>, data: &dyn Data) -> Result<Vec<String>, Vec<Cause>>;

    /// What a checked object would do by itself, with the rights of the server. Whoever writes it must be allowed all of it.
    fn powers(&self, object: &Value, data: &dyn Data) -> Vec<Power> {
        let _ = (object, data);
        Vec::new()
    }

    /// The status of a stored object that [`check`](Engine::check) would refuse now for these causes: an earlier version of the
    /// server took it. `None` where its kind has no place to say so.
    fn doubted(&self, object: &Value, causes: &[Cause]) -> Option<Value> {
        let _ = (object, causes);
        None
    }

    /// Definitions that an object brings along, such as the kind of a template's constraints. They are written right after
    /// it, owned by it, and go with it.
    fn companions(&self, object: &Value) -> Vec<Value> {
        let _ = object;
        Vec::new()
    }

    /// Puts a stored object in force, in place of the one of the same name. One that does not compile any more leaves the
    /// one before it in force.
    fn put(&self, object: &Value);

    /// Takes an object out of force.
    fn remove(&self, group: &str, kind: &str, namespace: &str, name: &str);

    /// Whether it may have something to say. False costs nanoseconds: without policies, and for kinds that none is about.
    fn wants(&self, review: &Review<'_>) -> bool;

    /// Changes the object, which `review.object` shows as it was before. `turns` tells which policies want to see it again.
    ///
    /// # Errors
    /// When a policy that must not fail does.
    fn mutate(
        &self,
        review: &Review<'_>,
        object: &mut Value,
        turns: &mut Turns,
        data: &dyn Data,
    ) -> Result<Mutation, Denial> {
        let _ = (review, object, turns, data);
        Ok(Mutation::default())
    }

    /// Judges the object in its final form.
    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict;

    /// Looks at a stored object in the background, as if it were created now. `namespace` is the Namespace it lies in.
    fn audit(&self, object: &Value, namespace: Option<&Value>, now: Timestamp, data: &dyn Data) -> Vec<Finding> {
        let _ = (object, namespace, now, data);
        Vec::new()
    }
}
