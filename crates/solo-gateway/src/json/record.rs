//! Records of a watch.

use std::collections::BTreeMap;

use serde::Serialize;
use solo_api::v1;
use solo_api::v1::watch_response::Record;

use super::words;

/// One record, or the news that some were missed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordJson {
    /// Resume behind it.
    pub cursor: u64,
    /// When it was made.
    pub at: Option<String>,
    /// Whose it is; empty: Solo's own.
    pub service: String,
    /// Which instance's; empty: the service as a whole.
    pub instance: String,
    /// What it says.
    #[serde(flatten)]
    pub body: RecordBody,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RecordBody {
    /// A line of the service.
    Log {
        /// `trace`, `debug`, `info`, `warn` or `error`.
        level: String,
        /// `stdout`, `stderr` or `log`.
        source: String,
        /// The line.
        message: String,
        /// The chain of calls that it was written in; empty: none.
        trace_id: String,
    },
    /// Something happened to it.
    Event {
        /// Stable.
        name: String,
        /// One sentence.
        message: String,
        /// By stable keys; of `limit_exceeded`: `limit`, `action` and `count`.
        details: BTreeMap<String, String>,
    },
    /// A sample.
    Metric {
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
    },
    /// Records were thrown away before they were read.
    Missed {
        /// How many.
        count: u64,
    },
    /// A kind of record that this build does not know.
    Unknown,
}

impl From<v1::WatchResponse> for RecordJson {
    fn from(response: v1::WatchResponse) -> Self {
        let body = match response.record {
            Some(Record::Log(line)) => RecordBody::Log {
                level: line.level,
                source: line.source,
                message: line.message,
                trace_id: line.trace_id,
            },
            Some(Record::Event(event)) => RecordBody::Event {
                name: event.name,
                message: event.message,
                details: event.details.into_iter().collect(),
            },
            Some(Record::Metric(sample)) => {
                RecordBody::Metric { name: sample.name, value: sample.value }
            }
            Some(Record::Missed(missed)) => RecordBody::Missed { count: missed.count },
            None => RecordBody::Unknown,
        };
        Self {
            cursor: response.cursor,
            at: words::time(response.at.as_ref()),
            service: response.service,
            instance: response.instance,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_object() {
        let record = RecordJson::from(v1::WatchResponse {
            cursor: 7,
            service: "counter".into(),
            record: Some(Record::Missed(v1::Missed { count: 3 })),
            ..Default::default()
        });
        assert_eq!(
            serde_json::to_string(&record).expect("serializes"),
            r#"{"cursor":7,"at":null,"service":"counter","instance":"","kind":"missed","count":3}"#
        );
    }
}
