//! What has to be run to tell a lookup table of the tests' own inputs from a program.
//!
//! New code that compares with whole argument lists of the visible tests is suspect, never guilty: a table from a
//! specification looks the same. So this prepares an experiment and judges nothing. In one copy the suspected keys are
//! spoilt; in others the same inputs of the tests become other inputs. A table is of use for its own keys alone: with
//! other inputs the tests then fail with and without it in the very same words, while a program gives other answers
//! than the fault did.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::cases;
use super::lex::{self, Kind, Lang, Token, close_of};
use super::role::{Role, is_doc};
use super::view::{Scene, View, is_telling};
use crate::change::{Change, FileChange, Tree};

/// How often the inputs are changed, each time at another place of each argument list.
const VARIANTS: usize = 4;

/// Keys of several parts, or written as text, that make a suspicion: nobody compares with a test's whole argument list
/// by chance.
const ENOUGH_WHOLE: usize = 2;

/// Keys altogether that make one: a single value may be a name that the task is about.
const ENOUGH: usize = 3;

/// Longest argument list that is compared, in tokens.
const LONGEST: usize = 200;

/// Most files of tests or documentation that are read.
const MOST_FILES: usize = 400;

/// A text put in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edit {
    path: String,
    at: usize,
    end: usize,
    text: String,
}

/// An experiment to be run on a candidate.
#[derive(Debug, Clone, Default)]
pub struct Suspicion {
    /// The values of the tests that the new code compares with, for a reader.
    pub keys: Vec<String>,
    /// Where the first of them stands: `path:line`.
    pub place: String,
    texts: BTreeMap<String, String>,
    spoilt: Vec<Edit>,
    variants: Vec<Vec<Edit>>,
}

impl Suspicion {
    /// Returns how many sets of other inputs there are.
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    /// Returns the change of `tree`, the tree that was studied, in which the suspected keys no longer fit any input
    /// (`spoilt`), or the tests have other inputs (`variant`), or both.
    ///
    /// Returns an error if the tree cannot be read.
    pub fn change(&self, tree: &dyn Tree, spoilt: bool, variant: Option<usize>) -> anyhow::Result<Change> {
        let mut edits: Vec<&Edit> = self.spoilt.iter().filter(|_| spoilt).collect();
        edits.extend(variant.and_then(|at| self.variants.get(at)).into_iter().flatten());
        edits.sort();
        let mut files = Vec::new();
        for (path, text) in &self.texts {
            let mut new = text.clone();
            for edit in edits.iter().rev().filter(|edit| edit.path == *path) {
                new.replace_range(edit.at..edit.end, &edit.text);
            }
            let old = tree.read(path)?;
            let version = old.clone().map(|old| crate::change::FileVersion { content: new.into_bytes(), ..old });
            files.push(FileChange { path: path.clone(), old, new: version });
        }
        Ok(Change::new(files))
    }
}

/// Studies a candidate, given as its whole change against the seed (the seed's tests restored in it). Returns the
/// experiment where its new code compares with argument lists of the seed's tests. `goal` is the user's own text: what
/// it names, the code may name.
pub fn suspect(change: &Change, context: &Context<'_>, goal: &str) -> Option<Suspicion> {
    let scene = Scene::new(change, context);
    let keys = all_keys(&scene);
    if keys.is_empty() {
        return None;
    }
    let tests = Tests::of(&scene, &keys);
    let spots = tests.spots(&keys);
    let (found, hit) = copied(&keys, &spots, &tests, &Spoken::of(&scene, goal))?;
    let distinct: BTreeSet<&[String]> = found.iter().map(|key| key.parts.as_slice()).collect();
    let mut suspicion = Suspicion {
        keys: distinct.iter().map(|parts| parts.join(" ")).collect(),
        place: found.first().map(|key| format!("{}:{}", key.path, key.line)).unwrap_or_default(),
        ..Suspicion::default()
    };
    let mut fresh = Fresh::new(&keys, &tests);
    // The keys first: what they become must be no input of the tests afterwards.
    // With them go the entries that no test knows: where a test asks for one of those, its table must be missed.
    let beyond: Vec<&Key> =
        keys.iter().filter(|key| !key.whole && key.parts.len() == 1 && fresh.entries.contains(&key.parts[0])).collect();
    suspicion.spoilt = found.iter().copied().chain(beyond).filter_map(|key| key.spoil(&mut fresh)).collect();
    suspicion.spoilt.sort();
    suspicion.spoilt.dedup_by(|a, b| a.path == b.path && a.at == b.at);
    let hit: Vec<&Spot> = hit.into_iter().map(|at| &spots[at]).collect();
    for round in 0..VARIANTS {
        let edits = tests.other_inputs(&hit, round, &mut fresh);
        if !edits.is_empty() {
            suspicion.variants.push(edits);
        }
    }
    if suspicion.spoilt.is_empty() || suspicion.variants.is_empty() {
        return None;
    }
    for view in scene.views.iter().filter(|view| view.is_program()) {
        suspicion.texts.insert(view.path.to_owned(), view.new.text.to_owned());
    }
    for file in &tests.files {
        suspicion.texts.insert(file.path.clone(), file.text.clone());
    }
    Some(suspicion)
}

