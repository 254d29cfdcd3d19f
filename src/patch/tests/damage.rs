//! True diffs of random edits, damaged in the ways models damage them, compared with the truth.
//!
//! `CLOOP_DAMAGE_RUNS` sets the number of edits (each is damaged in every way); `CLOOP_PAIRS` names a file of JSON
//! lines `{path, old, new}` with real edits to use in place of random ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use similar::{Algorithm, ChangeTag, TextDiff};

use super::run;
use crate::patch::How;

/// Edits of a plain test run: more than ten thousand damaged diffs, some twenty seconds without optimisation.
const RUNS: usize = 500;

/// A small deterministic generator (splitmix64), so that a seed replays a case.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) path: String,
    pub(super) old: String,
    pub(super) new: String,
}

fn statement(r: &mut Random, braces: bool) -> String {
    let names = ["count", "total", "item", "rows", "limit", "name", "value", "index", "cache", "parts"];
    let (a, b, n) = (*r.pick(&names), *r.pick(&names), r.below(40));
    let text = match r.below(7) {
        0 => format!("{a} = {b} + {n}"),
        1 => format!("{a}.push(\"{b}{n}\")"),
        2 => format!("return {a}"),
        3 => format!("{a} += 1"),
        4 => format!("log('{a}', {b}, {n})"),
        5 => format!("check({a} <= {b}, \"{a} - {n}\")"),
        _ => format!("{a} = make({b}, {n})"),
    };
    if braces { format!("{text};") } else { text }
}

/// Returns the lines of a random source file, with repeated lines and blocks.
fn source(r: &mut Random, braces: bool) -> Vec<String> {
    let unit = r.pick(&["    ", "  ", "\t"]).to_string();
    let mut lines = vec![if braces { "'use strict';".to_owned() } else { "import os".to_owned() }, String::new()];
    for n in 0..2 + r.below(6) {
        let open = if braces { " {" } else { ":" };
        lines.push(format!("{} step_{}_{n}(rows, limit){open}", if braces { "function" } else { "def" }, r.below(9)));
        let mut depth = 1;
        for _ in 0..3 + r.below(14) {
            if r.one_in(8) {
                lines.push(String::new());
            } else if r.one_in(5) && depth < 4 {
                lines.push(format!(
                    "{}if {}{open}",
                    unit.repeat(depth),
                    r.pick(&["count > 3", "name", "not rows", "value == 0"])
                ));
                depth += 1;
                lines.push(format!("{}{}", unit.repeat(depth), statement(r, braces)));
            } else if r.one_in(4) && depth > 1 {
                depth -= 1;
                if braces {
                    lines.push(format!("{}}}", unit.repeat(depth)));
                }
            } else {
                lines.push(format!("{}{}", unit.repeat(depth), statement(r, braces)));
            }
        }
        while braces && depth > 0 {
            depth -= 1;
            lines.push(format!("{}}}", unit.repeat(depth)));
        }
        lines.push(String::new());
    }
    // Blocks that stand more than once, some of them with one line changed.
    for _ in 0..r.below(3) {
        let from = r.below(lines.len());
        let mut block: Vec<String> = lines[from..(from + 4 + r.below(12)).min(lines.len())].to_vec();
        if r.one_in(2) {
            let at = r.below(block.len());
            block[at] = format!("{unit}{}", statement(r, braces));
        }
        let to = r.below(lines.len());
        lines.splice(to..to, block);
    }
    lines
}

fn random_pair(r: &mut Random) -> Pair {
    let braces = r.one_in(2);
    let lines = source(r, braces);
    let mut new = lines.clone();
    for _ in 0..=r.below(3) {
        if new.is_empty() {
            break;
        }
        let at = r.below(new.len());
        let blank: String = new[at].chars().take_while(|c| c.is_whitespace()).collect();
        match r.below(4) {
            0 => drop(new.drain(at..(at + 1 + r.below(3)).min(new.len()))),
            1 => new
                .splice(
                    at..at,
                    (0..=r.below(3)).map(|_| format!("{blank}{}", statement(r, braces))).collect::<Vec<_>>(),
                )
                .for_each(drop),
            2 => new[at] = format!("{blank}{}", statement(r, braces)),
            _ => new[at] = new[at].replace("<=", "<").replace(" + ", " - ").replace("rows", "rows[1:]"),
        }
    }
    let end = if r.one_in(6) { "" } else { "\n" };
    let eol = if r.one_in(8) { "\r\n" } else { "\n" };
    let join = |lines: &[String]| lines.join(eol) + if end.is_empty() { "" } else { eol };
    Pair {
        path: format!("src/mod{}.{}", r.below(9), if braces { "js" } else { "py" }),
        old: join(&lines),
        new: join(&new),
    }
}

