//! Who makes a request.

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// Who makes a request: a user name and its groups, as in `authentication.k8s.io/v1 UserInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name, for instance `kubernetes-admin`.
    pub user: String,
    /// Groups, always ending in `system:authenticated`.
    pub groups: Vec<String>,
}

impl Identity {
    /// An authenticated user of the given groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        const AUTHENTICATED: &str = "system:authenticated";
        let mut groups: Vec<String> = groups.into_iter().filter(|it| it != AUTHENTICATED).collect();
        groups.push(AUTHENTICATED.to_owned());
        Identity { user: user.into(), groups }
    }

    /// A part of this process (controllers, node, gateway): trusted with everything.
    pub fn component(name: &str) -> Self {
        Identity::new(format!("system:{name}"), [MASTERS.to_owned()])
    }

    /// Whether every request of this identity is allowed.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|it| it == MASTERS)
    }
}
