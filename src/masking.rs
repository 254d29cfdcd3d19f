//! Takes secrets out of whatever is kept or shown: keys, tokens, private keys, bearer headers, lines of `.env` files.
//!
//! Pure, but for the secrets of the process, which are told once at its start. It errs on the side of masking: a record with one word too few can still be read, one with a key too many
//! cannot be taken back. What is sent to Codex is masked only where it comes from a check's output, and only secrets of
//! the environment: a pattern's mistake would hide from the model what it has to mend.

use std::collections::BTreeSet;
use std::sync::{LazyLock, OnceLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands where a secret stood.
pub const MASK: &str = "[masked]";

/// Shortest literal that is masked wherever it stands; shorter ones are parts of ordinary words.
const MIN_LITERAL_CHARS: usize = 6;

/// Length, in bytes, from which small letters alone are a passphrase rather than a word.
const MIN_PHRASE: usize = 16;

/// Most literals kept: a `.env` file has dozens of lines.
const MAX_LITERALS: usize = 500;

/// Patterns whose first group, where they have one, stays.
const PATTERNS: [&str; 17] = [
    // Private key blocks, also cut off, indented, numbered or part of a diff.
    r"()-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]*-----|\z)",
    // URLs with credentials.
    r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@",
    // Authorization and key headers, then bearer tokens wherever they stand.
    r#"(?i)(\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|digest|token|aws4-hmac-sha256)\s+)?)[^\s"',]+[^\n"']*"#,
    r#"(?i)(\b(?:x-api-key|api-key|x-auth-token|x-amz-security-token|set-cookie|cookie)["']?\s*:\s*["']?)[^\s"'][^\n"']*"#,
    r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}",
    // Tokens that say what they are.
    r"()\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[0-9A-Z]{12,}\b",
    r"()\bsk-[A-Za-z0-9_-]{12,}",
    r"()\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})",
    r"()\b(?:glpat-[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{30,}|dop_v1_[a-f0-9]{40,})",
    r"()\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"()\b(?:AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,})",
    r"(\bhttps://hooks\.slack\.com/(?:services|workflows)/)[A-Za-z0-9/_-]{20,}",
    r"()\b(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    // Variables of an environment, named in capitals: the word stands alone, or between underscores. MAX_TOKENS,
    // GIT_AUTHOR_NAME and the PASS of a test report are none.
    r#"(\b(?:(?:[A-Z0-9]+_)+(?:KEY|TOKEN|PASS|PWD|AUTH|DSN|SALT|PRIVATE)|(?:[A-Z0-9]+_)*[A-Z0-9]*(?:APIKEY|SECRET|SECRETS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?))(?:_[A-Z0-9]+)*["']?[ \t]*[:=][ \t]*)(?:"[^"\n]+"|'[^'\n]+'|[^\s"'`]+)"#,
    // Names in small letters, with a literal.
    r#"(?i)(\b[a-z0-9_.-]*(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret|private[_-]?key|credentials?)[a-z0-9_]*["']?[ \t]*(?::|=|=>|:=)[ \t]*)(?:"[^"\n]{4,}"|'[^'\n]{4,}'|[A-Za-z0-9+/=_.!@#$%^&*~-]{8,})"#,
    // A secret key of AWS beside its usual names.
    r#"(?i)(\baws[a-z0-9_ ]*["']?\s*[:=]\s*["']?)[A-Za-z0-9/+]{40}\b"#,
];

#[expect(clippy::expect_used, reason = "the patterns are constants, compiled by every test of this module")]
static RULES: LazyLock<Vec<Regex>> =
    LazyLock::new(|| PATTERNS.iter().map(|pattern| Regex::new(pattern).expect("a pattern of ours")).collect());

/// Masks what looks like a secret, and the literals it was told of.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    /// Longest first, so that no part of one is left over.
    literals: Vec<String>,
}

impl Masker {
    /// Returns a masker that knows these secrets besides the patterns.
    pub fn new(literals: impl IntoIterator<Item = String>) -> Self {
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for literal in literals {
            let literal = literal.trim();
            if literal.chars().count() >= MIN_LITERAL_CHARS && !is_plain(literal) && kept.len() < MAX_LITERALS {
                kept.insert(literal.to_owned());
            }
        }
        let mut literals: Vec<String> = kept.into_iter().collect();
        literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
        Self { literals }
    }

