//! Readers of what others wrote, fed with mutated input: none panics, none takes long or much memory.
//!
//! Each target starts from a small corpus: recorded output, and what once broke something (`tests/corpus`). A run is
//! the same each time. `CLOOP_FUZZ=100000` makes it longer and, with `CLOOP_FUZZ_SEED`, another one; an input that
//! breaks a reader is written to the temporary folder, and belongs into `tests/corpus/<target>` with the fix.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use loop_companion::answers::{Evaluation, Ranking, Suggestion};
use loop_companion::change::{FileMode, FileVersion, MemoryTree};
use loop_companion::checks::readers::{self, ReportFile};
use loop_companion::codex::events::{EventParser, activity};
use loop_companion::codex::{self, schema};
use loop_companion::config::{self, Environment};
use loop_companion::engine::{State, decide};
use loop_companion::masking::{Masker, env_pairs};
use loop_companion::patch::{self, Limits};
use loop_companion::report;
use loop_companion::store::{Store, read_journal};

/// Inputs for each target where nobody says otherwise: a few seconds in all.
const SHORT: u64 = 300;

/// Longest time one input may take. Debug builds on a busy machine are slow; what grows with the square of its input
/// takes minutes.
const SLOW: Duration = Duration::from_secs(10);

/// Most memory the process may have come to in the end, in MiB. Inputs are of at most [`MAX_INPUT`] bytes.
const MOST_MEMORY: u64 = 1024;

const MAX_INPUT: usize = 64 << 10;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// What readers stumble over wherever it stands.
const ODD: [&str; 40] = [
    "\0",
    "\r\n",
    "\r",
    "\n\n",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[31m",
    "\u{1b}]0;",
    "é",
    "\u{10ffff}",
    "😀",
    "\\u0000",
    "\\ud800",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "null",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "99999999999999999999999999",
    "9223372036854775807",
    "4294967296",
    "@@ -0,0 +1 @@",
    "@@ -18446744073709551615,18446744073709551615 +1 @@",
    "--- ",
    "+++ ",
    "*** Begin Patch",
    "````",
    "<![CDATA[",
    "&lt;",
    "ok 1 - ",
    "not ok",
    "\t",
    "../",
];

/// Changes an input in a few places: bytes, stretches, lines, numbers, and pieces of another input.
fn mutate(random: &mut Random, seed: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(40)).min(bytes.len());
        match random.below(10) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < end => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, random.pick(&ODD).bytes())),
            3 if !words.is_empty() => drop(bytes.splice(at..at, random.pick(words).bytes())),
            4 if at < end => {
                let piece = bytes[at..end].to_vec();
                let times = 1 + random.below(50);
                drop(bytes.splice(at..at, piece.iter().copied().cycle().take(piece.len() * times)));
            }
            5 if !other.is_empty() => {
                let from = random.below(other.len());
                let piece = &other[from..(from + random.below(400)).min(other.len())];
                drop(bytes.splice(at..end.max(at), piece.iter().copied()));
            }
            6 => bytes.truncate(at),
            7 | 8 => {
                // Whole lines: twice, away, or in another order.
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if lines.len() > 1 {
                    let (one, two) = (random.below(lines.len()), random.below(lines.len()));
                    match random.below(3) {
                        0 => lines.swap(one, two),
                        1 => drop(lines.remove(one)),
                        _ => lines.insert(two, lines[one]),
                    }
                }
                bytes = lines.concat();
            }
            _ => {
                // A number becomes one at some edge.
                let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    let at = *random.pick(&digits);
                    let edges =
                        ["0", "-1", "4294967295", "18446744073709551615", "9999999999999999999999", "0.5", "1e308"];
                    drop(bytes.splice(at..=at, random.pick(&edges).bytes()));
                }
            }
        }
    }
    bytes.truncate(MAX_INPUT);
    bytes
}

fn corpus_dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

