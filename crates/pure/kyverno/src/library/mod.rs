//! Kyverno's functions in CEL, for the policies of `policies.kyverno.io`. Entry points: [`LIBRARY`], [`Host`].
//!
//! What they look up comes from a [`Source`]: the store at the moment of the write, or the files of a test. Refused by
//! name when a policy is written, because a write does not wait for other machines: `http`, `imagedata` and image
//! metadata from registries. Also refused: `gzip` and `x509`, and `generator` where a policy makes nothing.

mod cluster;
mod generator;
mod image;
mod regexes;
#[cfg(test)]
mod tests;
mod text;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use eyot_rules::{
    Library,
    cel::{Context, ExecutionError, Value, extractors::Arguments},
    host,
};

use crate::{jmespath::Env, source::Source};

macro_rules! everywhere {
    () => {
        " containsDigest digest globalContext.Get globalContext.get hash.md5 hash.sha1 hash.sha256 identifier image \
        isImage json.marshal json.unmarshal listObjToMap md5 parseImageReference parseServiceAccount random random.random \
        regex.extract regex.extractAll regex.replace registry repository resource.Get resource.List resource.Post resource.ToGVR resource.get resource.list \
        resource.post resource.toGVR sha1 sha256 tag time.now time.toCron time.truncate transform.listObjToMap \
        user.parseServiceAccount yaml.parse "
    };
}

/// Kyverno's functions.
pub(crate) static LIBRARY: Library = Library { functions: everywhere!(), refused: REFUSED, register };

/// The same for policies that make objects.
pub(crate) static GENERATING: Library = Library {
    functions: concat!(everywhere!(), " generator.Apply generator.apply "),
    refused: REFUSED.split_at(1).1,
    register: |context| {
        register(context);
        generator::register(context);
    },
};

const REFUSED: &[(&str, &str)] = &[
    ("generator.", "only GeneratingPolicies make objects"),
    ("http.", "services elsewhere are not asked while a write waits"),
    ("image.GetMetadata", "registries are not asked while a write waits"),
    ("image.getMetadata", "registries are not asked while a write waits"),
    ("imageData.", "registries are not asked while a write waits"),
    ("imagedata.", "registries are not asked while a write waits"),
    ("gzip.", "there is no such function here"),
    ("x509.", "there is no such function here"),
];

/// Nothing but what Kyverno lets expressions do everywhere.
pub(crate) static LENIENT: Library =
    Library { functions: "", refused: &[], register: |context| context.add_function("orValue", text::or_value) };

/// What the functions need to know.
pub(crate) struct Host {
    /// The cluster.
    pub(crate) source: Box<dyn Source>,
    /// Time and chance.
    pub(crate) env: Env,
    /// Of a policy with a namespace: all that it may look at.
    pub(crate) namespace: String,
    /// What is made and looked at, where somebody wants to know it.
    notes: Option<RefCell<Notes>>,
}

/// What expressions made, and what they looked at for that.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Objects, with the namespace that they are for.
    pub(crate) made: Vec<(String, serde_json::Value)>,
    /// `apiVersion`, kind, namespace and name; without a name all in that namespace.
    pub(crate) read: BTreeSet<[String; 4]>,
}

impl Host {
    /// What functions ask, for policies of a namespace; empty for policies without.
    pub(crate) fn new(source: Box<dyn Source>, env: Env, namespace: &str) -> Host {
        Host { source, env, namespace: namespace.to_owned(), notes: None }
    }

    /// The same where objects may be made.
    pub(crate) fn of_maker(source: Box<dyn Source>, env: Env, namespace: &str) -> Host {
        Host { notes: Some(RefCell::default()), ..Host::new(source, env, namespace) }
    }

    /// What was noted so far.
    pub(crate) fn take_notes(&self) -> Notes {
        self.notes.as_ref().map(RefCell::take).unwrap_or_default()
    }

    fn note_read(&self, [api_version, kind, namespace, name]: [&str; 4]) {
        if let Some(notes) = &self.notes {
            let place = [api_version, kind, namespace, name].map(str::to_owned);
            notes.borrow_mut().read.insert(place);
        }
    }
}

fn register(context: &mut Context<'static>) {
    cluster::register(context);
    image::register(context);
    regexes::register(context);
    text::register(context);
    context.add_function("orValue", text::or_value);
}

type Made = Result<Value, ExecutionError>;

fn fails(function: &str, why: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::function_error(function, why.to_string())
}

/// What the expression runs for.
fn asked(function: &str) -> Result<Rc<Host>, ExecutionError> {
    host().ok_or_else(|| fails(function, "nothing can be looked up here"))
}

/// A call's arguments, which must all be texts.
fn texts<const N: usize>(arguments: &Arguments) -> Result<[&str; N], ExecutionError> {
    let text = |it: &'_ Value| match it {
        Value::String(_) => Ok(()),
        _ => Err(ExecutionError::NoSuchOverload),
    };
    arguments.0.iter().try_for_each(text)?;
    let all: Vec<&str> = arguments.0.iter().filter_map(as_text).collect();
    all.try_into().map_err(|_| ExecutionError::NoSuchOverload)
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(it) => Some(it.as_str()),
        _ => None,
    }
}
