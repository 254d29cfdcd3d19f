//! How what is typed, the repository's `.cloop.toml` and the user's own file go together.
//!
//! Pure. A repository's file is a stranger's: it can tighten what the user set and fill in what the user left open,
//! never loosen; and what runs programs, gives permissions or reaches other services counts only with the user's
//! consent. Each key is taken apart below, so a new one does not compile before it has its rule.

use std::fmt::Display;

use crate::config::Files;
use crate::options::{Options, Span};
use crate::plan::Land;

const MINUTE_MS: u64 = 60_000;

/// Defaults of the budgets that cost money or time; where the user set none, these are theirs.
pub(super) const MAX_ITERATIONS: u32 = 20;
pub(super) const MAX_TIME: Span = Span { ms: 60 * MINUTE_MS };
pub(super) const MAX_CALLS: u32 = 200;
pub(super) const CODEX_TIMEOUT: Span = Span { ms: 15 * MINUTE_MS };
pub(super) const PROPOSALS: u32 = 3;
pub(super) const JOBS: u32 = 1;

/// Options with their sources weighed.
#[derive(Debug, Default)]
pub(super) struct Layered {
    pub options: Options,
    /// What of the repository's file does not count, a sentence each.
    pub notes: Vec<String>,
    /// Settings of the repository's file that need consent and do not have it, as they are written there.
    pub unconfirmed: Vec<String>,
}

impl Span {
    fn shown(self) -> String {
        crate::report::duration(self.ms)
    }
}

