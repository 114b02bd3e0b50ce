// SPDX-License-Identifier: Apache-2.0
//! Tries cases one after the other, each in a folder of its own, and never lets one spoil the next.

use std::time::{Duration, Instant};

use crate::case::{Case, Mutation, Stop};
use crate::place::Place;
use crate::trial::{PATIENCE, Trial};

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Green,
    Red(String),
    /// It could not be tried here, and why.
    Skipped(String),
}

/// A case and its end.
pub(crate) struct Result {
    pub(crate) case: &'static Case,
    /// The lie that was told, when one was.
    pub(crate) lie: Option<&'static str>,
    pub(crate) end: End,
}

impl Result {
    /// A red end under a lie is what we want; without one, a green end is.
    pub(crate) fn good(&self) -> bool {
        match (&self.end, self.lie) {
            (End::Skipped(_), _) => true,
            (End::Green, None) | (End::Red(_), Some(_)) => true,
            (End::Red(_), None) | (End::Green, Some(_)) => false,
        }
    }
}

/// Tries each case once.
pub(crate) fn judge(place: &Place, cases: &[&'static Case], mut each: impl FnMut(&Result)) -> Vec<Result> {
    let mut results = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let result = Result { case, lie: None, end: attempt(place, case, number, None, PATIENCE) };
        each(&result);
        results.push(result);
    }
    results
}

/// Tries each case once under each of its lies. A case that is not green without a lie is left out: it proves nothing.
pub(crate) fn mutate(place: &Place, cases: &[&'static Case], mut each: impl FnMut(&Result)) -> Vec<Result> {
    let mut results = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let began = Instant::now();
        let honest = attempt(place, case, number, None, PATIENCE);
        let patience = patience(began.elapsed());
        for lie in case.mutations {
            let end = match &honest {
                End::Green => attempt(place, case, number, Some(*lie), patience),
                End::Red(why) => End::Skipped(format!("red without a lie: {why}")),
                skipped @ End::Skipped(_) => skipped.clone(),
            };
            let result = Result { case, lie: Some(lie.name()), end };
            each(&result);
            results.push(result);
        }
    }
    results
}

/// Under a lie many cases wait for what will not come: ten times as long as all of the case took without the lie, on
/// this machine, just now.
fn patience(honest: Duration) -> Duration {
    (honest * 10).clamp(Duration::from_secs(3), PATIENCE)
}

fn attempt(place: &Place, case: &Case, number: usize, lie: Option<Mutation>, patience: Duration) -> End {
    if let Some(why) = case.needs.iter().find_map(|need| place.lacks(*need)) {
        return End::Skipped(why);
    }
    let ended = Trial::new(place, number, lie, patience).and_then(|mut trial| (case.body)(&mut trial));
    match ended {
        Ok(()) => End::Green,
        Err(Stop::Red(why)) => End::Red(why),
        Err(Stop::Skip(why)) => End::Skipped(why),
    }
}
