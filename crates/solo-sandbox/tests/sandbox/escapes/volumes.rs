//! Races on volumes: what a program does to one while another sandbox with it is made.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::Test;
use super::attempt::Outside;
use crate::inside::{Inside, text};

pub(super) const TESTS: &[Test] = &[
    ("a_race_for_an_absolute_link_is_lost", a_race_for_an_absolute_link_is_lost),
    ("a_race_for_a_link_upwards_is_lost", a_race_for_a_link_upwards_is_lost),
    ("a_link_in_place_of_a_mount_opens_nothing", a_link_in_place_of_a_mount_opens_nothing),
];

/// Generous, because test machines are busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often who looks up places by their path must have been led outside.
const LED: usize = 20;

/// How often a sandbox must have been made, and how often a link found in the way.
const TRIED: usize = 10;

fn a_race_for_an_absolute_link_is_lost() {
    let outside = Outside::new();
    let target = outside.open_directory("target");
    race(&outside, &target, target.to_str().expect("text"));
}

fn a_race_for_a_link_upwards_is_lost() {
    let outside = Outside::new();
    let target = outside.open_directory("target");
    race(&outside, &target, "../target");
}

/// Who has the volume elsewhere can move the directory that something is mounted on here, and put a link
/// to the root where it was. Landlock is about the file that was mounted, whatever its name leads to.
fn a_link_in_place_of_a_mount_opens_nothing() {
    let outside = Outside::new();
    let (volume, other) = (outside.open_directory("volume"), outside.open_directory("other"));
    for to in [Some("/"), Some("y"), None] {
        fs::create_dir(volume.join("x")).expect("made");
        let binds =
            vec![(volume.clone(), "/data".into(), true), (other.clone(), "/data/x".into(), true)];
        let inside = Inside { binds, paused: true, ..Inside::default() };
        let mut child = inside.start(&["/bin/cp", "/etc/passwd", "/data/y/it"]);
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
        assert_eq!(line, "entered\n");
        fs::rename(volume.join("x"), volume.join("y")).expect("moved");
        match to {
            Some(to) => std::os::unix::fs::symlink(to, volume.join("x")).expect("linked"),
            None => fs::create_dir(volume.join("x")).expect("made"),
        }
        drop(child.stdin.take());
        let output = child.wait_with_output().expect("waited");
        assert_eq!(output.status.code(), Some(0), "{to:?}: {}", text(&output.stderr));
        fs::remove_file(other.join("it")).expect("written where it was mounted");
        assert_eq!(fs::read_dir(volume.join("y")).expect("read").count(), 0);
        fs::remove_dir(volume.join("y")).expect("removed");
        let x = volume.join("x");
        fs::remove_file(&x).or_else(|_| fs::remove_dir(&x)).expect("removed");
    }
}

/// A program swaps `x` in its volume for a link to `target`, while sandboxes with that volume are made
/// which have something below `x`.
fn race(outside: &Outside, target: &Path, link: &str) {
    let volume = outside.open_directory("volume");
    let swap = outside.build("swap");
    let own = outside.path("inside");
    let binds = vec![(own.clone(), own.clone(), false), (volume.clone(), "/data".into(), true)];
    let attacker = Inside { binds, ..Inside::default() };
    let mut attacker = Attacker(attacker.start(&[swap.to_str().expect("text"), "/data", link]));
    let mut line = String::new();
    let output = attacker.0.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");

    let begin = Instant::now();
    let (mut led, mut made, mut refused) = (0, 0, 0);
    let mut count = 0;
    while led < LED || made < TRIED || refused < TRIED {
        assert!(begin.elapsed() < PATIENCE, "led {led}, made {made}, refused {refused}");
        assert!(attacker.0.try_wait().expect("a child").is_none(), "it goes on");
        count += 1;
        // Who goes by paths makes what it is to make outside. This shows that there is a race.
        let naive = format!("led{count}");
        let _ = fs::create_dir(volume.join("x").join(&naive));
        if target.join(&naive).exists() {
            fs::remove_dir(target.join(&naive)).expect("removed");
            led += 1;
        }
        if made + refused > 200 {
            continue;
        }
        let at = format!("/data/x/deep/made{count}");
        let binds = vec![(volume.clone(), "/data".into(), true), (own.clone(), at.into(), false)];
        let output = Inside { binds, ..Inside::default() }.run(&["/bin/true"]);
        match output.status.code() {
            Some(0) => made += 1,
            Some(125) => {
                let told = text(&output.stderr);
                assert!(told.contains("(root)") || told.contains("(landlock)"), "{told}");
                refused += 1;
            }
            code => panic!("{code:?} {}", text(&output.stderr)),
        }
        let there: Vec<_> = fs::read_dir(target).expect("read").collect();
        assert!(there.is_empty(), "made outside: {there:?}");
    }
}

/// A program that goes on until it is ended.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
