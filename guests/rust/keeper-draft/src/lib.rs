//! Keeps what it is given, through the first draft of `wasi:keyvalue`, as `keeper` does through the second.

use exports::examples::keeper::entries::Guest;
use keyvalue::wasi::keyvalue::atomics::increment;
use keyvalue::wasi::keyvalue::batch::{delete_many, get_many, set_many};
use keyvalue::wasi::keyvalue::store::{Bucket, Error, open};

wit_bindgen::generate!({ path: "../shared/keeper", world: "keeper" });

mod keyvalue {
    wit_bindgen::generate!({
        inline: "
            package guests:keyvalue;
            world keyvalue {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
            package wasi:keyvalue@0.2.0-draft {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<u64> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
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

type Number = u64;

fn all_keys(bucket: &Bucket) -> Result<Vec<String>, Error> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor)?;
        keys.extend(page.keys);
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(keys),
        }
    }
}

fn race(_: &Bucket, _: &str, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    Err(Error::Other("the first draft has no swaps".to_owned()))
}