/// Returns the files of a folder, in a fixed order, the large ones cut.
fn files_in(dir: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()).map(cut).collect()
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(MAX_INPUT);
    bytes
}

/// Returns the most memory this process has had, in MiB, where the system tells.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Feeds a reader its corpus, then mutations of it. `share` is how much of the run this target gets, in hundredths.
fn fuzz(target: &str, more: Vec<Vec<u8>>, words: &[&str], share: u64, read: impl Fn(&[u8])) {
    let mut seeds = files_in(&corpus_dir(target));
    seeds.extend(more);
    assert!(!seeds.is_empty(), "{target} has no corpus");
    let try_one = |input: &[u8]| {
        let began = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| read(input)));
        let took = began.elapsed();
        if ended.is_err() || took > SLOW {
            let kept = std::env::temp_dir().join(format!("cloop-fuzz-{target}"));
            fs::write(&kept, input).unwrap();
            panic!(
                "{target}: {} after {took:?}; the input is in {}",
                if ended.is_err() { "a panic" } else { "too slow" },
                kept.display()
            );
        }
    };
    for seed in &seeds {
        try_one(seed);
    }
    let mut random = Random(number("CLOOP_FUZZ_SEED", 7) ^ target.bytes().map(u64::from).sum::<u64>());
    let mut pool = seeds.clone();
    for round in 0..(number("CLOOP_FUZZ", SHORT) * share).div_ceil(100) {
        let input = mutate(&mut random, random_of(&pool, round), random_of(&seeds, round / 7), words);
        try_one(&input);
        // Now and then a mutation is mutated on.
        if round % 16 == 0 {
            pool.truncate(seeds.len() + 32);
            pool.insert(seeds.len(), input);
        }
    }
    let peak = peak_memory();
    assert!(peak < MOST_MEMORY, "{target}: {peak} MiB");
}

