//! Asks metrics servers for one metric and has a proposal made of it. Entry point: [`propose`].

use std::{collections::HashMap, sync::Arc};

use eyot_model::quantity::Quantity;
use eyot_plan::{
    autoscale::{self as plan, Pod, Proposal, Readiness, Sample, Target, Unknown},
    selector::Selector,
};
use serde_json::{Value, json};

use crate::{
    api,
    context::Context,
    selected::Kind,
    view::{
        autoscale::{Amount, AutoscalerView, Metric, MetricValues, PodMetrics, Reference, ScaleView, Source},
        pod::{Phase, PodView},
    },
};

/// What a metric proposes, and its row of the status.
type Proposed = Result<(Proposal, Value), Unknown>;

/// Everything that a proposal is made of.
struct Ask<'a> {
    context: &'a Context,
    it: &'a AutoscalerView,
    scale: &'a ScaleView,
    selector: &'a Selector,
}

/// Asks for one metric of the target.
pub(super) async fn propose(
    context: &Context,
    it: &AutoscalerView,
    metric: &Metric,
    scale: &ScaleView,
    selector: &Selector,
) -> Proposed {
    let ask = Ask { context, it, scale, selector };
    match (metric.kind.as_str(), metric) {
        ("Resource", Metric { resource: Some(source), .. }) => ask.resource(source, "Resource").await,
        ("ContainerResource", Metric { container_resource: Some(source), .. }) => {
            ask.resource(source, "ContainerResource").await
        }
        ("Pods", Metric { pods: Some(source), .. }) => ask.pods(source).await,
        ("Object", Metric { object: Some(source), .. }) => ask.object(source).await,
        ("External", Metric { external: Some(source), .. }) => ask.external(source).await,
        (kind, _) => {
            Err(Unknown { reason: "InvalidMetricSourceType", message: format!("unknown metric source type {kind:?}") })
        }
    }
}

