// SPDX-License-Identifier: Apache-2.0
//! What happens to each number of an architecture: the rules about it, brought into one order.
//!
//! libseccomp keeps a tree for each call. What its tree comes to: a rule without conditions replaces all others, the
//! first such rule wins; else the rules are tried in the order of `precedence`, and the first that matches decides.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use super::Refused;
use super::abi::{Abi, X32_BASE, X86_64_AUDIT};
use super::number::{Call, Name};
use super::rule::{Condition, Policy, Rule, Test, verdict};

/// What a filter does about one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The same whatever the arguments are.
    Always(u32),
    /// It depends on one argument: what happens from each value on, the first being 0.
    ByValue { argument: u8, wide: bool, steps: Vec<(u64, u32)> },
    /// It depends on several arguments or on bits of one: the first case that matches, or else `otherwise`.
    ByCase { wide: bool, cases: Vec<Case>, otherwise: u32 },
}

/// One rule about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) verdict: u32,
    pub(super) conditions: Vec<Condition>,
}

/// What happens from a number on, up to the next span.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) outcome: Outcome,
}

/// All numbers that come with one value of `seccomp_data.arch`.
pub(super) struct Block {
    pub(super) audit: u32,
    pub(super) spans: Vec<Span>,
}

/// The verdict on architectures that the filter does not know, as libseccomp's.
pub(super) const BAD_ARCHITECTURE: u32 = verdict::KILL_THREAD;

/// A single argument's cases are cut into steps up to this many: the work grows with the square.
const MOST_STEPPED: usize = 1024;

/// One block for each audit value of `abis`, in their order.
pub(super) fn blocks(policy: &Policy, abis: &[Abi]) -> Result<Vec<Block>, Refused> {
    let mut blocks: Vec<Block> = Vec::with_capacity(abis.len());
    for abi in abis {
        if blocks.iter().any(|block| block.audit == abi.audit) {
            continue;
        }
        let mut spans = Spans(Vec::with_capacity(128));
        let [low, high] =
            [false, true].map(|x32| abis.iter().find(|part| part.audit == abi.audit && part.is_x32() == x32));
        match low {
            Some(part) => number_space(policy, part, &mut spans)?,
            None => spans.push_always(0, BAD_ARCHITECTURE),
        }
        match high {
            Some(part) => number_space(policy, part, &mut spans)?,
            None if abi.audit == X86_64_AUDIT => {
                spans.push_always(X32_BASE, BAD_ARCHITECTURE);
                // -1 is not a call: a tracer puts it there to have one skipped.
                spans.push_always(u32::MAX, policy.default);
            }
            None => {}
        }
        blocks.push(Block { audit: abi.audit, spans: spans.0 });
    }
    Ok(blocks)
}

/// Sorted spans, neighbours merged where nothing changes.
struct Spans(Vec<Span>);

impl Spans {
    /// The way of nearly all numbers: nothing to drop, nothing but a word to compare.
    fn push_always(&mut self, start: u32, verdict: u32) {
        match self.0.last() {
            Some(Span { outcome: Outcome::Always(last), .. }) if *last == verdict => {}
            _ => self.0.push(Span { start, outcome: Outcome::Always(verdict) }),
        }
    }

    fn push(&mut self, start: u32, outcome: Outcome) {
        if self.0.last().is_none_or(|last| last.outcome != outcome) {
            self.0.push(Span { start, outcome });
        }
    }
}

fn number_space(policy: &Policy, abi: &Abi, spans: &mut Spans) -> Result<(), Refused> {
    let newest = policy.newer.and_then(|newer| Some((newest(policy, abi)?, newer)));
    let unruled = |number| match newest {
        Some((newest, newer)) if number > newest && number <= abi.last_public() => newer,
        Some((_, newer)) if number == 0 && abi.zero_is_unknown => newer,
        _ => policy.default,
    };
    let mut next = 0;
    // MIPS' ABIs share one space of numbers: below the base there is nothing.
    spans.push_always(if abi.is_x32() { abi.base } else { 0 }, unruled(0));
    for call in abi.calls {
        if call.number > next {
            spans.push_always(abi.base + next, unruled(next));
        }
        let start = abi.base + call.number;
        match policy.about(call.name) {
            [] if !abi.carries(call.name) => spans.push_always(start, unruled(call.number)),
            &[rule] if !abi.carries(call.name) && policy.rules[rule as usize].conditions.is_empty() => {
                spans.push_always(start, policy.rules[rule as usize].verdict);
            }
            rules => match outcome(policy, abi, call.name, rules)? {
                Some(outcome) => spans.push(start, outcome),
                None => spans.push_always(start, unruled(call.number)),
            },
        }
        next = call.number + 1;
    }
    spans.push_always(abi.base + next, unruled(next));
    Ok(())
}

