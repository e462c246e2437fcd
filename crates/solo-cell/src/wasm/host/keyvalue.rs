//! `wasi:keyvalue`: what the service keeps.
//!
//! Only drafts of 0.2.0 of this package exist; `draft` and `draft2` are the ones that are in use. Each interface is linked
//! under the name that the component imports. There is one bucket, the service's own, under the names that
//! toolchains give to the first one. What others keep cannot be named.

use std::sync::Arc;

use solo_state::{Answer, Op, PAGE_KEYS_MAX, Read};
use solo_types::Problem;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};

use super::super::slot::Slot;
use super::super::storage::{Storage, unexpected};
use super::ComponentState;

/// Names of the service's own bucket.
const NAMES: [&str; 2] = ["", "default"];

/// An open bucket.
#[derive(Debug)]
struct Bucket;

/// A value that is to be changed if nobody else does.
#[derive(Debug)]
struct Cas {
    key: String,
    version: u64,
}

#[allow(unsafe_code, dead_code, reason = "derived; the interfaces have these cases")]
mod types {
    use wasmtime::component::{ComponentType, Lift, Lower, Resource};

    #[derive(Debug, Clone, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub(super) enum StoreError {
        #[component(name = "no-such-store")]
        NoSuchStore,
        #[component(name = "access-denied")]
        AccessDenied,
        #[component(name = "other")]
        Other(String),
    }

    /// Of `draft`.
    #[derive(Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(super) struct NumberedKeys {
        pub(super) keys: Vec<String>,
        pub(super) cursor: Option<u64>,
    }

    /// Of `draft2`.
    #[derive(Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(super) struct NamedKeys {
        pub(super) keys: Vec<String>,
        pub(super) cursor: Option<String>,
    }

    #[derive(Debug, ComponentType, Lower)]
    #[component(variant)]
    pub(super) enum CasError {
        #[component(name = "store-error")]
        Store(StoreError),
        #[component(name = "cas-failed")]
        Failed(Resource<super::Cas>),
    }
}
use types::{CasError, NamedKeys, NumberedKeys, StoreError};

type Done<T> = wasmtime::Result<(Result<T, StoreError>,)>;

/// Tells whether `import` is an interface of the package that can be linked.
pub(in crate::wasm) fn is_keyvalue(import: &str) -> bool {
    crate::describe::keyvalue_interface(import).is_some()
}

/// Links the interface under the name `import`.
///
/// # Errors
/// If it is linked already (a bug).
pub(in crate::wasm) fn link(
    linker: &mut Linker<ComponentState>,
    import: &str,
) -> wasmtime::Result<()> {
    let Some((interface, is_second)) = crate::describe::keyvalue_interface(import) else {
        return Ok(());
    };
    let mut instance = linker.instance(import)?;
    match (interface, is_second) {
        ("store", false) => {
            link_store(&mut instance)?;
            link_numbered(&mut instance)
        }
        ("store", true) => {
            link_store(&mut instance)?;
            link_named(&mut instance)
        }
        ("batch", _) => link_batch(&mut instance),
        (_, false) => link_unsigned(&mut instance),
        (_, true) => {
            link_signed(&mut instance)?;
            link_cas(&mut instance)
        }
    }
}

/// Whose storage it is.
struct Own {
    storage: Arc<Storage>,
    slot: Arc<Slot>,
}

impl Own {
    fn of(store: &StoreContextMut<'_, ComponentState>) -> Self {
        let data = store.data();
        Self { storage: Arc::clone(&data.storage), slot: Arc::clone(&data.slot) }
    }

    async fn run<T>(self, op: Op, take: impl FnOnce(Answer) -> Option<T>) -> Result<T, StoreError> {
        let answer = self.storage.run(&self.slot, op).await.map_err(told)?;
        take(answer).ok_or_else(|| told(unexpected()))
    }
}

fn told(problem: Problem) -> StoreError {
    StoreError::Other(problem.to_string())
}

fn done(answer: Answer) -> Option<()> {
    matches!(answer, Answer::Done).then_some(())
}

/// Wraps a function that asks for one operation and takes its answer: name, parameters behind the bucket,
/// operation, type and form of the answer.
macro_rules! link_op {
    ($instance:expr, $name:literal, ($($arg:ident : $type:ty),*), $op:expr, $answer:ty, $take:expr) => {
        $instance.func_wrap_async(
            $name,
            |store: StoreContextMut<'_, ComponentState>,
             (_bucket, $($arg),*): (Resource<Bucket>, $($type),*)| {
                let own = Own::of(&store);
                Box::new(async move {
                    let answer: Done<$answer> = Ok((own.run($op, $take).await,));
                    answer
                })
            },
        )
    };
}

fn link_store(store: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    store.resource("bucket", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Bucket>::new_own(rep))?;
        Ok(())
    })?;
    store.func_wrap(
        "open",
        |mut store: StoreContextMut<'_, ComponentState>, (name,): (String,)| {
            if !NAMES.contains(&name.as_str()) {
                return Ok((Err(StoreError::NoSuchStore),));
            }
            Ok((Ok::<_, StoreError>(store.data_mut().table.push(Bucket)?),))
        },
    )?;
    link_op!(store, "[method]bucket.get", (key: String), Op::Get(vec![key]), Option<Vec<u8>>, |answer| {
        let Answer::Values(values) = answer else { return None };
        values.into_iter().next()
    })?;
    link_op!(
        store,
        "[method]bucket.set",
        (key: String, value: Vec<u8>),
        Op::Set(vec![(key, value)]),
        (),
        done
    )?;
    link_op!(store, "[method]bucket.delete", (key: String), Op::Delete(vec![key]), (), done)?;
    link_op!(store, "[method]bucket.exists", (key: String), Op::Exists(key), bool, |answer| {
        let Answer::Is(is) = answer else { return None };
        Some(is)
    })
}

