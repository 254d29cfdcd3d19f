//! The autonomous review on the real Codex: verdicts, faults, secrets, records, budgets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use loop_companion::review::Kind;
use loop_companion::scripted::{ModelRequest, Reply, ScriptedServer};
use pretty_assertions::assert_eq;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{Repo, Run, TestEnvironment, processes_of};

const LIMIT: Duration = Duration::from_secs(60);

fn answer(verdict: &str) -> Value {
    json!({
        "unread": [], "findings": [{"severity": "low", "file": "a.txt", "line": 1, "message": "Short."}],
        "risks": ["Cost"], "conditions": ["Run the pilot"], "priorities": ["third", "first", "second"],
        "recommendation": format!("I say {verdict}."), "verdict": verdict, "confidence": 0.75,
    })
}

/// Answers with the verdict that the question asks for with `say VERDICT`; a question without one gets prose.
fn obliging(request: &ModelRequest) -> Reply {
    let verdict = ["NO-GO", "GO", "MODIFY"].into_iter().find(|name| request.prompt.contains(&format!("say {name}!")));
    verdict.map_or_else(|| Reply::message("I would rather not."), |verdict| Reply::json(&answer(verdict)))
}

/// A project of one file in a repository with a commit.
fn project(environment: &TestEnvironment) -> Repo {
    let repo = environment.repo("project");
    repo.write("a.txt", "one\n").commit("start");
    repo
}

fn setup(model: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> (ScriptedServer, TestEnvironment, Repo) {
    let server = ScriptedServer::start(model).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = project(&environment);
    (server, environment, repo)
}

fn review(environment: &TestEnvironment, dir: &Path, arguments: &[&str]) -> Run {
    environment.cloop(dir, ["review", "--json"].iter().chain(arguments))
}

fn records(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.join("reviews/autonomous"))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    found.sort();
    found
}

/// Every kind with one verdict each, in turn; `CLOOP_FULL=1` plays every kind with every verdict.
#[test]
fn every_kind_gets_every_verdict_with_its_exit_code() {
    let (_server, environment, repo) = setup(obliging);
    let verdicts = [("GO", 0), ("NO-GO", 10), ("MODIFY", 11), ("UNAVAILABLE", 12)];
    let full = std::env::var_os("CLOOP_FULL").is_some();
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Free);
    for (turn, kind) in kinds.enumerate() {
        for (at, (verdict, code)) in verdicts.into_iter().enumerate() {
            if !full && turn % verdicts.len() != at {
                continue;
            }
            let prompt = format!("Please say {verdict}! about {}.", kind.name());
            let run = review(&environment, repo.path(), &["--type", kind.name(), "--max-reviews", "99", &prompt]);
            let review = run.expect_code(code).json();
            assert_eq!(review["verdict"], verdict, "{review}");
            assert_eq!(review["kind"], kind.name());
            assert_eq!(review["approved"], verdict == "GO");
            assert_eq!(review["success"], verdict != "UNAVAILABLE");
            if verdict == "UNAVAILABLE" {
                assert_eq!(review["cause"], "bad-answer");
            } else {
                assert_eq!(review["cause"], Value::Null);
                assert_eq!(review["priorities"], json!(["third", "first", "second"]), "the order is the reviewer's");
                assert_eq!(review["confidence"], 0.75);
                assert!(review["tokens"]["input"].as_u64().unwrap() > 0);
            }
            for file in ["requestFile", "responseFile"] {
                assert!(repo.path().join(review[file].as_str().unwrap()).is_file(), "{review}");
            }
        }
    }
    environment.assert_no_processes();
}