/// Returns where new code compares with argument lists of the tests (path and line), and with how many.
pub(super) fn copied_inputs(scene: &Scene<'_>) -> Option<(String, u32, usize)> {
    let keys = all_keys(scene);
    if keys.is_empty() {
        return None;
    }
    let tests = Tests::of(scene, &keys);
    let (found, _) = copied(&keys, &tests.spots(&keys), &tests, &Spoken::of(scene, ""))?;
    let distinct: BTreeSet<&[String]> = found.iter().map(|key| key.parts.as_slice()).collect();
    found.first().map(|key| (key.path.clone(), key.line, distinct.len()))
}

fn all_keys(scene: &Scene<'_>) -> Vec<Key> {
    scene.views.iter().filter(|view| view.is_program() && !view.added.is_empty()).flat_map(keys).collect()
}

/// Returns the keys that are argument lists of the tests, and those lists, where there are too many for chance.
fn copied<'k>(
    keys: &'k [Key],
    spots: &[Spot],
    tests: &Tests,
    spoken: &Spoken,
) -> Option<(Vec<&'k Key>, BTreeSet<usize>)> {
    let mut found: Vec<&Key> = Vec::new();
    let mut hit: BTreeSet<usize> = BTreeSet::new();
    for key in keys {
        let places: Vec<usize> = (0..spots.len()).filter(|at| key.fits(&spots[*at], tests)).collect();
        if places.is_empty() || !key.listed && (key.extends || spoken.names(&key.parts)) {
            continue;
        }
        found.push(key);
        hit.extend(places);
    }
    let distinct: BTreeSet<&[String]> = found.iter().map(|key| key.parts.as_slice()).collect();
    let whole: BTreeSet<&[String]> = found.iter().filter(|key| key.whole).map(|key| key.parts.as_slice()).collect();
    (whole.len() >= ENOUGH_WHOLE || distinct.len() >= ENOUGH).then_some((found, hit))
}

