//! One test for each rule.

use pretty_assertions::assert_eq;

use super::{run, tree};
use crate::change::{FileMode, FileVersion, MemoryTree};
use crate::patch::{How, HunkMatch, Limits, RefusalCode, rebuild};

const FILE: &str =
    "fn one() {\n    let a = 1;\n    step(a);\n}\n\nfn two() {\n    let b = 2;\n    step(b);\n    done(b);\n}\n";

/// Returns a patch of `x.rs` with this body under a hunk header.
fn patch(header: &str, body: &str) -> String {
    format!("--- a/x.rs\n+++ b/x.rs\n{header}\n{body}")
}

/// Returns the new text and the ways the hunks matched.
fn ok(patch: &str, old: &str) -> (String, Vec<String>) {
    let rebuilt = run(patch, &[("x.rs", old)]).unwrap();
    let file = rebuilt.change.files.iter().find(|file| file.new.is_some()).unwrap();
    (file.new_text().to_owned(), rebuilt.matches.iter().map(|hunk| hunk.how.to_string()).collect())
}

/// Returns why the patch is refused.
fn cause(patch: &str, old: &str) -> String {
    let refusal = run(patch, &[("x.rs", old)]).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DoesNotApply);
    refusal.cause
}

#[test]
fn the_place_and_the_way_of_each_hunk_are_told() {
    let rebuilt = run(
        &patch("@@ -60,3 +60,3 @@", "     let b = 2;\n-    step(b);\n+    leap(b);\n     done(b);\n"),
        &[("x.rs", FILE)],
    );
    let place = HunkMatch { path: "x.rs".into(), hunk: 1, line: 7, how: How::Exact };
    assert_eq!(rebuilt.unwrap().matches, [place]);
}

#[test]
fn context_is_written_as_the_file_has_it() {
    let old = "say(\"a\")  \nkeep('b')\nlast()\n";
    let (new, how) = ok(&patch("@@", " say(“a”)\n keep(’b’)\n-last()\n+end()\n"), old);
    assert_eq!((new.as_str(), how), ("say(\"a\")  \nkeep('b')\nend()\n", vec!["fold".to_owned()]));
}

#[test]
fn blanks_at_line_ends_are_overlooked() {
    let (new, how) = ok(&patch("@@", " a\n-b\n+c\n"), "a  \nb\t\n");
    assert_eq!((new.as_str(), how), ("a  \nc\n", vec!["ws".to_owned()]));
}

#[test]
fn a_shifted_hunk_is_indented_as_the_file_is() {
    let body = "let b = 2;\n-step(b);\n+if b > 1 {\n+    step(b);\n+}\n done(b);\n";
    let (new, how) = ok(&patch("@@", &format!(" {body}")), FILE);
    assert_eq!(how, ["indent+4"]);
    assert!(new.contains("    let b = 2;\n    if b > 1 {\n        step(b);\n    }\n    done(b);\n"), "{new}");
}

#[test]
fn spaces_typed_for_tabs_become_tabs() {
    let (new, how) = ok(
        &patch("@@", " func f() {\n     first()\n-    second()\n+    third()\n }\n"),
        "func f() {\n\tfirst()\n\tsecond()\n}\n",
    );
    assert_eq!((new.as_str(), how), ("func f() {\n\tfirst()\n\tthird()\n}\n", vec!["tabs".to_owned()]));
}

#[test]
fn an_outer_context_line_may_differ_but_not_a_removed_one() {
    let old = "alpha\nbravo\ncharlie\ndelta\necho\n";
    let (new, how) = ok(&patch("@@", " other words\n bravo\n-charlie\n+CHARLIE\n delta\n"), old);
    assert_eq!((new.as_str(), how), ("alpha\nbravo\nCHARLIE\ndelta\necho\n", vec!["fuzz1".to_owned()]));
    let stale = cause(&patch("@@", " alpha\n bravo\n-charlies\n+CHARLIE\n delta\n"), old);
    assert!(stale.starts_with("no match"), "{stale}");
}

