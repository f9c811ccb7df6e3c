//! Who is let in and what they may do, with the real kubectl: roles, tokens, certificates, acting as somebody else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_testkit::{Node, Options, with_node};

/// A kubeconfig for the node with another user, given as the fields of a kubeconfig's `user`.
async fn kubeconfig(node: &Node, name: &str, user: &str) -> Result<PathBuf> {
    let field = async |path: &str| {
        node.kubectl(&["config", "view", "--raw", "-o", &format!("jsonpath={{.clusters[0].cluster.{path}}}")]).await
    };
    let (server, ca) = (field("server").await?, field("certificate-authority-data").await?);
    let path = node.data_dir().join(format!("{name}.kubeconfig"));
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: node\n  cluster: {{server: {server}, certificate-authority-data: {ca}}}\n\
         users:\n- name: user\n  user: {{{user}}}\n\
         contexts:\n- name: both\n  context: {{cluster: node, user: user}}\ncurrent-context: both\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// kubectl with another kubeconfig: what it printed and what it complained of.
async fn with(node: &Node, config: &Path, args: &[&str]) -> Result<String> {
    let config = config.to_str().context("a path of text")?;
    let outcome = node.kubectl_outcome(&[&["--kubeconfig", config], args].concat()).await?;
    Ok(outcome.stdout + &outcome.stderr)
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_gets_a_token_and_does_what_its_role_says() {
    with_node(async |node| {
        node.kubectl(&["create", "serviceaccount", "robot"]).await?;
        node.kubectl(&["create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot"]).await?;
        let token = node.kubectl(&["create", "token", "robot", "--duration=10m"]).await?;
        let robot = kubeconfig(node, "robot", &format!("token: {}", token.trim())).await?;
        has(&with(node, &robot, &["auth", "whoami"]).await?, &["system:serviceaccount:default:robot", "system:serviceaccounts"]);
        assert_eq!(with(node, &robot, &["auth", "can-i", "list", "pods"]).await?.trim(), "yes");
        has(&with(node, &robot, &["auth", "can-i", "delete", "pods"]).await?, &["no"]);
        has(&with(node, &robot, &["auth", "can-i", "--list"]).await?, &["configmaps", "[get list watch]", "/openapi/*"]);
        with(node, &robot, &["get", "configmaps"]).await?;
        let refused = with(node, &robot, &["create", "configmap", "x"]).await?;
        has(
            &refused,
            &[r#"configmaps is forbidden: User "system:serviceaccount:default:robot" cannot create resource "configmaps" in API group "" in the namespace "default""#],
        );
        node.kubectl(&["delete", "serviceaccount", "robot"]).await?;
        has(&with(node, &robot, &["get", "configmaps"]).await?, &["Unauthorized"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_tried_and_reconciled() {
    with_node(async |node| {
        node.kubectl(&["create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log"]).await?;
        node.kubectl(&["create", "rolebinding", "eve", "--role=reader", "--user=eve"]).await?;
        let can = async |args: &[&str]| node.kubectl_outcome(&[&["auth", "can-i", "--as=eve"], args].concat()).await;
        assert_eq!(can(&["get", "pods"]).await?.stdout.trim(), "yes");
        assert_eq!(can(&["get", "pods/log"]).await?.stdout.trim(), "yes");
        assert_eq!(can(&["get", "secrets"]).await?.stdout.trim(), "no");
        assert_eq!(can(&["get", "pods", "-n", "kube-system"]).await?.stdout.trim(), "no");
        node.kubectl(&["get", "pods", "--as=eve"]).await?;
        let refused = node.kubectl_outcome(&["get", "nodes", "--as=eve"]).await?;
        has(&refused.stderr, &[r#"User "eve" cannot list resource "nodes" in API group "" at the cluster scope"#]);
        let manifest = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: default}\n\
                        rules:\n- {apiGroups: [''], resources: [secrets], verbs: [get]}\n";
        let reconciled = node.kubectl_stdin(&["auth", "reconcile", "-f", "-"], manifest).await?;
        ensure!(reconciled.code == 0, "{}", reconciled.stderr);
        assert_eq!(can(&["get", "secrets"]).await?.stdout.trim(), "yes");
        assert_eq!(can(&["get", "pods"]).await?.stdout.trim(), "yes", "what was there stays");
        has(&node.kubectl(&["describe", "clusterrole", "view"]).await?, &["deployments.apps", "httproutes"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_certificate_is_a_user() {
    with_node(async |node| {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "night");
        let request = STANDARD.encode(params.serialize_request(&key)?.pem()?);
        node.apply_text(&format!(
            "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: ann}}\nspec:\n  \
             request: {request}\n  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth]\n"
        ))
        .await?;
        has(&node.kubectl(&["get", "csr", "ann"]).await?, &["Pending"]);
        node.kubectl(&["certificate", "approve", "ann"]).await?;
        has(&node.kubectl(&["get", "csr", "ann"]).await?, &["Approved,Issued"]);
        let cert = node.kubectl(&["get", "csr", "ann", "-o", "jsonpath={.status.certificate}"]).await?;
        let key = STANDARD.encode(key.serialize_pem());
        let user = format!("client-certificate-data: {cert}, client-key-data: {key}");
        let ann = kubeconfig(node, "ann", &user).await?;
        has(&with(node, &ann, &["auth", "whoami"]).await?, &["ann", "night"]);
        has(&with(node, &ann, &["get", "pods"]).await?, &["forbidden"]);
        node.kubectl(&["create", "clusterrolebinding", "night", "--clusterrole=view", "--group=night"]).await?;
        has(&with(node, &ann, &["get", "namespaces"]).await?, &["kube-system"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_listed_tokens_open_the_api() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let list = dir.path().join("tokens.csv");
    fs::write(&list, "a-secret,carl,1,\"system:masters\"\n")?;
    let args = vec!["--token-auth-file".to_owned(), list.to_str().context("a path of text")?.to_owned()];
    let mut node = Node::start_with(Options { args, ..Options::default() }).await?;
    let carl = kubeconfig(&node, "carl", "token: a-secret").await?;
    has(&with(&node, &carl, &["auth", "whoami"]).await?, &["carl", "system:masters"]);
    ensure!(!node.log().contains("a-secret"), "a token is in the log");

    node.kubectl(&["create", "serviceaccount", "robot"]).await?;
    let token = node.kubectl(&["create", "token", "robot"]).await?;
    let robot = kubeconfig(&node, "robot", &format!("token: {}", token.trim())).await?;
    let pki = node.ready().kubeconfig.parent().context("a directory")?.join("pki");
    node.stop().await?;
    fs::rename(pki.join("sa.key"), pki.join("sa-old.key"))?;
    node.restart().await?;
    has(&with(&node, &robot, &["auth", "whoami"]).await?, &["system:serviceaccount:default:robot"]);
    node.stop().await?;
    fs::remove_file(pki.join("sa-old.key"))?;
    node.restart().await?;
    has(&with(&node, &robot, &["auth", "whoami"]).await?, &["Unauthorized"]);
    Ok(())
}
