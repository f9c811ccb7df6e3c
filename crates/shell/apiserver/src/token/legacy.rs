//! Tokens without end, kept in Secrets of type `kubernetes.io/service-account-token`. Entry points: [`fill`], for a
//! Secret that is written, and [`settle`], for an account that came or went.

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::{
    kinds::{self, Kind},
    meta,
    rbac::account_user,
    status::{ApiError, Cause},
};
use eyot_store::{Key, Page, Scope};
use serde_json::{Value, json};

use super::verify::head;
use crate::{
    commit::{self, Stored},
    object,
    server::Shared,
};

/// Who issues such tokens.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Puts a token, the CA and the namespace into a Secret that asks for them and names an account that exists. One whose
/// account is yet to come is filled then.
///
/// # Errors
/// When the Secret names no account.
pub(crate) fn fill(server: &Shared, kind: &Kind, secret: &mut Value) -> Result<(), ApiError> {
    if secret["type"] != TYPE {
        return Ok(());
    }
    let name = meta::name(secret).unwrap_or_default().to_owned();
    let namespace = meta::namespace(secret).unwrap_or_default().to_owned();
    let account = meta::annotation(secret, ACCOUNT).unwrap_or_default().to_owned();
    if account.is_empty() {
        let cause = Cause::required(format!("metadata.annotations[{ACCOUNT}]"), "");
        return Err(ApiError::invalid(kind, &name, vec![cause]));
    }
    let key = Key::new("/serviceaccounts", namespace.as_str(), account.as_str());
    let Some(uid) = server.store.get(&key).and_then(|it| head(&it)).map(|it| it.uid) else { return Ok(()) };
    let metadata = meta::metadata_mut(secret);
    let annotations = meta::as_map(metadata.entry("annotations").or_insert(Value::Null));
    let known = annotations.insert(ACCOUNT_UID.into(), uid.as_str().into());
    let data = meta::entry(secret, "data");
    // The annotation of another account makes the token somebody else's.
    if data.contains_key("token") && known.is_none_or(|it| it == uid.as_str()) {
        return Ok(());
    }
    let credentials = server.credentials()?;
    let field = |field: &str| format!("kubernetes.io/serviceaccount/{field}");
    let claims = json!({
        "iss": ISSUER,
        "sub": account_user(&namespace, &account),
        field("namespace"): namespace,
        field("secret.name"): name,
        field("service-account.name"): account,
        field("service-account.uid"): uid,
    });
    let token = credentials.tokens.sign(&claims).ok_or_else(|| ApiError::internal("signing a token"))?;
    data.insert("token".into(), STANDARD.encode(token).into());
    data.insert("namespace".into(), STANDARD.encode(namespace).into());
    if let Some(ca) = &credentials.ca_pem {
        data.insert("ca.crt".into(), STANDARD.encode(ca).into());
    }
    Ok(())
}

/// Fills the Secrets of a namespace that waited for their account, and removes those whose account is gone.
pub(crate) async fn settle(server: &Shared, namespace: &str) {
    let Some(kind) = kinds::builtin().by_kind("", "v1", "Secret") else { return };
    let scope = Scope::namespaced("/secrets", namespace);
    let Ok(list) = server.store.list(&scope, &Page::default()) else { return };
    for entry in list.entries.iter().filter(|it| it.attributes().field("type") == Some(TYPE)) {
        let Ok(mut secret) = object::parse(entry) else { continue };
        let Some(account) = meta::annotation(&secret, ACCOUNT) else { continue };
        let key = Key::new("/serviceaccounts", namespace, account);
        let uid = server.store.get(&key).and_then(|it| head(&it)).map(|it| it.uid);
        let known = meta::annotation(&secret, ACCOUNT_UID);
        if uid.as_deref() == known {
            continue;
        }
        // Somebody who writes the Secret meanwhile settles it too.
        let settled = if known.is_some() {
            commit::remove(server, entry, None).await
        } else {
            let filled = fill(server, kind, &mut secret).and_then(|()| Stored::new(kind, secret));
            let Ok(stored) = filled else { continue };
            commit::replace(server, entry.key.clone(), entry.revision, stored).await
        };
        if let Err(error) = settled {
            tracing::warn!(%error, key = %entry.key, "settling the token of an account");
        }
    }
}