#[test]
fn an_altered_context_line_keeps_the_words_of_the_file() {
    let old = "alpha\nbravo is here\ncharlie\ndelta\n";
    let (new, how) = ok(&patch("@@", " alpha\n bravo is there\n-charlie\n+CHARLIE\n delta\n"), old);
    assert_eq!((new.as_str(), how), ("alpha\nbravo is here\nCHARLIE\ndelta\n", vec!["altered1".to_owned()]));
}

#[test]
fn a_forgotten_line_is_found_unless_an_addition_is_beside_it() {
    let old = "alpha\nbravo\ncharlie\ndelta\necho\nfoxtrot\n";
    let fixed = old.replace("foxtrot", "FOX");
    assert_eq!(
        ok(&patch("@@", " alpha\n charlie\n delta\n echo\n-foxtrot\n+FOX\n"), old),
        (fixed.clone(), vec!["fuzz1".to_owned()])
    );
    assert_eq!(
        ok(&patch("@@", " alpha\n bravo\n charlie\n echo\n-foxtrot\n+FOX\n"), old),
        (fixed, vec!["split".to_owned()])
    );
    assert!(cause(&patch("@@", " alpha\n bravo\n+new\n delta\n echo\n"), old).contains("not certain"));
}

#[test]
fn two_hunks_typed_as_one_are_taken_apart() {
    let old: String = (0..30).map(|n| format!("line number {n}\n")).collect::<Vec<_>>().concat();
    let body = " line number 3\n-line number 4\n+four\n line number 5\n line number 20\n-line number 21\n+many\n line number 22\n";
    let (new, how) = ok(&patch("@@", body), &old);
    assert_eq!(
        (new, how),
        (old.replace("line number 4\n", "four\n").replace("line number 21\n", "many\n"), vec!["split".to_owned()])
    );
}

#[test]
fn text_that_stands_twice_needs_the_exact_line_or_a_heading_that_selects() {
    let body = "-    step();\n+    leap();\n";
    let old = "fn one() {\n    step();\n}\n\nfn two() {\n    a();\n    b();\n    c();\n    step();\n}\n";
    let (first, second) = (old.replacen("step", "leap", 1), old.replace("c();\n    step", "c();\n    leap"));
    assert_eq!(ok(&patch("@@ -9 +9 @@", body), old).0, second);
    assert_eq!(ok(&patch("@@ -900 +900 @@ fn two()", body), old).0, second);
    assert_eq!(ok(&patch("@@ -2 +2 @@ fn one() {", body), old).0, first);
    assert_eq!(cause(&patch("@@ -8 +8 @@", body), old), "2 matches, at lines 2, 9: quote more lines around the change");
    assert!(cause(&patch("@@ -9 +9 @@ fn one() {", body), old).contains("2 matches"));
    // Another hunk of the file that stands elsewhere than it says takes the trust in the numbers away.
    let astray = format!("{body}@@ -1 +1 @@\n-fn two() {{\n+fn three() {{\n");
    assert!(cause(&patch("@@ -9 +9 @@", &astray), old).contains("2 matches"));
}

#[test]
fn a_hunk_without_old_text_is_refused() {
    assert!(cause(&patch("@@ -3,0 +4 @@", "+new\n"), FILE).contains("only adds lines"));
}

#[test]
fn an_addition_at_the_edge_of_a_full_hunk_needs_the_edge_of_the_file() {
    let body = " alpha\n bravo\n+new\n";
    assert_eq!(ok(&patch("@@", body), "alpha\nbravo\n").0, "alpha\nbravo\nnew\n");
    assert!(cause(&patch("@@", body), "alpha\nbravo\ncharlie\n").contains("context on one side"));
}

