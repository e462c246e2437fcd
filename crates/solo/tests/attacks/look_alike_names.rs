//! Names that differ from a known one in case, Unicode form, invisible characters or path syntax: no
//! second name of one thing, neither for services nor in capabilities.

use super::{ask, bearing, mint};
use crate::harness::{ADDER, Requests, Solo, deploy};

const LOOK_ALIKES: [&str; 16] = [
    "Mine",
    "MINE",
    "mi\u{307}ne",
    "m\u{131}ne",
    "\u{ff4d}ine",
    "mine\u{200b}",
    "mine ",
    " mine",
    "mine\n",
    "mine\0",
    "mi%6ee",
    "./mine",
    "default//mine",
    "../default/mine",
    "mine/",
    "m\u{456}ne",
];

#[tokio::test]
async fn a_name_has_one_form() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let all = "read,call,send,kill,deploy,update,grant";
    let (token, _) = mint(&solo, &[&format!("{all} service:default/m*")]);
    let agent = bearing(&solo, &token).await;
    for name in LOOK_ALIKES {
        for client in [&owner, &agent] {
            client.status(name).await.expect_err(name);
            client.json_call(name, "add", "[1, 2]").await.expect_err(name);
            client.kill(name, true).await.expect_err(name);
            let problem = client.deploy(deploy(name, ADDER)).await.expect_err(name);
            assert_eq!(problem.reason, "INVALID_NAME", "{name:?}: {problem:?}");
            let capability = format!("call service:default/{name}");
            let problem = ask(client, &[&capability]).await.expect_err(name);
            // With a line's end or a space in it, it is no capability at all.
            assert_eq!(problem.reason, "INVALID_CAPABILITY", "{name:?}: {problem:?}");
        }
    }
    assert_eq!(owner.names().await, ["mine"]);
    assert_eq!(agent.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}
