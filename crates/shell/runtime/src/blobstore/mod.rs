//! `wasi:blobstore`: containers and objects of the [`eyot_bucket::Tenant`] that a guest's spec names.
//!
//! Start at [`add_to_linker`]. Content streams in pieces both ways: what a guest writes lies in the store piece by piece and
//! appears under its name when the guest finishes it; what it reads is one piece at a time in the host's memory.

mod stream;
mod types;

use std::{future::Future, sync::Arc};

use eyot_bucket::{BucketError, Tenant};
use wasmtime::{
    StoreContextMut,
    component::{Component, Linker, LinkerInstance, Resource, ResourceType},
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use self::{
    stream::{CONTENTS_MAX, Reader, Writer},
    types::{Container, ContainerMetadata, Incoming, Names, ObjectId, ObjectMetadata, Outgoing},
};
use crate::{slot::Slot, state::State};

/// Every interface offered.
pub(crate) const INTERFACES: [&str; 3] = [
    "wasi:blobstore/types@0.2.0-draft",
    "wasi:blobstore/container@0.2.0-draft",
    "wasi:blobstore/blobstore@0.2.0-draft",
];

/// Most bytes that a guest gets in one piece; larger objects are read as streams.
const WHOLE_BYTES_MAX: u64 = 4 << 20;

/// Whether `component` imports any of it.
pub(crate) fn is_imported(component: &Component) -> bool {
    component.component_type().imports(component.engine()).any(|(name, _)| INTERFACES.contains(&name))
}

type Cx<'a> = StoreContextMut<'a, State>;
/// The draft's errors are text.
type Answer<T> = wasmtime::Result<(Result<T, String>,)>;

/// Adds all of [`INTERFACES`].
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let [types, container, blobstore] = INTERFACES;
    add_outgoing(&mut linker.instance(types)?)?;
    add_incoming(&mut linker.instance(types)?)?;
    add_container(&mut linker.instance(container)?)?;
    add_content(&mut linker.instance(container)?)?;
    add_names(&mut linker.instance(container)?)?;
    add_containers(&mut linker.instance(blobstore)?)?;
    add_copies(&mut linker.instance(blobstore)?)
}

fn add_outgoing(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Outgoing>(l, "outgoing-value")?;
    l.func_wrap("[static]outgoing-value.new-outgoing-value", |mut cx: Cx<'_>, (): ()| {
        Ok((cx.data_mut().table.push(Outgoing::default())?,))
    })?;
    l.func_wrap(
        "[method]outgoing-value.outgoing-value-write-body",
        |mut cx: Cx<'_>, (value,): (Resource<Outgoing>,)| {
            let Some(tenant) = cx.data().guest().buckets.clone() else { return Ok((Err(()),)) };
            let slot = slot(&cx);
            let state = cx.data_mut();
            let value = state.table.get_mut(&value)?;
            if value.body.is_some() || slot.is_none() {
                return Ok((Err(()),));
            }
            let writer = Writer::new(tenant, slot);
            value.body = Some(writer.clone());
            let stream: DynOutputStream = Box::new(writer);
            Ok((Ok::<_, ()>(state.table.push(stream)?),))
        },
    )?;
    l.func_wrap_async("[static]outgoing-value.finish", |mut cx: Cx<'_>, (value,): (Resource<Outgoing>,)| {
        Box::new(async move {
            let Outgoing { body, target } = cx.data_mut().table.delete(value)?;
            let Some((container, name)) = target else { return text("the value was given to no container") };
            let Some(tenant) = tenant(&cx) else { return denied() };
            let body = body.unwrap_or_else(|| Writer::new(tenant, None));
            answer(body.finish(&container, name)).await
        })
    })
}

