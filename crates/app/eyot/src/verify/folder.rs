//! What was rendered, as objects to apply and promises to hold. Entry point: [`Folder::read`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use eyot_advise::{
    Lang,
    render::{ADVICE, PROMISES, Promise},
};
use serde_json::Value;

use crate::{apply, manifests};

/// The registry that rendered manifests name.
const REGISTRY: &str = "localhost:5000";

/// A rendered folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// The objects, in the order of the files.
    pub(super) objects: Vec<Value>,
    /// What is promised.
    pub(super) promises: Vec<Promise>,
    /// The namespace of the service.
    pub(super) namespace: String,
    /// The name of the Deployment.
    pub(super) name: String,
    /// The host name of its route.
    pub(super) host: String,
}

impl Folder {
    /// Reads every manifest of the folder, as `eyot up --manifests` does.
    pub(super) fn read(dir: &Path, lang: Lang) -> Result<Self> {
        ensure!(dir.is_dir(), "{}: no such folder", dir.display());
        let mut objects = Vec::new();
        for path in manifests::files(dir) {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            objects.extend(apply::parse(&text).with_context(|| path.display().to_string())?);
        }
        let named = |kind: &str, it: &&Value| it["kind"] == kind;
        let advice = objects.iter().find(|it| it["kind"] == "ConfigMap" && it["metadata"]["name"] == ADVICE);
        let Some(advice) = advice else {
            match lang {
                Lang::En => bail!(
                    "{}: no ConfigMap {ADVICE} with promises; write the folder with `eyot advise SCENARIO --render DIR` (a folder for a cluster alone cannot be verified here)",
                    dir.display()
                ),
                Lang::Zh => bail!(
                    "{}：没有带承诺的 ConfigMap {ADVICE}；请用 `eyot advise SCENARIO --render DIR` 生成（仅供集群的目录无法在此验证）",
                    dir.display()
                ),
            }
        };
        let text = advice["data"][PROMISES].as_str().with_context(|| format!("{ADVICE} has no {PROMISES}"))?;
        let promises = serde_json::from_str(text).with_context(|| format!("reading {PROMISES} of {ADVICE}"))?;
        let deployment = objects.iter().find(|it| named("Deployment", it)).context("the folder has no Deployment")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let namespace = text(&deployment["metadata"]["namespace"]).unwrap_or_else(|| "default".to_owned());
        let name = text(&deployment["metadata"]["name"]).context("the Deployment has no name")?;
        let route = objects.iter().find(|it| named("HTTPRoute", it));
        let host =
            route.and_then(|it| text(&it["spec"]["hostnames"][0])).unwrap_or_else(|| format!("{name}.localhost"));
        Ok(Self { dir: dir.to_owned(), promises, namespace, name, host, objects })
    }

    /// The Deployment.
    pub(super) fn deployment(&self) -> &Value {
        self.objects.iter().find(|it| it["kind"] == "Deployment").unwrap_or(&Value::Null)
    }

    /// The object of a kind, if there is one.
    pub(super) fn of_kind(&self, kind: &str) -> Option<&Value> {
        self.objects.iter().find(|it| it["kind"] == kind)
    }

    /// The images of the own registry whose files lie in the folder, as `NAME.wasm` or `app.wasm`.
    pub(super) fn images(&self, registry: &str) -> Vec<(String, PathBuf)> {
        let containers = self.deployment().pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let images = containers.into_iter().flatten().filter_map(|it| it["image"].as_str());
        let own = images.filter_map(|it| it.strip_prefix(REGISTRY)?.strip_prefix('/'));
        let file = |image: &str| {
            let name = image.split([':', '@']).next().unwrap_or_default();
            let files = [format!("{name}.wasm"), "app.wasm".to_owned()].map(|it| self.dir.join(it));
            files.into_iter().find(|it| it.is_file())
        };
        own.filter_map(|image| Some((format!("{registry}/{image}"), file(image)?))).collect()
    }

    /// Puts a registry in place of the usual one, which listens elsewhere on a node of our own.
    pub(super) fn localize(&mut self, registry: &str) {
        for object in &mut self.objects {
            replace(object, registry);
        }
    }
}

fn replace(value: &mut Value, registry: &str) {
    match value {
        Value::String(text) if text.contains(REGISTRY) => *text = text.replace(REGISTRY, registry),
        Value::Array(items) => items.iter_mut().for_each(|it| replace(it, registry)),
        Value::Object(fields) => fields.values_mut().for_each(|it| replace(it, registry)),
        _ => {}
    }
}
