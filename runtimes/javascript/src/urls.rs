//! `URL`, as the standard has it: parts are read and set by the crate that browsers' tests are run against.

use rquickjs::function::Func;
use rquickjs::{Object, Result};
use url::{Url, quirks};

/// Sets what the prelude makes `URL` of.
pub(crate) fn functions(host: &Object<'_>) -> Result<()> {
    let parse = |text: String, base: Option<String>| -> Option<Vec<String>> {
        let base = match base {
            Some(base) => Some(Url::parse(&base).ok()?),
            None => None,
        };
        Url::options().base_url(base.as_ref()).parse(&text).ok().map(|url| parts(&url))
    };
    host.set("urlParse", Func::from(parse))?;
    // What cannot be set stays as it was, as the standard says.
    let set = |href: String, part: String, value: String| -> Option<Vec<String>> {
        let mut url = Url::parse(&href).ok()?;
        let _ = match part.as_str() {
            "protocol" => quirks::set_protocol(&mut url, &value),
            "username" => quirks::set_username(&mut url, &value),
            "password" => quirks::set_password(&mut url, &value),
            "host" => quirks::set_host(&mut url, &value),
            "hostname" => quirks::set_hostname(&mut url, &value),
            "port" => quirks::set_port(&mut url, &value),
            "pathname" => {
                quirks::set_pathname(&mut url, &value);
                Ok(())
            }
            "search" => {
                quirks::set_search(&mut url, &value);
                Ok(())
            }
            _ => {
                quirks::set_hash(&mut url, &value);
                Ok(())
            }
        };
        Some(parts(&url))
    };
    host.set("urlSet", Func::from(set))
}

/// In the order in which the prelude takes them.
fn parts(url: &Url) -> Vec<String> {
    [
        quirks::href(url),
        quirks::protocol(url),
        quirks::username(url),
        quirks::password(url),
        quirks::host(url),
        quirks::hostname(url),
        quirks::port(url),
        quirks::pathname(url),
        quirks::search(url),
        quirks::hash(url),
        &quirks::origin(url),
    ]
    .map(str::to_owned)
    .to_vec()
}