/// Walks through a list in an order that repeats late.
fn random_of(list: &[Vec<u8>], round: u64) -> &[u8] {
    &list[(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % list.len()]
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_event_stream_is_read_whatever_comes() {
    let words = [
        "{\"type\":\"item.completed\",\"item\":",
        "\"turn.completed\"",
        "\"usage\":{\"input_tokens\":",
        "\"agent_message\"",
        "\"text\":\"",
    ];
    fuzz("events", Vec::new(), &words, 200, |bytes| {
        let mut whole = EventParser::new();
        let mut events = whole.push(bytes);
        events.extend(whole.finish());
        for event in &events {
            let _ = activity(event);
        }
        // How the bytes arrive makes no difference.
        let mut parts = EventParser::new();
        let mut again = Vec::new();
        for part in bytes.chunks(7) {
            again.extend(parts.push(part));
        }
        again.extend(parts.finish());
        assert_eq!(events, again);
    });
}

#[test]
fn answers_are_parsed_or_refused_whatever_comes() {
    let seeds = [
        "{\"verdict\":\"in-progress\",\"distanceFromGoal\":0.5,\"openIssues\":[{\"id\":\"a\",\"severity\":\"high\"}]}",
        "```json\n{\"proposals\":[]}\n```",
        "{\"scores\":[{\"id\":\"a\",\"correctness\":0.5}],\"winner\":{\"id\":\"a\"}}",
    ];
    let words = ["\"lineStart\":", "\"openIssues\":[", "```json", "\"patch\":\"", "\"confidence\":1e400"];
    fuzz("answers", seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(), &words, 60, |bytes| {
        let text = text_of(bytes);
        let _ = codex::parse::<Evaluation>(&text, &schema::evaluation());
        let _ = codex::parse::<Suggestion>(&text, &schema::proposals());
        let _ = codex::parse::<Ranking>(&text, &schema::ranking());
    });
}

#[test]
fn patches_are_rebuilt_or_refused_whatever_comes() {
    let file = |text: &str| FileVersion { mode: FileMode::Regular, content: text.as_bytes().to_vec() };
    let long: String = (0..200).fold(String::new(), |text, line| text + &format!("line {}\n", line % 17));
    let tree = MemoryTree::new([
        ("src/a.js".to_owned(), file("one\ntwo\nthree\nfour\nfive\nsix\n")),
        ("src/b.py".to_owned(), file("def f(x):\n    return x\r\n\n\ndef g():\n    pass")),
        ("long.txt".to_owned(), file(&long)),
        ("ü b.txt".to_owned(), file("\u{feff}x\ny\n")),
    ]);
    let words = [
        "--- a/src/a.js\n+++ b/src/a.js\n",
        "@@ -1,3 +1,3 @@\n",
        "*** Update File: long.txt\n",
        "rename from ",
        "GIT binary patch\n",
        "new file mode 120000\n",
        "\\ No newline at end of file\n",
        "deleted file mode 100644\n",
        " line 3\n",
    ];
    fuzz("patches", Vec::new(), &words, 150, |bytes| {
        if let Ok(rebuilt) = patch::rebuild(&text_of(bytes), &tree, &Limits::default()) {
            assert!(
                rebuilt.change.files.iter().all(|file| loop_companion::paths::fault(&file.path).is_none()),
                "{rebuilt:?}"
            );
        }
    });
}

#[test]
fn the_output_of_any_check_is_read_whatever_comes() {
    let fixtures = files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/readers"));
    let commands = [
        "npm test",
        "pytest -q",
        "cargo test",
        "go test ./...",
        "node --test",
        "npx jest",
        "npx vitest",
        "python -m unittest",
        "ruff check",
        "tsc",
        "./check",
    ];
    let words = [
        "<testcase classname=\"a\" name=\"b\"><failure>",
        "TAP version 13\n1..",
        "test result: FAILED. 1 passed; ",
        "Tests:       1 failed, ",
        "--- FAIL: ",
        "=== 1 failed, 2 passed in 0.1s ===",
        "# pass ",
        "Ran 3 tests in 0.1s",
    ];
    fuzz("readers", fixtures, &words, 100, |bytes| {
        let text = text_of(bytes);
        let command = commands[bytes.len() % commands.len()];
        let reports: Vec<ReportFile> = (bytes.len() % 3 == 0)
            .then(|| ReportFile { path: "r.xml".into(), text: text.clone() })
            .into_iter()
            .collect();
        let reading = readers::read(&text, &reports, command);
        // What is kept of an output is not larger than the output, but for the names of parts.
        let kept: usize = reading.ids.iter().flatten().map(|(id, _)| id.len()).sum();
        assert!(kept <= 64 * text.len() + 4096, "{kept} bytes of ids from {}", text.len());
    });
}

#[test]
fn journals_are_read_and_folded_whatever_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let words = [
        "{\"seq\":1,\"at\":\"2026-01-02T03:04:05Z\",\"event\":",
        "\"type\":\"finished\"",
        "\"type\":\"reopened\",\"rounds\":null,\"dryRun\":false",
        "18446744073709551615",
    ];
    fuzz("journals", Vec::new(), &words, 60, |bytes| {
        fs::write(&path, bytes).unwrap();
        let Ok(journal) = read_journal(&path) else { return };
        let Some(state) = State::replay(&journal.records) else { return };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let _ = decide(&state, now);
        let shown = report::status_report(&state, false, now);
        let _ = report::status_text(&shown);
        for record in &journal.records {
            let _ = report::progress_line(&state, record);
        }
    });
}

#[test]
fn journals_whose_events_come_in_any_order_are_folded() {
    // Lines that each parse, numbered anew: the fold sees events that no runtime would write in this order.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let seeds = files_in(&corpus_dir("journals"));
    let texts: Vec<String> = seeds.iter().map(|seed| text_of(seed)).collect();
    let pool: Vec<serde_json::Value> =
        texts.iter().flat_map(|text| text.lines()).filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut random = Random(number("CLOOP_FUZZ_SEED", 7));
    for _ in 0..(number("CLOOP_FUZZ", SHORT) / 5) {
        let mut lines = vec![pool[0].clone()];
        lines.extend((0..random.below(60)).map(|_| random.pick(&pool).clone()));
        for (at, line) in lines.iter_mut().enumerate() {
            line["seq"] = (at + 1).into();
        }
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let text = lines.join("\n") + "\n";
        fs::write(&path, &text).unwrap();
        let journal = read_journal(&path).unwrap();
        if let Some(state) = State::replay(&journal.records) {
            let now = Timestamp::from_second(1_800_000_000).unwrap();
            let _ = decide(&state, now);
            let _ = report::status_text(&report::status_report(&state, true, now));
            let _ = (
                report::stats_report(&[state.clone(), state.clone()], 0),
                loop_companion::engine::proof_reserve_ms(&state),
            );
        }
    }
}

#[test]
fn the_small_files_of_the_store_are_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    store.create().unwrap();
    let seeds = [
        "{\"runId\":null,\"model\":\"m\",\"effort\":\"high\"}",
        "{\"pid\":12,\"startTime\":3,\"runId\":\"r\",\"version\":\"0.1.0\"}",
    ];
    fuzz("store", seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(), &["\"runId\":", "null"], 40, |bytes| {
        for name in ["model.json", "lock", "plans/abc.json"] {
            fs::write(store.dir().join(name), bytes).unwrap();
        }
        let _ = (store.model_request(), store.holder(), store.load_plan("sha256:abc"));
    });
}

