//! Collects the tests of one run into a reading, and sums the readings of several runs.

use std::collections::BTreeMap;

use super::{Counts, Reading, TestStatus};

/// The tests of one run in the order of the output.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tests: Vec<(String, TestStatus)>,
    errors: BTreeMap<String, String>,
}

/// Longest first line of a failure that is kept, in characters: enough for a message, too little for a data dump.
const MAX_ERROR: usize = 500;

impl Tally {
    pub(super) fn add(&mut self, id: impl Into<String>, status: TestStatus) {
        let id = id.into();
        if !id.trim().is_empty() {
            self.tests.push((id, status));
        }
    }

    /// Keeps the first line of the failure of `id`; the first one given stays.
    pub(super) fn error(&mut self, id: &str, line: &str) {
        let line = line.trim();
        if !line.is_empty() {
            self.errors.entry(id.to_owned()).or_insert_with(|| line.chars().take(MAX_ERROR).collect());
        }
    }

    pub(super) fn count(&self, status: TestStatus) -> u64 {
        self.tests.iter().filter(|(_, s)| *s == status).count() as u64
    }

    /// Counts as the named tests have them.
    pub(super) fn counts(&self) -> Counts {
        let (passed, failed) = (self.count(TestStatus::Passed), self.count(TestStatus::Failed));
        let skipped = self.count(TestStatus::Skipped) + self.count(TestStatus::ExpectedFailure);
        counts(passed, failed, skipped)
    }

    /// Gives the reading of a run whose summary says `counts`.
    ///
    /// Where the named tests are not exactly as many as the summary counts, skipped ones aside, some are missing or a
    /// line of the program was taken for a test: then only the failing ones are kept and the ids are called incomplete.
    pub(super) fn finish(self, runner: &str, counts: Counts) -> Reading {
        let named = self.tests.len() as u64;
        let all = counts.run.zip(counts.skipped).map(|(run, skipped)| run + skipped);
        // Some runners name every test but the skipped ones.
        let all_run = counts.run == self.counts().run && all.is_some_and(|all| named <= all);
        let complete = all == Some(named) || all_run;
        self.finish_as(runner, counts, complete)
    }

    /// As [`Tally::finish`], where the caller knows whether the ids are all there.
    pub(super) fn finish_as(mut self, runner: &str, counts: Counts, complete: bool) -> Reading {
        if !complete {
            self.tests.retain(|(_, status)| *status == TestStatus::Failed);
        }
        // Equal ids get a number. The failing ones come first, so that the order in which parallel runs end does not
        // decide which of them is called failing.
        self.tests.sort_by_key(|(_, status)| *status != TestStatus::Failed);
        let mut ids = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (id, status) in self.tests {
            insert(&mut ids, &mut seen, &id, status);
        }
        let first_errors = self.errors.into_iter().filter(|(id, _)| ids.get(id) == Some(&TestStatus::Failed)).collect();
        Reading {
            runner: Some(runner.to_owned()),
            counts,
            ids: (complete || !ids.is_empty()).then_some(ids),
            ids_complete: complete,
            first_errors,
            ..Reading::default()
        }
    }
}

/// Counts of a run that says all three figures.
pub(super) fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
    Counts { run: Some(passed + failed), passed: Some(passed), failed: Some(failed), skipped: Some(skipped) }
}

/// Puts `id` in, with ` #2`, ` #3` … behind it where it is taken; gives the id used. `seen` holds the number used last,
/// so that thousands of equal ids stay linear.
fn insert(
    ids: &mut BTreeMap<String, TestStatus>,
    seen: &mut BTreeMap<String, u64>,
    id: &str,
    status: TestStatus,
) -> String {
    let mut name = id.to_owned();
    while ids.contains_key(&name) {
        let next = seen.entry(id.to_owned()).or_insert(1);
        *next += 1;
        name = format!("{id} #{next}");
    }
    ids.insert(name.clone(), status);
    name
}

/// Sums readings: a figure that one of them lacks is unknown in the sum, ids that occur in several get a number.
pub(super) fn sum(readings: Vec<Reading>) -> Reading {
    let mut readings = readings.into_iter();
    let Some(mut total) = readings.next() else { return Reading::default() };
    let mut seen = BTreeMap::new();
    for next in readings {
        let plus = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b));
        total.counts = Counts {
            run: plus(total.counts.run, next.counts.run),
            passed: plus(total.counts.passed, next.counts.passed),
            failed: plus(total.counts.failed, next.counts.failed),
            skipped: plus(total.counts.skipped, next.counts.skipped),
        };
        if let (Some(mine), Some(theirs)) = (&total.runner, &next.runner)
            && !mine.split('+').any(|name| name == theirs)
        {
            total.runner = Some(format!("{mine}+{theirs}"));
        }
        total.ids_complete &= next.ids_complete;
        if let Some(theirs) = next.ids {
            let mine = total.ids.get_or_insert_default();
            for (id, status) in theirs {
                let used = insert(mine, &mut seen, &id, status);
                if let Some(error) = next.first_errors.get(&id) {
                    total.first_errors.entry(used).or_insert_with(|| error.clone());
                }
            }
        }
        total.notes.extend(next.notes);
    }
    total
}

/// The reading with `prefix: ` before each id: the package of a workspace it belongs to.
pub(super) fn prefixed(mut reading: Reading, prefix: &str) -> Reading {
    let name = |id: String| format!("{prefix}: {id}");
    reading.ids = reading.ids.map(|ids| ids.into_iter().map(|(id, status)| (name(id), status)).collect());
    reading.first_errors = reading.first_errors.into_iter().map(|(id, line)| (name(id), line)).collect();
    reading
}