#[derive(Debug, Clone)]
pub(super) struct TrueHunk {
    pub(super) old: usize,
    new: usize,
    pub(super) heading: String,
    pub(super) lines: Vec<String>,
}

/// Returns the hunks of the true diff, with so many lines of context.
pub(super) fn hunks(pair: &Pair, context: usize) -> Vec<TrueHunk> {
    let old: Vec<&str> = pair.old.split_inclusive('\n').collect();
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).diff_lines(&pair.old, &pair.new);
    let mut out = Vec::new();
    for group in diff.grouped_ops(context) {
        let (first_old, first_new) = (group[0].old_range().start, group[0].new_range().start);
        let mut lines = Vec::new();
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            let text: &str = change.value();
            lines.push(format!("{sign}{}", text.strip_suffix('\n').unwrap_or(text)));
            if !text.ends_with('\n') {
                lines.push("\\ No newline at end of file".to_owned());
            }
        }
        let heading = old[..first_old].iter().rev().find(|line| line.starts_with(|c: char| c.is_alphabetic()));
        let heading = heading.map_or(String::new(), |line| format!(" {}", line.trim_end()));
        out.push(TrueHunk { old: first_old + 1, new: first_new + 1, heading, lines });
    }
    out
}

pub(super) fn render(pair: &Pair, hunks: &[TrueHunk]) -> String {
    let path = &pair.path;
    let mut text = format!("diff --git a/{path} b/{path}\nindex 1111111..2222222 100644\n--- a/{path}\n+++ b/{path}\n");
    for hunk in hunks {
        let count = |skip: char| hunk.lines.iter().filter(|line| !line.starts_with([skip, '\\'])).count();
        let (old, new) = (count('+'), count('-'));
        writeln!(text, "@@ -{},{old} +{},{new} @@{}", hunk.old, hunk.new, hunk.heading).unwrap();
        for line in &hunk.lines {
            text += line;
            text.push('\n');
        }
    }
    text
}

pub(super) const DAMAGES: [&str; 27] = [
    "none",
    "wrong counts",
    "wrong lines",
    "counts and lines",
    "no final newline",
    "stripped",
    "no diff --git",
    "no a/ b/",
    "fake index",
    "time stamps",
    "fenced",
    "bare @@",
    "CRLF diff",
    "LF diff",
    "1 context line",
    "context forgotten",
    "context altered",
    "outdented",
    "indentation noise",
    "hunks merged",
    "hunks swapped",
    "typographic quotes",
    "blank context trimmed",
    "no markers",
    "* no context, wrong lines",
    "* 1 context line, no heading",
    "* indentation noise, new lines too",
];

fn is_context(line: &str) -> bool {
    line.starts_with(' ')
}

/// Returns a context line of some hunk, as (hunk, line).
fn some_context(r: &mut Random, hunks: &[TrueHunk]) -> Option<(usize, usize)> {
    let all: Vec<(usize, usize)> = (hunks.iter().enumerate())
        .flat_map(|(h, hunk)| {
            hunk.lines.iter().enumerate().filter(|(_, line)| is_context(line)).map(move |(l, _)| (h, l))
        })
        .collect();
    (!all.is_empty()).then(|| *r.pick(&all))
}

/// Moves the stated numbers.
pub(super) fn shift_numbers(r: &mut Random, hunks: &mut [TrueHunk]) {
    for hunk in hunks {
        let by = 1 + r.below(30);
        (hunk.old, hunk.new) = if r.one_in(2) && hunk.old > by {
            (hunk.old - by, hunk.new.saturating_sub(by).max(1))
        } else {
            (hunk.old + by, hunk.new + by)
        };
    }
}