/// Puts the options typed over what the two files say.
///
/// Returns what is wrong if the scopes of the two files exclude each other.
pub(super) fn layered(typed: Options, files: Files) -> Result<Layered, String> {
    let Files { repository, user, trusted } = files;
    let mut layers = Layers { typed: &typed, notes: Vec::new(), unconfirmed: Vec::new() };
    let Options {
        test_cmd,
        no_test,
        lint_cmd,
        type_cmd,
        accept_cmd,
        trial_cmd,
        check_timeout,
        known_red,
        flaky,
        max_iter,
        max_time,
        max_calls,
        max_tokens,
        max_cost,
        codex_timeout,
        nproposals,
        propose,
        trial,
        place,
        setup_cmd,
        jobs,
        max_patch_lines,
        scope,
        protect,
        allow_change,
        require_proof,
        allow_dirty,
        land,
        model,
        effort,
        profile,
        codex_mcp,
        // Weighed where a review is asked for, and refused where the file is read: prices are the user's to say.
        review: _,
        prices: _,
    } = repository;

    // Commands: the repository knows its own best, so with consent they count before the user's general ones.
    let decided = typed.test_cmd.is_some() || typed.no_test.is_some();
    layers.asks("test-cmd", test_cmd.as_ref(), decided);
    layers.asks("no-test", no_test.as_ref(), decided);
    layers.asks("lint-cmd", lint_cmd.as_ref(), typed.lint_cmd.is_some());
    layers.asks("type-cmd", type_cmd.as_ref(), typed.type_cmd.is_some());
    layers.asks_all("accept-cmd", &accept_cmd, !typed.accept_cmd.is_empty());
    layers.asks("trial-cmd", trial_cmd.as_ref(), typed.trial_cmd.is_some());
    layers.asks("setup-cmd", setup_cmd.as_ref(), typed.setup_cmd.is_some());
    // Permissions, what proof overlooks, and whom the loop talks to: what the user set stands.
    layers.asks_all("allow-change", &allow_change, !typed.allow_change.is_empty() || !user.allow_change.is_empty());
    layers.asks_all("known-red", &known_red, !typed.known_red.is_empty() || !user.known_red.is_empty());
    layers.asks_all("flaky", &flaky, !typed.flaky.is_empty() || !user.flaky.is_empty());
    let dirty = allow_dirty.filter(|allowed| *allowed);
    layers.asks("allow-dirty", dirty.as_ref(), typed.allow_dirty.is_some() || user.allow_dirty.is_some());
    layers.asks("model", model.as_ref(), typed.model.is_some() || user.model.is_some());
    layers.asks("effort", effort.as_ref(), typed.effort.is_some() || user.effort.is_some());
    layers.asks("profile", profile.as_ref(), typed.profile.is_some() || user.profile.is_some());
    layers.asks_all("codex-mcp", &codex_mcp, !typed.codex_mcp.is_empty() || !user.codex_mcp.is_empty());

    let protected = [&typed.protect, &user.protect, &protect].into_iter().flatten();
    let mut union: Vec<String> = Vec::new();
    for glob in protected {
        if !union.contains(glob) {
            union.push(glob.clone());
        }
    }
    let decided = test_cmd.is_some() || no_test.is_some();
    let files = Options {
        test_cmd: if decided { test_cmd } else { user.test_cmd },
        no_test: if decided { no_test } else { user.no_test },
        lint_cmd: lint_cmd.or(user.lint_cmd),
        type_cmd: type_cmd.or(user.type_cmd),
        accept_cmd: first(accept_cmd, user.accept_cmd),
        trial_cmd: trial_cmd.or(user.trial_cmd),
        setup_cmd: setup_cmd.or(user.setup_cmd),
        // Facts of the repository, bounded by the time as a whole: free where the user is silent.
        check_timeout: layers.least("check-timeout", check_timeout, user.check_timeout, None, Span::shown),
        max_patch_lines: layers.least("max-patch-lines", max_patch_lines, user.max_patch_lines, None, shown),
        max_iter: layers.least("max-iter", max_iter, user.max_iter, Some(MAX_ITERATIONS), shown),
        max_time: layers.least("max-time", max_time, user.max_time, Some(MAX_TIME), Span::shown),
        max_calls: layers.least("max-calls", max_calls, user.max_calls, Some(MAX_CALLS), shown),
        max_tokens: layers.least("max-tokens", max_tokens, user.max_tokens, None, shown),
        max_cost: layers.least("max-cost", max_cost, user.max_cost, None, shown),
        codex_timeout: layers.least(
            "codex-timeout",
            codex_timeout,
            user.codex_timeout,
            Some(CODEX_TIMEOUT),
            Span::shown,
        ),
        nproposals: layers.least("nproposals", nproposals, user.nproposals, Some(PROPOSALS), shown),
        jobs: layers.least("jobs", jobs, user.jobs, Some(JOBS), shown),
        // Ways of working: the user's, else the repository's.
        propose: user.propose.or(propose),
        trial: user.trial.or(trial),
        place: user.place.or(place),
        scope: both(&scope, &user.scope, !typed.scope.is_empty())?,
        protect: Vec::new(),
        require_proof: user.require_proof.max(require_proof),
        allow_dirty: user.allow_dirty.or(allow_dirty),
        land: [user.land, land].into_iter().flatten().find(|land| *land == Land::Never).or(user.land).or(land),
        allow_change: first(user.allow_change, allow_change),
        known_red: first(user.known_red, known_red),
        flaky: first(user.flaky, flaky),
        model: user.model.or(model),
        effort: user.effort.or(effort),
        profile: user.profile.or(profile),
        codex_mcp: first(user.codex_mcp, codex_mcp),
        review: user.review,
        prices: user.prices,
    };
    let Layers { notes, unconfirmed, .. } = layers;
    let options = Options { protect: union, ..typed.or(files) };
    Ok(Layered { options, notes, unconfirmed: if trusted { Vec::new() } else { unconfirmed } })
}

/// Returns the settings of a repository's file that count only with consent.
pub(super) fn needs_consent(repository: Options) -> Vec<String> {
    let files = Files { repository: Options { scope: Vec::new(), ..repository }, ..Files::default() };
    layered(Options::default(), files).map(|layered| layered.unconfirmed).unwrap_or_default()
}

