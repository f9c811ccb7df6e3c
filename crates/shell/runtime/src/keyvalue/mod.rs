//! `wasi:keyvalue`: buckets in the [`eyot_bucket::Tenant`] that a guest's spec names.
//!
//! Two drafts are in use and differ in details: wasmtime's and wasmCloud's, and Spin's, whose shape of `batch.get-many` is the one
//! offered for the second. Start at [`add_to_linker`].

mod types;

use std::future::Future;

use eyot_bucket::{BucketError, Swapped};
use sha2::{Digest, Sha256};
use wasmtime::{
    StoreContextMut,
    component::{Component, Linker, LinkerInstance, Resource, ResourceType},
};

use self::types::{Bucket, Cas, CasError, CountedKeys, Keys, Refusal};
use crate::state::State;

/// Every interface offered.
pub(crate) const INTERFACES: [&str; 6] = [
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
];

/// Whether `component` imports any of it.
pub(crate) fn is_imported(component: &Component) -> bool {
    component.component_type().imports(component.engine()).any(|(name, _)| INTERFACES.contains(&name))
}

type Cx<'a> = StoreContextMut<'a, State>;
type Borrowed = Resource<Bucket>;
type Answer<T, E = Refusal> = wasmtime::Result<(Result<T, E>,)>;

/// Adds all of [`INTERFACES`].
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let [first_store, first_atomics, first_batch, store, atomics, batch] = INTERFACES;
    add_store(&mut linker.instance(first_store)?)?;
    add_counted_keys(&mut linker.instance(first_store)?)?;
    add_unsigned_counter(&mut linker.instance(first_atomics)?)?;
    add_batch(&mut linker.instance(first_batch)?)?;
    add_first_get_many(&mut linker.instance(first_batch)?)?;
    add_store(&mut linker.instance(store)?)?;
    add_keys(&mut linker.instance(store)?)?;
    add_counter(&mut linker.instance(atomics)?)?;
    add_cas(&mut linker.instance(atomics)?)?;
    add_batch(&mut linker.instance(batch)?)?;
    add_get_many(&mut linker.instance(batch)?)
}

fn add_store(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.resource("bucket", ResourceType::host::<Bucket>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Bucket>::new_own(rep))?;
        Ok(())
    })?;
    l.func_wrap("open", |mut cx: Cx<'_>, (name,): (String,)| -> Answer<Borrowed> {
        let state = cx.data_mut();
        let Some(tenant) = state.guest().buckets.clone() else { return Ok((Err(Refusal::AccessDenied),)) };
        if let Err(error) = tenant.check_bucket(&name) {
            return Ok((Err(refusal(&error)),));
        }
        Ok((Ok(state.table.push(Bucket { name: name.into(), tenant })?),))
    })?;
    l.func_wrap_async("[method]bucket.get", |cx: Cx<'_>, (bucket, key): (Borrowed, String)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.get(&it.name, key)).await
        })
    })?;
    l.func_wrap_async("[method]bucket.set", |cx: Cx<'_>, (bucket, key, value): (Borrowed, String, Vec<u8>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.set(&it.name, vec![(key, value)])).await
        })
    })?;
    l.func_wrap_async("[method]bucket.delete", |cx: Cx<'_>, (bucket, key): (Borrowed, String)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.delete(&it.name, vec![key])).await
        })
    })?;
    l.func_wrap_async("[method]bucket.exists", |cx: Cx<'_>, (bucket, key): (Borrowed, String)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.exists(&it.name, key)).await
        })
    })
}

fn add_counted_keys(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("[method]bucket.list-keys", |cx: Cx<'_>, (bucket, cursor): (Borrowed, Option<u64>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            let skipped = cursor.unwrap_or(0);
            let page = async {
                let (keys, more) = it.tenant.keys_from(&it.name, skipped).await?;
                let cursor = more.then(|| skipped.saturating_add(keys.len() as u64));
                Ok(CountedKeys { keys, cursor })
            };
            answer(page).await
        })
    })
}

fn add_keys(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("[method]bucket.list-keys", |cx: Cx<'_>, (bucket, cursor): (Borrowed, Option<String>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            let page = async {
                let (keys, more) = it.tenant.keys(&it.name, cursor).await?;
                let cursor = keys.last().filter(|_| more).cloned();
                Ok(Keys { keys, cursor })
            };
            answer(page).await
        })
    })
}