#[test]
fn overlapping_hunks_are_refused_and_swapped_ones_are_not() {
    let one = "@@ -2 +2 @@\n-bravo\n+BRAVO\n";
    let two = "@@ -4 +4 @@\n-delta\n+DELTA\n";
    let old = "alpha\nbravo\ncharlie\ndelta\n";
    assert_eq!(ok(&patch(two.trim_end(), one), old).0, "alpha\nBRAVO\ncharlie\nDELTA\n");
    assert!(cause(&patch(one.trim_end(), "@@ -1,2 +1,2 @@\n alpha\n-bravo\n+Bravo\n"), old).contains("overlapping"));
    assert!(cause(&patch(one.trim_end(), "@@ -2,2 +2,2 @@\n bravo\n-charlie\n+C\n"), old).contains("overlapping"));
}

#[test]
fn all_files_change_or_none() {
    let text = "--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n--- a/y.rs\n+++ b/y.rs\n@@ -1 +1 @@\n-no such line\n+b\n";
    let refusal = run(text, &[("x.rs", "a\n"), ("y.rs", "a\n")]).unwrap_err();
    assert_eq!((refusal.path.as_deref(), refusal.hunk), (Some("y.rs"), Some(1)));
}

#[test]
fn each_file_keeps_its_line_ends_and_its_end() {
    let body = " a\n-b\n+x\n+y\n";
    assert_eq!(ok(&patch("@@", body), "a\r\nb").0, "a\r\nx\r\ny");
    assert_eq!(ok(&patch("@@", body).replace('\n', "\r\n"), "a\nb\n").0, "a\nx\ny\n");
    assert_eq!(ok(&patch("@@", body), "\u{feff}a\nb\n").0, "\u{feff}a\nx\ny\n");
}

#[test]
fn markers_decide_about_the_last_line_only_where_it_changes() {
    let mark = "\\ No newline at end of file\n";
    assert_eq!(ok(&patch("@@", &format!(" a\n-b\n{mark}+c\n")), "a\nb").0, "a\nc\n");
    assert_eq!(ok(&patch("@@", &format!(" a\n-b\n+c\n{mark}")), "a\nb\n").0, "a\nc");
    assert_eq!(ok(&patch("@@", &format!(" a\n-b\n{mark}+c\n{mark}")), "a\nb").0, "a\nc");
    assert_eq!(ok(&patch("@@", &format!(" a\n-b\n{mark}+b\n")), "a\nb").0, "a\nb\n");
    assert_eq!(ok(&patch("@@", &format!("-a\n+c\n b\n{mark}")), "a\nb\n").0, "c\nb\n");
}

#[test]
fn empty_lines_without_their_prefix_are_context_or_added() {
    assert_eq!(ok(&patch("@@ -1,3 +1,3 @@", " a\n\n-b\n+c\n"), "a\n\nb\n").0, "a\n\nc\n");
    let (new, how) = ok(&patch("@@ -1,2 +1,5 @@", " first\n+x\n\n+y\n second\n"), "first\nsecond\n");
    assert_eq!((new.as_str(), how), ("first\nx\n\ny\nsecond\n", vec!["blank".to_owned()]));
}

#[test]
fn prose_and_fences_around_a_diff_are_ignored_but_lost_changes_are_not() {
    let diff = patch("@@ -1 +1 @@", "-a\n+b\n");
    assert_eq!(ok(&format!("Look:\n```diff\n{diff}```\n- done\n"), "a\n").0, "b\n");
    assert_eq!(ok(&format!("{diff}\nThat is all.\n"), "a\n").0, "b\n");
    assert_eq!(cause(&format!("{diff}```\n+c\n"), "a\n"), "added lines stand outside any hunk");
    assert_eq!(cause("Please swap the lines.", "a\n"), "no unified diff found in the text");
}

#[test]
fn removed_and_added_dashes_are_no_file_header() {
    let old = "-- a comment\nselect 1;\n";
    assert_eq!(
        ok(&patch("@@ -1,2 +1,2 @@", "--- a comment\n+++ b comment\n select 1;\n"), old).0,
        "++ b comment\nselect 1;\n"
    );
}

