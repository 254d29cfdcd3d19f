//! Real processes, each case run directly and through the watcher.

use super::*;

/// This test binary as watcher: it runs the one test below, which finds the hidden arguments.
fn test_shim() -> Shim {
    let arguments = ["--exact", "process::tests::this_binary_can_be_the_watcher", "--nocapture", "--"];
    Shim { path: std::env::current_exe().unwrap(), arguments: arguments.map(OsString::from).to_vec() }
}

#[test]
fn this_binary_can_be_the_watcher() {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != SHIM_ARGUMENT);
    if arguments.next().is_some() {
        let _ = shim_main(arguments);
    }
}

struct Never;

impl Control for Never {
    fn stop(&mut self) -> bool {
        false
    }
}

/// Stops as soon as a file exists.
struct WhenThere(PathBuf);

impl Control for WhenThere {
    fn stop(&mut self) -> bool {
        self.0.exists()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    spec: Spec,
}

impl Bench {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec {
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            cwd: dir.path().to_owned(),
            env: Vec::new(),
            env_remove: Vec::new(),
            stdin: Vec::new(),
            stdout: dir.path().join("out"),
            stderr: dir.path().join("err"),
            limit: Duration::from_secs(60),
            grace: Duration::from_millis(300),
            first_signal: FirstSignal::Terminate,
            max_output: 10_000_000,
        };
        Self { dir, spec }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The process ids a script has written to a file, one a line.
    fn pids(&self, name: &str) -> Vec<u32> {
        self.text(name).lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    fn run(&self, shim: Option<&Shim>) -> Finished {
        run_with(&self.spec, &mut Never, shim).unwrap()
    }
}

fn both_ways(script: &str, test: impl Fn(&mut Bench, Option<&Shim>)) {
    test(&mut Bench::new(script), None);
    test(&mut Bench::new(script), Some(&test_shim()));
}

fn gone(pid: u32) -> bool {
    process_start_time(pid).is_none()
}

fn no_child_is_left_over(pids: &[u32]) {
    let table = table::read();
    for pid in pids {
        let row = table.get(&i32::try_from(*pid).unwrap());
        assert!(row.is_none_or(|row| row.parent != own_pid()), "{pid}: {row:?}");
    }
}

#[test]
fn the_exit_code_is_passed_on() {
    both_ways("echo out; echo err >&2; exit 7", |bench, shim| {
        let finished = bench.run(shim);
        assert_eq!((finished.exit, finished.swept), (Exit::Code { code: 7 }, 0));
        assert!(bench.text("out").contains("out\n"));
        assert_eq!(bench.text("err"), "err\n");
    });
}

#[test]
fn a_death_by_signal_is_told_from_an_exit() {
    both_ways("kill -SEGV $$", |bench, shim| {
        assert_eq!(bench.run(shim).exit, Exit::Signal { signal: 11 });
    });
}

#[test]
fn a_missing_program_is_an_error_that_names_it() {
    both_ways("", |bench, shim| {
        bench.spec.argv = vec!["no-such-program-here".into()];
        let error = run_with(&bench.spec, &mut Never, shim).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-program-here"), "{error:#}");
    });
}

#[test]
fn a_file_that_the_kernel_cannot_execute_is_an_error() {
    both_ways("", |bench, shim| {
        let path = bench.path("program");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o755).open(&path).unwrap();
        file.write_all(b"\x7fELF but not really").unwrap();
        drop(file);
        bench.spec.argv = vec![path.into()];
        assert!(run_with(&bench.spec, &mut Never, shim).is_err());
    });
}

#[test]
fn five_megabytes_of_input_arrive_whole() {
    both_ways("wc -c", |bench, shim| {
        bench.spec.stdin = vec![b'x'; 5_000_000];
        assert!(bench.run(shim).exit.success());
        assert!(bench.text("out").contains("5000000"));
    });
}

#[test]
fn input_nobody_reads_does_no_harm() {
    both_ways("exit 0", |bench, shim| {
        bench.spec.stdin = vec![b'x'; 5_000_000];
        assert!(bench.run(shim).exit.success());
    });
}

#[test]
fn no_input_is_an_empty_input() {
    both_ways("cat; echo end", |bench, shim| {
        assert!(bench.run(shim).exit.success());
        assert!(bench.text("out").contains("end\n"));
    });
}

#[test]
fn one_file_for_both_outputs_keeps_their_order() {
    both_ways("echo 1; echo 2 >&2; echo 3", |bench, shim| {
        bench.spec.stderr = bench.spec.stdout.clone();
        bench.run(shim);
        assert!(bench.text("out").contains("1\n2\n3\n"));
    });
}

#[test]
fn variables_are_set_and_taken_away() {
    both_ways("echo \"<$GIVEN><$HOME>\"", |bench, shim| {
        bench.spec.env = vec![("GIVEN".into(), "a b".into())];
        bench.spec.env_remove = vec!["HOME".into()];
        bench.run(shim);
        assert!(bench.text("out").contains("<a b><>\n"));
    });
}

#[test]
fn the_time_limit_ends_the_process_and_its_children() {
    both_ways("echo $$ > pids; sleep 1000 & echo $! >> pids; wait", |bench, shim| {
        bench.spec.limit = Duration::from_millis(400);
        let finished = bench.run(shim);
        assert_eq!(finished.exit, Exit::TimedOut);
        assert!(finished.duration < Duration::from_secs(10), "{:?}", finished.duration);
        let pids = bench.pids("pids");
        assert_eq!(pids.len(), 2);
        assert!(pids.iter().all(|pid| gone(*pid)));
        no_child_is_left_over(&pids);
    });
}

#[test]
fn a_process_that_ignores_every_polite_signal_is_killed() {
    both_ways("trap '' TERM INT HUP; echo $$ > pids; while :; do sleep 1000; done", |bench, shim| {
        let ready = bench.path("pids");
        let finished = run_with(&bench.spec, &mut WhenThere(ready), shim).unwrap();
        assert_eq!(finished.exit, Exit::Stopped);
        assert!(finished.duration >= bench.spec.grace);
        assert!(finished.duration < Duration::from_secs(15), "{:?}", finished.duration);
        assert!(bench.pids("pids").iter().all(|pid| gone(*pid)));
    });
}

#[test]
fn the_first_signal_lets_a_process_clean_up() {
    // A job started in the background by a script has SIGINT ignored, and a shell cannot trap what was ignored when it
    // began. With a handler here it begins with the default, as it does below the program, which has handlers too.
    let handled = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, handled).unwrap();
    both_ways("trap 'echo cleaned; exit 3' INT; : > ready; while :; do sleep 0.02; done", |bench, shim| {
        bench.spec.first_signal = FirstSignal::Interrupt;
        bench.spec.grace = Duration::from_secs(20);
        let finished = run_with(&bench.spec, &mut WhenThere(bench.path("ready")), shim).unwrap();
        assert_eq!(finished.exit, Exit::Stopped);
        assert!(finished.duration < Duration::from_secs(15), "{:?}", finished.duration);
        assert!(bench.text("out").contains("cleaned"));
    });
}

#[test]
fn what_a_process_leaves_in_the_background_is_ended_and_counted() {
    both_ways("sleep 1000 & echo $! > pids; sleep 1000 & echo $! >> pids; exit 0", |bench, shim| {
        let finished = bench.run(shim);
        assert_eq!((finished.exit, finished.swept), (Exit::Code { code: 0 }, 2));
        assert!(bench.pids("pids").iter().all(|pid| gone(*pid)));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_in_a_session_of_its_own_is_found_however_fast_its_parent_left() {
    let script = "(setsid sh -c 'trap \"\" TERM; echo $$ > pid; exec sleep 1000' > /dev/null 2>&1 < /dev/null &); \
                  until [ -s pid ]; do sleep 0.01; done";
    let bench = Bench::new(script);
    let finished = bench.run(Some(&test_shim()));
    assert_eq!((finished.exit, finished.swept), (Exit::Code { code: 0 }, 1));
    assert!(bench.pids("pid").iter().all(|pid| gone(*pid)));
}

#[test]
fn a_grandchild_that_holds_the_output_open_delays_nothing() {
    both_ways("sleep 1000 & echo done", |bench, shim| {
        let finished = bench.run(shim);
        assert!(finished.duration < Duration::from_secs(10), "{:?}", finished.duration);
        assert!(bench.text("out").contains("done"));
    });
}

#[test]
fn a_process_that_closes_its_outputs_is_still_waited_for() {
    both_ways("exec > /dev/null 2>&1 <&-; sleep 0.3; exit 4", |bench, shim| {
        let finished = bench.run(shim);
        assert_eq!(finished.exit, Exit::Code { code: 4 });
        assert!(finished.duration >= Duration::from_millis(300));
    });
}

#[test]
fn a_flood_is_ended_and_its_file_cut_to_the_limit() {
    both_ways("yes & yes >&2", |bench, shim| {
        bench.spec.max_output = 100_000;
        assert_eq!(bench.run(shim).exit, Exit::OutputLimit);
        let size = |name| std::fs::metadata(bench.path(name)).unwrap().len();
        assert!(size("out") + size("err") <= 100_000);
    });
}

#[test]
fn output_over_the_limit_counts_even_when_the_process_was_faster_than_the_look() {
    both_ways("head -c 300000 /dev/zero", |bench, shim| {
        bench.spec.max_output = 100_000;
        assert_eq!(bench.run(shim).exit, Exit::OutputLimit);
    });
}

#[test]
fn a_command_that_kills_its_watcher_is_ended_all_the_same() {
    let bench = Bench::new("echo $$ > pids; sleep 0.6; kill -KILL $PPID; sleep 1000");
    let finished = bench.run(Some(&test_shim()));
    assert_eq!(finished.exit, Exit::Signal { signal: 9 });
    assert!(bench.pids("pids").iter().all(|pid| gone(*pid)));
}

#[test]
fn the_watcher_ends_the_whole_tree_when_its_parent_is_killed() {
    // sh plays this program: it starts the watcher and is then killed without warning.
    let bench = Bench::new("");
    let shim = test_shim();
    std::fs::write(bench.path("report"), "").unwrap();
    let mut words: Vec<String> = vec![shim.path.display().to_string()];
    words.extend(shim.arguments.iter().map(|argument| argument.to_str().unwrap().to_owned()));
    let line = format!(
        "echo $$ > parent; {} {SHIM_ARGUMENT} $$ report -- sh -c 'trap \"\" TERM; echo $$ > pid; sleep 1000' & wait",
        words.join(" ")
    );
    let mut parent = Command::new("sh").args(["-c", &line]).current_dir(bench.dir.path()).spawn().unwrap();
    let started = Instant::now();
    while bench.pids("pid").is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30));
        Pause::new().sleep();
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    let pid = bench.pids("pid")[0];
    while !gone(pid) {
        assert!(started.elapsed() < Duration::from_secs(30));
        Pause::new().sleep();
    }
    while bench.path("report").exists() {
        assert!(started.elapsed() < Duration::from_secs(30));
        Pause::new().sleep();
    }
}

#[test]
fn a_tree_of_somebody_else_can_be_ended_and_a_wrong_start_time_protects_it() {
    let bench = Bench::new("");
    let line = "trap '' TERM; sleep 1000 & echo $! > pid; wait";
    let mut parent = Command::new("sh").args(["-c", line]).current_dir(bench.dir.path()).spawn().unwrap();
    let started = Instant::now();
    while bench.pids("pid").is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30));
        Pause::new().sleep();
    }
    let start = process_start_time(parent.id()).unwrap();
    assert!(end_process_tree(parent.id(), start + 1, Duration::ZERO));
    assert!(is_alive(parent.id(), start));
    assert!(end_process_tree(parent.id(), start, Duration::from_millis(100)));
    assert!(!is_alive(parent.id(), start));
    assert!(gone(bench.pids("pid")[0]));
    let _ = parent.wait();
}

#[test]
fn capture_gives_both_outputs_and_the_exit() {
    let dir = tempfile::tempdir().unwrap();
    let captured = capture(&Capture {
        argv: ["sh", "-c", "cat; echo err >&2; exit 5"].map(OsString::from).to_vec(),
        cwd: dir.path().to_owned(),
        stdin: b"in".to_vec(),
        ..Capture::default()
    })
    .unwrap();
    assert_eq!(
        (captured.exit, captured.stdout, captured.stderr),
        (Exit::Code { code: 5 }, b"in".to_vec(), b"err\n".to_vec())
    );
}

#[test]
fn capture_keeps_its_limit_even_if_a_grandchild_holds_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let captured = capture(&Capture {
        argv: ["sh", "-c", "echo early; sleep 1000 & sleep 1000"].map(OsString::from).to_vec(),
        cwd: dir.path().to_owned(),
        limit: Duration::from_millis(200),
        ..Capture::default()
    })
    .unwrap();
    assert_eq!(captured.exit, Exit::TimedOut);
    assert_eq!(captured.stdout, b"early\n");
    assert!(started.elapsed() < Duration::from_secs(10));
}
