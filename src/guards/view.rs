//! What the rules look at: every changed file tokenised once, with its role, its tests and what is new in it.

use std::collections::{BTreeMap, BTreeSet};

use super::cases::{self, Case};
use super::lex::{self, Lang, Token};
use super::places::{Places, words};
use super::role::{Role, test_role};
use super::{Context, glob_set};
use crate::change::{Change, FileChange};

/// One version of a file, tokenised.
pub(super) struct Side<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) cases: Vec<Case>,
    /// Per token: whether it belongs to tests.
    pub(super) region: Vec<bool>,
}

impl<'a> Side<'a> {
    fn new(lang: Lang, text: &'a str, role: Role) -> Self {
        let tokens = lex::tokens(lang, text);
        let whole = matches!(role, Role::Test);
        let inline = matches!(role, Role::Inline);
        let cases = if whole || inline { cases::cases(lang, &tokens) } else { Vec::new() };
        let region = if inline || whole { cases::test_region(lang, &tokens, whole) } else { vec![false; tokens.len()] };
        Self { text, tokens, cases, region }
    }

    /// Returns the test code that belongs to no single test, line by line.
    pub(super) fn skeleton(&self) -> Vec<(String, u32)> {
        lex::lines(&self.shared())
    }

    /// Returns the tokens of the test code that belongs to no single test.
    pub(super) fn shared(&self) -> Vec<Token<'a>> {
        let mut outside = self.region.clone();
        for case in &self.cases {
            outside[case.first..case.end].fill(false);
        }
        self.tokens.iter().zip(outside).filter(|(_, on)| *on).map(|(t, _)| *t).collect()
    }

    /// Says whether nothing in this version is a test.
    pub(super) fn is_testless(&self) -> bool {
        !self.region.contains(&true)
    }
}

/// One changed file.
pub(super) struct View<'a> {
    pub(super) file: &'a FileChange,
    pub(super) path: &'a str,
    pub(super) role: Role,
    pub(super) lang: Lang,
    pub(super) old: Side<'a>,
    pub(super) new: Side<'a>,
    /// Lines of the new version whose code the old version does not have.
    pub(super) added: BTreeSet<u32>,
    /// Code lines of the old version that are gone: text and line.
    pub(super) removed: Vec<(String, u32)>,
    /// Whether the seed had this file, so that its tests and settings are protected.
    pub(super) in_seed: bool,
    /// Whether the file becomes what it was in the seed.
    pub(super) restores_seed: bool,
}

impl<'a> View<'a> {
    fn new(file: &'a FileChange, scene: &Scene<'a>) -> Self {
        let path = file.path.as_str();
        let (old_text, new_text) = (file.old_text(), file.new_text());
        let lang = Lang::of(path, if file.new.is_some() { new_text } else { old_text });
        let mut role = scene.places.role(path, file.old.as_ref().and_then(|v| v.text()));
        if file.old.is_none() || role == Role::Source {
            let now = scene.places.role(path, file.new.as_ref().and_then(|v| v.text()));
            // Product code does not become a test by holding one.
            let posing = role == Role::Source
                && now == Role::Test
                && !scene.places.is_test_by_place(path)
                && (file.old.is_some() || scene.is_among_product(path));
            role = if posing { Role::Source } else { now };
        }
        if scene.places.scripts.contains(path) && !matches!(role, Role::Test | Role::TestData) {
            role = Role::CheckConfig;
        }
        let old = Side::new(lang, old_text, role);
        let new = Side::new(lang, new_text, role);
        let (added, removed) = difference(&lex::lines(&old.tokens), &lex::lines(&new.tokens));
        let seed = scene.context.seed.read(path).ok().flatten();
        let in_seed = seed.is_some();
        let restores_seed = in_seed && seed == file.new;
        Self { file, path, role, lang, old, new, added, removed, in_seed, restores_seed }
    }

    pub(super) fn is_created(&self) -> bool {
        self.file.old.is_none()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.file.new.is_none()
    }

    /// Says whether this file holds tests that stood before.
    pub(super) fn has_old_tests(&self) -> bool {
        match self.role {
            Role::Test | Role::TestData => !self.is_created(),
            Role::Inline => !self.old.is_testless(),
            _ => false,
        }
    }

    /// Returns the places of `pattern` in new code: on an added line, and more often than in the old version.
    pub(super) fn grown(&self, pattern: &str) -> Vec<usize> {
        let now = lex::find(&self.new.tokens, pattern);
        let before = lex::find(&self.old.tokens, pattern).len();
        if now.len() <= before {
            return Vec::new();
        }
        now.into_iter().filter(|at| self.is_added(*at)).collect()
    }

    pub(super) fn is_added(&self, at: usize) -> bool {
        self.added.contains(&self.new.tokens[at].line)
    }

