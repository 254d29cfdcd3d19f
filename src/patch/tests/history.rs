//! The ladder beside git and patch, on the edits of this repository's own history and of the cases.
//!
//! Every damage is dealt to every edit; each class weighs the same. `CLOOP_HISTORY` sets the number of edits. In a
//! shallow clone there is less history; the test then takes what there is and says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::damage::{Count, DAMAGES, Pair, Random, damage, hunks, render, shift_numbers};
use super::run;

/// Edits of a plain run; with the other programs some half a minute (400 take two and a half).
const EDITS: usize = 50;

/// Largest file that is taken.
const LARGEST: usize = 60_000;

/// What the ladder is compared with: each reads the patch from standard input.
const OTHERS: [(&str, &[&str]); 4] = [
    ("git apply", &["git", "apply"]),
    ("--recount", &["git", "apply", "--recount"]),
    ("-C1", &["git", "apply", "-C1"]),
    ("patch -F5", &["patch", "-p1", "--fuzz=5", "--batch", "--force", "--no-backup-if-mismatch", "--reject-file=-"]),
];

/// Texts that stand twice, as in no class of damage: what is to be changed, and how the numbers are.
const TWICE: [&str; 3] = ["text twice, right numbers", "text twice, wrong numbers", "text twice, no numbers"];

#[expect(clippy::disallowed_methods, reason = "the programs the ladder is measured against, and git's history")]
fn command(dir: &Path, words: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(words[0]);
    // Tests may run in a hook, with variables that lead elsewhere.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command.args(&words[1..]).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // A program that refuses early does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The edits of single text files in this repository's history, newest first, and how many commits were looked at.
fn from_history() -> (Vec<Pair>, usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |words: &[&str]| {
        let words: Vec<&str> = std::iter::once("git").chain(words.iter().copied()).collect();
        command(root, &words, "")
    };
    let (_, commits) = git(&["rev-list", "--no-merges", "--max-count=400", "HEAD"]);
    let mut pairs = Vec::new();
    let mut seen = 0;
    for commit in commits.lines() {
        // In a shallow clone the oldest has no parent to compare with.
        if !git(&["rev-parse", "--verify", "--quiet", &format!("{commit}^")]).0 {
            continue;
        }
        seen += 1;
        let (_, names) = git(&["diff-tree", "-r", "--no-commit-id", "--name-only", "--diff-filter=M", commit]);
        for path in names.lines().filter(|path| !["lock", "json"].contains(&path.rsplit('.').next().unwrap())).take(4) {
            let (old, new) =
                (git(&["show", &format!("{commit}^:{path}")]), git(&["show", &format!("{commit}:{path}")]));
            pairs.push(Pair { path: path.to_owned(), old: old.1, new: new.1 });
        }
    }
    (pairs, seen)
}

/// The edits of single files in the project's own cases and those of the collection at hand.
fn from_cases() -> Vec<Pair> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let more = std::env::var_os("CLOOP_CASES").map(|dir| Path::new(&dir).join("cases"));
    let folders = [Some(own), more].into_iter().flatten().filter(|dir| dir.is_dir());
    let mut paths: Vec<_> =
        folders.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path())).collect();
    paths.sort();
    let mut pairs = Vec::new();
    for path in paths {
        let case: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let wanted = ["correct", "partial", "honest", "wrong"];
        for patch in
            case["patches"].as_array().unwrap().iter().filter(|patch| wanted.contains(&patch["kind"].as_str().unwrap()))
        {
            let diff = patch["diff"].as_str().unwrap();
            let files: BTreeMap<&str, &str> = case["files"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str().unwrap()))
                .collect();
            let listed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, *text)).collect();
            let rebuilt = run(diff, &listed).unwrap();
            if let [file] = rebuilt.change.files.as_slice()
                && file.old.is_some()
                && file.new.is_some()
            {
                pairs.push(Pair { path: file.path.clone(), old: file.old_text().into(), new: file.new_text().into() });
            }
        }
    }
    pairs
}

/// Every so many of them, so that the number is kept and the spread too.
fn spread(pairs: Vec<Pair>, wanted: usize) -> Vec<Pair> {
    let fit =
        |pair: &Pair| pair.old != pair.new && !pair.old.is_empty() && !pair.new.is_empty() && pair.old.len() < LARGEST;
    let pairs: Vec<Pair> = pairs.into_iter().filter(fit).collect();
    let step = pairs.len().div_ceil(wanted.max(1)).max(1);
    pairs.into_iter().step_by(step).collect()
}

/// Stands between a file and the copy of its changed passage.
const END: &str = "an end of its own";

/// The edit in a file that holds the changed passage once more at its end.
fn doubled(pair: &Pair) -> Option<Pair> {
    let set = hunks(pair, 3);
    let [hunk] = set.as_slice() else { return None };
    let passage: String =
        hunk.lines.iter().filter(|line| line.starts_with([' ', '-'])).map(|line| line[1..].to_owned() + "\n").collect();
    let ends = pair.old.ends_with('\n') && pair.new.ends_with('\n') && !pair.old.contains('\r');
    let twice = |text: &str| format!("{text}{END}\n{passage}another end\n");
    ends.then(|| Pair { path: pair.path.clone(), old: twice(&pair.old), new: twice(&pair.new) })
}

