//! Reads everything that a test names.

use std::sync::Arc;

use eyot_model::kinds;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Files, Test, values::Values};
use crate::{
    Exception, Policy,
    celpolicy::{self, CelDeleter, CelException, CelGenerator, CelPolicy, Role},
    context::search,
    jmespath::Env,
    matching::Requester,
    source::Fixed,
    yaml,
};

/// What a test is made of.
pub(super) struct Loaded {
    pub(super) policies: Vec<Arc<Policy>>,
    /// Policies in CEL.
    pub(super) cel: Vec<CelPolicy>,
    /// Those that make objects.
    pub(super) generating: Vec<CelGenerator>,
    /// Those that delete objects.
    pub(super) deleting: Vec<CelDeleter>,
    /// Policies of other kinds, and policies that do not compile: kind, name, why.
    pub(super) others: Vec<(String, String, String)>,
    pub(super) resources: Vec<Value>,
    pub(super) targets: Vec<Value>,
    pub(super) exceptions: Vec<Arc<Exception>>,
    pub(super) cel_exceptions: Vec<Arc<CelException>>,
    pub(super) values: Values,
    pub(super) requester: Option<Requester>,
    pub(super) source: Fixed,
    /// Sources of clones, by policy and rule.
    pub(super) clones: Vec<(String, String, Vec<Value>)>,
}

pub(super) fn load(test: &Test, files: &dyn Files) -> Result<Loaded, String> {
    let mut loaded = Loaded {
        policies: Vec::new(),
        cel: Vec::new(),
        generating: Vec::new(),
        deleting: Vec::new(),
        others: Vec::new(),
        resources: Vec::new(),
        targets: objects(&test.target_resources, files)?,
        exceptions: Vec::new(),
        cel_exceptions: Vec::new(),
        values: values(test, files)?,
        requester: requester(test, files)?,
        source: Fixed::default(),
        clones: Vec::new(),
    };
    for object in documents(&test.policies, files)? {
        loaded.add_policy(&object);
    }
    for object in documents(&test.exceptions, files)? {
        if object["kind"] == "PolicyException" && object["apiVersion"].as_str().is_some_and(is_kyverno) {
            let exception = Exception::compile(&object).map_err(|it| format!("an exception: {it}"))?;
            loaded.exceptions.push(Arc::new(exception));
        } else if object["kind"] == "PolicyException" && is_cel(&object) {
            loaded.cel_exceptions.push(Arc::new(CelException::compile(&object)));
        }
    }
    loaded.resources = objects(&test.resources, files)?;
    loaded.fill_source(test, files)?;
    for expected in test.results.iter().filter(|it| !it.clone_source_resource.is_empty()) {
        let objects = objects(std::slice::from_ref(&expected.clone_source_resource), files)?;
        loaded.clones.push((expected.policy.clone(), expected.rule.clone(), objects));
    }
    Ok(loaded)
}

fn is_cel(object: &Value) -> bool {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    kinds::split_api_version(api_version).0 == celpolicy::GROUP
}

fn is_kyverno(api_version: &str) -> bool {
    api_version.starts_with("kyverno.io/")
}

impl Loaded {
    fn add_policy(&mut self, object: &Value) {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let ours = is_kyverno(object["apiVersion"].as_str().unwrap_or_default());
        let why = match (ours, kind) {
            (true, "ClusterPolicy" | "Policy") => match Policy::compile(object) {
                Ok(policy) => {
                    self.policies.push(Arc::new(policy));
                    return;
                }
                Err(flaws) => flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            },
            _ if is_cel(object) => {
                let checked = celpolicy::check::check(&mut object.clone());
                match (checked, Role::of(kind)) {
                    (Err(causes), _) => {
                        causes.iter().map(|it| format!("{}: {}", it.field, it.message)).collect::<Vec<_>>().join("; ")
                    }
                    (Ok(_), Some(Role::Policy { .. })) => return self.cel.extend(CelPolicy::compile(object)),
                    (Ok(_), Some(Role::Generator)) => return self.generating.push(CelGenerator::compile(object)),
                    (Ok(_), Some(Role::Deleter)) => return self.deleting.push(CelDeleter::compile(object)),
                    (Ok(_), _) => format!("{kind} is not judged here"),
                }
            }
            _ => format!("{kind} is not judged here"),
        };
        self.others.push((kind.to_owned(), name.to_owned(), why));
    }