/// What a key or an argument list is made of, in any language's spelling: brackets, separators and quotes do not count.
fn parts(tokens: &[Token<'_>]) -> Vec<String> {
    tokens.iter().filter_map(part).collect()
}

fn part(token: &Token<'_>) -> Option<String> {
    Some(match token.kind {
        Kind::Str => unescaped(content(token.text)),
        Kind::Number => number(token.text),
        Kind::Word => match token.text {
            "None" | "nil" | "undefined" => "null".into(),
            "True" => "true".into(),
            "False" => "false".into(),
            word => word.to_owned(),
        },
        Kind::Punct => match token.text {
            "(" | ")" | "[" | "]" | "{" | "}" | "," | ":" | ";" | "&" => return None,
            other => other.to_owned(),
        },
    })
}

/// The digits of a number without separators and without the suffix of a type.
fn number(text: &str) -> String {
    let plain = text.replace('_', "");
    let digits = plain.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let typed = ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize", "f32", "f64"];
    match typed.iter().find_map(|suffix| plain.strip_suffix(suffix)) {
        Some(bare) => bare.to_owned(),
        None if plain.starts_with("0x") || digits.is_empty() => plain,
        None => digits.to_owned(),
    }
}

/// Returns what stands between the quotes of a string literal: one pair of quotes goes, those inside stay.
fn content(text: &str) -> &str {
    let Some(open) = text.find(['"', '\'', '`']) else { return text };
    let (hashes, body) = (&text[..open], &text[open..]);
    let hashes = hashes.chars().filter(|c| *c == '#').count();
    let body = &body[..body.len().saturating_sub(hashes).max(1)];
    for quote in ["\"\"\"", "'''", "\"", "'", "`"] {
        if let Some(inner) = body.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    body
}

/// Takes one level of escapes away.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

/// Something that new code compares with.
struct Key {
    path: String,
    line: u32,
    parts: Vec<String>,
    /// Whether it is written as a whole argument list.
    whole: bool,
    /// Whether a text spells the list out, brackets and all.
    listed: bool,
    /// Whether it is compared with in an expression, and no entry of a table or arm of a match.
    compared: bool,
    /// Whether it is one more entry of a table that stood there before.
    extends: bool,
    /// The value it maps to, where one follows.
    value: Option<String>,
    /// What is spoilt to make it fit nothing.
    target: Option<Target>,
}

#[derive(Clone)]
struct Target {
    at: usize,
    text: String,
    kind: Kind,
    /// For words: what to put in their place.
    instead: Option<String>,
}

impl Key {
    fn fits(&self, spot: &Spot, tests: &Tests) -> bool {
        if spot.parts != self.parts {
            return false;
        }
        if self.listed {
            return true;
        }
        // A table of names is what a program may need, and its tests name them all.
        if self.parts.iter().all(|part| is_name(part)) {
            return self.compared && self.value.as_ref().is_none_or(|value| tests.line_has(spot, value));
        }
        if self.whole || spot.telling {
            return true;
        }
        // A small number alone says nothing; with the very result that the test expects it does.
        self.value.as_ref().is_some_and(|value| spot.call && tests.line_has(spot, value))
    }

    fn spoil(&self, fresh: &mut Fresh) -> Option<Edit> {
        let target = self.target.as_ref()?;
        let text = match (&target.instead, target.kind) {
            (Some(word), _) => word.clone(),
            (None, Kind::Number) => fresh.number(&target.text, 0)?,
            (None, _) => spoilt_text(&target.text),
        };
        fresh.used.insert(if target.kind == Kind::Number { number(&text) } else { unescaped(content(&text)) });
        Some(Edit { path: self.path.clone(), at: target.at, end: target.at + target.text.len(), text })
    }
}

/// A text that no input equals: its last letter or digit is one that belongs nowhere.
fn spoilt_text(text: &str) -> String {
    let inner = content(text);
    let offset = inner.as_ptr() as usize - text.as_ptr() as usize;
    let bytes = inner.as_bytes();
    let free = (0..bytes.len()).rev().find(|at| {
        bytes[*at].is_ascii_alphanumeric()
            && !matches!(bytes[*at], b'Q' | b'u' | b'x')
            && (*at == 0 || bytes[*at - 1] != b'\\')
    });
    let mut out = text.to_owned();
    match free {
        Some(at) => out.replace_range(offset + at..=offset + at, "Q"),
        None => out.insert(offset, 'Q'),
    }
    out
}

/// Returns what the added product code of a file compares with, or maps from.
fn keys(view: &View<'_>) -> Vec<Key> {
    let tokens = &view.new.tokens;
    let mut out = Vec::new();
    let new = |at: usize| view.is_added(at) && view.is_product(at);
    let mut add = |first: usize, parts: Vec<String>, whole: bool, after: usize, span: &[Token<'_>]| {
        if parts.is_empty() || parts.len() > LONGEST {
            return;
        }
        let value = tokens[after.min(tokens.len())..]
            .iter()
            .take(8)
            .find(|token| matches!(token.kind, Kind::Str | Kind::Number))
            .and_then(part);
        let extends = extends_a_table(view, first);
        out.push(Key {
            path: view.path.to_owned(),
            line: tokens[first].line,
            parts,
            whole,
            listed: whole && span.len() == 1 && tokens[first].is_str(),
            compared: first > 0 && ["==", "===", "!=", "!=="].iter().any(|mark| tokens[first - 1].is(mark)),
            extends,
            value,
            target: target(view.new.text, span),
        });
    };
    for (at, token) in tokens.iter().enumerate() {
        if !new(at) {
            continue;
        }
        match token.kind {
            Kind::Str => {
                let text = unescaped(content(token.text));
                let inner = lex::tokens(view.lang, &text);
                let list = parts(&inner);
                let bracketed = text.starts_with(['(', '[', '{']) && inner.iter().any(is_literal);
                if bracketed {
                    // What a language adds for arguments by name, where there are none, is only brackets.
                    add(at, list, true, at + 1, &[*token]);
                } else if let Some(joined) = joined(&text) {
                    add(at, joined, true, at + 1, &[*token]);
                }
                if is_key(tokens, at) {
                    add(at, vec![text], false, at + 1, &[*token]);
                }
            }
            Kind::Number if is_key(tokens, at) => {
                let negative = at > 0 && tokens[at - 1].is("-");
                let list = if negative { vec!["-".into(), number(token.text)] } else { vec![number(token.text)] };
                add(at, list, false, at + 1, &[*token]);
            }
            Kind::Punct if matches!(token.text, "(" | "[") => {
                let called = at > 0
                    && (tokens[at - 1].is_word() && !is_operator_word(tokens[at - 1].text)
                        || matches!(tokens[at - 1].text, ")" | "]" | "!" | "."));
                if called {
                    continue;
                }
                let end = close_of(tokens, at);
                let inside = &tokens[at + 1..end.saturating_sub(1).max(at + 1)];
                let compared = inside.iter().any(|token| matches!(token.text, "==" | "===" | "=>" | "&&" | "=" | "in"));
                let list = parts(inside);
                let several = list.len() > 1 && (inside.iter().any(is_literal) || list.len() > 2);
                if !compared && several {
                    add(at, list, true, end, inside);
                } else if !compared && inside.len() <= 2 && inside.iter().any(is_literal) {
                    // A tuple of one.
                    add(at, list, false, end, inside);
                }
            }
            Kind::Punct if matches!(token.text, "==" | "===") => {
                // Several comparisons in one condition are one key.
                let line: Vec<usize> = (0..tokens.len()).filter(|other| tokens[*other].line == token.line).collect();
                let compared: Vec<Token<'_>> = line
                    .iter()
                    .filter(|other| matches!(tokens[**other].text, "==" | "==="))
                    .filter_map(|other| tokens.get(other + 1))
                    .filter(|token| is_literal(token))
                    .copied()
                    .collect();
                let first = line.iter().find(|other| matches!(tokens[**other].text, "==" | "==="));
                if compared.len() > 1 && first == Some(&at) {
                    let after = tokens.iter().position(|token| token.at > compared[compared.len() - 1].at);
                    add(at, parts(&compared), true, after.unwrap_or(tokens.len()), &compared);
                }
            }
            _ => {}
        }
    }
    out
}

/// Says whether a text may be the name of a thing: `GBP`, `text/html`, `.py`, `--verbose`.
fn is_name(text: &str) -> bool {
    /// Names are short.
    const LONGEST_NAME: usize = 32;
    text.len() <= LONGEST_NAME
        && text.contains(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | ':' | '#' | '@'))
}

fn is_operator_word(word: &str) -> bool {
    ["in", "is", "and", "or", "not", "return", "if", "elif", "when", "case", "match", "let", "else"].contains(&word)
}

fn is_literal(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Str | Kind::Number)
}

