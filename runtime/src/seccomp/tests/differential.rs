// SPDX-License-Identifier: Apache-2.0
//! Our filters and libseccomp's, run side by side.
//!
//! What is compared with is libseccomp's filter behind runc's stub, which gives `ENOSYS` to calls newer than the profile.
//! Where the two may differ, and why, is one of [`Difference`]; all else fails the test.

use std::collections::BTreeMap;

use kelp_sys::seccomp::SockFilter;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};

use super::machine::{self, Call};
use super::oracle::Oracle;
use super::profiles;
use super::shared_profile;
use crate::seccomp::abi::{Abi, Multiplexer, X32_BASE, X86_64_AUDIT};
use crate::seccomp::number::{self, Name};
use crate::seccomp::rule::{Condition, Policy, Rule, Test, verdict};
use crate::seccomp::{NATIVE, compile};

/// Why a verdict may be another than libseccomp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// The call is newer than this libseccomp.
    UnknownToLibseccomp,
    /// Rules with different actions match; its tree has one order, our list another.
    Overlap,
    /// Where a rule's later tests fail, libseccomp 2.5 may go on to the next rule's test without loading its argument: it
    /// tests what the last test has left in the accumulator. Ours is then what the rules say.
    StaleAccumulator,
    /// Where an architecture's first rule in libseccomp's order is about a call that the architecture has not, libseccomp
    /// 2.5 forgets to load the number there. Ours is then what the rules say.
    NumberNotLoaded,
    /// Where two rules share a test and one of them goes on to test more, libseccomp 2.5 makes one node of the shared test,
    /// and may drop a rule (`a < 5`, then `a >= 5 && b == 1`) or mix what comes after. Ours is then what the rules say.
    SharedTest,
    /// libseccomp compares all of the argument that says what `socketcall` or `ipc` shall do; the kernel and we the low half.
    SelectorHalf,
    /// A call that `socketcall` or `ipc` carries has rules with conditions: libseccomp tests the carrier's pointer in their
    /// place, we take the strictest.
    CarriedConditions,
}

/// Counts what was compared.
#[derive(Default, Debug)]
struct Tally {
    profiles: u64,
    refused: u64,
    tuples: u64,
    differences: BTreeMap<Difference, u64>,
}

/// A profile, both filters for it, and what is needed to judge between them.
struct Trial<'a> {
    profile: &'a LinuxSeccomp,
    policy: Policy,
    /// Each ABI with the highest number that the profile names there.
    abis: Vec<(Abi, Option<u32>)>,
    ours: Vec<SockFilter>,
    theirs: Vec<SockFilter>,
    /// The instructions of theirs that test what is there by chance.
    chance: Vec<bool>,
    tally: &'a mut Tally,
}

impl<'a> Trial<'a> {
    /// Both filters; none where libseccomp refuses the profile.
    fn new(oracle: &mut Oracle, profile: &'a LinuxSeccomp, tally: &'a mut Tally) -> Option<Self> {
        tally.profiles += 1;
        let ours = compile(profile, NATIVE);
        let Ok(theirs) = oracle.filter(profile) else {
            tally.refused += 1;
            return None;
        };
        let ours = ours.unwrap_or_else(|refused| panic!("only we refuse {}: {refused:#}", json(profile))).filter;
        machine::check(&ours);
        let mut archs = vec![NATIVE];
        archs.extend(profile.architectures().iter().flatten());
        let mut abis: Vec<(Abi, Option<u32>)> = Vec::new();
        for abi in archs.into_iter().filter_map(Abi::of) {
            if !abis.iter().any(|(known, _)| *known == abi) {
                abis.push((abi, newest(profile, &abi)));
            }
        }
        let (policy, chance) = (Policy::read(profile).unwrap(), machine::tests_of_chance(&theirs));
        Some(Self { profile, policy, abis, ours, theirs, chance, tally })
    }

    /// The ABI to which a call belongs.
    fn abi(&self, call: &Call) -> Option<&(Abi, Option<u32>)> {
        let x32 = call.audit == X86_64_AUDIT && call.number >= X32_BASE;
        self.abis.iter().find(|(abi, _)| abi.audit == call.audit && abi.is_x32() == x32)
    }

    /// What a container under runc would see.
    fn expected(&self, call: &Call) -> u32 {
        match self.abi(call) {
            Some(&(abi, Some(newest)))
                if self.policy.newer.is_some() && (newest + 1..=abi.last_public()).contains(&call.number) =>
            {
                verdict::NO_SUCH_CALL
            }
            _ => machine::run(&self.theirs, call, true),
        }
    }

