//! Services as text.

use solo_gateway::json::{
    DeployJson, ExitJson, ExportJson, InstanceJson, ListJson, MountJson, StatusJson, TimingJson,
    UpdateJson,
};

use super::text::{Style, duration_us, one_line, size, table};

/// Digits of a digest that are enough to tell artifacts apart.
const DIGEST_DIGITS_SHOWN: usize = 12;

/// A deployment that succeeded.
pub(crate) fn deploy_text(deploy: &DeployJson, style: Style) -> String {
    let mut text = if deploy.dry_run {
        format!("{} can be deployed ({})\n", one_line(&deploy.service), one_line(&deploy.kind))
    } else {
        format!(
            "{} revision {} is {} ({})\n",
            one_line(&deploy.service),
            deploy.revision.unwrap_or_default(),
            style.state(deploy.state.as_deref().unwrap_or("unknown")),
            one_line(&deploy.kind)
        )
    };
    text.push_str(&timing_and_exports(deploy.timing_ms.as_ref(), &deploy.exports));
    text
}

/// An update that succeeded.
pub(crate) fn update_text(update: &UpdateJson, style: Style) -> String {
    let mut text = format!(
        "{} revision {} is {} (before: {})\n",
        one_line(&update.service),
        update.revision,
        style.state(&update.state),
        update.previous_revision
    );
    text.push_str(&timing_and_exports(update.timing_ms.as_ref(), &update.exports));
    text
}

/// All services of a list.
pub(crate) fn list_text(list: &ListJson) -> String {
    if list.services.is_empty() {
        return "no services\n".to_owned();
    }
    let rows = list
        .services
        .iter()
        .map(|service| {
            vec![
                service.name.clone(),
                service.state.clone(),
                format!("{}/{}", service.ready, service.replicas),
                service.kind.clone(),
                service.revision.to_string(),
                service.restarts.to_string(),
                size(service.memory_bytes),
            ]
        })
        .collect();
    let header = ["NAME", "STATE", "READY", "KIND", "REVISION", "RESTARTS", "MEMORY"];
    table(&header, &[2, 4, 5, 6], rows)
}

/// One service in full.
pub(crate) fn status_text(status: &StatusJson, style: Style) -> String {
    let digest: String = status.digest.chars().take(DIGEST_DIGITS_SHOWN).collect();
    let mut text = format!("{} is {}\n", one_line(&status.name), style.state(&status.state));
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {label:<10}{}\n", one_line(value)));
        }
    };
    line("id", &status.id);
    line("code", &format!("{}, digest {digest}", status.kind));
    line("revision", &status.revision.to_string());
    line("replicas", &status.replicas.to_string());
    line("restarts", &status.restarts.to_string());
    line("tenant", &format!("{}, tier {}", status.tenant, status.tier));
    let labels: Vec<_> =
        status.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    line("labels", &labels.join(" "));
    for capability in &status.capabilities {
        line("may", &format!("{} {}", capability.rights.join(", "), capability.object));
    }
    for secret in &status.secrets {
        line("secret", &format!("{} as {}", secret.secret, secret.key));
    }
    for mount in &status.mounts {
        match mount {
            MountJson::Volume { name, at, read_only } => {
                let how = if *read_only { ", to read" } else { "" };
                line("volume", &format!("{name} at {at}{how}"));
            }
            MountJson::Device { name } => line("device", name),
        }
    }
    if let Some(limits) = &status.limits {
        let memory = limits.max_memory_bytes.map(size).unwrap_or_default();
        let queue = limits.message_queue_limit.unwrap_or_default();
        let most = limits.message_queue_max.unwrap_or_default();
        let quota = limits.cpu_quota_percent.map(|percent| format!(", CPU {percent} %"));
        line(
            "limits",
            &format!(
                "memory {memory}, {queue} messages (at most {most}){}; {}",
                quota.unwrap_or_default(),
                limits.limit_exceeded_action
            ),
        );
    }
    line("created", status.created_at.as_deref().unwrap_or_default());
    line("updated", status.updated_at.as_deref().unwrap_or_default());
    if !status.instances.is_empty() {
        text.push('\n');
        text.push_str(&instances_text(&status.instances));
        text.push_str(&violations_text(&status.instances));
    }
    if !status.exports.is_empty() {
        text.push('\n');
        text.push_str(&exports_text(&status.exports));
    }
    if let Some(exit) = &status.last_exit {
        text.push_str("\nlast exit: ");
        text.push_str(&exit_text(exit));
    }
    for exit in &status.exits {
        text.push_str("exit: ");
        text.push_str(&exit_text(exit));
    }
    if !status.log_tail.is_empty() {
        text.push_str("last log lines:\n");
        for line in &status.log_tail {
            text.push_str(&format!("  {}\n", one_line(line.trim_end())));
        }
    }
    text
}

