//! Who makes a request.

use std::collections::BTreeMap;

use eyot_model::rbac::{self, User};
use serde_json::{Value, json};

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everyone who said who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who did not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who did not.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// Who makes a request, as in `authentication.k8s.io/v1 UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User name, for instance `kubernetes-admin`.
    pub user: String,
    /// What tells users of one name apart over time; often empty.
    pub uid: String,
    /// Groups, ending in `system:authenticated` unless the user is anonymous.
    pub groups: Vec<String>,
    /// What else is known, such as the pod whose token it is.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An authenticated user of the given groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().filter(|it| it != AUTHENTICATED).collect();
        groups.push(AUTHENTICATED.to_owned());
        Identity { user: user.into(), groups, ..Identity::default() }
    }

    /// A part of this process (controllers, node, gateway): trusted with everything.
    pub fn component(name: &str) -> Self {
        Identity::new(format!("system:{name}"), [MASTERS.to_owned()])
    }

    /// Somebody who did not say who they are.
    pub(crate) fn anonymous() -> Self {
        Identity { user: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Identity::default() }
    }

    /// A ServiceAccount by the groups that each has.
    pub(crate) fn account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups = account_groups(namespace);
        Identity { uid: uid.to_owned(), ..Identity::new(rbac::account_user(namespace, name), groups) }
    }

    /// The name of the part of this process that it is, if it is one.
    pub(crate) fn as_component(&self) -> Option<&str> {
        let name = self.user.strip_prefix("system:").filter(|it| !it.contains(':'));
        name.filter(|_| self.is_master())
    }

    /// Whether every request of this identity is allowed.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|it| it == MASTERS)
    }

    /// As roles know it.
    pub(crate) fn as_user(&self) -> User<'_> {
        User { name: &self.user, groups: &self.groups }
    }

    /// As a `UserInfo`.
    pub(crate) fn to_value(&self) -> Value {
        let mut info = json!({"username": self.user, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The groups of a namespace's ServiceAccounts.
pub(crate) fn account_groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
