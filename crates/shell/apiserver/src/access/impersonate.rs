//! Lets a request act as somebody else, where a role allows its maker to. Entry point: [`impersonate`].

use std::{collections::BTreeMap, sync::Arc};

use eyot_model::{
    rbac::{Ask, Resource, account_of},
    status::ApiError,
};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::authorize;
use crate::{
    Identity,
    identity::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, account_groups},
    server::Shared,
};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";

/// The identity that the request acts under: its own, or the one its headers name. The headers are removed.
///
/// # Errors
/// 403 when the maker may not be that user, be in that group or carry that detail; 400 when details come without a user.
pub(super) fn impersonate(
    server: &Shared,
    maker: Arc<Identity>,
    headers: &mut HeaderMap,
) -> Result<Arc<Identity>, ApiError> {
    if !headers.keys().any(|it| it.as_str().starts_with(PREFIX)) {
        return Ok(maker);
    }
    let wanted = read(headers)?;
    check(server, &maker, &wanted)?;
    tracing::debug!(maker = maker.user, as_user = wanted.user, "impersonation");
    Ok(Arc::new(complete(wanted)))
}

/// Takes the headers out.
fn read(headers: &mut HeaderMap) -> Result<Identity, ApiError> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let user = headers.get(&USER).map(text).unwrap_or_default();
    let uid = headers.get(&UID).map(text).unwrap_or_default();
    let groups = headers.get_all(&GROUP).iter().map(text).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers.iter() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            extra.entry(key).or_default().push(text(value));
        }
    }
    let names: Vec<HeaderName> = headers.keys().filter(|it| it.as_str().starts_with(PREFIX)).cloned().collect();
    names.iter().for_each(|it| drop(headers.remove(it)));
    if user.is_empty() {
        return Err(ApiError::bad_request(
            "groups, uid or extra are impersonated without a user: Impersonate-User is missing",
        ));
    }
    Ok(Identity { user, uid, groups, extra })
}

/// Each part needs its own right.
fn check(server: &Shared, maker: &Identity, wanted: &Identity) -> Result<(), ApiError> {
    const IDENTITY: &str = "authentication.k8s.io";
    let base = Resource { verb: "impersonate", ..Resource::default() };
    let user = match account_of(&wanted.user) {
        Some((namespace, name)) => Resource { resource: "serviceaccounts", namespace, name, ..base },
        None => Resource { resource: "users", name: &wanted.user, ..base },
    };
    let mut asks = vec![user];
    asks.extend(wanted.groups.iter().map(|name| Resource { resource: "groups", name, ..base }));
    for (key, values) in &wanted.extra {
        let details = Resource { group: IDENTITY, resource: "userextras", subresource: key, ..base };
        asks.extend(values.iter().map(|name| Resource { name, ..details }));
    }
    if !wanted.uid.is_empty() {
        asks.push(Resource { group: IDENTITY, resource: "uids", name: &wanted.uid, ..base });
    }
    asks.iter().try_for_each(|ask| authorize(server, maker, &Ask::Resource(*ask)))
}

/// Adds the groups that everyone of that kind is in.
fn complete(mut wanted: Identity) -> Identity {
    if wanted.groups.is_empty()
        && let Some((namespace, _)) = account_of(&wanted.user)
    {
        wanted.groups.extend(account_groups(namespace));
    }
    let has = |group: &str| wanted.groups.iter().any(|it| it == group);
    if wanted.user == ANONYMOUS {
        if !has(UNAUTHENTICATED) {
            wanted.groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        wanted.groups.push(AUTHENTICATED.to_owned());
    }
    wanted
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn acting_as(headers: &[(&'static str, &'static str)]) -> Result<Identity, ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let read = read(&mut map).map(complete);
        assert!(!map.keys().any(|it| it.as_str().starts_with(PREFIX)), "the headers are removed");
        read
    }

    #[test]
    fn headers_become_an_identity() {
        let eve = acting_as(&[
            ("impersonate-user", "eve"),
            ("impersonate-group", "staff"),
            ("impersonate-group", "night"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2fscopes", "read"),
            ("impersonate-extra-acme.com%2fscopes", "write"),
        ]);
        let eve = eve.unwrap();
        assert_eq!(eve.groups, ["staff", "night", "system:authenticated"]);
        assert_eq!(
            (eve.uid.as_str(), eve.extra["acme.com/scopes"].as_slice()),
            ("7", &["read".to_owned(), "write".to_owned()][..])
        );
        let bot = acting_as(&[("impersonate-user", "system:serviceaccount:n:bot")]).unwrap();
        assert_eq!(bot.groups, ["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"]);
        let nobody = acting_as(&[("impersonate-user", "system:anonymous")]).unwrap();
        assert_eq!(nobody.groups, ["system:unauthenticated"]);
        assert_eq!(acting_as(&[("impersonate-group", "staff")]).unwrap_err().code, 400);
    }
}