struct Layers<'a> {
    typed: &'a Options,
    notes: Vec<String>,
    unconfirmed: Vec<String>,
}

impl Layers<'_> {
    /// Notes a setting that needs consent, unless something else stands in its place.
    fn asks(&mut self, key: &str, value: Option<&(impl serde::Serialize + ?Sized)>, overruled: bool) {
        if let Some(value) = value.filter(|_| !overruled) {
            self.unconfirmed.push(format!("{key} = {}", serde_json::to_string(value).unwrap_or_default()));
        }
    }

    fn asks_all(&mut self, key: &str, values: &[String], overruled: bool) {
        self.asks(key, Some(values).filter(|values| !values.is_empty()), overruled);
    }

    /// Returns the smaller one; the repository's counts only below the user's, or the default that stands for it.
    fn least<T: Copy + PartialOrd>(
        &mut self,
        key: &str,
        repository: Option<T>,
        user: Option<T>,
        default: Option<T>,
        shown: impl Fn(T) -> String,
    ) -> Option<T> {
        match (repository, user.or(default)) {
            (Some(asked), Some(most)) if asked > most => {
                let _ = self.typed;
                self.notes.push(format!(
                    "the repository's {} asks for {key} {}; yours, {}, stands: a repository can only lower it",
                    crate::config::REPOSITORY_FILE,
                    shown(asked),
                    shown(most)
                ));
                user
            }
            (Some(asked), _) => Some(asked),
            (None, _) => user,
        }
    }
}

fn shown(value: impl Display) -> String {
    value.to_string()
}

fn first(own: Vec<String>, other: Vec<String>) -> Vec<String> {
    if own.is_empty() { other } else { own }
}

/// Returns globs that only match what both lists match, as far as that can be told from the texts.
fn both(repository: &[String], user: &[String], typed: bool) -> Result<Vec<String>, String> {
    if typed || repository.is_empty() {
        return Ok(user.to_vec());
    }
    if user.is_empty() {
        return Ok(repository.to_vec());
    }
    let inner = |list: &[String], of: &[String]| -> Vec<String> {
        list.iter().filter(|glob| of.iter().any(|outer| within(glob, outer))).cloned().collect()
    };
    let mut kept = inner(repository, user);
    kept.extend(inner(user, repository).into_iter().filter(|glob| !kept.contains(glob)).collect::<Vec<_>>());
    if kept.is_empty() {
        return Err(format!(
            "nothing is in the scope of both the repository's file ({}) and yours ({})",
            repository.join(", "),
            user.join(", ")
        ));
    }
    Ok(kept)
}