fn link_numbered(store: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    link_op!(
        store,
        "[method]bucket.list-keys",
        (cursor: Option<u64>),
        Op::Rows { after: cursor.unwrap_or_default(), limit: PAGE_KEYS_MAX },
        NumberedKeys,
        |answer| {
            let Answer::Rows(rows) = answer else { return None };
            Some(NumberedKeys { keys: rows.keys, cursor: rows.next })
        }
    )
}

fn link_named(store: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    link_op!(
        store,
        "[method]bucket.list-keys",
        (cursor: Option<String>),
        Op::List { prefix: String::new(), after: cursor, limit: PAGE_KEYS_MAX },
        NamedKeys,
        |answer| {
            let Answer::Page(page) = answer else { return None };
            let cursor = page.keys.last().filter(|_| page.more).cloned();
            Some(NamedKeys { keys: page.keys, cursor })
        }
    )
}

type Found = Vec<Option<(String, Vec<u8>)>>;

fn link_batch(batch: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    batch.func_wrap_async(
        "get-many",
        |store: StoreContextMut<'_, ComponentState>,
         (_bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let own = Own::of(&store);
            Box::new(async move {
                let found = own.run(Op::Get(keys.clone()), |answer| {
                    let Answer::Values(values) = answer else { return None };
                    let pairs = keys.into_iter().zip(values);
                    Some(pairs.map(|(key, value)| Some((key, value?))).collect())
                });
                let answer: Done<Found> = Ok((found.await,));
                answer
            })
        },
    )?;
    link_op!(
        batch,
        "set-many",
        (entries: Vec<(String, Vec<u8>)>),
        Op::Set(entries),
        (),
        done
    )?;
    link_op!(batch, "delete-many", (keys: Vec<String>), Op::Delete(keys), (), done)
}

fn link_unsigned(atomics: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    link_op!(
        atomics,
        "increment",
        (key: String, delta: u64),
        Op::Increment { key, delta: delta.into(), range: (0, u64::MAX.into()) },
        u64,
        |answer| {
            let Answer::Number(number) = answer else { return None };
            number.try_into().ok()
        }
    )
}

fn link_signed(atomics: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    link_op!(
        atomics,
        "increment",
        (key: String, delta: i64),
        Op::Increment { key, delta: delta.into(), range: (i64::MIN.into(), i64::MAX.into()) },
        i64,
        |answer| {
            let Answer::Number(number) = answer else { return None };
            number.try_into().ok()
        }
    )
}

fn link_cas(atomics: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    atomics.resource("cas", ResourceType::host::<Cas>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    atomics.func_wrap_async(
        "[static]cas.new",
        |mut store: StoreContextMut<'_, ComponentState>,
         (_bucket, key): (Resource<Bucket>, String)| {
            let own = Own::of(&store);
            Box::new(async move {
                let read = match own.run(Op::Read(key.clone()), as_read).await {
                    Ok(read) => read,
                    Err(error) => return Ok((Err(error),)),
                };
                let cas = Cas { key, version: read.version };
                let answer: Done<Resource<Cas>> = Ok((Ok(store.data_mut().table.push(cas)?),));
                answer
            })
        },
    )?;
    // Of the moment in which it is asked: a swap succeeds only over what was read last.
    atomics.func_wrap_async(
        "[method]cas.current",
        |mut store: StoreContextMut<'_, ComponentState>, (cas,): (Resource<Cas>,)| {
            let own = Own::of(&store);
            Box::new(async move {
                let key = store.data().table.get(&cas)?.key.clone();
                let read = match own.run(Op::Read(key), as_read).await {
                    Ok(read) => read,
                    Err(error) => return Ok((Err(error),)),
                };
                store.data_mut().table.get_mut(&cas)?.version = read.version;
                let answer: Done<Option<Vec<u8>>> = Ok((Ok(read.value),));
                answer
            })
        },
    )?;
    atomics.func_wrap_async(
        "swap",
        |mut store: StoreContextMut<'_, ComponentState>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            let own = Own::of(&store);
            Box::new(async move {
                let Cas { key, version } = store.data_mut().table.delete(cas)?;
                let op = Op::Swap { key: key.clone(), version, value };
                let swapped = own.run(op, |answer| {
                    let Answer::Swapped(now) = answer else { return None };
                    Some(now)
                });
                Ok((match swapped.await {
                    Ok(None) => Ok(()),
                    Ok(Some(now)) => {
                        let again = Cas { key, version: now.version };
                        Err(CasError::Failed(store.data_mut().table.push(again)?))
                    }
                    Err(error) => Err(CasError::Store(error)),
                },))
            })
        },
    )
}

fn as_read(answer: Answer) -> Option<Read> {
    let Answer::Read(read) = answer else { return None };
    Some(read)
}