fn add_incoming(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Incoming>(l, "incoming-value")?;
    l.func_wrap_async(
        "[static]incoming-value.incoming-value-consume-sync",
        |mut cx: Cx<'_>, (value,): (Resource<Incoming>,)| {
            Box::new(async move {
                let value = cx.data_mut().table.delete(value)?;
                if value.size() > WHOLE_BYTES_MAX {
                    let (has, max) = (value.size(), WHOLE_BYTES_MAX);
                    return text(&format!("the value has {has} bytes; more than {max} are read as a stream"));
                }
                let Some(slot) = slot(&cx) else { return too_many() };
                answer(Reader::new(value, slot).whole()).await
            })
        },
    )?;
    l.func_wrap(
        "[static]incoming-value.incoming-value-consume-async",
        |mut cx: Cx<'_>, (value,): (Resource<Incoming>,)| {
            let slot = slot(&cx);
            let table = &mut cx.data_mut().table;
            let value = table.delete(value)?;
            let Some(slot) = slot else { return too_many() };
            let stream: DynInputStream = Box::new(Reader::new(value, slot));
            Ok((Ok(table.push(stream)?),))
        },
    )?;
    l.func_wrap("[method]incoming-value.size", |cx: Cx<'_>, (value,): (Resource<Incoming>,)| {
        Ok((cx.data().table.get(&value)?.size(),))
    })
}

fn add_container(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Container>(l, "container")?;
    l.func_wrap("[method]container.name", |cx: Cx<'_>, (container,): (Resource<Container>,)| -> Answer<String> {
        Ok((Ok(held(&cx, &container)?.name.to_string()),))
    })?;
    l.func_wrap_async("[method]container.info", |cx: Cx<'_>, (container,): (Resource<Container>,)| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            let info = async {
                let found = it.tenant.container(&it.name).await?;
                found.map(ContainerMetadata::from).ok_or_else(|| BucketError::NoContainer(it.name.to_string()))
            };
            answer(info).await
        })
    })?;
    l.func_wrap_async("[method]container.clear", |cx: Cx<'_>, (container,): (Resource<Container>,)| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            answer(it.tenant.clear_container(&it.name, false)).await
        })
    })?;
    type Named = (Resource<Container>, String);
    l.func_wrap_async("[method]container.delete-object", |cx: Cx<'_>, (container, name): Named| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            answer(it.tenant.delete_objects(&it.name, vec![name])).await
        })
    })?;
    l.func_wrap_async(
        "[method]container.delete-objects",
        |cx: Cx<'_>, (container, names): (Resource<Container>, Vec<String>)| {
            Box::new(async move {
                let it = held(&cx, &container)?;
                answer(it.tenant.delete_objects(&it.name, names)).await
            })
        },
    )?;
    l.func_wrap_async("[method]container.has-object", |cx: Cx<'_>, (container, name): Named| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            answer(async { Ok(it.tenant.object(&it.name, name).await?.is_some()) }).await
        })
    })?;
    l.func_wrap_async("[method]container.object-info", |cx: Cx<'_>, (container, name): Named| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            let info = async {
                let found = it.tenant.object(&it.name, name.clone()).await?;
                found.map(ObjectMetadata::from).ok_or(BucketError::NoObject(name))
            };
            answer(info).await
        })
    })
}

fn add_content(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async(
        "[method]container.get-data",
        |mut cx: Cx<'_>, (container, name, start, end): (Resource<Container>, String, u64, u64)| {
            Box::new(async move {
                let it = held(&cx, &container)?;
                let found = async {
                    let content = it.tenant.open(&it.name, name.clone()).await?;
                    Ok(Incoming::new(content.ok_or(BucketError::NoObject(name))?, start, end))
                };
                match answer(found).await? {
                    (Ok(value),) => Ok((Ok(cx.data_mut().table.push(value)?),)),
                    (Err(why),) => Ok((Err(why),)),
                }
            })
        },
    )?;
    l.func_wrap(
        "[method]container.write-data",
        |mut cx: Cx<'_>, (container, name, value): (Resource<Container>, String, Resource<Outgoing>)| -> Answer<()> {
            let container = held(&cx, &container)?.name;
            let value = cx.data_mut().table.get_mut(&value)?;
            if value.target.is_some() {
                return text("the value was given to a container before");
            }
            value.target = Some((container, name));
            Ok((Ok(()),))
        },
    )
}

fn add_names(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Names>(l, "stream-object-names")?;
    l.func_wrap_async("[method]container.list-objects", |mut cx: Cx<'_>, (container,): (Resource<Container>,)| {
        Box::new(async move {
            let it = held(&cx, &container)?;
            let (name, found) = (it.name.to_string(), it.tenant.container(&it.name));
            match answer(async { found.await?.ok_or(BucketError::NoContainer(name)) }).await? {
                (Ok(_),) => Ok((Ok(cx.data_mut().table.push(Names { container: it, after: String::new() })?),)),
                (Err(why),) => Ok((Err(why),)),
            }
        })
    })?;
    l.func_wrap_async(
        "[method]stream-object-names.read-stream-object-names",
        |mut cx: Cx<'_>, (names, count): (Resource<Names>, u64)| {
            Box::new(async move { answer_page(&mut cx, &names, count, |it| it).await })
        },
    )?;
    l.func_wrap_async(
        "[method]stream-object-names.skip-stream-object-names",
        |mut cx: Cx<'_>, (names, count): (Resource<Names>, u64)| {
            Box::new(async move { answer_page(&mut cx, &names, count, |it| it.len() as u64).await })
        },
    )
}