impl Ask<'_> {
    async fn resource(&self, source: &Source, kind: &'static str) -> Proposed {
        let one_container = kind == "ContainerResource";
        let reason = if one_container { "FailedGetContainerResourceMetric" } else { "FailedGetResourceMetric" };
        let target = match (source.target.average_utilization, source.target.average_value.0) {
            (Some(percent), _) => Target::Utilization(percent),
            (None, Some(value)) => Target::Average(value),
            (None, None) => return Err(untargeted(reason)),
        };
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", self.it.meta.namespace);
        let answer: PodMetrics = self.get(&path, &self.scale.status.selector, reason).await?;
        let of = |usage: &crate::view::autoscale::ContainerUsage| match source.name.as_str() {
            "cpu" => usage.cpu.0,
            "memory" => usage.memory.0,
            _ => None,
        };
        let used: HashMap<&str, f64> = answer
            .items
            .iter()
            .filter_map(|pod| {
                let counted = pod.containers.iter().filter(|it| !one_container || it.name == source.container);
                let each: Option<Vec<f64>> = counted.map(|it| of(&it.usage)).collect();
                let each = each.filter(|it| !it.is_empty())?;
                Some((&*pod.meta.name, each.into_iter().sum()))
            })
            .collect();
        let mut pods = self.rows(&used, &source.name);
        if one_container && matches!(target, Target::Utilization(_)) {
            self.requests_of(source, &mut pods, reason).await?;
        }
        let sample = self.sample(target, &pods, reason)?;
        let (metric, current) = match sample.utilization {
            Some(percent) => (
                format!("{} resource utilization (percentage of request)", source.name),
                json!({"averageUtilization": percent, "averageValue": quantity(sample.average)}),
            ),
            None => (format!("{} resource", source.name), json!({"averageValue": quantity(sample.average)})),
        };
        let mut row = json!({"name": source.name, "current": current});
        if one_container {
            row["container"] = source.container.as_str().into();
        }
        let field = if one_container { "containerResource" } else { "resource" };
        Ok((Proposal { replicas: sample.replicas, metric }, json!({"type": kind, field: row})))
    }

    async fn pods(&self, source: &Source) -> Proposed {
        let reason = "FailedGetPodsMetric";
        let target = Target::Average(source.target.average_value.0.ok_or_else(|| untargeted(reason))?);
        let (name, namespace) = (&source.metric.name, &self.it.meta.namespace);
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{name}");
        let of_metric = selector_of(source, reason)?;
        let answer: MetricValues = self.ask(&path, &self.scale.status.selector, &of_metric, reason).await?;
        let used =
            answer.items.iter().filter_map(|it| Some((it.described_object.name.as_str(), it.value.0?))).collect();
        let sample = self.sample(target, &self.rows(&used, ""), reason)?;
        let row = json!({"metric": {"name": name}, "current": {"averageValue": quantity(sample.average)}});
        Ok((
            Proposal { replicas: sample.replicas, metric: format!("pods metric {name}") },
            json!({"type": "Pods", "pods": row}),
        ))
    }

    async fn object(&self, source: &Source) -> Proposed {
        let reason = "FailedGetObjectMetric";
        let (object, name) = (&source.described_object, &source.metric.name);
        let resource = resource_of(object);
        let namespace = &self.it.meta.namespace;
        let path =
            format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/{resource}/{}/{name}", object.name);
        let answer: MetricValues = self.ask(&path, "", &selector_of(source, reason)?, reason).await?;
        let metric = format!("{} metric {name}", object.kind);
        let (proposal, current) = self.total(source, &answer, metric, reason)?;
        let described = json!({"apiVersion": object.api_version, "kind": object.kind, "name": object.name});
        let row = json!({"metric": {"name": name}, "describedObject": described, "current": current});
        Ok((proposal, json!({"type": "Object", "object": row})))
    }

    async fn external(&self, source: &Source) -> Proposed {
        let reason = "FailedGetExternalMetric";
        let name = &source.metric.name;
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{name}", self.it.meta.namespace);
        let answer: MetricValues = self.get(&path, &selector_of(source, reason)?, reason).await?;
        let (proposal, current) = self.total(source, &answer, format!("external metric {name}"), reason)?;
        Ok((proposal, json!({"type": "External", "external": {"metric": {"name": name}, "current": current}})))
    }

    /// A proposal from a number that belongs to all pods together.
    fn total(
        &self,
        source: &Source,
        answer: &MetricValues,
        metric: String,
        reason: &'static str,
    ) -> Result<(Proposal, Value), Unknown> {
        let total: f64 = answer.items.iter().filter_map(|it| it.value.0).sum();
        let (Amount(per_pod), Amount(whole)) = (source.target.average_value, source.target.value);
        let target = per_pod.or(whole).filter(|it| *it > 0.0).ok_or_else(|| untargeted(reason))?;
        let current = self.scale.spec.replicas;
        let ready = self.chosen().iter().filter(|it| it.ready_since.is_some()).count();
        let tolerance = self.it.spec.tolerance();
        let replicas = plan::from_total(current, total, target, per_pod.is_some(), ready, tolerance);
        let shown = match per_pod {
            Some(_) => json!({"averageValue": quantity(total / f64::from(self.scale.status.replicas.max(1)))}),
            None => json!({"value": quantity(total)}),
        };
        Ok((Proposal { replicas, metric }, shown))
    }

    fn sample(&self, target: Target, pods: &[Pod], reason: &'static str) -> Result<Sample, Unknown> {
        let sample = plan::from_pods(self.scale.spec.replicas, target, self.it.spec.tolerance(), pods);
        sample.map_err(|it| Unknown { reason, ..it })
    }

    /// The pods of the target.
    fn chosen(&self) -> Vec<Arc<PodView>> {
        let pods = self.context.selected.pods(Kind::Autoscaler, &self.it.meta.key(), self.selector);
        pods.unwrap_or_default()
    }

    fn rows(&self, used: &HashMap<&str, f64>, resource: &str) -> Vec<Pod> {
        let row = |pod: &Arc<PodView>| Pod {
            name: pod.meta.name.to_string(),
            readiness: match pod.phase {
                _ if !pod.active() => Readiness::Leaving,
                Phase::Pending => Readiness::Starting,
                _ if resource == "cpu" && pod.ready_since.is_none() => Readiness::Starting,
                _ => Readiness::Ready,
            },
            usage: used.get(&*pod.meta.name).copied(),
            request: match resource {
                "cpu" => Some(pod.requests.cpu_milli as f64 / 1000.0),
                _ => Some(pod.requests.memory_bytes as f64),
            }
            .filter(|it| *it > 0.0),
        };
        self.chosen().iter().map(row).collect()
    }

    /// Puts what one container requests in place of what its pod does. The cache knows pods only as a whole.
    async fn requests_of(&self, source: &Source, pods: &mut [Pod], reason: &'static str) -> Result<(), Unknown> {
        let path = format!("/api/v1/namespaces/{}/pods", self.it.meta.namespace);
        let list: Value = self.get(&path, &self.scale.status.selector, reason).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let by_name: HashMap<&str, &Value> =
            items.filter_map(|it| Some((it["metadata"]["name"].as_str()?, it))).collect();
        for pod in pods {
            let found = by_name.get(pod.name.as_str());
            pod.request = found.and_then(|it| container_request(it, &source.container, &source.name));
        }
        Ok(())
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        selector: &str,
        reason: &'static str,
    ) -> Result<T, Unknown> {
        self.ask(path, selector, "", reason).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        selector: &str,
        of_metric: &str,
        reason: &'static str,
    ) -> Result<T, Unknown> {
        let options = [("labelSelector", selector), ("metricLabelSelector", of_metric)];
        let options = options.iter().filter(|it| !it.1.is_empty());
        let query = options.map(|(key, it)| format!("{key}={}", api::escape(it))).collect::<Vec<_>>().join("&");
        self.context
            .api
            .get_path(path, &query)
            .await
            .map_err(|error| Unknown { reason, message: format!("unable to get metrics: {}", error.message()) })
    }
}

