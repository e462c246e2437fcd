//! Decides which HTTP requests may come from a browser, or from a page that pretends to be one of
//! this machine.
//!
//! A page of a stranger must not be able to send one, not even to find out that the gateway is there:
//! neither under a name of its own that resolves to this machine (DNS rebinding), nor by a form or
//! a script of another origin. Pure: method, target, headers and the names of the gateway in, a decision
//! out. It does not look at tokens: these are the kernel's.

use axum::http::{HeaderMap, Method, Uri, header};
use solo_types::{Problem, ProblemKind};

/// Content types that a form cannot send, so that a browser asks before it sends one across sites.
const CONTENT_TYPES: [&str; 2] = ["application/json", "application/octet-stream"];

/// Checks one request. `is_ours` tells whether the gateway has a name or an address, without a port.
///
/// # Errors
/// `HOST_REFUSED`, `ORIGIN_REFUSED` or `UNSUPPORTED_MEDIA_TYPE`.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_ours: impl Fn(&str) -> bool,
) -> Result<(), Problem> {
    let is_host = |host: &&str| without_port(host).is_some_and(&is_ours);
    let host = host(uri, headers).filter(is_host).ok_or_else(|| {
        refused("HOST_REFUSED", "the Host header does not name this gateway").remedy(
            "use http://127.0.0.1:PORT or http://localhost:PORT, or with TLS a name or address that \
             the certificate is for",
        )
    })?;
    if headers.contains_key(header::ORIGIN) && !is_same_origin(headers, host) {
        return Err(refused("ORIGIN_REFUSED", "the request comes from a page of another origin")
            .remedy("send it from a program, or from a page that the gateway itself served"));
    }
    if method == Method::POST && !has_legal_content_type(headers) {
        return Err(Problem::new(
            ProblemKind::InvalidArgument,
            "UNSUPPORTED_MEDIA_TYPE",
            "the content type is missing, or is not one that the gateway takes",
        )
        .remedy("set content-type to application/json or application/octet-stream"));
    }
    Ok(())
}

fn refused(reason: &str, cause: &str) -> Problem {
    Problem::new(ProblemKind::PermissionDenied, reason, cause)
}

/// The one host that the request names; none if it names none or several.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = only(headers, header::HOST)?;
    match uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => None,
        _ => Some(host),
    }
}

/// The value of a header that is there exactly once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The name or address of a host, which has any port or none; of `[::1]:80` it is `::1`.
fn without_port(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').filter(|(name, _)| name.contains(':'))?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

/// `localhost`, `127.0.0.1` or `::1`: what a gateway without TLS is called.
pub(crate) fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "::1"].into_iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Scheme aside: the gateway may stand behind a proxy that speaks TLS.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    only(headers, header::ORIGIN)
        .and_then(|origin| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
        })
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

fn has_legal_content_type(headers: &HeaderMap) -> bool {
    only(headers, header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        CONTENT_TYPES.iter().any(|legal| essence.eq_ignore_ascii_case(legal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    fn reason(method: Method, uri: &'static str, pairs: &[(&'static str, &'static str)]) -> String {
        match check(&method, &Uri::from_static(uri), &headers(pairs), is_loopback) {
            Ok(()) => "ok".to_owned(),
            Err(problem) => problem.reason,
        }
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        for (host, expected) in [
            ("localhost", "ok"),
            ("LocalHost:7780", "ok"),
            ("127.0.0.1", "ok"),
            ("127.0.0.1:1", "ok"),
            ("[::1]:7780", "ok"),
            ("", "HOST_REFUSED"),
            ("localhost.", "HOST_REFUSED"),
            ("localhost.evil.example", "HOST_REFUSED"),
            ("127.0.0.1.nip.example", "HOST_REFUSED"),
            ("127.0.0.1:99999", "HOST_REFUSED"),
            ("127.0.0.1:", "HOST_REFUSED"),
            ("127.0.0.2", "HOST_REFUSED"),
            ("[::1", "HOST_REFUSED"),
            ("[::1]x", "HOST_REFUSED"),
            ("[localhost]", "HOST_REFUSED"),
            ("::1", "HOST_REFUSED"),
            ("evil.example", "HOST_REFUSED"),
            ("localhost@evil.example", "HOST_REFUSED"),
        ] {
            assert_eq!(reason(Method::GET, "/", &[("host", host)]), expected, "{host:?}");
        }
    }

    #[test]
    fn a_gateway_of_another_name_is_asked_by_that_name() {
        let is_ours = |host: &str| ["solo.example", "192.0.2.7", "2001:db8::7"].contains(&host);
        for (host, expected) in [
            ("solo.example", true),
            ("solo.example:443", true),
            ("192.0.2.7:1", true),
            ("[2001:db8::7]:1", true),
            ("localhost", false),
            ("evil.example", false),
        ] {
            let checked =
                check(&Method::GET, &Uri::from_static("/"), &headers(&[("host", host)]), is_ours);
            assert_eq!(checked.is_ok(), expected, "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once_and_only_once() {
        assert_eq!(reason(Method::GET, "/", &[]), "HOST_REFUSED");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(reason(Method::GET, "/", &two), "HOST_REFUSED");
        let one = [("host", "localhost")];
        assert_eq!(reason(Method::GET, "http://evil.example/", &one), "HOST_REFUSED");
        assert_eq!(reason(Method::GET, "http://localhost/", &one), "ok");
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (origin, expected) in [
            ("http://localhost:7780", "ok"),
            ("http://localhost:3000", "ORIGIN_REFUSED"),
            ("http://evil.example", "ORIGIN_REFUSED"),
            ("null", "ORIGIN_REFUSED"),
            ("", "ORIGIN_REFUSED"),
        ] {
            let pairs = [("host", "localhost:7780"), ("origin", origin)];
            assert_eq!(reason(Method::GET, "/", &pairs), expected, "{origin:?}");
        }
    }

    #[test]
    fn forms_are_refused() {
        for (content_type, expected) in [
            ("application/json", "ok"),
            ("Application/JSON; charset=utf-8", "ok"),
            ("application/octet-stream", "ok"),
            ("text/plain", "UNSUPPORTED_MEDIA_TYPE"),
            ("application/x-www-form-urlencoded", "UNSUPPORTED_MEDIA_TYPE"),
            ("multipart/form-data; boundary=application/json", "UNSUPPORTED_MEDIA_TYPE"),
            ("", "UNSUPPORTED_MEDIA_TYPE"),
        ] {
            let pairs = [("host", "localhost"), ("content-type", content_type)];
            assert_eq!(reason(Method::POST, "/", &pairs), expected, "{content_type:?}");
        }
        let host = [("host", "localhost")];
        assert_eq!(reason(Method::POST, "/", &host), "UNSUPPORTED_MEDIA_TYPE");
        assert_eq!(reason(Method::GET, "/", &host), "ok");
    }
}