/// What `read` makes of the next names, at most `count`, and whether those were the last.
async fn answer_page<T>(
    cx: &mut Cx<'_>,
    names: &Resource<Names>,
    count: u64,
    read: impl FnOnce(Vec<String>) -> T,
) -> Answer<(T, bool)> {
    let Names { container, after } = cx.data().table.get(names)?.clone();
    match answer(container.tenant.objects(&container.name, after, count)).await? {
        (Ok((found, more)),) => {
            if let Some(last) = found.last() {
                cx.data_mut().table.get_mut(names)?.after.clone_from(last);
            }
            Ok((Ok((read(found), !more)),))
        }
        (Err(why),) => Ok((Err(why),)),
    }
}

fn add_containers(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("create-container", |mut cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            let Some(tenant) = tenant(&cx) else { return denied() };
            let made = answer(tenant.create_container(&name)).await?;
            opened(&mut cx, made.0.map(drop), Container { name: name.into(), tenant })
        })
    })?;
    l.func_wrap_async("get-container", |mut cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            let Some(tenant) = tenant(&cx) else { return denied() };
            let found = async { tenant.container(&name).await?.ok_or(BucketError::NoContainer(name.clone())) };
            let found = answer(found).await?;
            opened(&mut cx, found.0.map(drop), Container { name: name.into(), tenant })
        })
    })?;
    l.func_wrap_async("delete-container", |cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            let Some(tenant) = tenant(&cx) else { return denied() };
            answer(tenant.clear_container(&name, true)).await
        })
    })?;
    l.func_wrap_async("container-exists", |cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            let Some(tenant) = tenant(&cx) else { return denied() };
            answer(async { Ok(tenant.container(&name).await?.is_some()) }).await
        })
    })
}

fn opened(cx: &mut Cx<'_>, found: Result<(), String>, container: Container) -> Answer<Resource<Container>> {
    match found {
        Ok(()) => Ok((Ok(cx.data_mut().table.push(container)?),)),
        Err(why) => Ok((Err(why),)),
    }
}

fn add_copies(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    for (name, and_delete) in [("copy-object", false), ("move-object", true)] {
        l.func_wrap_async(name, move |cx: Cx<'_>, (from, to): (ObjectId, ObjectId)| {
            Box::new(async move {
                let Some(tenant) = tenant(&cx) else { return denied() };
                let (from, to) = ((from.container.as_str(), from.object), (to.container.as_str(), to.object));
                answer(tenant.copy_object(from, to, and_delete)).await
            })
        })?;
    }
    Ok(())
}

fn resource<T: Send + 'static>(l: &mut LinkerInstance<'_, State>, name: &str) -> wasmtime::Result<()> {
    l.resource(name, ResourceType::host::<T>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<T>::new_own(rep))?;
        Ok(())
    })
}

fn tenant(cx: &Cx<'_>) -> Option<Arc<Tenant>> {
    cx.data().guest().buckets.clone()
}

fn held(cx: &Cx<'_>, container: &Resource<Container>) -> wasmtime::Result<Container> {
    Ok(cx.data().table.get(container)?.clone())
}

/// The place of one content more.
fn slot(cx: &Cx<'_>) -> Option<Slot> {
    Slot::take(&cx.data().guest().contents, CONTENTS_MAX)
}

fn too_many<T>() -> Answer<T> {
    text(&format!("{CONTENTS_MAX} contents are being read and written already"))
}

fn denied<T>() -> Answer<T> {
    text("this guest has no containers")
}

fn text<T>(why: &str) -> Answer<T> {
    Ok((Err(why.to_owned()),))
}

async fn answer<T>(work: impl Future<Output = Result<T, BucketError>>) -> Answer<T> {
    Ok((work.await.map_err(|error| error.to_string()),))
}
