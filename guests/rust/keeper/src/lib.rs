//! Keeps what it is given, through `wasi:keyvalue@0.2.0-draft2`. `keeper-draft` does the same through the
//! first draft.

use exports::examples::keeper::entries::Guest;
use keyvalue::wasi::keyvalue::atomics::{Cas, CasError, increment, swap};
use keyvalue::wasi::keyvalue::batch::{delete_many, get_many, set_many};
use keyvalue::wasi::keyvalue::store::{Bucket, Error, open};

wit_bindgen::generate!({ path: "../shared/keeper", world: "keeper" });

mod keyvalue {
    wit_bindgen::generate!({
        inline: "
            package guests:keyvalue;
            world keyvalue {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }
            package wasi:keyvalue@0.2.0-draft2 {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<string> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<string>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    variant cas-error { store-error(error), cas-failed(cas) }
                    resource cas {
                        new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                        current: func() -> result<option<list<u8>>, error>;
                    }
                    increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                    swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
                }
                interface batch {
                    use store.{bucket, error};
                    get-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<list<option<tuple<string, list<u8>>>>, error>;
                    set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                    delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
                }
            }
        ",
        generate_all,
    });
}

#[path = "../../shared/keeper.rs"]
mod shared;

use shared::Keeper;
export!(Keeper);

type Number = i64;

fn all_keys(bucket: &Bucket) -> Result<Vec<String>, Error> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor.as_deref())?;
        keys.extend(page.keys);
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(keys),
        }
    }
}

fn race(bucket: &Bucket, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let cas = Cas::new(bucket, key)?;
    bucket.set(key, b"somebody else's")?;
    match swap(cas, value) {
        Err(CasError::CasFailed(cas)) => {
            let now = cas.current()?;
            swap(cas, value).map_err(|_| Error::Other("it was changed again".to_owned()))?;
            Ok(now)
        }
        Err(CasError::StoreError(error)) => Err(error),
        Ok(()) => Err(Error::Other("it did not notice".to_owned())),
    }
}