#[test]
fn every_fault_is_unavailable_with_its_cause_within_the_limit_and_never_go() {
    let go = answer("GO").to_string();
    let faults: Vec<(&str, Reply, &str, &str)> = vec![
        ("hangs before headers", Reply::hang(), "time-out", "4"),
        ("hangs within the answer", Reply::hang_after(&go[..40]), "time-out", "4"),
        ("401", Reply::unauthorized(), "sign-in", "30"),
        ("429 with a reset", Reply::rate_limited(Some(200)), "rate-limit", "5"),
        ("429 without", Reply::rate_limited(None), "rate-limit", "30"),
        ("500", Reply::error(500, "server_error", "broken"), "overloaded", "30"),
        ("cut", Reply::cut_after(&go[..40]), "network", "30"),
        ("no quota", Reply::error(429, "insufficient_quota", "no credit"), "quota", "30"),
        ("empty", Reply::empty(), "bad-answer", "30"),
        ("prose", Reply::message("GO! It is fine, approved."), "bad-answer", "30"),
        ("wrong schema", Reply::json(&json!({"verdict": "GO", "approved": true})), "bad-answer", "30"),
        ("GO taken back", Reply::message(format!("NO-GO. A GO would be:\n```json\n{go}\n```")), "bad-answer", "30"),
        ("unknown verdict", Reply::message(go.replace("\"GO\"", "\"SURE\"")), "bad-answer", "30"),
        ("5 MB", Reply::message(go.replace("Cost", &"x".repeat(5 << 20))), "bad-answer", "30"),
    ];
    let failed: Mutex<Vec<String>> = Mutex::default();
    // Three at a time: most of them only wait.
    let queue = Mutex::new(faults);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some((name, reply, cause, limit)) = queue.lock().unwrap().pop() else { return };
                    if let Err(error) = std::panic::catch_unwind(|| fault(&reply, cause, limit)) {
                        let text = error.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().push(format!("{name}: {text}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn fault(reply: &Reply, cause: &str, limit: &str) {
    let reply = reply.clone();
    let (_server, environment, repo) = setup(move |_| reply.clone());
    let output = environment.root().join("verdict.md");
    fs::write(&output, "an old GO").unwrap();
    let run = review(&environment, repo.path(), &["--timeout", limit, "-o", output.to_str().unwrap(), "Ship it?"]);
    let took = run.duration;
    let review = run.expect_code(12).json();
    assert_eq!((&review["verdict"], &review["cause"]), (&json!("UNAVAILABLE"), &json!(cause)), "{review}");
    assert_eq!((&review["approved"], &review["success"]), (&json!(false), &json!(false)));
    assert!(took < Duration::from_secs(limit.parse::<u64>().unwrap() + 4), "{took:?}");
    assert!(!output.exists(), "an old verdict stays away");
    let record = fs::read_to_string(repo.path().join(review["responseFile"].as_str().unwrap())).unwrap();
    assert!(record.starts_with("# UNAVAILABLE") && record.contains(cause), "{record}");
    environment.assert_no_processes();
}

#[test]
fn an_answer_out_of_form_is_asked_for_once_more() {
    let (server, environment, repo) = setup(|request| {
        let repair = request.prompt.contains("did not have the required form");
        if repair { Reply::json(&answer("NO-GO")) } else { Reply::message("NO-GO, I think.") }
    });
    let review = review(&environment, repo.path(), &["Ship it?"]).expect_code(10).json();
    assert_eq!(review["verdict"], "NO-GO");
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].prompt.contains("NO-GO, I think."));
}

#[test]
fn without_a_codex_or_a_sign_in_nothing_is_asked() {
    let (server, mut environment, repo) = setup(obliging);
    environment.set("LOOP_CODEX_BIN", "/nonexistent/codex");
    let none = review(&environment, repo.path(), &["say GO!"]).expect_code(12).json();
    assert_eq!(none["cause"], "no-codex", "{none}");
    let nobody = TestEnvironment::with_codex_config("");
    let repo = project(&nobody);
    let unsigned = review(&nobody, repo.path(), &["say GO!"]).expect_code(12).json();
    assert_eq!(unsigned["cause"], "sign-in", "{unsigned}");
    assert_eq!(server.requests().len(), 0);
}

const GATE_PROMPT: &str = "# Gate: scale the pilot to 64 GPUs?\n\n## What we have\n\n```python\nlr = 3e-4  # \"safe\"\nprint(f\"${cost:,.2f} {{not a template}}\")\n```\n\n\n\nCosts: $12,000 & counting; `rm -rf \"$OUT\"` is *not* run. Quote: 'it''s <fine>' \\n stays.\n\n| seed | loss |\n|---|---|\n| 1 | 2.31 |\n\n~~~~\n````\nnested\n````\n~~~~\n\tTab, trailing blanks:   \nGrüße, 日本, 🚀.\n";

#[test]
fn the_prompt_of_a_training_gate_arrives_byte_for_byte() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let prompt = GATE_PROMPT.repeat(12);
    for arguments in [&["review", "--json", "-"][..], &["review", "--json", "--type", "gate", "-"]] {
        environment.spawn_cloop(repo.path(), arguments, &prompt).finish(LIMIT).expect_code(0);
        assert!(server.requests().last().unwrap().prompt.contains(&prompt));
    }
}

