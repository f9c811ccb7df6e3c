//! Parses request paths. Entry point: [`parse`].

use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/healthz`, `/livez`, `/readyz` and the name of one check.
    Health(String, Option<String>),
    /// `/version`
    Version,
    /// `/metrics`
    Metrics,
    /// `/`: the list of paths.
    Root,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    GroupVersion(String, String),
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiV3Index,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`
    OpenApiV3(String, String),
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/openid/v1/jwks`
    OpenIdKeys,
    /// Objects of a kind.
    Resource(Resource),
}

/// A path below a group and version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// What follows the subresource, as for proxies.
    pub(crate) rest: Option<String>,
    /// The deprecated `/api/v1/watch/…` form.
    pub(crate) watch: bool,
}

/// Parses a path; `None` means that nothing can be there.
pub(crate) fn parse(path: &str) -> Option<Path> {
    let trimmed = path.trim_start_matches('/');
    let segments: Vec<String> = trimmed
        .trim_end_matches('/')
        .split('/')
        .map(|it| percent_decode_str(it).decode_utf8().map(|it| it.into_owned()))
        .collect::<Result<_, _>>()
        .ok()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    Some(match segments.as_slice() {
        [""] => Path::Root,
        [which @ ("healthz" | "livez" | "readyz"), check @ ..] => {
            Path::Health((*which).to_owned(), Some(check.join("/")).filter(|it| !it.is_empty()))
        }
        ["version"] => Path::Version,
        ["metrics"] => Path::Metrics,
        ["openapi", "v2"] => Path::OpenApiV2,
        ["openapi", "v3"] => Path::OpenApiV3Index,
        ["openapi", "v3", "api", version] => Path::OpenApiV3(String::new(), (*version).to_owned()),
        ["openapi", "v3", "apis", group, version] => Path::OpenApiV3((*group).to_owned(), (*version).to_owned()),
        [".well-known", "openid-configuration"] => Path::OpenIdConfiguration,
        ["openid", "v1", "jwks"] => Path::OpenIdKeys,
        ["api"] => Path::CoreVersions,
        ["apis"] => Path::Groups,
        ["apis", group] => Path::Group((*group).to_owned()),
        ["api", version] => Path::GroupVersion(String::new(), (*version).to_owned()),
        ["apis", group, version] => Path::GroupVersion((*group).to_owned(), (*version).to_owned()),
        ["api", version, rest @ ..] => Path::Resource(resource("", version, rest)?),
        ["apis", group, version, rest @ ..] => Path::Resource(resource(group, version, rest)?),
        _ => return None,
    })
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Resource> {
    let mut found = Resource { group: group.to_owned(), version: version.to_owned(), ..Resource::default() };
    let rest = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => {
            found.watch = true;
            rest
        }
        rest => rest,
    };
    let rest = match rest {
        // `namespaces/NAME/status` and `/finalize` are subresources; anything else there is a resource's plural.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => rest,
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
            found.namespace = Some((*namespace).to_owned());
            rest
        }
        rest => rest,
    };
    if rest.iter().take(3).any(|it| it.is_empty()) {
        return None;
    }
    found.plural = (*rest.first()?).to_owned();
    found.name = rest.get(1).map(|it| (*it).to_owned());
    found.subresource = rest.get(2).map(|it| (*it).to_owned());
    found.rest = rest.get(3..).filter(|it| !it.is_empty()).map(|it| it.join("/"));
    Some(found)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(paths: &str, want: Expect) {
        let mut got = String::new();
        for path in paths.split_whitespace() {
            let parsed = match parse(path) {
                Some(Path::Resource(it)) => format!(
                    "{}/{} {} {} {} {} {}{}",
                    it.group,
                    it.version,
                    it.namespace.as_deref().unwrap_or("-"),
                    it.plural,
                    it.name.as_deref().unwrap_or("-"),
                    it.subresource.as_deref().unwrap_or("-"),
                    it.rest.as_deref().unwrap_or("-"),
                    if it.watch { " watch" } else { "" },
                ),
                other => format!("{other:?}"),
            };
            got += &format!("{path} -> {parsed}\n");
        }
        want.assert_eq(&got);
    }

    #[test]
    fn reads_resources() {
        check(
            "/api/v1/pods /api/v1/namespaces /api/v1/namespaces/a /api/v1/namespaces/a/status
             /api/v1/namespaces/a/pods /api/v1/namespaces/a/pods/p /api/v1/namespaces/a/pods/p/log
             /apis/apps/v1/namespaces/a/deployments/d/scale /api/v1/namespaces/a/services/s/proxy/x/y
             /api/v1/watch/pods /apis/apps/v1/namespaces/a%20b/deployments/ /api/v1/nodes/n/status",
            expect![[r#"
                /api/v1/pods -> /v1 - pods - - -
                /api/v1/namespaces -> /v1 - namespaces - - -
                /api/v1/namespaces/a -> /v1 - namespaces a - -
                /api/v1/namespaces/a/status -> /v1 - namespaces a status -
                /api/v1/namespaces/a/pods -> /v1 a pods - - -
                /api/v1/namespaces/a/pods/p -> /v1 a pods p - -
                /api/v1/namespaces/a/pods/p/log -> /v1 a pods p log -
                /apis/apps/v1/namespaces/a/deployments/d/scale -> apps/v1 a deployments d scale -
                /api/v1/namespaces/a/services/s/proxy/x/y -> /v1 a services s proxy x/y
                /api/v1/watch/pods -> /v1 - pods - - - watch
                /apis/apps/v1/namespaces/a%20b/deployments/ -> apps/v1 a b deployments - - -
                /api/v1/nodes/n/status -> /v1 - nodes n status -
            "#]],
        );
    }

    #[test]
    fn reads_everything_else() {
        check(
            "/ /api /apis /apis/apps /apis/apps/v1 /api/v1 /livez/ping /openapi/v3/apis/apps/v1 /nothing /api/v1//x /%ff",
            expect![[r#"
                / -> Some(Root)
                /api -> Some(CoreVersions)
                /apis -> Some(Groups)
                /apis/apps -> Some(Group("apps"))
                /apis/apps/v1 -> Some(GroupVersion("apps", "v1"))
                /api/v1 -> Some(GroupVersion("", "v1"))
                /livez/ping -> Some(Health("livez", Some("ping")))
                /openapi/v3/apis/apps/v1 -> Some(OpenApiV3("apps", "v1"))
                /nothing -> None
                /api/v1//x -> None
                /%ff -> None
            "#]],
        );
    }
}
