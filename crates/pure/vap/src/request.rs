//! A request as expressions see it. Entry point: [`Request`].
//!
//! What they see is made once for each version in which policies ask for the object, and shared by all of them.

use std::{cell::RefCell, sync::Arc};

use eyot_model::{kinds::Kind, meta, rbac::Resource};
use eyot_policy::{Data, Review, between};
use eyot_rules::{Asker, Budget, Environment, Program, RunError, Value as Cel};
use serde_json::{Value, json};

use crate::{matching::Version, policy::Expression};

/// A request, and where to look things up.
pub struct Request<'a> {
    pub(crate) review: Review<'a>,
    pub(crate) data: &'a dyn Data,
    shown: RefCell<Shown>,
}

/// What expressions see of one object, in each version that was asked for.
#[derive(Default)]
pub struct Shown {
    /// Everything but the object itself.
    around: Option<Environment>,
    own: Option<Environment>,
    others: Vec<(Arc<Kind>, Environment)>,
}

impl<'a> Request<'a> {
    /// A request that nothing was asked of yet.
    pub fn new(review: &Review<'a>, data: &'a dyn Data) -> Request<'a> {
        Request { review: *review, data, shown: RefCell::default() }
    }

    /// What expressions see of it in one version, parameters and variables left out.
    pub fn seen_as(&self, version: &Version) -> Environment {
        self.shown.borrow_mut().of(&self.review, self.data, version)
    }
}

impl Shown {
    /// Forgets the object, which is about to become another one, all else being the same.
    pub fn forget(&mut self) {
        self.own = None;
        self.others.clear();
    }

    /// What expressions see of a request, which must be the same at each call.
    pub fn of(&mut self, review: &Review<'_>, data: &dyn Data, version: &Version) -> Environment {
        self.of_shared(&|| Arc::new(review.object.clone()), review, data, version)
    }

    /// Everything but the object itself, for expressions that do not name it.
    pub(crate) fn around(&mut self, review: &Review<'_>, data: &dyn Data) -> Environment {
        self.around.get_or_insert_with(|| around(review, data)).clone()
    }

    /// The same where the request's object need not be copied to be kept.
    pub(crate) fn of_shared(
        &mut self,
        object: &dyn Fn() -> Arc<Value>,
        review: &Review<'_>,
        data: &dyn Data,
        version: &Version,
    ) -> Environment {
        let kind = match version {
            Version::Other(kind) if review.carries_its_kind() => kind,
            // What a subresource carries is no version of the resource's kind.
            _ => {
                let around = self.around(review, data);
                return self.own.get_or_insert_with(|| around.with("object", object())).clone();
            }
        };
        if let Some(known) = self.others.iter().find(|it| it.0 == *kind) {
            return known.1.clone();
        }
        let convert = |it: &Value| between(review.requested, kind, it.clone());
        let (object, old) = (convert(review.object), review.old.map(convert));
        let made = around(&review.seen_as(kind, &object, old.as_ref()), data);
        let made = made.with("object", Arc::new(object));
        self.others.push((kind.clone(), made.clone()));
        made
    }
}

/// Everything that expressions see but the object itself.
fn around(review: &Review<'_>, data: &dyn Data) -> Environment {
    let about = Value::Object(review.about(""));
    let roles = data.authorizer();
    let decide = move |user: &str, groups: &[String], ask: &eyot_model::rbac::Ask<'_>| {
        let decision = roles.decide(user, groups, ask);
        (decision.allowed, decision.reason)
    };
    let asker = Asker::new(Arc::new(decide), review.user.name, review.user.groups);
    let resource = Resource {
        group: &review.resource.group,
        resource: &review.resource.plural,
        subresource: review.subresource,
        namespace: if review.resource.namespaced { review.namespace } else { "" },
        name: review.name,
        ..Resource::default()
    };
    let mut environment = Environment::new();
    if let Some(old) = review.old {
        environment = environment.with("oldObject", Arc::new(old.clone()));
    }
    if let Some(namespace) = review.namespace_object {
        environment = environment.with("namespaceObject", Arc::new(exposed(namespace)));
    }
    environment.with("request", Arc::new(about)).with_authorizer(&asker, &resource)
}

/// What policies see of a Namespace: nothing that only matters to those who manage it.
fn exposed(namespace: &Value) -> Value {
    const METADATA: [&str; 8] =
        ["name", "generateName", "namespace", "labels", "annotations", "uid", "creationTimestamp", "deletionTimestamp"];
    let mut metadata = namespace["metadata"].clone();
    meta::as_map(&mut metadata).retain(|key, _| METADATA.contains(&key.as_str()));
    let mut exposed = json!({"metadata": metadata});
    for field in ["spec", "status"] {
        if let Some(value) = namespace.get(field) {
            exposed[field] = value.clone();
        }
    }
    exposed
}

impl Expression {
    /// Evaluates it; what goes wrong is told as Kubernetes tells it.
    ///
    /// # Errors
    /// What went wrong.
    pub fn run(&self, environment: &Environment, budget: &mut Budget) -> Result<Cel, String> {
        self.told(|program| environment.run(program, budget))
    }

    /// Evaluates what must be true or false.
    ///
    /// # Errors
    /// What went wrong.
    pub fn holds(&self, environment: &Environment, budget: &mut Budget) -> Result<bool, String> {
        self.told(|program| environment.holds(program, budget))?
            .ok_or_else(|| format!("expression '{}' resulted in error: it did not evaluate to bool", self.text))
    }

    /// Evaluates what must be JSON; `None` where it is not.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn json(&self, environment: &Environment, budget: &mut Budget) -> Result<Option<Value>, String> {
        self.told(|program| environment.json(program, budget))
    }

    fn told<T>(&self, run: impl FnOnce(&Program) -> Result<T, RunError>) -> Result<T, String> {
        let failed = |why: &str| format!("expression '{}' resulted in error: {why}", self.text);
        let program = self.program.as_ref().map_err(|why| failed(why))?;
        run(program).map_err(|error| match error {
            RunError::Cost => {
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned()
            }
            RunError::Failed(why) => failed(&why),
        })
    }
}
