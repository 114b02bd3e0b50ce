// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::super::device::Sort;
use super::*;

/// What is asked at an open or mknod.
#[derive(Clone, Copy, Debug)]
struct Question {
    sort: Sort,
    major: u32,
    minor: u32,
    wanted: u8,
}

/// The verifier refuses a program some of which can never run.
fn assert_all_is_reached(program: &[Instruction]) {
    let mut reached = vec![false; program.len()];
    let mut ahead = vec![0];
    while let Some(at) = ahead.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let Instruction { code, offset, .. } = program[at];
        let jump = at + 1 + usize::try_from(offset).unwrap();
        match code {
            EXIT => {}
            JUMP => ahead.push(jump),
            JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL | JUMP_IF_ANY_BIT => ahead.extend([at + 1, jump]),
            _ => ahead.push(at + 1),
        }
    }
    assert!(reached.iter().all(|reached| *reached), "never reached: {reached:?}");
}

/// Runs a program as the kernel would; panics at what the kernel's verifier would refuse.
fn run(program: &[Instruction], question: Question) -> bool {
    assert_all_is_reached(program);
    let context = [u32::from(question.sort as u8) | u32::from(question.wanted) << 16, question.major, question.minor];
    let mut registers: [Option<u32>; 6] = [None; 6];
    let mut at = 0;
    loop {
        let Instruction { code, registers: both, offset, immediate } = program[at];
        let (to, from) = (usize::from(both & 15), usize::from(both >> 4));
        let value = |register: usize| registers[register].expect("a register is read before it is written");
        assert!(offset >= 0, "a jump goes backwards");
        at += 1;
        match code {
            LOAD_WORD => {
                assert_eq!(from, usize::from(CONTEXT));
                registers[to] = Some(context[usize::try_from(offset).unwrap() / 4]);
            }
            COPY => registers[to] = Some(value(from)),
            AND => registers[to] = Some(value(to) & immediate.cast_unsigned()),
            SHIFT_RIGHT => registers[to] = Some(value(to) >> immediate),
            SET => registers[to] = Some(immediate.cast_unsigned()),
            JUMP => at += usize::try_from(offset).unwrap(),
            JUMP_IF_EQUAL if value(to) == immediate.cast_unsigned() => at += usize::try_from(offset).unwrap(),
            JUMP_UNLESS_EQUAL if value(to) != immediate.cast_unsigned() => at += usize::try_from(offset).unwrap(),
            JUMP_IF_ANY_BIT if value(to) & immediate.cast_unsigned() != 0 => at += usize::try_from(offset).unwrap(),
            JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL | JUMP_IF_ANY_BIT => {}
            EXIT => return value(usize::from(ANSWER)) == 1,
            _ => panic!("no such instruction: {code:#x}"),
        }
    }
}

/// The definition: each bit that is wanted is decided by the last rule that matches and speaks of it.
fn naive(rules: &[Rule], question: Question) -> bool {
    let matches = |rule: &&Rule, bit: u8| {
        rule.sort.is_none_or(|sort| sort == question.sort)
            && rule.major.is_none_or(|major| major == question.major)
            && rule.minor.is_none_or(|minor| minor == question.minor)
            && rule.access.0 & bit != 0
    };
    let decided = |bit: u8| rules.iter().rev().find(|rule| matches(rule, bit)).is_some_and(|rule| rule.allow);
    [1, 2, 4].into_iter().filter(|bit| question.wanted & bit != 0).all(decided)
}

fn sorts() -> impl Strategy<Value = Sort> {
    prop_oneof![Just(Sort::Block), Just(Sort::Char)]
}

fn numbers() -> impl Strategy<Value = u32> {
    prop_oneof![0..3_u32, Just(0x8000_0001), Just(u32::MAX)]
}

prop_compose! {
    fn any_rule()(allow: bool, sort in proptest::option::of(sorts()), major in proptest::option::of(numbers()),
                  minor in proptest::option::of(numbers()), access in 1..8_u8) -> Rule {
        Rule { allow, sort, major, minor, access: Access(access) }
    }
}

prop_compose! {
    fn any_question()(sort in sorts(), major in numbers(), minor in numbers(), wanted in 0..8_u8) -> Question {
        Question { sort, major, minor, wanted }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_program_answers_as_the_rules_say(
        rules in proptest::collection::vec(any_rule(), 0..12),
        questions in proptest::collection::vec(any_question(), 20),
    ) {
        let program = program(&rules).unwrap();
        for question in questions {
            prop_assert_eq!(run(&program, question), naive(&rules, question), "{:?}", question);
        }
    }
}

#[test]
fn a_denied_bit_denies_an_open_that_wants_it_among_others() {
    let everything = Rule { allow: true, sort: None, major: None, minor: None, access: Access::ALL };
    let no_writing = Rule { allow: false, sort: Some(Sort::Char), major: Some(1), minor: Some(3), access: Access(4) };
    let program = program(&[everything, no_writing]).unwrap();
    let question = |wanted| Question { sort: Sort::Char, major: 1, minor: 3, wanted };
    assert!(run(&program, question(2)));
    assert!(!run(&program, question(6)));
}

#[test]
fn a_usual_container_needs_few_instructions() {
    let spec = serde_json::from_str::<Vec<_>>(r#"[{"allow": false, "access": "rwm"}]"#).unwrap();
    let length = program(&super::super::device::rules(&spec).unwrap()).unwrap().len();
    assert_eq!(length, 25);
}

#[test]
fn more_rules_than_a_jump_can_cross_are_refused() {
    let rule = |minor| Rule { allow: true, sort: None, major: Some(minor), minor: Some(minor), access: Access(2) };
    let rules: Vec<Rule> = (0..9000).map(rule).collect();
    assert_eq!(program(&rules).unwrap_err().kind(), Kind::BadInput);
}