fn instances_text(instances: &[InstanceJson]) -> String {
    let rows = instances
        .iter()
        .map(|instance| {
            vec![
                instance.id.clone(),
                instance.state.clone(),
                instance.revision.to_string(),
                size(instance.memory_bytes),
                duration_us(instance.cpu_us),
                mailbox(instance),
                instance.handled.to_string(),
                instance.errors.to_string(),
                instance.restarts.to_string(),
                duration_us(instance.uptime_ms.saturating_mul(1_000)),
            ]
        })
        .collect();
    let header = [
        "INSTANCE", "STATE", "REVISION", "MEMORY", "CPU", "MAILBOX", "HANDLED", "ERRORS",
        "RESTARTS", "UPTIME",
    ];
    table(&header, &[2, 3, 4, 5, 6, 7, 8, 9], rows)
}

/// Messages that wait, and what they take.
fn mailbox(instance: &InstanceJson) -> String {
    match instance.mailbox_bytes {
        0 => instance.mailbox_depth.to_string(),
        bytes => format!("{} ({})", instance.mailbox_depth, size(bytes)),
    }
}

/// The limits that instances exceeded, and how long a quota held them up; nothing where all is well.
fn violations_text(instances: &[InstanceJson]) -> String {
    let mut rows = Vec::new();
    for instance in instances {
        for violation in &instance.violations {
            rows.push(vec![
                instance.id.clone(),
                violation.limit.clone(),
                violation.action.clone(),
                violation.count.to_string(),
                violation.last_message.clone(),
            ]);
        }
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let header = ["INSTANCE", "LIMIT EXCEEDED", "ACTION", "TIMES", "LAST"];
        text.push_str(&format!("\n{}", table(&header, &[3], rows)));
    }
    for instance in instances.iter().filter(|instance| instance.throttled_us > 0) {
        let time = duration_us(instance.throttled_us);
        text.push_str(&format!("{} waited {time} for its CPU quota\n", one_line(&instance.id)));
    }
    text
}

/// `call it: NAME SIGNATURE` for each function.
fn exports_text(exports: &[ExportJson]) -> String {
    let signature = |export: &ExportJson| match export.signature.is_empty() {
        true => export.name.clone(),
        false => export.signature.clone(),
    };
    let lines: String =
        exports.iter().map(|export| format!("  {}\n", one_line(&signature(export)))).collect();
    if lines.is_empty() { lines } else { format!("exports:\n{lines}") }
}

fn exit_text(exit: &ExitJson) -> String {
    let mut text = format!("{} ({}", one_line(&exit.reason), one_line(&exit.instance));
    if let Some(at) = &exit.at {
        text.push_str(&format!(", {at}"));
    }
    text.push_str(&format!("): {}\n", one_line(&exit.message)));
    for frame in &exit.backtrace {
        text.push_str(&format!("  {}\n", one_line(frame)));
    }
    text
}

fn timing_and_exports(timing: Option<&TimingJson>, exports: &[ExportJson]) -> String {
    let mut text = String::new();
    if let Some(timing) = timing {
        text.push_str(&format!(
            "{:.1} ms: store {:.1}, compile {:.1}, start {:.1}\n",
            timing.total, timing.store, timing.compile, timing.start
        ));
    }
    text.push_str(&exports_text(exports));
    text
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
