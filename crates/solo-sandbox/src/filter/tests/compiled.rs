//! Programs against an interpreter of their own: they decide what the policy says, fast.

use nix::libc;
use proptest::prelude::*;
use seccompiler::sock_filter;

use crate::filter::bpf::{ALLOW, KILL_PROCESS, compile};
use crate::filter::names::{Arch, ENOSYS, EPERM, call_numbers, value};
use crate::filter::policy::{Rule, Rules};
use crate::filter::{Filter, Policy};

const POLICIES: [Policy; 3] = [Policy::Program, Policy::Cell, Policy::Role];
/// Of the kernel: `BPF_MAXINSNS`.
const INSTRUCTIONS_MAX: usize = 4096;
/// Load and check the architecture, load the number, halve some 100 ranges, answer.
const STEPS_MAX: usize = 4 + 8;

/// What the kernel shows a filter: number, architecture, arguments.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    arch: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel does; also returns how many instructions it took.
fn run(program: &[sock_filter], call: Call) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(call.number.to_le_bytes());
    data.extend(call.arch.to_le_bytes());
    data.extend([0; 8]); // the instruction pointer
    data.extend(call.arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut accumulator, mut at, mut steps) = (0u32, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at].clone();
        at += 1;
        steps += 1;
        let mut branch = |yes: bool| at += usize::from(if yes { jt } else { jf });
        match u32::from(code) {
            c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                assert_eq!(k % 4, 0, "the kernel wants whole words");
                let word = data[k as usize..][..4].try_into().expect("four bytes");
                accumulator = u32::from_le_bytes(word);
            }
            c if c == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => accumulator &= k,
            c if c == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
            c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => branch(accumulator == k),
            c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => branch(accumulator >= k),
            c if c == libc::BPF_RET | libc::BPF_K => return (k, steps),
            other => panic!("{other:#x} is not used here"),
        }
    }
}

/// What the policy says, without any program.
fn decide(rules: &Rules, arch: Arch, call: Call) -> u32 {
    let errno = |errno: u16| libc::SECCOMP_RET_ERRNO | u32::from(errno);
    if call.arch != arch.audit_value() {
        return KILL_PROCESS;
    }
    let holds = |term: &crate::filter::policy::Term| {
        let argument = (call.arguments[usize::from(term.argument)] & 0xffff_ffff) as u32;
        term.values.contains(&(argument & term.mask)) == term.among
    };
    match rules.calls.get(&call.number) {
        None if call.number > rules.highest_known => errno(ENOSYS),
        None => errno(EPERM),
        Some(Rule::Allow) => ALLOW,
        Some(Rule::Errno(error)) => errno(*error),
        Some(Rule::If(any)) if any.iter().any(|all| all.iter().all(holds)) => ALLOW,
        Some(Rule::If(_)) => errno(EPERM),
    }
}

/// Arguments near what policies name: their values, with bits more or less.
fn argument() -> impl Strategy<Value = u64> {
    let names = ["TIOCSTI", "FIONBIO", "AF_UNIX", "AF_NETLINK", "NEW_NAMESPACES", "CLONE_THREAD"];
    let named =
        prop::sample::select(names.map(|name| u64::from(value(name).expect("named"))).to_vec());
    let bit = (0u32..64).prop_map(|bit| 1 << bit);
    prop_oneof![
        0u64..20,
        any::<u64>(),
        named.clone(),
        (named, bit.clone()).prop_map(|(value, bit)| value ^ bit),
        bit
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_decides_as_its_policy_says(
        policy in prop::sample::select(POLICIES.to_vec()),
        arch in prop::sample::select(Arch::ALL.to_vec()),
        foreign in prop::option::weighted(0.05, any::<u32>()),
        number in any::<u32>(),
        arguments in prop::array::uniform6(argument()),
    ) {
        let (rules, program) = compiled(policy, arch);
        let arch_of_call = foreign.unwrap_or(arch.audit_value());
        for number in (0..520).chain([number, number | 0x4000_0000]) {
            let call = Call { number, arch: arch_of_call, arguments };
            prop_assert_eq!(run(program, call).0, decide(rules, arch, call), "{:?}", call);
        }
    }
}

type Compiled = (Rules, Vec<sock_filter>);

/// Read and compiled once, for the sake of many cases.
fn compiled(policy: Policy, arch: Arch) -> &'static Compiled {
    use std::sync::OnceLock;
    static ALL: OnceLock<Vec<(Policy, Arch, Compiled)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let pairs = POLICIES.into_iter().flat_map(|policy| Arch::ALL.map(|arch| (policy, arch)));
        pairs
            .map(|(policy, arch)| {
                let rules = Rules::read(policy.source(), arch).expect("readable");
                let program = compile(&rules, arch);
                (policy, arch, (rules, program))
            })
            .collect()
    });
    let found = all.iter().find(|(p, a, _)| (*p, *a) == (policy, arch));
    &found.expect("all are there").2
}