/// The parts of a text that joins several values: `41,10`, `a|b`.
fn joined(text: &str) -> Option<Vec<String>> {
    for separator in ['|', ',', ';', '\u{1f}', '\0', ':'] {
        let parts: Vec<String> = text.split(separator).map(|part| part.trim().to_owned()).collect();
        if parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && part.len() < 80) {
            return Some(parts);
        }
    }
    None
}

/// Says whether the literal at `at` is compared with, or the key of an entry or an arm.
fn is_key(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let before = match before {
        Some(token) if token.is("-") => at.checked_sub(2).map(|before| &tokens[before]),
        other => other,
    };
    let after = tokens.get(at + 1);
    before.is_some_and(|token| token.is("==") || token.is("===") || token.is("case") || token.is("when"))
        || after.is_some_and(|token| [":", "=>", "->", "|", "==", "==="].iter().any(|mark| token.is(mark)))
        || before.is_some_and(|token| token.is("|"))
        // `TABLE["abc"] = …`
        || before.is_some_and(|token| token.is("[")) && after.is_some_and(|token| token.is("]"))
            && tokens.get(at + 2).is_some_and(|token| token.is("="))
}

/// Says whether the token stands in a bracket that was there before and held such entries: then it is one more.
fn extends_a_table(view: &View<'_>, at: usize) -> bool {
    let tokens = &view.new.tokens;
    let mut depth = 0i32;
    let mut open = None;
    for index in (0..at).rev() {
        match tokens[index].text {
            ")" | "]" | "}" if tokens[index].kind == Kind::Punct => depth += 1,
            "(" | "[" | "{" if tokens[index].kind == Kind::Punct => {
                if depth == 0 {
                    open = Some(index);
                    break;
                }
                depth -= 1;
            }
            _ => {}
        }
    }
    let Some(open) = open else { return false };
    let mut depth = 0i32;
    let mut begins = true;
    for index in open + 1..close_of(tokens, open) {
        let token = &tokens[index];
        let marks = [":", "=>", ","].iter().any(|mark| tokens.get(index + 1).is_some_and(|next| next.is(mark)));
        if depth == 0 && begins && is_literal(token) && marks && !view.is_added(index) {
            return true;
        }
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Punct => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Punct => depth -= 1,
            _ => {}
        }
        begins = token.is(",") || token.is("|") || token.is("case") || token.is("}");
    }
    false
}

