//! Which kinds matter to the policies that are in force. Entry point: [`Plan::of`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use eyot_kyverno::{Generator, Kyverno, matching::KindPattern};
use eyot_policy::Look;
use kube::core::{ApiResource, GroupVersionKind};

/// A kind, and what it matters for.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    /// Rules judge it in the background.
    pub(crate) judged: bool,
    /// Rules make or change something when one of it comes to be: places in [`Plan::generators`].
    pub(crate) triggers: Vec<usize>,
    /// Rules copy it.
    pub(crate) sources: Vec<usize>,
    /// Rules make it, and bring it back.
    pub(crate) products: Vec<usize>,
}

/// What a policy in CEL turned out to make and to look at: its expressions do not tell beforehand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    /// `apiVersion` and kind.
    pub(crate) products: BTreeSet<(String, String)>,
    /// `apiVersion`, kind, namespace and name; without a name all of that place.
    pub(crate) sources: BTreeSet<[String; 4]>,
}

/// What policies are known by: kind, and `namespace/name`.
pub(crate) type PolicyKey = (String, String);

/// How a rule's policy is known.
pub(crate) fn key_of(generator: &Generator) -> PolicyKey {
    (generator.of.2.clone(), generator.policy.clone())
}

/// Everything that is to be watched.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Arc<Kind>>,
    pub(crate) generators: Vec<Generator>,
}

impl Plan {
    pub(crate) fn of(kyverno: &Kyverno, look: &dyn Look, learned: &HashMap<PolicyKey, Learned>) -> Plan {
        let background = kyverno.background();
        let mut generators = background.generators();
        for generator in generators.iter_mut().filter(|it| it.synchronize) {
            if let Some(learned) = learned.get(&key_of(generator)) {
                generator.products.extend(learned.products.iter().cloned());
                generator
                    .sources
                    .extend(learned.sources.iter().map(|[version, kind, ..]| (version.clone(), kind.clone())));
            }
        }
        let (judged, plurals) = (background.judged_kinds(), background.judged_plurals());
        if judged.is_empty() && plurals.is_empty() && generators.is_empty() {
            return Plan::default();
        }
        let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
        look.look(&mut |data| {
            let table = data.kinds();
            for kind in table.iter() {
                // One version is enough: objects of all of them are the same.
                let preferred = table.preferred(&kind.group, &kind.kind).is_some_and(|it| it.version == kind.version);
                if !preferred || !kind.allows("watch") || !kind.allows("list") {
                    continue;
                }
                let fits = |pattern: &KindPattern| pattern.names(&kind.group, &kind.version, &kind.kind);
                let named = plurals.contains(&kind.plural) || plurals.contains("*");
                let judged = (named || judged.iter().any(fits)) && background.judges(&kind.kind);
                let at = |test: &dyn Fn(&Generator) -> bool| {
                    generators.iter().enumerate().filter(|it| test(it.1)).map(|it| it.0).collect::<Vec<_>>()
                };
                let triggers = at(&|it| {
                    it.kinds.iter().any(|it| fits(&KindPattern::parse(it)))
                        || it.plurals.iter().any(|it| it == "*" || *it == kind.plural)
                });
                let is_one = |all: &[(String, String)]| {
                    all.iter().any(|(api_version, name)| {
                        *name == *kind.kind && (*api_version == kind.api_version() || api_version.contains("{{"))
                    })
                };
                let sources = at(&|it| it.synchronize && is_one(&it.sources));
                let products = at(&|it| it.synchronize && is_one(&it.products));
                if !judged && triggers.is_empty() && sources.is_empty() && products.is_empty() {
                    continue;
                }
                let named = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
                let resource = ApiResource::from_gvk_with_plural(&named, &kind.plural);
                let entry = Kind { resource, judged, triggers, sources, products };
                kinds.insert((kind.group.to_string(), kind.kind.to_string()), entry);
            }
        });
        Plan { kinds: kinds.into_values().map(Arc::new).collect(), generators }
    }
}