    /// Returns the text without its secrets.
    pub fn text(&self, text: &str) -> String {
        let mut masked = self.known(text);
        for rule in RULES.iter() {
            if rule.is_match(&masked) {
                masked = rule
                    .replace_all(&masked, |found: &Captures<'_>| {
                        let kept = found.get(1).map_or("", |kept| kept.as_str());
                        // What ends the pattern ends the text that is left.
                        let end = if found[0].ends_with('@') { "@" } else { "" };
                        format!("{kept}{MASK}{end}")
                    })
                    .into_owned();
            }
        }
        masked
    }

    /// Returns the text without the secrets this masker was told of; patterns do not count.
    pub fn known(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for literal in &self.literals {
            if masked.contains(literal.as_str()) {
                masked = masked.replace(literal.as_str(), MASK);
            }
        }
        masked
    }

    /// Masks every text in a JSON value, keys too: those of maps are ids that others chose.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|inner| self.value(inner)),
            Value::Object(map) => {
                map.values_mut().for_each(|inner| self.value(inner));
                if map.keys().any(|key| self.text(key) != *key) {
                    let mut masked = serde_json::Map::new();
                    for (key, inner) in std::mem::take(map) {
                        let key = self.text(&key);
                        // Two that differ only in what is hidden stay two.
                        let taken = (2..).map(|number| format!("{key} ({number})"));
                        let free = std::iter::once(key.clone()).chain(taken).find(|key| !masked.contains_key(key));
                        masked.insert(free.unwrap_or(key), inner);
                    }
                    *map = masked;
                }
            }
            _ => {}
        }
    }
}

static SHOWN: OnceLock<Masker> = OnceLock::new();

/// Tells the secrets of this process, which no log and no reader is to see. The first call counts.
pub fn tell(secrets: impl IntoIterator<Item = String>) {
    let _ = SHOWN.set(Masker::new(secrets));
}

/// Returns the masker of everything that people and other programs are shown.
pub fn shown() -> &'static Masker {
    static PATTERNS_ALONE: LazyLock<Masker> = LazyLock::new(Masker::default);
    SHOWN.get().unwrap_or_else(|| &PATTERNS_ALONE)
}