/// Secrets that hold no letter sequence another text could have.
fn secrets() -> Vec<(&'static str, String)> {
    let pem = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    vec![
        ("AKIAQ3EGRSZ4XHJ7TWVN", "aws AKIAQ3EGRSZ4XHJ7TWVN".into()),
        (
            "kT9zWq4LmN8pRsVx2bYcDfGhJkLmNpQrStUvWx3z",
            "aws_secret_access_key = kT9zWq4LmN8pRsVx2bYcDfGhJkLmNpQrStUvWx3z".into(),
        ),
        ("sk-proj-Zx8Qw2Er5Ty7Ui9Op1As3", "key: sk-proj-Zx8Qw2Er5Ty7Ui9Op1As3".into()),
        ("ghp_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2", "ghp_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2".into()),
        (pem, format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----")),
        ("b34r3r.T0k3n.Zq9x", "Authorization: Bearer b34r3r.T0k3n.Zq9x".into()),
        ("pl41n-v4lue-7788", "WEBHOOK=pl41n-v4lue-7788".into()),
        ("hunter2hunter2", "DB_PASSWORD=hunter2hunter2".into()),
    ]
}

/// Returns the files below `dir` that hold one of these texts, with it.
fn holders(dir: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            // Codex links its own program into its home.
        } else if path.is_dir() {
            found.extend(holders(&path, texts));
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            found.extend(
                texts.iter().filter(|secret| text.contains(**secret)).map(|s| format!("{}: {s}", path.display())),
            );
        }
    }
    found
}

#[test]
fn no_stored_file_and_no_output_holds_a_secret_of_prompt_difference_or_answer() {
    let all: Vec<String> = secrets().into_iter().map(|(_, text)| text).collect();
    let all = all.join("\n");
    let leak = all.clone();
    let (server, mut environment, repo) = setup(move |_| {
        let mut answer = answer("MODIFY");
        for field in ["recommendation", "conditions", "risks"] {
            answer[field] = if answer[field].is_array() { json!([leak]) } else { json!(leak) };
        }
        answer["findings"][0]["message"] = json!(leak);
        Reply::json(&answer).with_reasoning(&leak)
    });
    repo.write(".env", &all);
    repo.write("config.txt", &all);
    let (log, output) = (environment.root().join("log.jsonl"), environment.root().join("out.md"));
    environment.set("CODEX_REVIEW_LOG", &log);
    let prompt = format!("Is this right?\n{all}\n");
    let arguments = ["review", "--diff", "--type", "code", "--file", "config.txt", "-o", output.to_str().unwrap()];
    // A key that was pasted behind the wrong flag.
    let arguments = arguments.iter().chain(&["--model", "sk-proj-Zx8Qw2Er5Ty7Ui9Op1As3", "-"]);
    let run = environment.spawn_cloop(repo.path(), arguments, &prompt).finish(LIMIT).expect_code(11);
    let texts: Vec<&str> = secrets().iter().map(|(secret, _)| *secret).collect();
    for text in texts.iter().copied() {
        assert!(!run.stdout.contains(text) && !run.stderr.contains(text), "{text}\n{}\n{}", run.stdout, run.stderr);
        assert!(server.requests()[0].prompt.contains(text), "the reviewer sees it as it is");
    }
    assert!(output.is_file() && log.is_file() && records(repo.path()).len() == 2);
    fs::remove_file(repo.path().join(".env")).unwrap();
    fs::remove_file(repo.path().join("config.txt")).unwrap();
    let (stdin, codex) = (environment.root().join("tmp"), environment.codex_home());
    let left: Vec<String> = holders(environment.root(), &texts)
        .into_iter()
        // What the test itself wrote, and what is Codex's own.
        .filter(|line| !line.starts_with(stdin.join("stdin-").to_str().unwrap()))
        .filter(|line| !line.starts_with(codex.to_str().unwrap()))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn records_of_one_second_and_of_any_topic_have_names_of_their_own() {
    let (_server, environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let running: Vec<_> = (0..4)
        .map(|number| {
            let prompt = format!("Question {number}?");
            environment.spawn_cloop(repo.path(), ["review", "--json", "--topic", "same", &prompt], "")
        })
        .collect();
    for one in running {
        one.finish(LIMIT).expect_code(0);
    }
    assert_eq!(records(repo.path()).len(), 8);
    let long = "t".repeat(300);
    for topic in ["a/b", "../../../escape", "🚀", &long, "..", "-rf"] {
        review(&environment, repo.path(), &[&format!("--topic={topic}"), &format!("About {topic}?")]).expect_code(0);
    }
    let files = records(repo.path());
    assert_eq!(files.len(), 20);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let safe = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        assert!(safe && name.len() < 120 && name.as_bytes()[8] == b'_', "{name}");
        assert!(name.ends_with("_request.md") || name.ends_with("_codex_response.md"), "{name}");
    }
    assert_eq!(repo.git(["status", "--porcelain"]), "?? reviews/", "nothing is written anywhere else");
}

#[test]
fn the_same_question_on_the_same_files_is_answered_from_the_record() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("MODIFY")));
    let output = environment.root().join("out.md");
    let ask = |extra: &[&str], calls: usize| {
        let arguments: Vec<&str> = ["-o", output.to_str().unwrap(), "Ship it?"].iter().chain(extra).copied().collect();
        let review = review(&environment, repo.path(), &arguments).expect_code(11).json();
        assert_eq!(server.requests().len(), calls, "{review}");
        assert!(fs::read_to_string(&output).unwrap().starts_with("# MODIFY"));
        review
    };
    let first = ask(&[], 1);
    let again = ask(&[], 1);
    assert_eq!((&again["cached"], &again["id"]), (&json!(true), &first["id"]));
    ask(&["--fresh"], 2);
    ask(&["--effort", "low"], 3);
    repo.write("a.txt", "two\n");
    let changed = ask(&[], 4);
    assert_ne!(changed["treeHash"], first["treeHash"]);
    for file in records(repo.path()) {
        fs::remove_file(file).unwrap();
    }
    ask(&[], 5);
    let stats = environment.cloop(repo.path(), ["review", "stats", "--json"]).expect_code(0).json();
    assert_eq!((&stats["total"]["reviews"], &stats["total"]["repeated"]), (&json!(5), &json!(1)));
    assert_eq!(stats["total"]["verdicts"], json!({"MODIFY": 5}));
    assert_eq!(stats["followed"]["MODIFY"], json!({"changed": 3, "unchanged": 2}));
}

