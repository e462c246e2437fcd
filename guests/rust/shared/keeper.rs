//! What `keeper` and `keeper-draft` have in common, in the words that each of them imports.

use super::{
    Bucket, Error, Guest, Number, all_keys, delete_many, get_many, increment, open, race, set_many,
};

/// Keys and values that one batch has.
const BATCH: u32 = 500;

pub struct Keeper;

impl Guest for Keeper {
    fn get(key: String) -> Result<Option<String>, String> {
        let value = own()?.get(&key).map_err(told)?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    fn set(key: String, value: String) -> Result<(), String> {
        own()?.set(&key, value.as_bytes()).map_err(told)
    }

    fn set_large(key: String, bytes: u32) -> Result<(), String> {
        own()?.set(&key, &vec![b'x'; bytes as usize]).map_err(told)
    }

    fn delete(key: String) -> Result<(), String> {
        own()?.delete(&key).map_err(told)
    }

    fn exists(key: String) -> Result<bool, String> {
        own()?.exists(&key).map_err(told)
    }

    fn keys() -> Result<Vec<String>, String> {
        let mut keys = all_keys(&own()?).map_err(told)?;
        keys.sort();
        Ok(keys)
    }

    fn fill(keys: u32) -> Result<u32, String> {
        let bucket = own()?;
        let mut found = 0;
        for names in batches(keys) {
            let entries: Vec<_> =
                names.iter().map(|name| (name.clone(), name.clone().into_bytes())).collect();
            set_many(&bucket, &entries).map_err(told)?;
            let pairs = get_many(&bucket, &names).map_err(told)?;
            let right = |(pair, name): (Option<(String, Vec<u8>)>, &String)| {
                pair.is_some_and(|(key, value)| key == *name && value == name.as_bytes())
            };
            let right = pairs.into_iter().zip(&names).map(right).filter(|right| *right).count();
            found += u32::try_from(right).unwrap_or(u32::MAX);
        }
        Ok(found)
    }

    fn clear(keys: u32) -> Result<(), String> {
        let bucket = own()?;
        batches(keys).into_iter().try_for_each(|names| delete_many(&bucket, &names).map_err(told))
    }

    fn add(key: String, delta: u32) -> Result<u32, String> {
        let number = increment(&own()?, &key, Number::from(delta)).map_err(told)?;
        u32::try_from(number).map_err(|error| error.to_string())
    }

    fn open(name: String) -> Result<(), String> {
        open(&name).map(drop).map_err(told)
    }

    fn race(key: String, value: String) -> Result<Option<String>, String> {
        let now = race(&own()?, &key, value.as_bytes()).map_err(told)?;
        Ok(now.map(|now| String::from_utf8_lossy(&now).into_owned()))
    }

    fn hoard(buckets: u32) -> Result<(), String> {
        let kept: Result<Vec<Bucket>, String> = (0..buckets).map(|_| own()).collect();
        kept.map(std::mem::forget)
    }
}

fn own() -> Result<Bucket, String> {
    open("default").map_err(told)
}

fn batches(keys: u32) -> Vec<Vec<String>> {
    let names: Vec<String> = (0..keys).map(|number| format!("k{number}")).collect();
    names.chunks(BATCH as usize).map(<[String]>::to_vec).collect()
}

fn told(error: Error) -> String {
    match error {
        Error::NoSuchStore => "no such store".to_owned(),
        Error::AccessDenied => "access denied".to_owned(),
        Error::Other(text) => text,
    }
}