#[test]
fn files_are_created_deleted_and_renamed_with_full_headers() {
    let text = "diff --git a/new.sh b/new.sh\nnew file mode 100755\n--- /dev/null\n+++ b/new.sh\n@@ -0,0 +1,3 @@\n+a\n\n+b\n\
        diff --git a/old.txt b/old.txt\ndeleted file mode 100644\n--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\
        diff --git a/x.rs b/y.rs\nsimilarity index 50%\nrename from x.rs\nrename to y.rs\n--- a/x.rs\n+++ b/y.rs\n@@ -1 +1 @@\n-a\n+b\n";
    let rebuilt = run(text, &[("old.txt", "gone\n"), ("x.rs", "a\n")]).unwrap();
    let shown: Vec<(&str, bool, &str)> =
        rebuilt.change.files.iter().map(|file| (file.path.as_str(), file.old.is_some(), file.new_text())).collect();
    assert_eq!(
        shown,
        [("new.sh", false, "a\n\nb\n"), ("old.txt", true, ""), ("x.rs", true, ""), ("y.rs", false, "b\n")]
    );
    assert_eq!(rebuilt.change.files[0].new.as_ref().unwrap().mode, FileMode::Executable);
    let how: Vec<String> = rebuilt.matches.iter().map(|hunk| hunk.how.to_string()).collect();
    assert_eq!(how, ["new-file", "delete-file", "rename", "exact"]);
}

#[test]
fn a_deletion_must_quote_the_whole_file() {
    let text = "--- a/x.rs\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n";
    assert!(run(text, &[("x.rs", "a\n")]).is_ok());
    assert!(cause(text, "a\nb\n").contains("does not quote all"));
}

#[test]
fn names_are_found_with_or_without_prefixes_and_leading_folders() {
    let body = "@@ -1 +1 @@\n-a\n+b\n";
    for header in [
        "--- a/src/deep/x.rs\n+++ b/src/deep/x.rs\n",
        "--- src/deep/x.rs\n+++ src/deep/x.rs\n",
        "--- deep/x.rs\n+++ deep/x.rs\n",
        "--- a/x.rs\n+++ b/x.rs\n",
        "--- old/src/deep/x.rs\n+++ new/src/deep/x.rs\n",
        "--- src/deep/x.rs.orig\n+++ src/deep/x.rs\n",
        "diff --git a/src/deep/x.rs b/src/deep/x.rs\n",
    ] {
        let rebuilt = run(&format!("{header}{body}"), &[("src/deep/x.rs", "a\n")]);
        assert_eq!(rebuilt.unwrap().change.files[0].path, "src/deep/x.rs", "{header}");
    }
    let text = format!("--- a/x.rs\n+++ b/x.rs\n{body}");
    let twice = run(&text, &[("m/x.rs", "a\n"), ("n/x.rs", "a\n")]).unwrap_err();
    assert_eq!(twice.cause, "unknown path; several files end like it, such as m/x.rs and n/x.rs");
    // A folder that is really called like a prefix.
    let text = format!("--- a/x.rs\n+++ a/x.rs\n{body}");
    assert_eq!(run(&text, &[("a/x.rs", "a\n"), ("x.rs", "a\n")]).unwrap().change.files[0].path, "a/x.rs");
}

#[test]
fn a_plain_section_for_a_missing_file_can_only_be_a_new_one() {
    let text = "--- a/n.rs\n+++ b/n.rs\n@@ -0,0 +1 @@\n+a\n";
    assert_eq!(run(text, &[]).unwrap().matches[0].how, How::NewFile);
    assert_eq!(run(text, &[("n.rs", "")]).unwrap().change.files[0].new_text(), "a\n");
    let refusal = run(&text.replace("-0,0", "-4,0"), &[("src/m.rs", "")]).unwrap_err();
    assert!(refusal.cause.starts_with("unknown path"), "{refusal}");
}