/// Returns the damaged patch, or `None` where this damage does not apply.
pub(super) fn damage(kind: &str, pair: &Pair, r: &mut Random) -> Option<String> {
    let mut set = hunks(pair, 3);
    let clean = render(pair, &set);
    let text = match kind {
        "none" => clean,
        "wrong counts" | "counts and lines" => {
            if kind == "counts and lines" {
                shift_numbers(r, &mut set);
            }
            let text = render(pair, &set);
            text.split_inclusive('\n')
                .map(|line| match line.strip_prefix("@@ -").and_then(|rest| rest.split_once(" @@")) {
                    Some((range, heading)) => {
                        let start = |part: &str| part.split(',').next().unwrap().to_owned();
                        let (old, new) = range.split_once(" +").unwrap();
                        format!("@@ -{},{} +{},{} @@{heading}", start(old), r.below(12), start(new), r.below(12))
                    }
                    None => line.to_owned(),
                })
                .collect()
        }
        "wrong lines" => {
            shift_numbers(r, &mut set);
            render(pair, &set)
        }
        "no final newline" => clean.strip_suffix('\n')?.to_owned(),
        "stripped" => clean.trim().to_owned(),
        "no diff --git" => clean[clean.find("--- ")?..].to_owned(),
        "no a/ b/" => clean[clean.find("--- ")?..].replacen("--- a/", "--- ", 1).replacen("+++ b/", "+++ ", 1),
        "fake index" => clean.replacen("index 1111111..2222222", "index 1a2b3c4..5d6e7f8", 1),
        "time stamps" => {
            let stamp = "\t2024-01-01 12:00:00.000000000 +0000\n";
            let path = &pair.path;
            clean.replacen(&format!("--- a/{path}\n"), &format!("--- a/{path}{stamp}"), 1).replacen(
                &format!("+++ b/{path}\n"),
                &format!("+++ b/{path}{stamp}"),
                1,
            )
        }
        "fenced" => format!("Here is the patch:\n\n```diff\n{clean}```\n\n- It fixes the fault.\nDone.\n"),
        "bare @@" => {
            let body = &clean[clean.find("--- ")?..];
            body.split_inclusive('\n').map(|line| if line.starts_with("@@ ") { "@@ ... @@\n" } else { line }).collect()
        }
        "CRLF diff" => clean.replace("\r\n", "\n").replace('\n', "\r\n"),
        "LF diff" => pair.old.contains('\r').then(|| clean.replace('\r', ""))?,
        "1 context line" | "* 1 context line, no heading" | "* no context, wrong lines" => {
            set = hunks(pair, usize::from(kind != "* no context, wrong lines"));
            shift_numbers(r, &mut set);
            if kind.ends_with("no heading") {
                for hunk in &mut set {
                    hunk.heading.clear();
                }
            }
            render(pair, &set)
        }
        "context forgotten" => {
            let (h, l) = some_context(r, &set)?;
            set[h].lines.remove(l);
            render(pair, &set)
        }
        "context altered" => {
            let (h, l) = some_context(r, &set)?;
            let line = &mut set[h].lines[l];
            *line = match r.below(3) {
                0 => format!("{}  # noqa", line.trim_end()),
                1 => line.replace("count", "counter").replace("rows", "items") + " ",
                _ => format!(" {}the old comment", line[1..].split(|c: char| !c.is_whitespace()).next().unwrap()),
            };
            render(pair, &set)
        }
        "outdented" => {
            for hunk in &mut set {
                let body = hunk.lines.iter().filter(|line| line[1..].trim() != "" && !line.starts_with('\\'));
                let least = body.map(|line| line[1..].len() - line[1..].trim_start().len()).min()?;
                for line in hunk.lines.iter_mut().filter(|line| line[1..].trim() != "" && !line.starts_with('\\')) {
                    line.replace_range(1..=least, "");
                }
            }
            let text = render(pair, &set);
            (text != clean).then_some(text)?
        }
        "indentation noise" | "* indentation noise, new lines too" => {
            for line in set.iter_mut().flat_map(|hunk| &mut hunk.lines).filter(|line| !line.starts_with('\\')) {
                let spared = line.starts_with('+') && !kind.starts_with('*');
                if r.one_in(4) && line[1..].trim() != "" && !spared {
                    if line[1..].starts_with(' ') && r.one_in(2) {
                        line.remove(1);
                    } else {
                        line.insert(1, ' ');
                    }
                }
            }
            render(pair, &set)
        }
        "hunks merged" => {
            let at = (set.len() > 1).then(|| r.below(set.len() - 1))?;
            let next = set.remove(at + 1);
            set[at].lines.extend(next.lines);
            render(pair, &set)
        }
        "hunks swapped" => {
            (set.len() > 1).then(|| set.reverse())?;
            render(pair, &set)
        }
        "typographic quotes" => {
            for line in set.iter_mut().flat_map(|hunk| &mut hunk.lines).filter(|line| is_context(line)) {
                *line = line.replace('\'', "’").replace('"', "”").replace(" - ", " – ");
            }
            let text = render(pair, &set);
            (text != clean).then_some(text)?
        }
        "blank context trimmed" => {
            clean.split('\n').map(|line| if line.trim() == "" { "" } else { line }).collect::<Vec<_>>().join("\n")
        }
        "no markers" => {
            let text: String = clean.split_inclusive('\n').filter(|line| !line.starts_with('\\')).collect();
            // Where the patch changes whether the last line has an end, only the marker says so.
            let same_end = pair.old.ends_with('\n') == pair.new.ends_with('\n');
            (text != clean && same_end).then_some(text)?
        }
        _ => unreachable!("{kind}"),
    };
    Some(text)
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    pub(super) right: usize,
    pub(super) refused: usize,
    pub(super) wrong: usize,
}

