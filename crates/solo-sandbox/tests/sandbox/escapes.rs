//! Ways out, tried by native code from inside. Each is refused with all layers on, and by each of the
//! layers that are there for it alone; with all of those off it works, which shows that they do something.
//!
//! Where this machine or this user could not do it without a sandbox either, that is found out by trying,
//! and told.

mod attempt;
mod files;
mod interpreter;
mod kernel;
mod network;
mod privileges;
mod processes;
mod resources;
mod volumes;

pub(crate) use interpreter::become_interpreter;

/// A test and its name.
type Test = (&'static str, fn());

pub(crate) fn tests() -> impl Iterator<Item = &'static Test> {
    let all = [
        files::TESTS,
        interpreter::TESTS,
        kernel::TESTS,
        network::TESTS,
        privileges::TESTS,
        processes::TESTS,
        resources::TESTS,
        volumes::TESTS,
    ];
    all.into_iter().flatten()
}