/// Says whether `masked` can be what masking made of `text`, whichever secrets were known then.
pub fn could_be(masked: &str, text: &str) -> bool {
    let pieces: Vec<&str> = masked.split(MASK).collect();
    let [first, between @ .., last] = pieces.as_slice() else { return masked == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for piece in between {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Says whether an environment's variable holds a secret, by its name, and whether its value could be one.
pub fn is_secret_variable(name: &str, value: &str) -> bool {
    const WORDS: [&str; 14] = [
        "KEY",
        "APIKEY",
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "PASS",
        "PWD",
        "CREDENTIAL",
        "CREDENTIALS",
        "AUTH",
        "DSN",
        "PRIVATE",
    ];
    let upper = name.to_ascii_uppercase();
    let named = upper.split('_').any(|word| WORDS.contains(&word)) || upper.ends_with("PASSWORD");
    named && !matches!(upper.as_str(), "PWD" | "OLDPWD") && value.chars().count() >= 8 && !value.starts_with(['/', '~'])
}

/// Says whether a value is so common that masking it would garble ordinary text.
fn is_plain(value: &str) -> bool {
    let word = value.len() < MIN_PHRASE && value.chars().all(|c| c.is_ascii_lowercase());
    word || value.parse::<f64>().is_ok() || matches!(value, "localhost" | "127.0.0.1" | "0.0.0.0" | "production")
}

/// Returns the pairs of a `.env` file: `export` and quotes taken away, comments and blank lines left out.
pub fn env_pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            if line.starts_with('#') {
                return None;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=')?;
            let name = name.trim();
            let known = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let value = value.trim();
            let quoted = ['"', '\''].into_iter().find_map(|quote| {
                let inner = value.strip_prefix(quote)?;
                inner.find(quote).map(|end| inner[..end].to_owned())
            });
            let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim().to_owned());
            known.then(|| (name.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and the secret in it.
    fn secrets() -> Vec<(String, String)> {
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let pem = "MIIEpAIBAAKCAQEAvhR3Q1n8Yt0yXb2Zq7";
        [
            ("key AKIAIOSFODNN7EXAMPLE here".to_owned(), "AKIAIOSFODNN7EXAMPLE"),
            (format!("aws_secret_access_key = {key}"), key),
            (format!("+AWS_SECRET_ACCESS_KEY={key}"), key),
            ("use sk-proj-abcDEF0123456789abcDEF0123".to_owned(), "sk-proj-abcDEF0123456789abcDEF0123"),
            ("sk-ant-api03-abcdefghijkl".to_owned(), "sk-ant-api03-abcdefghijkl"),
            ("token ghp_0123456789abcdefABCDEF0123456789abcd".to_owned(), "ghp_0123456789abcdefABCDEF0123456789abcd"),
            ("github_pat_11ABCDEFG0123456789_abcdef".to_owned(), "github_pat_11ABCDEFG0123456789_abcdef"),
            (format!("-----BEGIN RSA PRIVATE KEY-----\n{pem}\n-----END RSA PRIVATE KEY-----\nafter"), pem),
            (format!("   1 | -----BEGIN PRIVATE KEY-----\n   2 | {pem}"), pem),
            (format!("\"-----BEGIN OPENSSH PRIVATE KEY-----\\n{pem}\\n-----END OPENSSH PRIVATE KEY-----\""), pem),
            ("Authorization: Bearer abc.def-ghi_0123".to_owned(), "abc.def-ghi_0123"),
            ("curl -H 'authorization: Basic dXNlcjpwYXNz'".to_owned(), "dXNlcjpwYXNz"),
            ("sent bearer 0123456789abcdef".to_owned(), "0123456789abcdef"),
            ("X-Api-Key: 9f8e7d6c5b4a".to_owned(), "9f8e7d6c5b4a"),
            ("  12 | export DB_PASSWORD=hunter2".to_owned(), "hunter2"),
            ("+SESSION_SECRET='two words here'".to_owned(), "two words here"),
            ("\"api_key\": \"q1w2e3r4t5y6\"".to_owned(), "q1w2e3r4t5y6"),
            ("password: correct-horse-9".to_owned(), "correct-horse-9"),
            ("postgres://app:s3cr3t@db/x".to_owned(), "s3cr3t"),
            ("PASSWORD=hunter22".to_owned(), "hunter22"),
            ("STRIPE_SECRET_KEY: sk_live_0123456789abcdef".to_owned(), "sk_live_0123456789abcdef"),
            ("https://hooks.slack.com/services/T0001/B0001/abcdefghijklmnop".to_owned(), "abcdefghijklmnop"),
            ("xoxb-123456789012-abcdefghij".to_owned(), "xoxb-123456789012-abcdefghij"),
            ("AIzaSyA0123456789abcdefghijklmnopqrstuv".to_owned(), "AIzaSyA0123456789abcdefghijklmnopqrstuv"),
            ("ya29.a0ARrdaM_0123456789abcdef".to_owned(), "ya29.a0ARrdaM_0123456789abcdef"),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123-_x".to_owned(),
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123-_x",
            ),
        ]
        .map(|(text, secret)| (text, secret.to_owned()))
        .to_vec()
    }

    #[test]
    fn every_kind_of_secret_is_masked_and_what_is_round_it_stays() {
        let masker = Masker::default();
        for (text, secret) in secrets() {
            let masked = masker.text(&text);
            assert!(!masked.contains(&secret) && masked.contains(MASK), "{text} → {masked}");
            assert_eq!(masker.text(&masked), masked, "masking twice changes nothing");
        }
        assert_eq!(masker.text("export A_TOKEN=abc cmd --x"), "export A_TOKEN=[masked] cmd --x");
        assert_eq!(masker.text("postgres://app:s3cr3t@db/x"), "postgres://app:[masked]@db/x");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let masker = Masker::default();
        for text in [
            "Is the token budget of 4000 enough? The key idea: pass by reference.",
            "let token = next_token(&mut lexer);",
            "fn password_field(&self) -> Option<&str> {",
            "tokens: 1200, max_tokens = 4096",
            "the author wrote: begin with the basics",
            "risk-averse, task-list, sk-learn",
            "commit 0123456789abcdef0123456789abcdef01234567",
            "https://example.org:8080/a@b",
            "MAX_TOKENS=4096 TESTS_PASSED: 12 GIT_AUTHOR_NAME=Ada MONKEY=3",
            "--- PASS: TestLogin (0.00s)",
            "PASS src/token.test.js",
            "KEY: value",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "expected aGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0 to equal SGVsbG8=",
            "index 0123456..89abcde 100644",
            "git@github.com:owner/name.git ssh://git@host:22/path",
            "tests/auth.test.js:12: expected 401, got 200",
        ] {
            assert_eq!(masker.text(text), text);
        }
    }

    #[test]
    fn keys_of_a_map_are_masked_and_none_is_lost() {
        let mut value =
            serde_json::json!({"ids": {"sk-abcdefghijkl0": 1, "sk-abcdefghijkl1": 2, "plain": "sk-abcdefghijkl2"}});
        Masker::default().value(&mut value);
        let expected = serde_json::json!({"ids": {"[masked]": 1, "[masked] (2)": 2, "plain": "[masked]"}});
        assert_eq!(value, expected);
    }

    #[test]
    fn literals_are_masked_wherever_they_stand_unless_they_are_common_words() {
        let phrase = Masker::new(["correcthorsebattery".to_owned()]);
        assert_eq!(phrase.text("it is correcthorsebattery"), "it is [masked]");
        let masker = Masker::new(["Zq7-rare-value", "production", "abc", "8080.000"].map(str::to_owned));
        assert_eq!(masker.text("x=Zq7-rare-value in production abc 8080.000"), "x=[masked] in production abc 8080.000");
    }

    #[test]
    fn env_files_are_read_as_shells_read_them() {
        let text = "# c\nA=1\nexport B=\"x y\" # z\nC='q'\n\nnot a pair\nD=plain # note\nE F=1\n";
        let pairs = env_pairs(text);
        let expected = [("A", "1"), ("B", "x y"), ("C", "q"), ("D", "plain")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn secrets_of_the_environment_are_known_by_their_names_and_a_check_s_output_hides_only_those() {
        for (name, value) in [("GITHUB_TOKEN", "abcdefgh1"), ("db_password", "hunter22"), ("PGPASSWORD", "hunter22")] {
            assert!(is_secret_variable(name, value), "{name}");
        }
        for (name, value) in [
            ("PWD", "/home/ada"),
            ("SSH_AUTH_SOCK", "/run/x"),
            ("KEYBOARD", "qwertyuiop"),
            ("MAX_TOKENS", "100000000"),
            ("A_TOKEN", "short"),
        ] {
            assert!(!is_secret_variable(name, value), "{name}");
        }
        let masker = Masker::new(["Zq7-rare-value".to_owned()]);
        assert_eq!(masker.known("Zq7-rare-value password=hunter22"), "[masked] password=hunter22");
    }

    #[test]
    fn a_masked_text_is_known_again() {
        for (masked, text, same) in [
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("use [masked] now", "use abc now", true),
            ("use [masked] now [masked]", "use abc now def", true),
            ("use [masked] now", "take abc now", false),
            ("use [masked] now", "use abc later", false),
        ] {
            assert_eq!(could_be(masked, text), same, "{masked} {text}");
        }
        for (text, _) in secrets() {
            assert!(could_be(&Masker::default().text(&text), &text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_secret_is_masked_in_any_surroundings(
            before in "[a-z \n\"'=:|+-]{0,20}",
            after in "[ \n\"',;)]{1,3}[a-z]{0,9}",
            which in 0..secrets().len(),
        ) {
            let (text, secret) = secrets()[which].clone();
            let masked = Masker::default().text(&format!("{before} {text}{after}"));
            assert!(!masked.contains(&secret), "{masked}");
        }
    }
}