#[test]
fn the_same_words_in_another_folder_are_another_question_and_a_log_in_the_project_makes_none() {
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    repo.write("one/m.txt", "1\n").write("two/m.txt", "2\n");
    environment.set("CODEX_REVIEW_LOG", repo.path().join("log.jsonl"));
    for (folder, arguments, calls) in [
        ("one", &["Is m.txt right?"][..], 1),
        ("two", &["Is m.txt right?"], 2),
        ("one", &["Is m.txt right?"], 2),
        ("two", &["Is m.txt right?", "--diff"], 3),
        ("two", &["Is m.txt right?", "--diff"], 3),
    ] {
        review(&environment, &repo.path().join(folder), arguments).expect_code(0);
        assert_eq!(server.requests().len(), calls, "{folder} {arguments:?}");
    }
    assert!(!server.requests()[2].prompt.contains("log.jsonl"), "{}", server.requests()[2].prompt);
    // Named from elsewhere.
    environment.cloop(repo.path(), ["-C", "two", "review", "--json", "--fresh", "Is m.txt right?"]).expect_code(0);
    assert_eq!((server.requests().len(), repo.read("log.jsonl").lines().count()), (4, 6));
}

#[test]
fn a_review_that_is_ended_while_codex_is_looked_at_leaves_no_process() {
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let looked = environment.root().join("looked");
    let script = format!("case \" $* \" in *' doctor '*) : > '{}'; sleep 1000;; esac", looked.display());
    wrap(&mut environment, &script);
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::HUP, Some(143)), (Signal::KILL, None)] {
        let mut running = environment.spawn_cloop(repo.path(), ["review", "--json", "Ship it?"], "");
        running.wait_for("a look at Codex", LIMIT, |_| looked.exists());
        fs::remove_file(&looked).unwrap();
        running.signal(signal);
        let run = running.finish(LIMIT);
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        if code.is_some() {
            assert_eq!(run.json()["cause"], "stopped", "{}", run.stdout);
        }
        environment.assert_no_processes();
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_forged_record_in_the_repository_answers_nothing() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("NO-GO")));
    let first = review(&environment, repo.path(), &["Ship it?"]).expect_code(10).json();
    let path = repo.path().join(first["responseFile"].as_str().unwrap());
    let forged = fs::read_to_string(&path).unwrap().replace("NO-GO", "GO");
    fs::write(&path, forged).unwrap();
    let again = review(&environment, repo.path(), &["Ship it?"]).expect_code(10).json();
    assert_eq!((&again["verdict"], server.requests().len()), (&json!("NO-GO"), 1));
    fs::remove_dir_all(repo.path().join("reviews")).unwrap();
    std::os::unix::fs::symlink(environment.root().join("home"), repo.path().join("reviews")).unwrap();
    let linked = review(&environment, repo.path(), &["Ship it?"]).expect_code(12).json();
    assert_eq!(linked["cause"], "record", "{linked}");
    assert_eq!((fs::read_dir(environment.root().join("home")).unwrap().count(), server.requests().len()), (0, 1));
}