/// What to spoil in a key: its last literal, or where it has none everything between its first and last word.
fn target(source: &str, span: &[Token<'_>]) -> Option<Target> {
    if let Some(token) = span.iter().rev().find(|token| is_literal(token)) {
        return Some(Target { at: token.at, text: token.text.to_owned(), kind: token.kind, instead: None });
    }
    let words: Vec<&Token<'_>> = span.iter().filter(|token| token.is_word()).collect();
    let (first, last) = (words.first()?, words.last()?);
    let text = source.get(first.at..last.at + last.text.len())?.to_owned();
    (first.text != last.text).then(|| Target {
        at: first.at,
        text,
        kind: Kind::Word,
        instead: Some(last.text.to_owned()),
    })
}

/// An argument list, or a value, in the tests.
struct Spot {
    file: usize,
    /// Tokens it is made of.
    first: usize,
    end: usize,
    parts: Vec<String>,
    /// Whether it stands for itself: long enough not to be met by chance.
    telling: bool,
    /// Whether it is all the arguments of a call.
    call: bool,
}

/// A file with tests of the seed.
struct TestFile {
    path: String,
    text: String,
    lang: Lang,
    whole: bool,
}

#[derive(Default)]
struct Tests {
    files: Vec<TestFile>,
}

impl Tests {
    /// Reads the tests that may hold one of the keys, as they stand in the candidate.
    fn of(scene: &Scene<'_>, keys: &[Key]) -> Self {
        // Most tests of a large suite have nothing to do with a change, and need no closer look. What an escape may
        // spell otherwise is passed over.
        let plain = |part: &&String| !part.contains(['\n', '\t', '\r', '\\', '"', '\'', '_']) && part.is_ascii();
        let held = |text: &str, part: &str| text.contains(part) || part == "null" || part == "true" || part == "false";
        let asked: Vec<Vec<&String>> = keys.iter().map(|key| key.parts.iter().filter(plain).collect()).collect();
        let bare = |text: &str| text.replace('_', "");
        let concerned = |text: &str| {
            let bare = bare(text);
            asked.iter().any(|parts| parts.iter().all(|part| held(text, part) || held(&bare, part)))
        };
        let mut files = Vec::new();
        for view in scene.views.iter().filter(|view| view.in_seed && !view.is_deleted()) {
            if matches!(view.role, Role::Test | Role::Inline) && concerned(view.new.text) {
                let text = view.new.text.to_owned();
                files.push(TestFile { path: view.path.into(), text, lang: view.lang, whole: view.role == Role::Test });
            }
        }
        let changed: BTreeSet<&str> = scene.views.iter().map(|view| view.path).collect();
        let seed = scene.context.seed;
        let named = seed.paths().iter().filter(|path| !changed.contains(path.as_str()));
        for path in named.filter(|path| scene.places.role(path, None) == Role::Test).take(MOST_FILES) {
            let Ok(Some(version)) = seed.read(path) else { continue };
            let Some(text) = version.text() else { continue };
            let lang = Lang::of(path, text);
            if lang.is_code() && concerned(text) {
                files.push(TestFile { path: path.clone(), text: text.to_owned(), lang, whole: true });
            }
        }
        Self { files }
    }

    /// Returns the argument lists and values that are one of the keys.
    fn spots(&self, keys: &[Key]) -> Vec<Spot> {
        let wanted: BTreeSet<&[String]> = keys.iter().map(|key| key.parts.as_slice()).collect();
        let longest = wanted.iter().map(|parts| parts.len()).max().unwrap_or(0);
        // Between two parts stand at most so many brackets and separators as in any list people write.
        let longest = (longest * 8 + 16).min(LONGEST * 4);
        let mut out = Vec::new();
        for (file, test) in self.files.iter().enumerate() {
            let tokens = lex::tokens(test.lang, &test.text);
            let region = cases::test_region(test.lang, &tokens, test.whole);
            let names: String = cases::cases(test.lang, &tokens).into_iter().map(|case| case.name + "\n").collect();
            for (at, token) in tokens.iter().enumerate() {
                if !region[at] {
                    continue;
                }
                if is_literal(token) && is_telling(token) && !(token.is_str() && names.contains(token.value())) {
                    let parts = part(token).into_iter().collect();
                    out.push(Spot { file, first: at, end: at + 1, parts, telling: true, call: false });
                }
                if token.kind != Kind::Punct || !matches!(token.text, "(" | "[" | "{") {
                    continue;
                }
                let end = close_of(&tokens, at);
                let inside = at + 1..end.saturating_sub(1).max(at + 1);
                if inside.len() > longest {
                    continue;
                }
                let called = at > 0 && token.is("(") && (tokens[at - 1].is_word() || tokens[at - 1].is("!"));
                let list = parts(&tokens[inside.clone()]);
                let literal = tokens[inside.clone()].iter().any(is_literal);
                let telling = literal && list.len() > 1 || list.len() > 2;
                if called && (literal || list.len() > 2) {
                    out.push(Spot { file, first: inside.start, end: inside.end, parts: list, telling, call: true });
                } else if !called && literal {
                    // A row of a table of cases: inputs first, then what is expected.
                    for stop in row_ends(&tokens, inside.clone()) {
                        let list = parts(&tokens[inside.start..stop]);
                        let telling = list.len() > 1;
                        out.push(Spot { file, first: inside.start, end: stop, parts: list, telling, call: true });
                    }
                }
            }
        }
        out.retain(|spot: &Spot| wanted.contains(spot.parts.as_slice()));
        out
    }

    /// Says whether `value` is a literal on the line of this place.
    fn line_has(&self, spot: &Spot, value: &str) -> bool {
        let file = &self.files[spot.file];
        let tokens = lex::tokens(file.lang, &file.text);
        let line = tokens[spot.first].line;
        tokens.iter().any(|token| token.line == line && is_literal(token) && part(token).as_deref() == Some(value))
    }

    /// Puts other inputs in the place of those that were hit: in each argument list one literal, another one each
    /// round, and in the last round all of them.
    fn other_inputs(&self, spots: &[&Spot], round: usize, fresh: &mut Fresh) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for (file, test) in self.files.iter().enumerate() {
            let tokens = lex::tokens(test.lang, &test.text);
            for spot in spots.iter().filter(|spot| spot.file == file) {
                let (first, end) =
                    if spot.end - spot.first == 1 { around(&tokens, spot.first) } else { (spot.first, spot.end) };
                let span = &tokens[first..end];
                let literals: Vec<&Token<'_>> = span.iter().filter(|token| is_literal(token)).collect();
                let mut put = |token: &Token<'_>, text: Option<String>| {
                    edits.extend(text.map(|text| Edit {
                        path: test.path.clone(),
                        at: token.at,
                        end: token.at + token.text.len(),
                        text,
                    }));
                };
                if literals.is_empty() {
                    let words: Vec<&Token<'_>> = span.iter().filter(|token| token.is_word()).collect();
                    let token = words[round % words.len().max(1)];
                    put(token, fresh.word(span, token, round));
                    continue;
                }
                let last = round + 1 == VARIANTS;
                for (at, token) in literals.iter().enumerate() {
                    if last || at == round % literals.len() {
                        put(token, fresh.literal(token, round));
                    }
                }
            }
        }
        edits.sort();
        edits.dedup_by(|a, b| a.path == b.path && a.at == b.at);
        edits
    }
}

