//! Writes the text of a kubeconfig.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Pair;

/// A kubeconfig with one cluster, user and context, all named `eyot`, certificates embedded.
pub(super) fn render(url: &str, ca: &str, user: &Pair) -> String {
    let [ca, cert, key] = [ca, &user.cert, &user.key].map(|it| STANDARD.encode(it));
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: eyot\n  cluster:\n    server: {url}\n    certificate-authority-data: {ca}\n\
         users:\n\
         - name: eyot\n  user:\n    client-certificate-data: {cert}\n    client-key-data: {key}\n\
         contexts:\n\
         - name: eyot\n  context:\n    cluster: eyot\n    user: eyot\n\
         current-context: eyot\n"
    )
}
