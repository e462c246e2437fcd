//! The configuration that the deployment stated: `wasi:config/store`, which exists as drafts only.
//!
//! Each guest that wants it includes this file (`#[path]`). Its imports become imports of the guest.

wit_bindgen::generate!({
    inline: "
        package guests:config;
        world config {
            import wasi:config/store@0.2.0-rc.1;
        }
        package wasi:config@0.2.0-rc.1 {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
            }
        }
    ",
    generate_all,
});

use wasi::config::store;

/// The value of an entry; none if there is no such entry.
pub fn get(key: &str) -> Result<Option<String>, String> {
    store::get(key).map_err(|error| match error {
        store::Error::Upstream(why) | store::Error::Io(why) => format!("no configuration: {why}"),
    })
}