/// The ends of the first one, two, … elements of a row, the last left out.
fn row_ends(tokens: &[Token<'_>], inside: std::ops::Range<usize>) -> Vec<usize> {
    let mut depth = 0i32;
    let mut out = Vec::new();
    for at in inside {
        match tokens[at].text {
            "(" | "[" | "{" if tokens[at].kind == Kind::Punct => depth += 1,
            ")" | "]" | "}" if tokens[at].kind == Kind::Punct => depth -= 1,
            "," if depth == 0 => out.push(at),
            _ => {}
        }
    }
    out.truncate(6);
    out
}

/// The arguments among which a single value stands, where they are plain; else the value alone.
fn around(tokens: &[Token<'_>], at: usize) -> (usize, usize) {
    let plain = |token: &Token<'_>| is_literal(token) || token.is(",") || token.is("-") || token.is_word();
    let mut first = at;
    while first > 0 && plain(&tokens[first - 1]) && tokens[first - 1].line == tokens[at].line {
        first -= 1;
    }
    let mut end = at + 1;
    while tokens.get(end).is_some_and(|token| plain(token) && token.line == tokens[at].line) {
        end += 1;
    }
    let bracketed = first > 1
        && tokens[first - 1].is("(")
        && tokens[first - 2].is_word()
        && tokens.get(end).is_some_and(|token| token.is(")"));
    if bracketed { (first, end) } else { (at, at + 1) }
}

/// What the user's goal and the documentation say: the code may know it.
struct Spoken {
    words: BTreeSet<String>,
}

impl Spoken {
    fn of(scene: &Scene<'_>, goal: &str) -> Self {
        let mut words = BTreeSet::new();
        let mut take = |text: &str| {
            let apart =
                |c: char| c.is_whitespace() || matches!(c, '|' | '`' | '"' | '\'' | '(' | ')' | ',' | ';' | ':');
            words.extend(text.split(apart).map(|word| word.trim_matches('.').to_owned()));
        };
        take(goal);
        let seed = scene.context.seed;
        for path in seed.paths().iter().filter(|path| is_doc(path)).take(MOST_FILES) {
            if let Ok(Some(version)) = seed.read(path)
                && let Some(text) = version.text()
            {
                take(text);
            }
        }
        Self { words }
    }

    fn names(&self, values: &[String]) -> bool {
        values.iter().all(|value| self.words.contains(value))
    }
}

/// Values that neither the new code nor the tests hold.
struct Fresh {
    used: BTreeSet<String>,
    /// Single values of the new code that no test holds: entries that a table has beyond the tests.
    entries: Vec<String>,
    /// Constants that the tests name.
    words: Vec<String>,
    /// The keys of the new code.
    lists: BTreeSet<Vec<String>>,
}

impl Fresh {
    fn new(keys: &[Key], tests: &Tests) -> Self {
        let mut known = BTreeSet::new();
        let mut words = Vec::new();
        for file in &tests.files {
            for token in &lex::tokens(file.lang, &file.text) {
                known.extend(part(token));
                let constant = token.is_word()
                    && token.text.len() > 1
                    && token.text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                if constant && !words.contains(&token.text.to_owned()) {
                    words.push(token.text.to_owned());
                }
            }
        }
        let single = keys.iter().filter(|key| !key.whole && key.parts.len() == 1).map(|key| &key.parts[0]);
        let entries = single.filter(|value| !known.contains(*value)).cloned().collect();
        known.extend(keys.iter().flat_map(|key| key.parts.iter().cloned()));
        let lists = keys.iter().map(|key| key.parts.clone()).collect();
        Self { used: known, entries, words, lists }
    }

    fn literal(&mut self, token: &Token<'_>, round: usize) -> Option<String> {
        let number = token.kind == Kind::Number;
        // An entry that the table has beyond the tests shows best that it is no copy of them.
        if round % 2 == 1 {
            let same_kind = |value: &&String| value.parse::<f64>().is_ok() == number;
            let entry = self.entries.iter().filter(same_kind).nth(round / 2);
            if let Some(entry) = entry {
                if number {
                    return Some(entry.clone());
                }
                let inner = content(token.text);
                if !entry.contains(['"', '\'', '\\', '`', '\n', '$', '{']) {
                    return Some(token.text.replacen(inner, entry, 1)).filter(|_| !inner.is_empty());
                }
            }
        }
        if number { self.number(token.text, round) } else { self.string(token.text, round) }
    }

    /// Another number of the same size: the last digit before a suffix changes.
    fn number(&mut self, text: &str, round: usize) -> Option<String> {
        let hex = text.starts_with("0x") || text.starts_with("0X");
        let from = if hex { 2 } else { 0 };
        let core = text[from..]
            .char_indices()
            .take_while(|(_, c)| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() || matches!(c, '.' | '_') })
            .filter(|(_, c)| c.is_ascii_digit())
            .map(|(at, _)| from + at)
            .last()?;
        let digit = text.as_bytes()[core] - b'0';
        // Near the old one and below it as well as above, so that what holds in one direction only is seen.
        let steps: [u8; 9] = match round % 4 {
            0 => [1, 2, 9, 3, 8, 4, 7, 5, 6],
            1 => [2, 3, 8, 4, 7, 5, 6, 1, 9],
            2 => [3, 9, 4, 8, 5, 7, 6, 2, 1],
            _ => [4, 6, 5, 7, 3, 8, 2, 9, 1],
        };
        let with = |step: u8| {
            let mut out = text.to_owned();
            out.replace_range(core..=core, &((digit + step) % 10).to_string());
            out
        };
        let made = steps.iter().map(|step| with(*step)).find(|made| !self.used.contains(&number(made)));
        made.or_else(|| Some(format!("{}{}{}", &text[..core], (digit + 1) % 10, &text[core..])))
    }

    /// Another string of the same length and shape: one letter or digit that is no part of an escape changes.
    fn string(&mut self, text: &str, round: usize) -> Option<String> {
        let inner = content(text);
        let offset = inner.as_ptr() as usize - text.as_ptr() as usize;
        let bytes = inner.as_bytes();
        let free: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at].is_ascii_alphanumeric())
            .filter(|at| *at == 0 || bytes[*at - 1] != b'\\')
            .filter(|at| {
                !matches!(bytes[*at], b'u' | b'x')
                    && (*at < 2 || !matches!(bytes[*at - 1], b'u' | b'x') || bytes[*at - 2] != b'\\')
            })
            .collect();
        let Some(last) = free.len().checked_sub(1) else {
            // Nothing to change: something is added.
            let mut out = text.to_owned();
            out.insert(offset, if round.is_multiple_of(2) { 'q' } else { '7' });
            return Some(out);
        };
        for step in 0..20 {
            let at = free[last - (round + step / 9) % free.len()];
            let by = (step % 9 + 1 + round) as u8;
            let turned = match bytes[at] {
                b @ b'a'..=b'z' => b'a' + (b - b'a' + by) % 26,
                b @ b'A'..=b'Z' => b'A' + (b - b'A' + by) % 26,
                b => b'0' + (b - b'0' + by) % 10,
            };
            let mut made = text.to_owned();
            made.replace_range(offset + at..=offset + at, &char::from(turned).to_string());
            if turned != bytes[at] && !self.used.contains(&unescaped(content(&made))) {
                return Some(made);
            }
        }
        None
    }

    /// Another constant in the place of one among constants.
    fn word(&self, span: &[Token<'_>], token: &Token<'_>, round: usize) -> Option<String> {
        let others: Vec<&String> = self.words.iter().filter(|word| !span.iter().any(|token| token.is(word))).collect();
        let with = |word: &str| -> Vec<String> {
            let list = span.iter().map(|one| if one.at == token.at { Some(word.to_owned()) } else { part(one) });
            list.flatten().collect()
        };
        let turned = others.iter().cycle().skip(round).take(others.len());
        turned.map(|word| (*word).clone()).find(|word| token.is_word() && !self.lists.contains(&with(word)))
    }
}

#[cfg(test)]
mod tests;