/// The highest number that the profile names on `abi`; who names a call names its carrier too.
fn newest(policy: &Policy, abi: &Abi) -> Option<u32> {
    let named = |name: Name| policy.named[name.index()];
    let carries = |name| {
        let carried = abi.multiplexers().iter().filter(|all| all.name == name).flat_map(|all| all.carried);
        carried.into_iter().any(|&(name, _)| named(name))
    };
    let counts = |call: &&Call| call.number <= abi.last_public() && (named(call.name) || carries(call.name));
    abi.calls.iter().rev().find(counts).map(|call| call.number)
}

/// What `rules`, those about the call `name`, and the rules about what it carries come to, if there are any.
fn outcome(policy: &Policy, abi: &Abi, name: Name, rules: &[u32]) -> Result<Option<Outcome>, Refused> {
    let carried = abi.multiplexers().iter().find(|multiplexer| multiplexer.name == name).map(|found| found.carried);
    let cases = match carried {
        None => rules.iter().map(|&rule| case(&policy.rules[rule as usize], abi.wide)).collect(),
        Some(carried) => multiplexed_cases(policy, abi.wide, rules, carried),
    };
    decide(cases, abi.wide, policy.default).map_err(|Contradiction(one, other)| {
        Refused::new(format!(
            "rules about {} give the same arguments to different actions ({one:#x}, {other:#x})",
            name.text()
        ))
        .hint(match carried {
            Some(_) => {
                "32-bit architectures carry socket and ipc calls in one, where arguments cannot be told apart: \
                            use one action for each of them, or leave those architectures out"
            }
            None => "remove one of the rules",
        })
    })
}

/// The cases of a call that carries others: its own and theirs, in the profile's order.
fn multiplexed_cases(policy: &Policy, wide: bool, own: &[u32], carried: &[(Name, u32)]) -> Vec<Case> {
    let mut found: Vec<_> = own.iter().map(|&rule| (rule, case(&policy.rules[rule as usize], wide))).collect();
    for &(name, selector) in carried {
        let Some((rule, case, judged)) = carried_case(policy, wide, name, selector) else { continue };
        // What the profile says of the carrier itself goes before what we can only guess of the carried.
        if judged || !found.iter().any(|(_, own)| own.conditions == case.conditions) {
            found.push((rule, case));
        }
    }
    found.sort_by_key(|&(rule, _)| rule);
    found.into_iter().map(|(_, case)| case).collect()
}

/// What happens to a carried call, after the first of the rules that say so, and whether they say it of all arguments. They are behind a pointer, where no
/// filter sees them: if they would decide, the strictest of what could happen does. Nothing is let through that might be
/// what the profile denies.
fn carried_case(policy: &Policy, wide: bool, name: Name, selector: u32) -> Option<(u32, Case, bool)> {
    let rules = policy.about(name);
    let all = |&&rule: &&u32| case(&policy.rules[rule as usize], wide).conditions.is_empty();
    let judged = rules.iter().find(all);
    let verdict = match judged {
        Some(&rule) => policy.rules[rule as usize].verdict,
        None => {
            let verdicts = rules.iter().map(|&rule| policy.rules[rule as usize].verdict);
            verdicts.chain([policy.default]).min_by_key(|&verdict| strictness(verdict))?
        }
    };
    // The kernel takes the selector as an int: bits above must not hide it.
    let test = match wide {
        true => Test::Masked { mask: u32::MAX.into(), value: selector.into() },
        false => Test::Equal(selector.into()),
    };
    let case = Case { verdict, conditions: vec![Condition { argument: 0, test }] };
    Some((*rules.first()?, case, judged.is_some()))
}

/// The kernel's own order, in which the lowest is the strictest: seccomp(2), “return value”.
fn strictness(verdict: u32) -> i32 {
    (verdict & 0xffff_0000).cast_signed()
}