    fn compare(&mut self, call: &Call) -> Result<(), String> {
        self.tally.tuples += 1;
        let (ours, expected) = (machine::run(&self.ours, call, true), self.expected(call));
        if !self.is_plain_reading(call, ours) {
            return Err(format!("{call:x?}: {ours:#x} is not what the rules say, of {}", json(self.profile)));
        }
        if ours == expected {
            return Ok(());
        }
        match self.excuse(call) {
            Some(difference) => *self.tally.differences.entry(difference).or_default() += 1,
            None => return Err(format!("{call:x?}: {ours:#x}, libseccomp {expected:#x}, of {}", json(self.profile))),
        }
        Ok(())
    }

    fn excuse(&self, call: &Call) -> Option<Difference> {
        let (abi, _) = self.abi(call)?;
        let name = name_of(abi, call.number)?;
        if NEWER_THAN_LIBSECCOMP.contains(&name.text()) {
            return Some(Difference::UnknownToLibseccomp);
        }
        if self.matching(abi, name, call).len() > 1 && !self.carries_conditions(abi, name, call) {
            return Some(Difference::Overlap);
        }
        let mut way = Vec::new();
        machine::watch(&self.theirs, call, true, |at| way.push(at));
        if !way.iter().any(|&at| self.theirs[at].code == 0x20 && self.theirs[at].k == 0) {
            return Some(Difference::NumberNotLoaded);
        }
        if abi.wide && call.arguments[0] >> 32 != 0 && abi.multiplexers().iter().any(|all| all.name == name) {
            return Some(Difference::SelectorHalf);
        }
        if self.carries_conditions(abi, name, call) {
            return Some(Difference::CarriedConditions);
        }
        if way.into_iter().any(|at| self.chance[at]) {
            return Some(Difference::StaleAccumulator);
        }
        self.shares_a_test(abi, name).then_some(Difference::SharedTest)
    }

    /// Whether `call` carries one about which a rule has conditions.
    fn carries_conditions(&self, abi: &Abi, name: Name, call: &Call) -> bool {
        let carried = abi.multiplexers().iter().filter(|all| all.name == name).flat_map(|all| all.carried);
        let mut carried = carried.filter(|&&(_, selector)| call.arguments[0] as u32 == selector);
        let has =
            |name| self.policy.about(name).iter().any(|&rule| !self.policy.rules[rule as usize].conditions.is_empty());
        carried.any(|&(name, _)| has(name))
    }

    /// Whether two rules about `name`, one of them with more than one condition, have a node of libseccomp's tree in common.
    fn shares_a_test(&self, abi: &Abi, name: Name) -> bool {
        let carried = abi.multiplexers().iter().filter(|all| all.name == name).flat_map(|all| all.carried);
        let names = carried.map(|&(name, _)| name).chain([name]);
        let rules: Vec<&Rule> =
            names.flat_map(|name| self.policy.about(name)).map(|&rule| &self.policy.rules[rule as usize]).collect();
        let nodes = |rule: &Rule| rule.conditions.iter().map(|one| node(one, abi.wide)).collect::<Vec<_>>();
        let longer = rules.iter().enumerate().filter(|(_, rule)| rule.conditions.len() > 1);
        longer.into_iter().any(|(at, rule)| {
            let mut others = rules.iter().enumerate().filter(|&(other, _)| other != at);
            others.any(|(_, other)| nodes(other).iter().any(|shared| nodes(rule).contains(shared)))
        })
    }

    /// Whether `verdict` is what the rules say, when no two of them contradict each other.
    fn is_plain_reading(&self, call: &Call, verdict: u32) -> bool {
        let Some(&(abi, newest)) = self.abi(call) else { return true };
        let Some(name) = name_of(&abi, call.number) else { return true };
        let verdicts = self.matching(&abi, name, call);
        let newer = self.policy.newer.is_some() && newest.is_some_and(|newest| call.number > newest);
        verdicts.contains(&verdict) || (verdicts.is_empty() && (newer || verdict == self.policy.default))
    }

