//! Serves the API alone, without node or controllers, to try clients against: `serve DIR [PORT]`.

use std::{net::Ipv4Addr, path::PathBuf};

use eyot_apiserver::{ApiServer, Config, attributes, bootstrap, pki};
use eyot_store::{Options, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: serve DIR [PORT]")?);
    let port: u16 = args.next().map_or(Ok(0), |it| it.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;

    let store = Store::open(dir.join("store"), Options::new(attributes))?;
    let config = Config { service_cidr: "10.43.0.0/16".parse()?, api_port: address.port() };
    let server = ApiServer::new(store.clone(), config);
    bootstrap(&server).await?;
    let pki = pki::Pki::open(&dir.join("pki"), &pki::ServerNames::default())?;
    let kubeconfig = dir.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &format!("https://{address}"))?;
    println!("ready api=https://{address} kubeconfig={}", kubeconfig.display());

    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        signal.cancel();
    });
    server.serve(listener, pki.tls()?, stop).await?;
    store.close().await;
    Ok(())
}