#[test]
fn links_submodules_and_binary_files_stay_as_they_are() {
    let entry = |mode, content: &str| FileVersion { mode, content: content.into() };
    let tree = MemoryTree::new([
        ("link".to_owned(), entry(FileMode::Symlink, "src")),
        ("logo.bin".to_owned(), entry(FileMode::Regular, "a\0")),
        ("sub".to_owned(), entry(FileMode::Submodule, "1111")),
    ]);
    let code = |path: &str| {
        let text = format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-a\n+b\n");
        rebuild(&text, &tree, &Limits::default()).unwrap_err().code
    };
    assert_eq!(code("link"), RefusalCode::OutsideRepo);
    assert_eq!(code("link/x"), RefusalCode::OutsideRepo);
    assert_eq!(code("sub"), RefusalCode::ProtectedPath);
    assert_eq!(code("sub/x"), RefusalCode::ProtectedPath);
    assert_eq!(code("logo.bin"), RefusalCode::ProtectedPath);
}

#[test]
fn a_case_twin_of_a_folder_is_protected_and_a_second_file_in_it_is_not() {
    let create = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+a\n");
    let files = [("src/x.rs", "a\n")];
    assert_eq!(run(&create("SRC/y.rs"), &files).unwrap_err().code, RefusalCode::ProtectedPath);
    assert!(run(&create("src/y.rs"), &files).is_ok());
    assert_eq!(run(&(create("n/a") + &create("N/A")), &files).unwrap_err().code, RefusalCode::ProtectedPath);
    assert_eq!(run(&(create("n") + &create("n/a")), &files).unwrap_err().code, RefusalCode::DoesNotApply);
}

#[test]
fn a_refusal_shows_the_real_lines_around_the_nearest_text() {
    let old: String = (1..=50).map(|n| format!("statement number {n}\n")).collect::<Vec<_>>().concat();
    let body = " statement number 20\n-statement number 20b\n+x\n statement number 22\n";
    let refusal = run(&patch("@@ -1,3 +1,3 @@", body), &[("x.rs", &old)]).unwrap_err();
    let window = &refusal.windows[0];
    assert_eq!((window.path.as_str(), window.first_line, window.lines.len()), ("x.rs", 17, 9));
    assert_eq!(refusal.to_string(), "x.rs, hunk 1: no match: the old text of the hunk does not stand in the file");
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    let limits = Limits { max_lines: 3, max_bytes: 1000, max_files: 2 };
    let code = |text: &str| rebuild(text, &tree(&[]), &limits).unwrap_err().code;
    assert_eq!(code(&"x".repeat(1001)), RefusalCode::TooLarge);
    assert_eq!(code(&patch("@@", "+a\n+b\n+c\n+d\n")), RefusalCode::TooLarge);
    assert_eq!(code(&"--- a/x\n+++ b/x\n".repeat(3)), RefusalCode::TooLarge);
    assert_eq!(code(&patch("@@", &"@@\n".repeat(5))), RefusalCode::TooLarge);
}

#[test]
fn a_long_hunk_in_a_long_file_of_equal_lines_ends_quickly() {
    let old = "same\n".repeat(60_000);
    let body = format!("{}-other\n+x\n", " same\n".repeat(20_000));
    let started = std::time::Instant::now();
    assert!(run(&patch("@@", &body), &[("x.rs", &old)]).is_err());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn a_patch_of_empty_lines_ends_quickly() {
    let started = std::time::Instant::now();
    let blank = "\n".repeat(1_000_000);
    assert!(run(&patch("@@ -1 +1 @@", &format!("-a\n+b\n{blank}")), &[("x.rs", "a\n")]).is_ok());
    assert!(run(&patch("@@ -1 +1 @@", &format!("-a\n+b\n{blank}+c\n")), &[("x.rs", "c\n")]).is_err());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