    /// The verdicts of all rules that match `call`, each taken alone; the first rule without conditions silences others.
    fn matching(&self, abi: &Abi, name: Name, call: &Call) -> Vec<u32> {
        let carried = abi.multiplexers().iter().filter(|multiplexer| multiplexer.name == name);
        let carried = carried.flat_map(|multiplexer| multiplexer.carried);
        let carried =
            carried.filter(|&&(_, selector)| call.arguments[0] as u32 == selector).map(|&(name, _)| (name, true));
        let mut verdicts = Vec::new();
        for (name, carried) in carried.chain([(name, false)]) {
            let rules = self.policy.about(name).iter().map(|&rule| &self.policy.rules[rule as usize]);
            let fit = |test: Test| if abi.wide { test } else { test.narrow() };
            let is_blind = |rule: &&Rule| rule.conditions.iter().all(|one| fit(one.test).is_empty_mask());
            match (rules.clone().find(is_blind), carried) {
                (Some(rule), false) => return vec![rule.verdict],
                (Some(rule), true) => verdicts.push(rule.verdict),
                (None, true) if rules.len() > 0 => {
                    let could = rules.map(|rule| rule.verdict).chain([self.policy.default]);
                    verdicts.extend(could.min_by_key(|&verdict| (verdict & 0xffff_0000) as i32));
                }
                (None, _) => {
                    let holds = |one: &Condition| fit(one.test).is_empty_mask() || holds(one, abi.wide, call);
                    verdicts.extend(rules.filter(|rule| rule.conditions.iter().all(holds)).map(|rule| rule.verdict));
                }
            }
        }
        verdicts.sort_unstable();
        verdicts.dedup();
        verdicts
    }
}

/// The highest number of a call that the profile names on `abi`, or that carries one which it names.
fn newest(profile: &LinuxSeccomp, abi: &Abi) -> Option<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    let numbers = names.flat_map(|name| {
        let carries = |all: &&Multiplexer| all.carried.iter().any(|(one, _)| one.text() == name);
        let carrier = abi.multiplexers().iter().find(carries).map(|carrier| carrier.name.text());
        [number_of(abi, name), carrier.and_then(|carrier| number_of(abi, carrier))]
    });
    numbers.flatten().filter(|&number| number <= abi.last_public()).max()
}

fn json(profile: &LinuxSeccomp) -> String {
    serde_json::to_string(profile).unwrap()
}

/// What a node of libseccomp's tree tests: a whole argument of 32 bits, the high half of one of 64.
fn node(condition: &Condition, wide: bool) -> (u8, u64) {
    let (Test::Equal(value)
    | Test::NotEqual(value)
    | Test::Less(value)
    | Test::AtMost(value)
    | Test::AtLeast(value)
    | Test::Greater(value)
    | Test::Masked { value, .. }) = condition.test;
    (condition.argument, if wide { value >> 32 } else { value & u64::from(u32::MAX) })
}

fn holds(condition: &Condition, wide: bool, call: &Call) -> bool {
    let argument = call.arguments[usize::from(condition.argument)];
    match wide {
        true => condition.test.holds(argument),
        false => condition.test.narrow().holds(argument & u64::from(u32::MAX)),
    }
}

fn name_of(abi: &Abi, number: u32) -> Option<Name> {
    abi.calls.iter().find(|call| call.number + abi.base == number).map(|call| call.name)
}

fn number_of(abi: &Abi, name: &str) -> Option<u32> {
    let name = Name::find(name)?;
    abi.calls.iter().find(|call| call.name == name).map(|call| call.number + abi.base)
}

/// Numbers that no table has, and those around the borders of number spaces.
const ODD_NUMBERS: [u32; 14] = [
    600,
    999,
    3999,
    4999,
    5999,
    0xe_ffff,
    0xf_0000,
    0xf_0006,
    X32_BASE - 1,
    X32_BASE,
    X32_BASE + 700,
    0x8000_0000,
    u32::MAX - 1,
    u32::MAX,
];

/// What Debian 12's libseccomp does not know.
const NEWER_THAN_LIBSECCOMP: [&str; 16] = [
    "file_getattr",
    "file_setattr",
    "getxattrat",
    "listmount",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "riscv_hwprobe",
    "setxattrat",
    "statmount",
    "uretprobe",
    "map_shadow_stack",
];

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 >> 17
    }

    fn pick(&mut self, values: &[u64]) -> u64 {
        values[self.roll() as usize % values.len()]
    }
}