#[test]
fn a_program_is_short_and_shallow() {
    for policy in POLICIES {
        for arch in Arch::ALL {
            let (rules, program) = compiled(policy, arch);
            assert!(program.len() <= INSTRUCTIONS_MAX);
            for number in 0..=rules.highest_known + 1 {
                if matches!(rules.calls.get(&number), Some(Rule::If(_))) {
                    continue;
                }
                let call = Call { number, arch: arch.audit_value(), arguments: [0; 6] };
                let steps = run(program, call).1;
                assert!(steps <= STEPS_MAX, "{policy:?} {arch:?} {number}: {steps} steps");
            }
        }
    }
}

#[test]
fn far_jumps_are_reached() {
    // Every other call is looked at, so that the program is as long as none will be.
    let text: String = call_numbers(Arch::X86_64)
        .iter()
        .filter(|(_, number)| number.is_some_and(|number| number % 2 == 0))
        .map(|(name, _)| {
            format!("{name} if arg0 & 0xff in 1,2,3,4,5,6 and arg1 not in 7,8 : long\n")
        })
        .collect();
    let source = crate::filter::policy::Source { file: "long", text: text.leak() };
    let rules = Rules::read(source, Arch::X86_64).expect("readable");
    let program = compile(&rules, Arch::X86_64);
    assert!(program.len() > 1000 && program.len() <= INSTRUCTIONS_MAX, "{}", program.len());
    for number in 0..500 {
        for arguments in [[1, 0], [6, 7], [9, 0], [0x1_0000_0103, 0x2_0000_0008]] {
            let arguments = [arguments[0], arguments[1], 0, 0, 0, 0];
            let call = Call { number, arch: Arch::X86_64.audit_value(), arguments };
            assert_eq!(run(&program, call).0, decide(&rules, Arch::X86_64, call), "{call:?}");
        }
    }
}

#[test]
fn what_must_not_be_is_not_in_any_program() {
    let number = |name| call_numbers(Arch::X86_64)[name].expect("a call of x86_64");
    let arch = Arch::X86_64.audit_value();
    let high = 1u64 << 40;
    let refused = libc::SECCOMP_RET_ERRNO | u32::from(EPERM);
    let missing = libc::SECCOMP_RET_ERRNO | u32::from(ENOSYS);
    for policy in POLICIES {
        let (_, program) = compiled(policy, Arch::X86_64);
        let check = |number, arguments: [u64; 3], expected| {
            let [a, b, c] = arguments;
            let call = Call { number, arch, arguments: [a, b, c, 0, 0, 0] };
            assert_eq!(run(program, call).0, expected, "{policy:?} {call:?}");
        };
        check(number("getpid"), [0; 3], ALLOW);
        check(number("getpid") | 0x4000_0000, [0; 3], missing);
        check(u32::MAX, [0; 3], missing);
        check(number("clone3"), [0; 3], missing);
        for flag in
            [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            check(number("clone"), [flag | 0x1_0f00, 0, 0], refused);
            check(number("clone"), [flag | 0x1_0f00 | high, 0, 0], refused);
        }
        // What libc asks for a thread.
        check(number("clone"), [0x3d_0f00, 0, 0], ALLOW);
        check(number("ioctl"), [0, 0x5412, 0], refused);
        check(number("ioctl"), [0, 0x5412 | high, 0], refused);
        check(number("ioctl"), [0, 0x541b, 0], ALLOW);
        for family in [17, 38, 40, 31] {
            check(number("socket"), [family, 1, 0], refused);
            check(number("socket"), [family | high, 1, 0], refused);
        }
        check(number("socket"), [1, 1, 0], ALLOW);
        check(number("socket"), [2, 3, 255], refused);
        let foreign = Call { number: 20, arch: 0x4000_0003, arguments: [0; 6] };
        assert_eq!(run(program, foreign).0, KILL_PROCESS);
    }
}

#[test]
fn a_filter_is_compiled_once() {
    let filter: &Filter = Policy::Cell.filter().expect("compiles");
    assert!(std::ptr::eq(filter, Policy::Cell.filter().expect("compiles")));
}
