//! The engines of a server without the server. Entry point: [`Engines::under`], then [`Engines::admit`].

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use eyot_gatekeeper::Gatekeeper;
use eyot_kyverno::Kyverno;
use eyot_model::{
    defaults,
    kinds::{self, Kind},
    schema,
};
use eyot_policy::{Engine, Objects, Operation, Options, Review, Turns, User};
use eyot_rego::{Dialect, Program, Request, Source, Value as Rego};
use eyot_vap::AdmissionPolicies;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::policies::{IMAGES, MIXED, pod};

/// What they are called, in the order in which they are asked: the last of them is OPA, and behind it comes what the server
/// does when one changed the object.
pub const ENGINES: [&str; 5] = ["admission-policies", "gatekeeper", "kyverno", "opa", "schema and defaults"];
/// The place of OPA.
const OPA: usize = 3;

/// Engines with policies in force.
pub struct Engines {
    engines: [Arc<dyn Engine>; 3],
    /// Policies of OPA.
    programs: Vec<Program>,
    data: Objects,
    namespace: Value,
}

impl Engines {
    /// Engines with that many policies of the [mixture](MIXED), or of one of its sorts.
    ///
    /// # Errors
    /// When an engine refuses a policy.
    pub fn under(count: usize, sort: Option<usize>) -> Result<Engines> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        let mut made = Engines {
            engines: [Arc::new(AdmissionPolicies::new()), Arc::new(Gatekeeper::new()), Arc::new(Kyverno::new())],
            programs: Vec::new(),
            data: Objects::new([namespace.clone()]),
            namespace,
        };
        for at in 0..count {
            let objects = MIXED[sort.unwrap_or(at % MIXED.len())].1(at);
            objects.into_iter().try_for_each(|it| made.put(it))?;
        }
        Ok(made)
    }

    fn put(&mut self, mut object: Value) -> Result<()> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let group = api_version.split_once('/').map_or("", |it| it.0).to_owned();
        if group == "eyot.dev" {
            let source = Source { name: "main.rego".to_owned(), text: IMAGES.to_owned(), dialect: Dialect::V1 };
            let program = Program::compile(&[source]).map_err(|flaws| anyhow::anyhow!("{flaws:?}"))?;
            self.programs.push(program);
            return Ok(());
        }
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let engine = self.engines.iter().find(|it| it.governs(&group, &kind));
        let Some(engine) = engine else { anyhow::bail!("no engine is for {kind}") };
        let checked = engine.check(&mut object, None, &self.data);
        checked.map_err(|causes| anyhow::anyhow!("{kind}: {causes:?}"))?;
        engine.put(&object);
        Ok(())
    }

    /// Admits a pod as the server does: mutations, once more if they changed it, then judgement. `step` is told, by the
    /// place in [`ENGINES`], before an engine is asked; after the last it is told that of no engine.
    ///
    /// # Errors
    /// When an engine refuses the pod.
    pub fn admit(&self, mut object: Value, mut step: impl FnMut(usize)) -> Result<Value> {
        let kind = kinds::builtin().by_plural("", "v1", "pods");
        let Some(kind) = kind else { anyhow::bail!("pods are not known") };
        let groups = ["system:masters".to_owned(), "system:authenticated".to_owned()];
        let extra = BTreeMap::new();
        let base = Review {
            now: Timestamp::UNIX_EPOCH,
            operation: Operation::Create,
            resource: kind,
            requested: kind,
            subresource: "",
            namespace: "default",
            name: "a",
            user: User { name: "admin", uid: "", groups: &groups, extra: &extra },
            options: Options { kind: "CreateOptions", ..Options::default() },
            object: &Value::Null,
            old: None,
            namespace_object: Some(&self.namespace),
        };
        let mut turns = Turns::default();
        for round in 0..2 {
            let mut changed = false;
            for (at, engine) in self.engines.iter().enumerate() {
                step(at);
                if !engine.wants(&base) {
                    continue;
                }
                let before = object.clone();
                let made = engine.mutate(&Review { object: &before, ..base }, &mut object, &mut turns, &self.data);
                if made.map_err(|it| anyhow::anyhow!("{it:?}"))?.changed {
                    changed = true;
                    step(OPA + 1);
                    object = settled(kind, object)?;
                }
            }
            step(ENGINES.len());
            if round > 0 || !changed {
                break;
            }
            turns.begin_again();
        }
        let review = Review { object: &object, ..base };
        for (at, engine) in self.engines.iter().enumerate() {
            step(at);
            if engine.wants(&review) {
                let verdict = engine.validate(&review, &self.data);
                ensure!(verdict.denials.is_empty(), "refused: {:?}", verdict.denials);
            }
        }
        step(OPA);
        self.judge_by_opa(&review)?;
        step(ENGINES.len());
        Ok(object)
    }

    fn judge_by_opa(&self, review: &Review<'_>) -> Result<()> {
        if self.programs.is_empty() {
            return Ok(());
        }
        let about = review.about("1");
        let about = about.iter().map(|(name, value)| (name.as_str(), Rego::from(value)));
        let request = Rego::record(about.chain([("object", Rego::from(review.object)), ("oldObject", Rego::Null)]));
        let input = Rego::record([("kind", Rego::string("AdmissionReview")), ("request", request)]);
        let path = [Rego::string("bench"), Rego::string("deny")];
        for program in &self.programs {
            let denied = black_box(program.at(&path, &Request::new(Some(input.clone()), 0))?);
            ensure!(denied.is_some_and(|it| it.is_empty()), "OPA refuses the pod");
        }
        Ok(())
    }
}

/// An object that an engine changed, checked and with its defaults.
fn settled(kind: &Kind, object: Value) -> Result<Value> {
    let decoded = schema::decode(kind, object, Vec::new(), schema::FieldValidation::Ignore);
    let mut object = decoded.map_err(|it| anyhow::anyhow!(it.message))?.object;
    defaults::apply(kind, &mut object);
    Ok(object)
}

/// A pod as it is when admission begins, with its defaults.
pub fn admitted_pod() -> Value {
    let mut object = pod("a");
    object["metadata"]["namespace"] = "default".into();
    object["metadata"]["uid"] = "7d3b7c0e-6f0f-4b0a-9c53-3a1f5f0c8f11".into();
    object["metadata"]["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
    if let Some(kind) = kinds::builtin().by_plural("", "v1", "pods") {
        defaults::apply(kind, &mut object);
    }
    object
}