    fn fill_source(&mut self, test: &Test, files: &dyn Files) -> Result<(), String> {
        let mut objects = self.resources.clone();
        objects.extend(self.targets.iter().cloned());
        objects.extend(self::objects(&test.param_resources, files)?);
        let contexts: Vec<String> = Some(&test.context).filter(|it| !it.is_empty()).cloned().into_iter().collect();
        for context in documents(&contexts, files)? {
            objects.extend(context["spec"]["resources"].as_array().into_iter().flatten().cloned());
        }
        self.source.is_cluster = !test.cluster_resources.is_empty();
        for cluster in documents(&test.cluster_resources, files)? {
            objects.extend(cluster["spec"]["resources"].as_array().into_iter().flatten().cloned());
            let definitions = cluster["spec"]["crds"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let definitions: Vec<String> = definitions.map(str::to_owned).collect();
            objects.extend(documents(&definitions, files)?);
        }
        self.source.objects = objects.into_iter().map(Arc::new).collect();
        for call in &test.api_call_responses {
            let text = |field: &str| call[field].as_str().unwrap_or_default().to_owned();
            let url = if text("url").is_empty() { text("urlPath") } else { text("url") };
            let key = if text("method").is_empty() { url } else { format!("{}:{url}", text("method")) };
            self.source.calls.insert(key, call["response"]["body"].clone());
        }
        for entry in &test.global_context_entries {
            let name = entry["name"].as_str().unwrap_or_default().to_owned();
            let content = global(entry, files).map_err(|it| format!("globalContextEntries {name}: {it}"))?;
            self.source.globals.insert(name, content);
        }
        Ok(())
    }
}

/// The content of a GlobalContextEntry.
fn global(entry: &Value, files: &dyn Files) -> Result<Value, String> {
    let paths = entry["resourceFiles"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let paths: Vec<String> = paths.map(str::to_owned).collect();
    let mut content = match (entry.get("data"), entry.get("resources")) {
        (Some(data), _) => data.clone(),
        (None, Some(resources)) => resources.clone(),
        (None, None) => Value::Array(documents(&paths, files)?),
    };
    let env = Env::new(Timestamp::UNIX_EPOCH, 1);
    if let Some(path) = entry["fieldPath"].as_str() {
        content = search(path, &content, &env).map_err(|it| it.to_string())?;
    }
    let Some(projections) = entry["projections"].as_array() else { return Ok(content) };
    let mut projected = Map::new();
    for it in projections {
        let (name, path) = (it["name"].as_str().unwrap_or_default(), it["path"].as_str().unwrap_or_default());
        projected.insert(name.to_owned(), search(path, &content, &env).map_err(|it| it.to_string())?);
    }
    Ok(Value::Object(projected))
}

fn documents(paths: &[String], files: &dyn Files) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for path in paths {
        let text = files.read(path).map_err(|it| format!("{path}: {it}"))?;
        for document in yaml::documents(&text).map_err(|it| format!("{path}: {it}"))? {
            match document["items"].as_array().filter(|_| document["kind"] == "List") {
                Some(items) => all.extend(items.iter().cloned()),
                None => all.push(document),
            }
        }
    }
    Ok(all)
}

/// Objects as a server would know them: those with namespaces are in one.
pub(super) fn objects(paths: &[String], files: &dyn Files) -> Result<Vec<Value>, String> {
    let mut all = documents(paths, files)?;
    all.retain(Value::is_object);
    for object in &mut all {
        settle(object);
    }
    Ok(all)
}

/// Whether objects of a kind live in namespaces.
pub(super) fn is_namespaced(api_version: &str, kind: &str) -> bool {
    let (group, _) = kinds::split_api_version(api_version);
    let known = kinds::builtin().by_api_version(api_version, kind).or_else(|| kinds::builtin().preferred(group, kind));
    match known {
        Some(kind) => kind.namespaced,
        None => !(is_kyverno(api_version) && kind.starts_with("Cluster")),
    }
}

fn settle(object: &mut Value) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let namespaced = is_namespaced(api_version, kind);
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    if namespaced && metadata["namespace"].as_str().unwrap_or_default().is_empty() {
        metadata["namespace"] = "default".into();
    } else if let Value::Object(metadata) = metadata {
        metadata.retain(|_, it| !it.is_null());
    }
    for field in ["labels", "annotations"] {
        if let Value::Object(metadata) = &mut object["metadata"]
            && metadata.get(field).is_some_and(Value::is_null)
        {
            metadata.remove(field);
        }
    }
}

fn values(test: &Test, files: &dyn Files) -> Result<Values, String> {
    let raw = match (test.variables.as_str(), &test.values) {
        ("", Value::Null) => return Ok(Values::default()),
        ("", values) => values.clone(),
        (path, _) => {
            let text = files.read(path).map_err(|it| format!("{path}: {it}"))?;
            yaml::parse(&text).map_err(|it| format!("{path}: {it}"))?
        }
    };
    serde_json::from_value(raw).map_err(|it| format!("the values: {it}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUser {
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    cluster_roles: Vec<String>,
    #[serde(default)]
    user_info: Value,
}

fn requester(test: &Test, files: &dyn Files) -> Result<Option<Requester>, String> {
    if test.userinfo.is_empty() {
        return Ok(None);
    }
    let text = files.read(&test.userinfo).map_err(|it| format!("{}: {it}", test.userinfo))?;
    let raw: RawUser = serde_saphyr::from_str(&text).map_err(|it| format!("{}: {it}", test.userinfo))?;
    let groups = raw.user_info["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Some(Requester {
        username: raw.user_info["username"].as_str().unwrap_or_default().to_owned(),
        groups: groups.map(str::to_owned).collect(),
        roles: raw.roles,
        cluster_roles: raw.cluster_roles,
    }))
}