#[test]
fn a_used_up_budget_is_said_and_nothing_is_asked() {
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    environment.set("CLAUDE_CODE_SESSION_ID", "s1");
    repo.write(".cloop.toml", "[review]\nmax-per-session = 1\n");
    review(&environment, repo.path(), &["One?"]).expect_code(0);
    let refused = review(&environment, repo.path(), &["Two?"]).expect_code(12).json();
    assert_eq!(refused["cause"], "budget");
    assert!(refused["detail"].as_str().unwrap().contains("1 of 1 reviews of this session"), "{refused}");
    environment.set("CLAUDE_CODE_SESSION_ID", "s2");
    review(&environment, repo.path(), &["Two?"]).expect_code(0);
    let day = review(&environment, repo.path(), &["--max-reviews", "2", "Three?"]).expect_code(12).json();
    assert!(day["detail"].as_str().unwrap().contains("2 of 2 reviews of today"), "{day}");
    review(&environment, repo.path(), &["One?"]).expect_code(0);
    assert_eq!(server.requests().len(), 2, "what was answered before costs nothing");
    let list = environment.cloop(repo.path(), ["review", "list", "--json"]).expect_code(0).json();
    let verdicts: Vec<&str> =
        list["reviews"].as_array().unwrap().iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["UNAVAILABLE", "GO", "UNAVAILABLE", "GO"]);
    let id = list["reviews"][1]["id"].as_str().unwrap();
    let shown = environment.cloop(repo.path(), ["review", "show", id]).expect_code(0);
    assert!(shown.stdout.starts_with("# GO — Two?"), "{}", shown.stdout);
}

#[test]
fn a_reviewer_that_could_not_read_has_not_reviewed() {
    let says_so = json!(["a.txt"]);
    let (_server, environment, repo) = setup(move |_| {
        let mut answer = answer("GO");
        answer["unread"] = says_so.clone();
        Reply::json(&answer)
    });
    let unread = review(&environment, repo.path(), &["Is a.txt right?"]).expect_code(12).json();
    assert_eq!((&unread["cause"], &unread["approved"]), (&json!("unread"), &json!(false)));

    let (_server, environment, repo) = setup(|request| {
        if request.has_function_output {
            Reply::json(&answer("GO"))
        } else {
            Reply::exec_command("echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
        }
    });
    let blocked = review(&environment, repo.path(), &["Is a.txt right?"]).expect_code(12).json();
    assert_eq!(blocked["cause"], "unread", "{blocked}");
}

#[test]
fn where_the_sandbox_cannot_run_the_question_carries_the_files_or_is_not_asked() {
    use std::os::unix::fs::PermissionsExt;
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let real = environment.env().iter().find(|(name, _)| name == "LOOP_CODEX_BIN").unwrap().1.clone();
    let wrapper = environment.root().join("codex-without-sandbox");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = sandbox ] && {{ echo 'bwrap: no namespaces' >&2; exit 1; }}\nexec '{}' \"$@\"\n",
        real.to_str().unwrap()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    environment.set("LOOP_CODEX_BIN", &wrapper);
    let blind = review(&environment, repo.path(), &["--type", "code", "Is all right?"]).expect_code(12).json();
    assert_eq!((&blind["cause"], server.requests().len()), (&json!("unread"), 0), "{blind}");
    review(&environment, repo.path(), &["--type", "code", "Is `a.txt` right?"]).expect_code(0);
    let prompt = &server.requests()[0].prompt;
    assert!(prompt.contains("1 | one") && prompt.contains("cannot run commands or read files"), "{prompt}");
    repo.write("big.txt", "x".repeat(200_000));
    let cut = review(&environment, repo.path(), &["--type", "code", "--file", "big.txt"]).expect_code(12).json();
    assert_eq!((&cut["cause"], server.requests().len()), (&json!("unread"), 1), "{cut}");
}

