//! The words for a child that failed. Decides nothing.

use tokio::task::JoinError;

/// Bytes of an error that are kept for the tree.
const ERROR_BYTES_MAX: usize = 1_024;

/// Says why a task did not end by itself.
pub(super) fn describe(error: JoinError) -> String {
    if error.is_cancelled() {
        return "was aborted".to_owned();
    }
    let Ok(panic) = error.try_into_panic() else {
        return "ended without a result".to_owned();
    };
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", message.unwrap_or_else(|| "without a message".to_owned()))
}

/// Shortens a text to what is kept for the tree.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
