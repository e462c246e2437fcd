//! Texts in the place of capabilities, patterns and objects: one per line.
//!
//! What is read is written in one way and means the same when it is read again; what two capabilities
//! have in common is what each of them allows.

use solo_capability::{Capability, Object, ObjectPattern};

use crate::samples::OBJECTS;

/// Lines that are looked at: all are compared with all.
const LINES_MAX: usize = 4;

/// Takes any bytes.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut capabilities: Vec<Capability> = Vec::new();
    let mut patterns: Vec<ObjectPattern> = Vec::new();
    let mut objects: Vec<Object> = Vec::new();
    for line in text.split('\n').take(LINES_MAX) {
        capabilities.extend(line.parse::<Capability>().ok().inspect(check_capability));
        patterns.extend(line.parse::<ObjectPattern>().ok().inspect(check_pattern));
        objects.extend(line.parse::<Object>().ok().inspect(check_object));
    }
    patterns.extend(capabilities.iter().map(|capability| capability.objects().clone()));
    let objects: Vec<&Object> = objects.iter().chain(OBJECTS.iter()).collect();
    for a in &patterns {
        for b in &patterns {
            check_two_patterns(a, b, &objects);
        }
    }
    for a in &capabilities {
        for b in &capabilities {
            check_two_capabilities(a, b, &objects);
        }
    }
}

fn check_capability(capability: &Capability) {
    let text = capability.to_string();
    assert_eq!(text.parse().as_ref(), Ok(capability), "{text}");
    // Tokens stand between quotes, one per line (`solo_capability::attenuate`).
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\'), "{text}");
    assert!(!capability.rights().is_empty() && capability.is_within(capability), "{text}");
    assert_eq!(capability.intersection(capability).as_ref(), Some(capability), "{text}");
}

fn check_pattern(pattern: &ObjectPattern) {
    let text = pattern.to_string();
    assert_eq!(text.parse().as_ref(), Ok(pattern), "{text}");
    assert!(pattern.is_within(pattern) && pattern.is_within(&ObjectPattern::any(pattern.kind())));
}

fn check_object(object: &Object) {
    let text = object.to_string();
    assert_eq!(text.parse().as_ref(), Ok(object), "{text}");
    let pattern = ObjectPattern::exactly(object);
    assert!(pattern.matches(object), "{text}");
    // An object is no pattern for others by what it is called.
    assert_eq!(text.parse().as_ref(), Ok(&pattern), "{text}");
    assert!(!text.contains('*'), "{text}");
}

fn check_two_patterns(a: &ObjectPattern, b: &ObjectPattern, objects: &[&Object]) {
    let both = a.intersection(b);
    assert_eq!(both, b.intersection(a));
    if let Some(both) = &both {
        assert!(both.is_within(a) && both.is_within(b), "{both} of {a} and {b}");
    }
    for object in objects {
        let matched = a.matches(object) && b.matches(object);
        let by_both = both.as_ref().is_some_and(|both| both.matches(object));
        assert_eq!(matched, by_both, "{object} by {a} and {b}");
        assert!(!(a.is_within(b) && a.matches(object)) || b.matches(object), "{object}: {a}, {b}");
    }
}

fn check_two_capabilities(a: &Capability, b: &Capability, objects: &[&Object]) {
    let both = a.intersection(b);
    assert_eq!(both, b.intersection(a));
    if let Some(both) = &both {
        assert!(both.is_within(a) && both.is_within(b), "{both} of {a} and {b}");
        // Two legal capabilities can have something in common that takes no longer to say.
        check_capability(both);
    }
    for object in objects {
        for right in object.kind().rights() {
            let covered = a.covers(object, right) && b.covers(object, right);
            let by_both = both.as_ref().is_some_and(|both| both.covers(object, right));
            assert_eq!(covered, by_both, "{right:?} on {object} by {a} and {b}");
        }
    }
}
