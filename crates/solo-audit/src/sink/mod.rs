//! Takes records elsewhere: what to send when, and in which form.
//!
//! Opens no connection and reads no clock. A driver reads the trail with a [`crate::Follower`], offers
//! the records to a [`DeliveryQueue`], sends the [`Batch`] that it is handed in one of the forms
//! here, tells how that ended, and keeps the [`Cursor`] on disk. The trail itself is what waits when a
//! sink does not answer: the queue holds only what is sent next, so that a sink can be down for as
//! long as retention keeps the records.

mod backoff;
mod cursor;
mod queue;
mod syslog;
mod time;
mod webhook;

pub use backoff::Backoff;
pub use cursor::Cursor;
pub use queue::{Batch, DeliveryQueue, Lag, Offer, QueueOptions, Step};
pub use syslog::{Syslog, SyslogOptions, octet_counted};
pub(crate) use time::rfc3339;
pub use webhook::{WebhookRequest, json_lines, webhook_request};

#[cfg(test)]
mod tests;