fn add_unsigned_counter(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("increment", |cx: Cx<'_>, (bucket, key, delta): (Borrowed, String, u64)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            let sum = async {
                let sum = it.tenant.add(&it.name, key, delta.into(), 0, u64::MAX.into()).await?;
                Ok(u64::try_from(sum).unwrap_or(u64::MAX))
            };
            answer(sum).await
        })
    })
}

fn add_counter(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("increment", |cx: Cx<'_>, (bucket, key, delta): (Borrowed, String, i64)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            let sum = async {
                let sum = it.tenant.add(&it.name, key, delta.into(), i64::MIN.into(), i64::MAX.into()).await?;
                Ok(i64::try_from(sum).unwrap_or(i64::MAX))
            };
            answer(sum).await
        })
    })
}

fn add_cas(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.resource("cas", ResourceType::host::<Cas>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    l.func_wrap_async("[static]cas.new", |mut cx: Cx<'_>, (bucket, key): (Borrowed, String)| {
        Box::new(async move {
            let bucket = held(&cx, &bucket)?;
            match bucket.tenant.get(&bucket.name, key.clone()).await {
                Ok(found) => {
                    let cas = Cas { bucket, key, seen: digest(found.as_deref()) };
                    Ok((Ok(cx.data_mut().table.push(cas)?),))
                }
                Err(error) => Ok((Err(refusal(&error)),)) as Answer<Resource<Cas>>,
            }
        })
    })?;
    l.func_wrap_async("[method]cas.current", |mut cx: Cx<'_>, (cas,): (Resource<Cas>,)| {
        Box::new(async move {
            let it = cx.data().table.get(&cas)?.clone();
            let found = it.bucket.tenant.get(&it.bucket.name, it.key).await;
            if let Ok(found) = &found {
                cx.data_mut().table.get_mut(&cas)?.seen = digest(found.as_deref());
            }
            answer(std::future::ready(found)).await
        })
    })?;
    l.func_wrap_async("swap", |mut cx: Cx<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
        Box::new(async move {
            let it = cx.data_mut().table.delete(cas)?;
            let (bucket, seen) = (it.bucket.clone(), it.seen);
            let is_old = move |found: Option<&[u8]>| digest(found) == seen;
            let swapped = bucket.tenant.swap(&bucket.name, it.key.clone(), is_old, value).await;
            let refused = match swapped {
                Ok(Swapped::Yes) => return Ok((Ok(()),)),
                Ok(Swapped::No(found)) => {
                    let again = Cas { seen: digest(found.as_deref()), ..it };
                    CasError::Failed(cx.data_mut().table.push(again)?)
                }
                Err(error) => CasError::Store(refusal(&error)),
            };
            Ok((Err(refused),)) as Answer<(), CasError>
        })
    })
}

fn add_batch(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Entries = Vec<(String, Vec<u8>)>;
    l.func_wrap_async("set-many", |cx: Cx<'_>, (bucket, entries): (Borrowed, Entries)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.set(&it.name, entries)).await
        })
    })?;
    l.func_wrap_async("delete-many", |cx: Cx<'_>, (bucket, keys): (Borrowed, Vec<String>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.delete(&it.name, keys)).await
        })
    })
}

fn add_first_get_many(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("get-many", |cx: Cx<'_>, (bucket, keys): (Borrowed, Vec<String>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            let found = async {
                let found = it.tenant.get_many(&it.name, keys).await?;
                Ok(found.into_iter().map(|(key, value)| value.map(|value| (key, value))).collect::<Vec<_>>())
            };
            answer(found).await
        })
    })
}

fn add_get_many(l: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    l.func_wrap_async("get-many", |cx: Cx<'_>, (bucket, keys): (Borrowed, Vec<String>)| {
        Box::new(async move {
            let it = held(&cx, &bucket)?;
            answer(it.tenant.get_many(&it.name, keys)).await
        })
    })
}

fn held(cx: &Cx<'_>, bucket: &Borrowed) -> wasmtime::Result<Bucket> {
    Ok(cx.data().table.get(bucket)?.clone())
}

async fn answer<T>(work: impl Future<Output = Result<T, BucketError>>) -> Answer<T> {
    Ok((work.await.map_err(|error| refusal(&error)),))
}

fn refusal(error: &BucketError) -> Refusal {
    Refusal::Other(error.to_string())
}

fn digest(value: Option<&[u8]>) -> Option<[u8; 32]> {
    value.map(|it| Sha256::digest(it).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_small_on_the_host() {
        // A guest may hold thousands.
        assert!(size_of::<Bucket>() + size_of::<Cas>() < 160, "{}", size_of::<Cas>());
    }
}