#[test]
fn configuration_is_read_or_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment { user_file: Some(folder.path().join("user/config.toml")), ..Environment::default() };
    fs::create_dir(folder.path().join("user")).unwrap();
    let seeds = [
        "test-cmd = \"npm test\"\nmax-iter = 3\nscope = [\"src/**\"]\neffort = \"high,rank=low\"\n",
        "max-time = \"1h 30m\"\nallow-dirty = true\n",
    ];
    let words =
        ["max-iter = ", "\"\"\"", "[a.b]\n", "effort = \"=\"", "max-time = \"-9999999999h\"", "where = \"", "x = 1\n"];
    fuzz("config", seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(), &words, 100, |bytes| {
        let text = text_of(bytes);
        fs::write(folder.path().join(config::REPOSITORY_FILE), &text).unwrap();
        fs::write(folder.path().join("user/trusted.json"), &text).unwrap();
        let _ = config::files(folder.path(), &environment);
        fs::write(folder.path().join("user/config.toml"), &text).unwrap();
        fs::remove_file(folder.path().join("user/trusted.json")).unwrap();
        if let Err(error) = config::files(folder.path(), &environment) {
            let failure = error.downcast_ref::<loop_companion::error::Failure>();
            assert!(failure.is_some_and(|failure| failure.hint.is_some()), "{error:#}");
        }
    });
}

#[test]
fn masking_takes_any_text_and_does_it_once() {
    let seeds = [
        "API_KEY=abc password: hunter22 https://u:p@h/x",
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
        "export A=\"b c\" # d\nauthorization: Bearer abcdefghijk",
    ];
    let words = [
        "-----BEGIN RSA PRIVATE KEY-----",
        "://a:",
        "authorization: ",
        "sk-",
        "eyJ",
        "SECRET_TOKEN=",
        "[masked]",
        "token = \"",
    ];
    let masker = Masker::new(["literal-secret".to_owned()]);
    fuzz("masking", seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(), &words, 60, |bytes| {
        let text = text_of(bytes);
        let masked = masker.text(&text);
        assert!(!masked.contains("literal-secret"));
        assert!(
            loop_companion::masking::could_be(&masked, &text) || text.contains("[masked]"),
            "{text:?} → {masked:?}"
        );
        let _ = (masker.text(&masked), env_pairs(&text));
    });
}