fn twice(kind: &str, pair: &Pair, r: &mut Random) -> Option<(Pair, String)> {
    let pair = doubled(pair)?;
    let mut set = hunks(&pair, 3);
    for hunk in &mut set {
        hunk.heading.clear();
    }
    if kind.contains("wrong") {
        shift_numbers(r, &mut set);
        // A number that is the copy's own by chance says the copy: it is wrong only to whoever knows what was meant.
        let own = pair.old.lines().position(|line| line == END).map_or(0, |at| at + 2);
        if set.iter().any(|hunk| hunk.old == own) {
            return None;
        }
    }
    let mut text = render(&pair, &set);
    if kind.contains("no numbers") {
        let bare = |line: &str| if line.starts_with("@@ ") { "@@\n".to_owned() } else { line.to_owned() };
        text = text.split_inclusive('\n').map(bare).collect();
    }
    Some((pair, text))
}

/// Applies a patch with another program: the result, or `None` where it refuses.
fn applied(dir: &Path, words: &[&str], pair: &Pair, patch: &str) -> Option<String> {
    let path = dir.join(&pair.path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &pair.old).unwrap();
    let (done, _) = command(dir, words, patch);
    // A patch that a program does not see as one leaves the file alone and is no result.
    let result = std::fs::read_to_string(&path).unwrap_or_default();
    (done && result != pair.old).then_some(result)
}

fn count(count: &mut Count, result: Option<&str>, truth: &str) {
    match result {
        None => count.refused += 1,
        Some(text) if text == truth => count.right += 1,
        Some(_) => count.wrong += 1,
    }
}

fn share(part: usize, of: Count) -> f64 {
    100.0 * part as f64 / (of.right + of.refused + of.wrong).max(1) as f64
}

#[test]
fn on_real_edits_the_ladder_gets_more_right_and_less_wrong_than_git_and_patch() {
    let wanted = std::env::var("CLOOP_HISTORY").ok().and_then(|edits| edits.parse().ok()).unwrap_or(EDITS);
    let (history, commits) = from_history();
    let cases = from_cases();
    println!("{} edits of {commits} commits, {} of the cases", history.len(), cases.len());
    let mut pairs = spread(history, wanted / 2);
    if pairs.len() < wanted / 4 {
        println!("little history here (a shallow clone): more of the cases instead");
    }
    pairs.extend(spread(cases, wanted - pairs.len()));
    assert!(pairs.len() >= 5, "{} edits", pairs.len());
    let dir = tempfile::tempdir().unwrap();
    let kinds: Vec<&str> = DAMAGES.iter().copied().filter(|kind| !kind.starts_with('*')).chain(TWICE).collect();
    let mut table = vec![[Count::default(); 5]; kinds.len()];
    let mut r = Random(11);
    let mut misplaced = String::new();
    for pair in &pairs {
        for (row, kind) in kinds.iter().enumerate() {
            let dealt = match *kind {
                kind if TWICE.contains(&kind) => twice(kind, pair, &mut r),
                kind => damage(kind, pair, &mut r).map(|patch| (pair.clone(), patch)),
            };
            let Some((pair, patch)) = dealt else { continue };
            let ours = run(&patch, &[(&pair.path, &pair.old)]).ok();
            let ours = ours.as_ref().map(|rebuilt| rebuilt.change.files[0].new_text());
            count(&mut table[row][0], ours, &pair.new);
            if ours.is_some_and(|text| text != pair.new) {
                let _ = writeln!(misplaced, "==== {kind} {}\n{patch}", pair.path);
            }
            for (at, (_, words)) in OTHERS.iter().enumerate() {
                count(&mut table[row][at + 1], applied(dir.path(), words, &pair, &patch).as_deref(), &pair.new);
            }
        }
    }
    let head: String =
        OTHERS.iter().fold(format!("{:>18}", "the ladder"), |text, (name, _)| format!("{text}{name:>18}"));
    println!("right / wrong / refused, in %\n{:27}{head}", "");
    let mut sums = [[0.0; 3]; 5];
    let mut classes = 0.0;
    for (row, kind) in kinds.iter().enumerate() {
        let mut line = String::new();
        for (at, counts) in table[row].iter().enumerate() {
            let shares = [counts.right, counts.wrong, counts.refused].map(|part| share(part, *counts));
            let _ = write!(line, "{:>18}", format!("{:.1}/{:.1}/{:.1}", shares[0], shares[1], shares[2]));
            if !TWICE.contains(kind) && counts.right + counts.wrong + counts.refused > 0 {
                (0..3).for_each(|part| sums[at][part] += shares[part]);
            }
        }
        let dealt = table[row][0].right + table[row][0].wrong + table[row][0].refused;
        classes += f64::from(u8::from(!TWICE.contains(kind) && dealt > 0));
        println!("{kind:<26} {line}  of {dealt}");
    }
    let mean = |at: usize| sums[at].map(|sum| sum / classes);
    let means: String = (0..5).fold(String::new(), |text, at| {
        let [right, wrong, refused] = mean(at);
        format!("{text}{:>18}", format!("{right:.2}/{wrong:.2}/{refused:.2}"))
    });
    println!("{:<26} {means}", format!("all {classes} classes alike"));
    let [right, wrong, _] = mean(0);
    assert!(right >= 96.0 && wrong <= 0.1, "{right} right, {wrong} wrong\n{misplaced}");
    for row in (0..kinds.len()).filter(|row| ["wrong lines", TWICE[1], TWICE[2]].contains(&kinds[*row])) {
        let counts = table[row][0];
        assert!(share(counts.wrong, counts) <= 0.5, "{}: {counts:?}\n{misplaced}", kinds[row]);
    }
    let better = (1..5).all(|at| mean(at)[0] < right);
    assert!(better, "another program gets more right");
}