/// Damages one edit in every way and counts.
fn measure(pair: &Pair, r: &mut Random, table: &mut BTreeMap<usize, Count>, wrong: &mut Vec<String>) {
    for (n, kind) in DAMAGES.iter().enumerate() {
        let Some(patch) = damage(kind, pair, r) else { continue };
        let count = table.entry(n).or_default();
        match run(&patch, &[(&pair.path, &pair.old)]) {
            Err(_) => count.refused += 1,
            Ok(rebuilt) if rebuilt.change.files[0].new_text() == pair.new => {
                count.right += 1;
                let exact = rebuilt.matches.iter().all(|hunk| hunk.how == How::Exact);
                assert!(*kind != "none" || exact, "{:?}", rebuilt.matches);
            }
            Ok(rebuilt) => {
                count.wrong += 1;
                wrong.push(format!(
                    "{kind}: {:?}\n{patch}--- truth\n{}",
                    rebuilt.matches,
                    render(pair, &hunks(pair, 3))
                ));
            }
        }
    }
}

fn pairs(runs: usize) -> Box<dyn Iterator<Item = Pair>> {
    if let Some(path) = std::env::var_os("CLOOP_PAIRS") {
        let text = std::fs::read_to_string(path).unwrap();
        let read = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| value[name].as_str().unwrap().to_owned();
            Pair { path: field("path"), old: field("old"), new: field("new") }
        };
        return Box::new(text.lines().map(read).collect::<Vec<_>>().into_iter());
    }
    let mut r = Random(20_240_229);
    Box::new(
        std::iter::repeat_with(move || random_pair(&mut r))
            .filter(|pair| pair.old != pair.new && !pair.old.is_empty())
            .take(runs),
    )
}

#[test]
fn damaged_diffs_are_mostly_repaired_and_hardly_ever_misplaced() {
    let runs = std::env::var("CLOOP_DAMAGE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut r = Random(7);
    let (mut table, mut wrong) = (BTreeMap::new(), Vec::new());
    for pair in pairs(runs) {
        measure(&pair, &mut r, &mut table, &mut wrong);
    }
    let mut all = Count::default();
    for (n, kind) in DAMAGES.iter().enumerate() {
        let count = table.get(&n).copied().unwrap_or_default();
        let sum = (count.right + count.refused + count.wrong).max(1) as f64;
        let share = |part: usize| 100.0 * part as f64 / sum;
        println!(
            "{:6.2} right {:6.2} refused {:6.2} wrong of {sum:6}  {kind}",
            share(count.right),
            share(count.refused),
            share(count.wrong)
        );
        if !kind.starts_with('*') {
            all.right += count.right;
            all.refused += count.refused;
            all.wrong += count.wrong;
        }
    }
    let sum = (all.right + all.refused + all.wrong).max(1) as f64;
    let (right, misplaced) = (100.0 * all.right as f64 / sum, 100.0 * all.wrong as f64 / sum);
    println!("{right:6.2} right {misplaced:6.3} wrong of {sum}, those with a star apart");
    if std::env::var_os("CLOOP_DAMAGE_SHOW").is_some() {
        for text in &wrong {
            println!("==== {text}");
        }
    }
    // Made to be hard: blocks are repeated on purpose. What real edits need is asserted beside, in `history`.
    let trials: usize = table.values().map(|count| count.right + count.refused + count.wrong).sum();
    assert!(runs < RUNS || trials >= 10_000, "{trials} damaged diffs");
    assert!(right >= 95.0 && misplaced <= 0.1, "{right} right, {misplaced} wrong\n{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_true_diff_rebuilds_the_truth(seed in any::<u64>()) {
        let pair = random_pair(&mut Random(seed));
        prop_assume!(pair.old != pair.new && !pair.old.is_empty());
        let rebuilt = run(&render(&pair, &hunks(&pair, 3)), &[(&pair.path, &pair.old)]).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        prop_assert_eq!(rebuilt.change.files[0].new_text(), &pair.new);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(diff --git a/x b/x\n|--- a/x\n|\\+\\+\\+ b/x\n|@@ -[0-9]{1,20},?[0-9]{0,3} \\+1 @@\n|@@|[ +-]one\n|[ +-]\\PC{0,5}\n|\n|```\n|rename (from|to) [xy]\n|\\\\ No newline\n){0,20}") {
        let _ = run(&text, &[("x", "one\ntwo\none\nthree")]);
    }
}
