//! Enum values as words, and points in time as text.
//!
//! Strips the prefix that protobuf wants from the names of the values, so that a value added to
//! the API has a word here without a second list.

use prost_types::Timestamp;
use solo_api::v1;

fn word(name: Option<&'static str>, prefix: &str) -> String {
    match name.map(|name| name.strip_prefix(prefix).unwrap_or(name)) {
        None | Some("UNSPECIFIED") => "unknown".to_owned(),
        Some(name) => name.to_ascii_lowercase(),
    }
}

macro_rules! words {
    ($($function:ident: $type:ident, $prefix:literal;)*) => {$(
        pub(super) fn $function(value: i32) -> String {
            word(v1::$type::try_from(value).ok().map(|value| value.as_str_name()), $prefix)
        }
    )*};
}
words! {
    state: ServiceState, "SERVICE_STATE_";
    kind: ServiceKind, "SERVICE_KIND_";
    tier: Tier, "TIER_";
    right: Right, "RIGHT_";
    limit_action: LimitAction, "LIMIT_ACTION_";
    restart_mode: RestartMode, "RESTART_MODE_";
}

/// RFC 3339 in UTC.
pub(super) fn time(at: Option<&Timestamp>) -> Option<String> {
    at.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_words() {
        assert_eq!(state(v1::ServiceState::Running as i32), "running");
        assert_eq!(kind(v1::ServiceKind::Handler as i32), "handler");
        assert_eq!(restart_mode(v1::RestartMode::Transient as i32), "transient");
        assert_eq!(right(v1::Right::Call as i32), "call");
        assert_eq!(state(0), "unknown");
        assert_eq!(state(4_711), "unknown");
    }

    #[test]
    fn times_are_rfc_3339() {
        let at = Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 };
        assert_eq!(time(Some(&at)).as_deref(), Some("2023-11-14T22:13:20.250Z"));
        assert_eq!(time(None), None);
    }
}