/// The values that a profile's rules mention, their neighbours, and some of their own.
fn interesting(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut values = vec![0, 1, 5, 16, 20, 24, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for arg in profile.syscalls().iter().flatten().filter_map(|rule| rule.args().as_ref()).flatten() {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 32, value & 0xffff_ffff]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// All calls of all architectures of a profile, `rolls` sets of arguments for those that rules are about.
fn compare_all(trial: &mut Trial<'_>, rolls: usize, dice: &mut Dice) -> Result<(), String> {
    let values = interesting(trial.profile);
    for (abi, _) in trial.abis.clone() {
        let numbers = abi.calls.iter().map(|call| (call.number + abi.base, trial_rolls(trial, &abi, call.name, rolls)));
        let odd = ODD_NUMBERS.iter().map(|&number| (number, 1));
        for (number, rolls) in numbers.chain(odd).collect::<Vec<_>>() {
            for _ in 0..rolls {
                let arguments = std::array::from_fn(|_| dice.pick(&values));
                trial.compare(&Call { number, audit: abi.audit, arguments })?;
            }
        }
    }
    let foreign = Arch::ScmpArchS390x as u32;
    trial.compare(&Call { number: 1, audit: foreign, arguments: [0; 6] })
}

/// Both filters for `profile`, compared with `rolls` sets of arguments.
fn compare_profile(oracle: &mut Oracle, profile: &LinuxSeccomp, tally: &mut Tally, rolls: usize) -> Result<(), String> {
    match Trial::new(oracle, profile, tally) {
        Some(mut trial) => compare_all(&mut trial, rolls, &mut Dice(1)),
        None => Ok(()),
    }
}

/// The smallest profile that fails like `tree`'s, in words.
fn shrink(oracle: &mut Oracle, mut tree: impl ValueTree<Value = LinuxSeccomp>, mut failure: String) -> String {
    let mut tally = Tally::default();
    while tree.simplify() {
        loop {
            match compare_profile(oracle, &tree.current(), &mut tally, 200) {
                Err(smaller) => {
                    failure = smaller;
                    break;
                }
                Ok(()) if tree.complicate() => {}
                Ok(()) => return failure,
            }
        }
    }
    failure
}

fn trial_rolls(trial: &Trial<'_>, abi: &Abi, name: Name, rolls: usize) -> usize {
    let carrier = abi.multiplexers().iter().any(|multiplexer| multiplexer.name == name);
    let about = trial.policy.about(name).iter();
    let tested = about.filter(|&&rule| !trial.policy.rules[rule as usize].conditions.is_empty()).count();
    if tested > 0 || carrier { rolls } else { 1 }
}

#[test]
fn generated_profiles_mean_what_they_mean_to_libseccomp() {
    let Some(mut oracle) = Oracle::start() else { return };
    let cases = std::env::var("KELP_SECCOMP_PROFILES").map_or(1000, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let mut tally = Tally::default();
    for _ in 0..cases {
        let tree = profiles::profile().new_tree(&mut runner).unwrap();
        if let Err(failure) = compare_profile(&mut oracle, &tree.current(), &mut tally, 40) {
            panic!("{}", shrink(&mut oracle, tree, failure));
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.tuples >= cases * 1000 && tally.refused < cases / 2, "{tally:?}");
}

#[test]
fn dockers_profile_means_what_it_means_to_libseccomp() {
    let Some(mut oracle) = Oracle::start() else { return };
    let mut tally = Tally::default();
    for (_, capabilities) in super::capability_sets() {
        let Some(mut profile) = shared_profile(capabilities, NATIVE) else { return };
        let mut all = profile.architectures().clone().unwrap();
        all.extend([Arch::ScmpArchAarch64, Arch::ScmpArchArm, Arch::ScmpArchRiscv64, Arch::ScmpArchPpc64le]);
        profile.set_architectures(Some(all));
        compare_profile(&mut oracle, &profile, &mut tally, 1000).unwrap();
    }
    eprintln!("{tally:?}");
    assert!(tally.refused == 0, "{tally:?}");
}

#[test]
fn numbers_are_those_of_libseccomp() {
    let Some(mut oracle) = Oracle::start() else { return };
    let archs = [
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX32,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchArm,
        Arch::ScmpArchRiscv64,
        Arch::ScmpArchMips64,
        Arch::ScmpArchMips64n32,
        Arch::ScmpArchParisc,
        Arch::ScmpArchParisc64,
        Arch::ScmpArchX86,
        Arch::ScmpArchMips,
        Arch::ScmpArchPpc,
        Arch::ScmpArchPpc64,
        Arch::ScmpArchS390,
        Arch::ScmpArchS390x,
    ];
    for arch in archs {
        let abi = Abi::of(arch).unwrap();
        for name in (0..number::NAMES as u16).map(|index| Name(index).text()) {
            let theirs = oracle.resolve(arch, name);
            let ours = number_of(&abi, name);
            let multiplexed = abi.multiplexers().iter().flat_map(|all| all.carried).find(|(one, _)| one.text() == name);
            match multiplexed {
                Some(&(_, selector)) => {
                    assert!([-100 - selector as i32, -200 - selector as i32].contains(&theirs), "{name}")
                }
                // libseccomp's table has it, the kernel's has not.
                None if (arch, name) == (Arch::ScmpArchS390, "memfd_secret") => {}
                None if theirs >= 0 => assert_eq!(ours, Some(theirs as u32), "{name} on {arch}"),
                None => assert!(ours.is_none() || NEWER_THAN_LIBSECCOMP.contains(&name), "{name} on {arch}"),
            }
        }
    }
}

#[test]
fn a_test_on_32_bits_sees_the_low_half() {
    assert!(Test::Equal(u64::MAX).narrow().holds(0xffff_ffff));
}
