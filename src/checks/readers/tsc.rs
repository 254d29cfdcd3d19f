//! Reads the TypeScript compiler, plain and pretty.

use super::re;

/// Gives the number of errors. A run without errors prints nothing and is not recognised.
pub(super) fn read(text: &str) -> Option<u64> {
    let errors = text.lines().filter(|line| line.contains("error") && is_error(line)).count() as u64;
    (errors > 0).then_some(errors)
}

fn is_error(line: &str) -> bool {
    re!(r"^(?:\S.*?(?:\(\d+,\d+\):|:\d+:\d+ -) )?error TS\d+: ").is_match(line)
}
