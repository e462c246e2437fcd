//! Services as text, against what people should see.

use solo_api::v1;

use super::*;

fn export() -> v1::Export {
    v1::Export {
        name: "add".into(),
        signature: "add: func(a: s32, b: s32) -> s32".into(),
        ..Default::default()
    }
}

#[test]
fn a_deployment_tells_where_its_time_went() {
    let deploy = DeployJson::from(v1::DeployResponse {
        service: "calc".into(),
        revision: 1,
        state: v1::ServiceState::Running as i32,
        kind: v1::ServiceKind::Typed as i32,
        exports: vec![export()],
        timing: Some(v1::Timing {
            store_ms: 0.4,
            compile_ms: 12.34,
            start_ms: 1.0,
            total_ms: 14.0,
        }),
        digest: "ab".repeat(32),
        dry_run: false,
    });
    assert_eq!(
        deploy_text(&deploy, Style::PLAIN),
        "calc revision 1 is running (typed)\n\
         14.0 ms: store 0.4, compile 12.3, start 1.0\n\
         exports:\n  add: func(a: s32, b: s32) -> s32\n"
    );
}

#[test]
fn a_dry_run_says_that_nothing_was_started() {
    let deploy = DeployJson::from(v1::DeployResponse {
        service: "calc".into(),
        kind: v1::ServiceKind::Handler as i32,
        dry_run: true,
        ..Default::default()
    });
    assert_eq!(deploy_text(&deploy, Style::PLAIN), "calc can be deployed (handler)\n");
}

#[test]
fn a_status_tells_everything() {
    let exit = v1::Exit {
        reason: "trap".into(),
        message: "unreachable".into(),
        backtrace: vec!["0: crash".into()],
        at: None,
        instance: "0000beef-1-1".into(),
        permanent: false,
    };
    let instance = v1::InstanceStatus {
        id: "0000beef-1-1".into(),
        state: v1::ServiceState::Running as i32,
        revision: 2,
        memory_bytes: 65_536,
        cpu_us: 1_500,
        restarts: 1,
        uptime_ms: 2_000,
        handled: 7,
        ..Default::default()
    };
    let status = StatusJson::from(v1::StatusResponse {
        name: "calc".into(),
        id: "0000beef-1".into(),
        tenant: "default".into(),
        state: v1::ServiceState::Running as i32,
        revision: 2,
        kind: v1::ServiceKind::Typed as i32,
        digest: "ab".repeat(32),
        replicas: 1,
        tier: v1::Tier::User as i32,
        labels: [("team".to_owned(), "a".to_owned())].into(),
        restarts: 1,
        instances: vec![instance],
        exports: vec![export()],
        last_exit: Some(exit),
        ..Default::default()
    });
    let expected = "\
calc is running
  id        0000beef-1
  code      typed, digest abababababab
  revision  2
  replicas  1
  restarts  1
  tenant    default, tier user
  labels    team=a

INSTANCE      STATE    REVISION    MEMORY     CPU  MAILBOX  HANDLED  ERRORS  RESTARTS  UPTIME
0000beef-1-1  running         2  64.0 KiB  1.5 ms        0        7       0         1   2.0 s

exports:
  add: func(a: s32, b: s32) -> s32

last exit: trap (0000beef-1-1): unreachable
  0: crash
";
    assert_eq!(status_text(&status, Style::PLAIN), expected);
}

#[test]
fn limits_that_were_exceeded_are_shown() {
    let violation = v1::LimitViolation {
        limit: "max_memory_bytes".into(),
        action: v1::LimitAction::Throttle as i32,
        count: 3,
        last_message: "20 MiB were\nwanted".into(),
    };
    let instance = v1::InstanceStatus {
        id: "0000beef-1-1".into(),
        state: v1::ServiceState::Running as i32,
        mailbox_depth: 2,
        mailbox_bytes: 2_048,
        throttled_us: 1_500_000,
        violations: vec![violation],
        ..Default::default()
    };
    let status = StatusJson::from(v1::StatusResponse {
        name: "hog".into(),
        state: v1::ServiceState::Running as i32,
        limits: Some(v1::Limits {
            max_memory_bytes: Some(16 << 20),
            message_queue_limit: Some(10),
            message_queue_max: Some(20),
            cpu_quota_percent: Some(50),
            limit_exceeded_action: v1::LimitAction::Throttle as i32,
            ..Default::default()
        }),
        instances: vec![instance],
        ..Default::default()
    });
    let text = status_text(&status, Style::PLAIN);
    let limits = "  limits    memory 16.0 MiB, 10 messages (at most 20), CPU 50 %; throttle\n";
    assert!(text.contains(limits), "{text}");
    assert!(text.contains("2 (2.0 KiB)"), "{text}");
    let table = "\
INSTANCE      LIMIT EXCEEDED    ACTION    TIMES  LAST
0000beef-1-1  max_memory_bytes  throttle      3  20 MiB were\\nwanted
0000beef-1-1 waited 1.5 s for its CPU quota
";
    assert!(text.ends_with(table), "{text}");
}

#[test]
fn a_list_is_a_table() {
    assert_eq!(list_text(&ListJson { services: vec![] }), "no services\n");
    let summary = v1::ServiceSummary {
        name: "calc".into(),
        state: v1::ServiceState::Degraded as i32,
        revision: 3,
        kind: v1::ServiceKind::Typed as i32,
        replicas: 2,
        ready: 1,
        ..Default::default()
    };
    assert_eq!(
        list_text(&ListJson { services: vec![summary.into()] }),
        "NAME  STATE     READY  KIND   REVISION  RESTARTS  MEMORY\n\
         calc  degraded    1/2  typed         3         0     0 B\n"
    );
}