    /// Says whether the token of the new version at `at` is product code.
    pub(super) fn is_product(&self, at: usize) -> bool {
        matches!(self.role, Role::Source | Role::Inline) && !self.new.region[at]
    }

    /// Says whether the role makes this file program code of the product, tests inside or not.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.role, Role::Source | Role::Inline) && self.lang.is_code()
    }

    pub(super) fn line(&self, at: usize) -> u32 {
        self.new.tokens.get(at).map_or(1, |t| t.line)
    }
}

/// Returns the added lines of `new` and the removed lines of `old`. A line that only moved counts as neither.
fn difference(old: &[(String, u32)], new: &[(String, u32)]) -> (BTreeSet<u32>, Vec<(String, u32)>) {
    let old_text: Vec<&str> = old.iter().map(|(text, _)| text.as_str()).collect();
    let new_text: Vec<&str> = new.iter().map(|(text, _)| text.as_str()).collect();
    let mut added = BTreeSet::new();
    let mut removed = Vec::new();
    for op in similar::capture_diff_slices(similar::Algorithm::Myers, &old_text, &new_text) {
        if op.tag() != similar::DiffTag::Equal {
            removed.extend(old[op.old_range()].iter().cloned());
            added.extend(new[op.new_range()].iter().map(|(_, line)| *line));
        }
    }
    (added, removed)
}

/// Most files of tests read for their literals.
const MOST_TEST_FILES: usize = 400;

/// Everything the rules may look at.
pub(super) struct Scene<'a> {
    pub(super) change: &'a Change,
    pub(super) context: &'a Context<'a>,
    pub(super) views: Vec<View<'a>>,
    /// Where the tests stand.
    pub(super) places: Places,
    allowed: globset::GlobSet,
}

impl<'a> Scene<'a> {
    pub(super) fn new(change: &'a Change, context: &'a Context<'a>) -> Self {
        let allowed = glob_set(context.allow_change.iter().map(|allow| allow.glob.as_str()));
        let places = Places::of(context.seed, context.commands);
        let mut scene = Self { change, context, views: Vec::new(), places, allowed };
        scene.views = change.files.iter().map(|file| View::new(file, &scene)).collect();
        scene
    }

    /// Says whether product code of the seed stands in the folder of `path`.
    fn is_among_product(&self, path: &str) -> bool {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside =
            self.context.seed.paths().iter().filter(|other| other.rsplit_once('/').map_or("", |(f, _)| f) == folder);
        beside.take(MOST_TEST_FILES).any(|other| {
            Lang::of(other, "").is_code() && {
                let version = self.context.seed.read(other).ok().flatten();
                test_role(other, version.as_ref().and_then(|v| v.text())) == Role::Source
            }
        })
    }

    pub(super) fn is_allowed(&self, path: &str) -> bool {
        !path.is_empty() && self.allowed.is_match(path)
    }

    /// Returns the program words of the user's commands (`pytest`, `cargo`, `npm`).
    pub(super) fn runs(&self, program: &str) -> bool {
        self.context.commands.iter().any(|command| words(command).contains(&program))
    }

    /// Returns the paths of tests and test data in the seed.
    pub(super) fn seed_tests(&self) -> Vec<&str> {
        let paths = self.context.seed.paths();
        let tests = |p: &&str| matches!(self.places.role(p, None), Role::Test | Role::TestData) || self.places.holds(p);
        paths.iter().map(String::as_str).filter(tests).collect()
    }

    /// Returns the values of literals that the seed's tests hold, trivial ones left out.
    pub(super) fn test_literals(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        // Inline tests matter where product code of the same file changes; other files are told by name, so that a
        // large tree is not read for a hint.
        let changed = |path: &str| self.views.iter().any(|view| view.path == path);
        let paths = self.context.seed.paths().iter();
        for path in paths.filter(|p| changed(p) || self.places.role(p, None) == Role::Test).take(MOST_TEST_FILES) {
            let Ok(Some(version)) = self.context.seed.read(path) else { continue };
            let Some(text) = version.text() else { continue };
            let role = self.places.role(path, Some(text));
            if !matches!(role, Role::Test | Role::Inline) {
                continue;
            }
            let side = Side::new(Lang::of(path, text), text, role);
            for (token, on) in side.tokens.iter().zip(&side.region) {
                if *on && matches!(token.kind, lex::Kind::Str | lex::Kind::Number) && is_telling(token) {
                    out.insert(token.value().to_string(), path.clone());
                }
            }
        }
        out
    }
}

/// Says whether a literal is special enough to tell where it comes from.
pub(super) fn is_telling(token: &Token<'_>) -> bool {
    let value = token.value();
    if token.is_str() {
        return value.len() >= 2;
    }
    // Powers of ten turn up everywhere.
    value.len() >= 2 && !value.trim_start_matches('1').trim_matches(|c| matches!(c, '0' | '.' | '_')).is_empty()
}
