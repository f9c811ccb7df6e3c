//! The `local` route that makes the host answer for a whole range of pod addresses on `lo`.

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::{
    Handle, RouteMessageBuilder, new_connection,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType},
};

use crate::Cidr;

/// The kernel's table of addresses the host itself answers for.
const TABLE_LOCAL: u32 = 255;
const LOOPBACK_INDEX: u32 = 1;

/// Why a range is not routed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("opening a netlink socket")]
    Socket(#[source] std::io::Error),
    #[error("reading the routes of this host")]
    Read(#[source] rtnetlink::Error),
    #[error("{base}/{prefix} is already routed elsewhere on this host")]
    Taken { base: Ipv4Addr, prefix: u8 },
    #[error("adding the route, which needs CAP_NET_ADMIN")]
    Add(#[source] rtnetlink::Error),
}

/// Routes `cidr` to `lo`. Doing it again changes nothing.
pub(super) async fn ensure(cidr: Cidr) -> Result<(), RouteError> {
    with_netlink(async |handle| {
        if let Some((base, prefix)) = conflict(&handle, cidr).await.map_err(RouteError::Read)? {
            return Err(RouteError::Taken { base, prefix });
        }
        handle.route().add(route(cidr)).replace().execute().await.map_err(RouteError::Add)
    })
    .await
    .map_err(RouteError::Socket)?
}

/// Takes the route away; says so only in the log when that fails.
pub(super) async fn remove(cidr: Cidr) {
    let removed = with_netlink(async |handle| handle.route().del(route(cidr)).execute().await).await;
    if let Ok(Err(error)) = removed {
        tracing::debug!(range = %cidr, error = &error as &dyn std::error::Error, "the pod route could not be removed");
    }
}

async fn with_netlink<T>(work: impl AsyncFnOnce(Handle) -> T) -> std::io::Result<T> {
    let (connection, handle, _) = new_connection()?;
    let driver = tokio::spawn(connection);
    let result = work(handle).await;
    driver.abort();
    Ok(result)
}

fn route(cidr: Cidr) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(cidr.base(), cidr.prefix())
        .output_interface(LOOPBACK_INDEX)
        .table_id(TABLE_LOCAL)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .build()
}

/// A route of somebody else that overlaps `cidr`: taking its addresses would cut that network off.
async fn conflict(handle: &Handle, cidr: Cidr) -> Result<Option<(Ipv4Addr, u8)>, rtnetlink::Error> {
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let mut found = None;
    while let Some(message) = routes.try_next().await? {
        let prefix = message.header.destination_prefix_length;
        let destination = message.attributes.iter().find_map(|it| match it {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
        let Some(base) = destination else { continue };
        let ours = message.header.kind == RouteType::Local && base == cidr.base() && prefix == cidr.prefix();
        // A wider route, such as 10.0.0.0/8 by a VPN, only loses the part that is narrower than itself.
        if !ours && prefix >= cidr.prefix() && cidr.contains(base) {
            found = Some((base, prefix));
        }
    }
    Ok(found)
}