fn case(rule: &Rule, wide: bool) -> Case {
    let fit = |condition: &Condition| match wide {
        true => *condition,
        false => Condition { test: condition.test.narrow(), ..*condition },
    };
    let conditions = rule.conditions.iter().map(fit).filter(|condition| !condition.test.is_empty_mask());
    Case { verdict: rule.verdict, conditions: conditions.collect() }
}

/// Two verdicts for the same conditions.
struct Contradiction(u32, u32);

fn decide(mut cases: Vec<Case>, wide: bool, otherwise: u32) -> Result<Option<Outcome>, Contradiction> {
    if cases.is_empty() {
        return Ok(None);
    }
    if let Some(all) = cases.iter().find(|case| case.conditions.is_empty()) {
        return Ok(Some(Outcome::Always(all.verdict)));
    }
    if cases.len() > 1 {
        distinct(&mut cases)?;
        cases.sort_by(precedence);
    }
    Ok(Some(match single_argument(&cases) {
        Some(argument) => Outcome::ByValue { argument, wide, steps: steps(&cases, wide, otherwise) },
        None => Outcome::ByCase { wide, cases, otherwise },
    }))
}

/// Drops what was said before, and finds what contradicts it.
fn distinct(cases: &mut Vec<Case>) -> Result<(), Contradiction> {
    let mut said: HashMap<Vec<Condition>, u32> = HashMap::with_capacity(cases.len());
    let mut contradiction = Ok(());
    cases.retain(|case| match said.insert(case.conditions.clone(), case.verdict) {
        None => true,
        Some(before) => {
            if before != case.verdict {
                contradiction = Err(Contradiction(before, case.verdict));
            }
            false
        }
    });
    contradiction
}

/// libseccomp's order: rules whose first test is of a later argument first; tests for equality, then upper bounds, then
/// lower bounds; higher values first, but lower upper bounds; and else as the profile has them.
fn precedence(a: &Case, b: &Case) -> Ordering {
    a.conditions.iter().map(rank).cmp(b.conditions.iter().map(rank))
}

fn rank(condition: &Condition) -> (Reverse<u8>, u8, Reverse<u64>) {
    let (class, value) = match condition.test {
        Test::Equal(value) | Test::NotEqual(value) | Test::Masked { value, .. } => (0, value),
        Test::Less(value) | Test::AtMost(value) => (1, u64::MAX - value),
        Test::AtLeast(value) | Test::Greater(value) => (2, value),
    };
    (Reverse(condition.argument), class, Reverse(value))
}

/// The one argument that all cases are about, if they compare it as a whole.
fn single_argument(cases: &[Case]) -> Option<u8> {
    let argument = cases.first()?.conditions.first()?.argument;
    let whole = |case: &Case| match case.conditions.as_slice() {
        [only] => only.argument == argument && !matches!(only.test, Test::Masked { .. }),
        _ => false,
    };
    (cases.len() <= MOST_STEPPED && cases.iter().all(whole)).then_some(argument)
}

/// The values at which the first case that matches becomes another.
fn steps(cases: &[Case], wide: bool, otherwise: u32) -> Vec<(u64, u32)> {
    let most = if wide { u64::MAX } else { u32::MAX.into() };
    let mut edges = vec![0];
    for condition in cases.iter().flat_map(|case| &case.conditions) {
        let after = |value: u64| value.checked_add(1).filter(|&next| next <= most);
        match condition.test {
            Test::Equal(value) | Test::NotEqual(value) => {
                edges.extend([Some(value), after(value)].into_iter().flatten())
            }
            Test::Less(value) | Test::AtLeast(value) => edges.push(value),
            Test::AtMost(value) | Test::Greater(value) => edges.extend(after(value)),
            Test::Masked { .. } => {}
        }
    }
    edges.sort_unstable();
    let mut steps: Vec<(u64, u32)> = Vec::new();
    for edge in edges {
        let first = cases.iter().find(|case| case.conditions.iter().all(|condition| condition.test.holds(edge)));
        let verdict = first.map_or(otherwise, |case| case.verdict);
        if steps.last().is_none_or(|&(_, last)| last != verdict) {
            steps.push((edge, verdict));
        }
    }
    steps
}