/// Says whether all that `glob` matches is surely matched by `outer`.
fn within(glob: &str, outer: &str) -> bool {
    let below = |folder: &str| !folder.contains(['*', '?', '[', '{']) && glob.starts_with(folder);
    glob == outer
        || outer == "**"
        || outer.strip_suffix("**").is_some_and(|folder| folder.ends_with('/') && below(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ProofLevel;

    fn toml(text: &str) -> Options {
        toml::from_str(text).unwrap()
    }

    fn lay(typed: &str, repository: &str, user: &str, trusted: bool) -> Layered {
        layered(toml(typed), Files { repository: toml(repository), user: toml(user), trusted }).unwrap()
    }

    #[test]
    fn a_repository_lowers_budgets_and_never_raises_them() {
        let low = lay("", "max-iter = 3\nmax-time = \"5m\"\nmax-tokens = 10\njobs = 1", "max-iter = 9", false);
        assert_eq!((low.options.max_iter, low.options.max_tokens), (Some(3), Some(10)));
        assert_eq!(low.options.max_time, Some(Span { ms: 300_000 }));
        assert!(low.notes.is_empty());
        for trusted in [false, true] {
            let high = "max-iter = 30\nmax-time = \"5h\"\nmax-calls = 900\nnproposals = 8\njobs = 8\nmax-tokens = 50\n";
            let high = lay("", high, "max-iter = 9\nmax-tokens = 40", trusted);
            let options = &high.options;
            assert_eq!((options.max_iter, options.max_tokens, options.max_calls), (Some(9), Some(40), None));
            assert_eq!((options.max_time, options.nproposals, options.jobs), (None, None, None));
            assert_eq!(high.notes.len(), 6, "{:?}", high.notes);
        }
        assert_eq!(lay("max-iter = 30", "max-iter = 3", "", false).options.max_iter, Some(30), "typed wins");
        assert_eq!(lay("", "check-timeout = \"30m\"", "", false).options.check_timeout, Some(Span { ms: 1_800_000 }));
    }

    #[test]
    fn a_repository_narrows_what_may_be_touched_and_never_widens_it() {
        let both = lay(
            "protect = [\"c\"]",
            "protect = [\"a\"]\nscope = [\"src/**\", \"docs/**\"]",
            "protect = [\"b\"]\nscope = [\"src/core/**\"]",
            false,
        );
        assert_eq!(both.options.protect, ["c", "b", "a"]);
        assert_eq!(both.options.scope, ["src/core/**"]);
        let apart = Files { repository: toml("scope = [\"a/**\"]"), user: toml("scope = [\"b/**\"]"), trusted: true };
        assert!(layered(Options::default(), apart).unwrap_err().contains("a/**"));
        let strict = lay(
            "",
            "require-proof = \"measured\"\nland = \"never\"",
            "require-proof = \"reviewed\"\nland = \"auto\"",
            false,
        );
        assert_eq!(
            (strict.options.require_proof, strict.options.land),
            (Some(ProofLevel::Measured), Some(Land::Never))
        );
        let lax = lay(
            "",
            "require-proof = \"reviewed\"\nland = \"auto\"\nallow-dirty = true",
            "require-proof = \"measured\"\nland = \"never\"\nallow-dirty = false",
            true,
        );
        assert_eq!((lax.options.require_proof, lax.options.land), (Some(ProofLevel::Measured), Some(Land::Never)));
        assert_eq!(lax.options.allow_dirty, Some(false));
    }

    /// Every setting of a repository that runs, permits or reaches something.
    const ASKING: &str = "test-cmd = \"t\"\nlint-cmd = \"l\"\ntype-cmd = \"y\"\naccept-cmd = [\"a\"]\ntrial-cmd = \"r\"\nsetup-cmd = \
                          \"s\"\nallow-change = [\"tests/**\"]\nknown-red = [\"x\"]\nflaky = [\"f\"]\nallow-dirty = true\nmodel = \"m\"\neffort \
                          = \"high\"\nprofile = \"p\"\ncodex-mcp = [\"docs\"]";

    #[test]
    fn what_runs_permits_or_reaches_something_needs_consent_unless_it_is_overruled() {
        let unknown = lay("", ASKING, "", false);
        assert_eq!(unknown.unconfirmed.len(), 14, "{:?}", unknown.unconfirmed);
        assert_eq!(unknown.unconfirmed[0], "test-cmd = \"t\"");
        assert_eq!(lay("", ASKING, "", true).unconfirmed, Vec::<String>::new());
        assert_eq!(lay(ASKING, ASKING, "", false).unconfirmed, Vec::<String>::new());
        let users = lay("", "model = \"m\"\nprofile = \"p\"", "model = \"mine\"\nprofile = \"mine\"", true);
        assert_eq!((users.options.model.as_deref(), users.options.profile.as_deref()), (Some("mine"), Some("mine")));
        let harmless =
            lay("", "propose = \"diff\"\nwhere = \"worktree\"\ntrial = \"after-rank\"\nallow-dirty = false", "", false);
        assert_eq!(harmless.unconfirmed, Vec::<String>::new());
        assert_eq!(needs_consent(toml(ASKING)).len(), 14);
    }
}