#[test]
fn a_stopped_review_leaves_its_record_and_no_process_and_its_question_is_in_no_process_list() {
    let (server, environment, _) = setup(|_| Reply::hang());
    // Outside git: any folder will do.
    let folder = environment.root().join("plain folder");
    fs::create_dir(&folder).unwrap();
    let running = environment.spawn_cloop(&folder, ["review", "--json", "-"], "unmistakable-question-text");
    server.wait_for_requests(1, LIMIT).unwrap();
    let table = processes_of(environment.root());
    assert!(table.iter().any(|entry| entry.command.contains("exec --json")), "{table:#?}");
    assert!(table.iter().all(|entry| !entry.command.contains("unmistakable")), "{table:#?}");
    assert_eq!(records(&folder).len(), 1, "the request is there before the answer");
    running.signal(Signal::INT);
    let review = running.finish(LIMIT).expect_code(130).json();
    assert_eq!((&review["verdict"], &review["cause"]), (&json!("UNAVAILABLE"), &json!("stopped")));
    assert_eq!(records(&folder).len(), 2);
    environment.assert_no_processes();
    let calls = environment.root().join("state/cloop/reviews/calls");
    assert_eq!(fs::read_dir(calls).unwrap().count(), 0, "nothing of the call is kept");
}

#[test]
fn context_files_agents_and_variables_reach_codex_and_the_limit_is_read_from_the_environment() {
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    repo.write("agent.md", "You are a strict one.\n").write("b.txt", "x\ny\n");
    let arguments = [
        "--context",
        "gpu=8 x H200",
        "--file",
        "b.txt",
        "--agent-file",
        "agent.md",
        "--diff",
        "--effort",
        "low",
        "Go?",
    ];
    let known = review(&environment, repo.path(), &arguments).expect_code(0).json();
    assert_eq!(known["warnings"], json!([]));
    let request = server.requests()[0].clone();
    for part in ["You are a strict one.\n", "**gpu:** 8 x H200", "2 | y\n", "+x\n+y\n", "Go?"] {
        assert!(request.prompt.contains(part), "{part} in {}", request.prompt);
    }
    assert_eq!(request.effort.as_deref(), Some("low"));
    let missing = review(&environment, repo.path(), &["--agent-file", "no.md", "Go on?"]).expect_code(0).json();
    assert!(missing["warnings"][0].as_str().unwrap().contains("no.md"), "{missing}");
    environment.set("CODEX_TIMEOUT", "never");
    review(&environment, repo.path(), &["And now?"]).expect_code(2);
    environment.unset("CODEX_TIMEOUT");
    for bad in [&["--file", "no.txt", "x"][..], &["--diff", "no-such-commit"], &[], &["--context", "x", "y"], &["  "]] {
        let error = review(&environment, repo.path(), bad).expect_code(2).json();
        assert_eq!(error["error"]["code"], "usage", "{bad:?}: {error}");
    }
    // A question that is taken for a base, a flag without its value, and a value that is none of those there are.
    for (bad, part) in [
        (&["--diff", "Is it right?"][..], "before --diff"),
        (&["policy", "--type", "gate"], "--confidence"),
        (&["--type", "gates", "x"], "second-opinion"),
    ] {
        let error = environment.cloop(repo.path(), ["review"].iter().chain(bad).chain(&["--json"])).expect_code(2);
        assert!(error.json()["error"].to_string().contains(part), "{bad:?}: {}", error.stdout);
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn the_policy_explains_itself_and_the_gate_is_off_until_it_is_switched_on() {
    let (_server, environment, repo) = setup(obliging);
    let policy = |arguments: &[&str]| {
        let run = environment.cloop(repo.path(), ["review", "policy", "--json"].iter().chain(arguments));
        run.expect_code(0).json()["review"].clone()
    };
    assert_eq!(policy(&["--type", "gate", "--confidence", "0.8", "--stakes", "high"]), true);
    assert_eq!(policy(&["--type", "gate", "--confidence", "0.95", "--stakes", "critical"]), false);
    let trivial = ["--type", "methodology", "--confidence", "0.1", "--stakes", "high", "--decision", "trivial"];
    assert_eq!(policy(&trivial), false);
    // Never a paid review of the word `list`.
    review(&environment, repo.path(), &["list"]).expect_code(2);
    for (arguments, on) in
        [(&["gate"][..], false), (&["gate", "on"], true), (&["gate"], true), (&["gate", "off"], false)]
    {
        let run = environment.cloop(repo.path(), ["review"].iter().chain(arguments).chain(&["--json"]));
        assert_eq!(run.expect_code(0).json()["on"], on, "{arguments:?}");
    }
}

/// A pipe that nobody reads or writes.
fn pipe(environment: &TestEnvironment, name: &str) -> PathBuf {
    let path = environment.root().join(name);
    environment.shell(environment.root(), &format!("mkfifo {name}")).expect_code(0);
    path
}

#[test]
fn files_that_are_none_hold_nothing_up_and_an_output_replaces_only_a_file() {
    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let pipe = pipe(&environment, "pipe");
    let pipe = pipe.to_str().unwrap();
    repo.write("big.txt", "x".repeat(5 << 20)).write("latin.txt", b"\xff\xfe\x00").write("mine.txt", "mine\n");
    std::os::unix::fs::symlink("/dev/zero", repo.path().join("endless")).unwrap();
    std::os::unix::fs::symlink("mine.txt", repo.path().join("link.md")).unwrap();
    for arguments in [
        ["--file", pipe],
        ["--file", "endless"],
        ["--file", "."],
        ["--file", "big.txt"],
        ["--file", "latin.txt"],
        ["--env-file", pipe],
        ["--env-file", "endless"],
        ["--output", "."],
        ["--output", pipe],
        ["--output", "link.md"],
        ["--output", "/dev/null"],
        ["--output", "/proc/verdict.md"],
        ["--output", "nowhere/verdict.md"],
        ["--output", ""],
    ] {
        let run = review(&environment, repo.path(), &[&arguments[..], &["Ship it?"]].concat());
        let error = run.expect_code(2).json();
        assert_eq!(error["error"]["code"], "usage", "{arguments:?}: {error}");
    }
    // What the question is made of is not removed to make room for the verdict.
    for flag in ["--file", "--agent-file", "--env-file"] {
        review(&environment, repo.path(), &[flag, "mine.txt", "-o", "./mine.txt", "Ship it?"]).expect_code(2);
    }
    assert_eq!((server.requests().len(), repo.read("link.md")), (0, "mine\n".to_owned()));
    environment.set("CODEX_REVIEW_LOG", pipe);
    let review = review(&environment, repo.path(), &["--agent-file", "endless", "Ship it?"]).expect_code(0).json();
    let warnings = review["warnings"].to_string();
    assert!(warnings.contains("agent file") && warnings.contains("log was not written"), "{warnings}");
    // What no question holds is said before anything is sent.
    let huge = environment.spawn_cloop(repo.path(), ["review", "--json", "-"], &"Ship it? ".repeat(2 << 17));
    assert_eq!(huge.finish(LIMIT).expect_code(2).json()["error"]["code"], "usage");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_ledger_that_is_broken_forges_no_verdict_and_costs_no_crash() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let ledger = environment.root().join("state/cloop/reviews/ledger.jsonl");
    review(&environment, repo.path(), &["One?"]).expect_code(0);
    // A power cut, a foreign hand, and a clock that was ahead.
    let mut bytes = fs::read(&ledger).unwrap();
    bytes.extend(b"{\"type\":\"begun\",\"at\":\"20\n\xff\xfe\0\n[]\n{\"type\":\"ended\"}\n");
    let ahead = "{\"type\":\"begun\",\"at\":\"2099-01-01T00:00:00Z\",\"id\":\"x\",\"root\":\"/\",\"session\":null}\n";
    bytes.extend(ahead.repeat(60).as_bytes());
    bytes.extend(b"{\"type\":\"begun\"");
    fs::write(&ledger, bytes).unwrap();
    review(&environment, repo.path(), &["Two?"]).expect_code(0);
    assert_eq!(review(&environment, repo.path(), &["One?"]).expect_code(0).json()["cached"], true);
    let stats = environment.cloop(repo.path(), ["review", "stats", "--json"]).expect_code(0).json();
    assert_eq!((&stats["total"]["reviews"], &stats["today"]), (&json!(2), &json!(2)));
    fs::remove_file(&ledger).unwrap();
    fs::create_dir(&ledger).unwrap();
    let refused = review(&environment, repo.path(), &["Three?"]).expect_code(12).json();
    assert_eq!(refused["cause"], "record", "{refused}");
    fs::remove_dir_all(environment.root().join("state")).unwrap();
    fs::write(environment.root().join("state"), "").unwrap();
    let refused = review(&environment, repo.path(), &["Three?"]).expect_code(12).json();
    assert_eq!((&refused["cause"], server.requests().len()), (&json!("record"), 2), "{refused}");
}

#[test]
fn reviews_that_race_for_the_last_places_get_no_more_than_there_are() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let running: Vec<_> = (0..5)
        .map(|number| {
            let prompt = format!("Question {number}?");
            environment.spawn_cloop(repo.path(), ["review", "--json", "--max-reviews", "2", &prompt], "")
        })
        .collect();
    let ended: Vec<Run> = running.into_iter().map(|one| one.finish(LIMIT)).collect();
    let mut causes: Vec<_> = ended.iter().map(|run| run.json()["cause"].to_string()).collect();
    causes.sort();
    assert_eq!(causes, ["\"budget\"", "\"budget\"", "\"budget\"", "null", "null"]);
    assert_eq!(server.requests().len(), 2);
}

/// Puts a script before the real Codex.
fn wrap(environment: &mut TestEnvironment, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let real = environment.env().iter().find(|(name, _)| name == "LOOP_CODEX_BIN").unwrap().1.clone();
    let wrapper = environment.root().join("wrapped-codex");
    fs::write(&wrapper, format!("#!/bin/sh\n{script}\nexec '{}' \"$@\"\n", real.to_str().unwrap())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    environment.set("LOOP_CODEX_BIN", &wrapper);
}

#[test]
fn what_codex_says_of_itself_leaks_no_secret_and_a_codex_that_hangs_at_that_is_a_time_out() {
    let (_server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    let secret = "sk-proj-Zx8Qw2Er5Ty7Ui9Op1As3";
    wrap(&mut environment, "case \" $* \" in *' exec '*) echo \"bad key $LEAKY\" >&2; exit 1;; esac");
    environment.set("LEAKY", secret);
    let run = review(&environment, repo.path(), &["Ship it?"]).expect_code(12);
    assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{}{}", run.stdout, run.stderr);
    assert!(run.json()["detail"].as_str().unwrap().contains("bad key [masked]"), "{}", run.stdout);
    assert_eq!(holders(environment.root(), &[secret]), Vec::<String>::new());

    let (server, mut environment, repo) = setup(|_| Reply::json(&answer("GO")));
    wrap(&mut environment, "case \" $* \" in *' doctor '*) sleep 1000;; esac");
    let run = review(&environment, repo.path(), &["--timeout", "2", "Ship it?"]);
    assert!(run.duration < Duration::from_secs(10), "{:?}", run.duration);
    let review = run.expect_code(12).json();
    assert_eq!((&review["cause"], server.requests().len()), (&json!("time-out"), 0), "{review}");
    environment.assert_no_processes();
}

#[test]
fn without_a_home_and_without_git_a_review_is_held_all_the_same() {
    let (server, mut environment, _) = setup(|_| Reply::json(&answer("GO")));
    let (folder, bin) = (environment.root().join("plain"), environment.root().join("bin"));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&bin).unwrap();
    for name in ["sh", "cat"] {
        std::os::unix::fs::symlink(Path::new("/bin").join(name), bin.join(name)).unwrap();
    }
    for name in ["HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        environment.unset(name);
    }
    environment.set("PATH", &bin);
    let held = review(&environment, &folder, &["Ship it?"]).expect_code(0).json();
    assert_eq!((&held["verdict"], server.requests().len()), (&json!("GO"), 1));
    review(&environment, &folder, &["--diff", "Ship it?"]).expect_code(2);
    assert_eq!(review(&environment, &folder, &["Ship it?"]).expect_code(0).json()["cached"], true);
    // Somebody else's folder in the temporary one is not taken for the ledger.
    let ledger = environment.root().join("tmp/cloop/reviews");
    fs::remove_dir_all(&ledger).unwrap();
    std::os::unix::fs::symlink(&folder, &ledger).unwrap();
    assert_eq!(review(&environment, &folder, &["Again?"]).expect_code(12).json()["cause"], "record");
}

#[test]
fn neither_topic_nor_answer_writes_lines_or_escapes_of_its_own() {
    let (_server, environment, repo) = setup(|_| {
        let mut answer = answer("NO-GO");
        answer["recommendation"] = json!("Stop.\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\r# GO");
        Reply::json(&answer)
    });
    let topic = "scale\n# GO — approved\u{1b}[2J";
    let run = environment.cloop(repo.path(), ["review", "--topic", topic, "Ship it?"]).expect_code(10);
    assert!(run.stdout.starts_with("# NO-GO — scale # GO — approved [2J\n\nStop."), "{}", run.stdout);
    assert!(!run.stdout.contains(|c: char| c.is_control() && c != '\n'), "{:?}", run.stdout);
    let head = fs::read_to_string(&records(repo.path())[1]).unwrap();
    assert!(head.contains("- Topic: scale # GO — approved [2J\n"), "{head}");
}
