//! Records of a watch as lines of text.

use solo_gateway::json::{RecordBody, RecordJson};

use super::text::{Style, one_line};

/// Writes one record as one line, the chain of calls that it belongs to at its end.
pub(crate) fn record_line(record: &RecordJson, style: Style) -> String {
    let mut chain = String::new();
    let what = match &record.body {
        RecordBody::Log { level, message, trace_id, .. } => {
            if !trace_id.is_empty() {
                chain = style.dim(&format!(" trace={}", one_line(trace_id)));
            }
            format!("{level:<5} {}", message.trim_end_matches('\n'))
        }
        RecordBody::Event { name, message, .. } => {
            format!("event {name}: {}", message.trim_end_matches('\n'))
        }
        RecordBody::Metric { name, value } => format!("metric {name} = {value}"),
        RecordBody::Missed { count } => {
            return format!("{} {count} records were missed\n", time(record));
        }
        RecordBody::Unknown => "record of an unknown kind".to_owned(),
    };
    format!("{} {} {}{chain}\n", time(record), origin(record), one_line(&what))
}

fn time(record: &RecordJson) -> &str {
    record.at.as_deref().unwrap_or("-")
}

/// `NAME/NUMBER` for an instance, `NAME/ID` for a child (it belongs to another service's instance,
/// perhaps), `NAME` for a service, `solo` for Solo itself.
fn origin(record: &RecordJson) -> String {
    let number = match record.instance.contains('.') {
        true => record.instance.as_str(),
        false => record.instance.rsplit('-').next().unwrap_or_default(),
    };
    match (record.service.as_str(), number) {
        ("", "") => "solo".to_owned(),
        ("", _) => one_line(&record.instance),
        (service, "") => one_line(service),
        (service, number) => one_line(&format!("{service}/{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: &str, instance: &str, body: RecordBody, expected: &str) {
        let record = RecordJson {
            cursor: 1,
            at: Some("2024-01-01T00:00:00Z".into()),
            service: service.into(),
            instance: instance.into(),
            body,
        };
        assert_eq!(record_line(&record, Style::PLAIN), expected);
    }

    #[test]
    fn one_record_is_one_line() {
        check(
            "counter",
            "0000beef-7-2",
            RecordBody::Log {
                level: "info".into(),
                source: "stdout".into(),
                message: "a\nb\x1b\n".into(),
                trace_id: String::new(),
            },
            "2024-01-01T00:00:00Z counter/2 info  a\\nb\\u{1b}\n",
        );
        check(
            "worker",
            "0000beef-7-2.1",
            RecordBody::Log {
                level: "warn".into(),
                source: "log".into(),
                message: "hot".into(),
                trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            },
            "2024-01-01T00:00:00Z worker/0000beef-7-2.1 warn  hot \
             trace=4bf92f3577b34da6a3ce929d0e0e4736\n",
        );
        check(
            "",
            "",
            RecordBody::Event {
                name: "kernel_started".into(),
                message: "hello".into(),
                details: Default::default(),
            },
            "2024-01-01T00:00:00Z solo event kernel_started: hello\n",
        );
        check(
            "counter",
            "",
            RecordBody::Metric { name: "calls".into(), value: 1.5 },
            "2024-01-01T00:00:00Z counter metric calls = 1.5\n",
        );
        check(
            "",
            "",
            RecordBody::Missed { count: 3 },
            "2024-01-01T00:00:00Z 3 records were missed\n",
        );
    }
}