/// An object's resource as the metrics API names it, with its group.
fn resource_of(object: &Reference) -> String {
    let (group, version) = object.api_version.rsplit_once('/').unwrap_or(("", &object.api_version));
    let known = eyot_model::kinds::builtin().by_kind(group, version, &object.kind);
    let plural = known.map_or_else(|| format!("{}s", object.kind.to_lowercase()), |it| it.plural.to_string());
    if group.is_empty() { plural } else { format!("{plural}.{group}") }
}

/// What a container of a pod requests of a resource, in cores or bytes.
fn container_request(pod: &Value, container: &str, resource: &str) -> Option<f64> {
    let spec = &pod["spec"];
    let all = [&spec["containers"], &spec["initContainers"]].into_iter().filter_map(Value::as_array).flatten();
    let found =
        all.filter(|it| it["name"] == container).find_map(|it| it["resources"]["requests"][resource].as_str())?;
    let quantity: Quantity = found.parse().ok()?;
    Some(quantity.ratio(Quantity::from_units(1))).filter(|it| *it > 0.0)
}

/// The selector of a metric's own labels as a query has it.
fn selector_of(source: &Source, reason: &'static str) -> Result<String, Unknown> {
    let Some(selector) = &source.metric.selector else { return Ok(String::new()) };
    let labels = selector.match_labels.iter().map(|(key, value)| Ok(format!("{key}={value}")));
    let expressions = selector.match_expressions.iter().map(|it| {
        let values = it.values.join(",");
        match it.operator.as_str() {
            "In" => Ok(format!("{} in ({values})", it.key)),
            "NotIn" => Ok(format!("{} notin ({values})", it.key)),
            "Exists" => Ok(it.key.clone()),
            "DoesNotExist" => Ok(format!("!{}", it.key)),
            other => {
                let message = format!("metric.selector.matchExpressions: {other:?} is no operator");
                Err(Unknown { reason, message })
            }
        }
    });
    Ok(labels.chain(expressions).collect::<Result<Vec<_>, _>>()?.join(","))
}

fn untargeted(reason: &'static str) -> Unknown {
    Unknown { reason, message: "invalid metric: neither a utilization nor a value is its target".to_owned() }
}

/// A number as a quantity to the thousandth.
fn quantity(value: f64) -> String {
    let millis = (value * 1000.0).round() as i64;
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_asked_as_queries_have_them() {
        let of = |selector: Value| {
            let source = json!({"metric": {"name": "m", "selector": selector}, "target": {}});
            selector_of(&serde_json::from_value(source).unwrap(), "r")
        };
        assert_eq!(of(Value::Null).unwrap(), "");
        let both = json!({"matchLabels": {"service": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"},
        ]});
        assert_eq!(of(both).unwrap(), "service=web,tier in (a,b),!old");
        assert!(of(json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})).is_err());
    }

    #[test]
    fn a_container_has_requests_of_its_own() {
        let pod = json!({"spec": {
            "containers": [{"name": "app", "resources": {"requests": {"cpu": "250m"}}}],
            "initContainers": [{"name": "side", "resources": {"requests": {"memory": "1Mi"}}}],
        }});
        assert_eq!(container_request(&pod, "app", "cpu"), Some(0.25));
        assert_eq!(container_request(&pod, "side", "memory"), Some(1_048_576.0));
        assert_eq!(container_request(&pod, "app", "memory"), None);
        assert_eq!(container_request(&pod, "none", "cpu"), None);
    }

    #[test]
    fn objects_are_asked_for_by_their_resource() {
        let of = |api_version: &str, kind: &str| {
            resource_of(&Reference { api_version: api_version.into(), kind: kind.into(), name: "x".into() })
        };
        assert_eq!(of("v1", "Service"), "services");
        assert_eq!(of("networking.k8s.io/v1", "Ingress"), "ingresses.networking.k8s.io");
        assert_eq!(of("example.com/v1", "Queue"), "queues.example.com");
    }
}
