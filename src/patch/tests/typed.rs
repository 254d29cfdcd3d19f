//! What models type that is no clean diff, kind by kind: each gives exactly the tree meant, or a cause one can act on.

use std::collections::BTreeMap;

use super::run;

/// What has to come of a typed patch.
enum Want {
    /// These new versions, `None` for a file that is gone; every other file as it was.
    Gives(&'static [(&'static str, Option<&'static str>)]),
    /// A refusal whose cause has these words.
    Refused(&'static str),
}

use Want::{Gives, Refused};

/// The kind of typing, the files, what was typed, and what has to come of it.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str, Want);

const PY: &str = "def one():\n    a = 1\n    return a\n\n\ndef two():\n    b = 2\n    return b\n";
const PY10: &str = "def one():\n    a = 10\n    return a\n\n\ndef two():\n    b = 2\n    return b\n";
const PY10_20: &str = "def one():\n    a = 10\n    return a\n\n\ndef two():\n    b = 20\n    return b\n";
const X: &[(&str, &str)] = &[("x.py", PY)];
const X10: Want = Gives(&[("x.py", Some(PY10))]);
const X10_20: Want = Gives(&[("x.py", Some(PY10_20))]);
/// The same three lines in two functions.
const TWICE: &str =
    "def one():\n    a = 1\n    go(a)\n    return a\n\n\ndef two():\n    a = 1\n    go(a)\n    return a\n";
const TWICE_SECOND: &str =
    "def one():\n    a = 1\n    go(a)\n    return a\n\n\ndef two():\n    a = 2\n    go(a)\n    return a\n";

const ROWS: &[Row] = &[
    // Envelopes.
    (
        "apply_patch update",
        X,
        "*** Begin Patch\n*** Update File: x.py\n@@ def one():\n-    a = 1\n+    a = 10\n     return a\n*** End Patch\n",
        X10,
    ),
    (
        "apply_patch update, heading only in @@",
        &[("x.py", TWICE)],
        "*** Begin Patch\n*** Update File: x.py\n@@ def two():\n-    a = 1\n+    a = 2\n     go(a)\n*** End Patch",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "apply_patch twice without heading",
        &[("x.py", TWICE)],
        "*** Begin Patch\n*** Update File: x.py\n@@\n-    a = 1\n+    a = 2\n     go(a)\n*** End Patch",
        Refused("2 matches"),
    ),
    (
        "apply_patch add",
        X,
        "*** Begin Patch\n*** Add File: y.py\n+def y():\n+    pass\n*** End Patch\n",
        Gives(&[("y.py", Some("def y():\n    pass\n"))]),
    ),
    (
        "apply_patch add over a file",
        X,
        "*** Begin Patch\n*** Add File: x.py\n+def y():\n+    pass\n*** End Patch\n",
        Refused("exists"),
    ),
    (
        "apply_patch delete",
        &[("x.py", PY), ("y.py", "a\n")],
        "*** Begin Patch\n*** Delete File: y.py\n*** Update File: x.py\n@@\n-    a = 1\n+    a = 10\n*** End Patch\n",
        Gives(&[("x.py", Some(PY10)), ("y.py", None)]),
    ),
    (
        "apply_patch move",
        X,
        "*** Begin Patch\n*** Update File: x.py\n*** Move to: z.py\n@@\n-    a = 1\n+    a = 10\n*** End Patch\n",
        Gives(&[("x.py", None), ("z.py", Some(PY10))]),
    ),
    (
        "apply_patch in heredoc",
        X,
        "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: x.py\n@@\n def one():\n-    a = 1\n+    a = 10\n*** End Patch\nEOF\n",
        X10,
    ),
    (
        "apply_patch end of file",
        X,
        "*** Begin Patch\n*** Update File: x.py\n@@\n     b = 2\n-    return b\n+    return b + 1\n*** End of File\n*** End Patch\n",
        Gives(&[("x.py", Some("def one():\n    a = 1\n    return a\n\n\ndef two():\n    b = 2\n    return b + 1\n"))]),
    ),
    (
        "apply_patch first chunk without @@",
        X,
        "*** Begin Patch\n*** Update File: x.py\n def one():\n-    a = 1\n+    a = 10\n*** End Patch\n",
        X10,
    ),
    (
        "apply_patch two files with hunks",
        &[("x.py", PY), ("y.py", "l1\nl2\n")],
        "*** Begin Patch\n*** Update File: x.py\n@@\n-    a = 1\n+    a = 10\n*** Update File: y.py\n@@\n-l1\n+L1\n l2\n*** End Patch\n",
        Gives(&[("x.py", Some(PY10)), ("y.py", Some("L1\nl2\n"))]),
    ),
    (
        "apply_patch hybrid inside with ---",
        X,
        "*** Begin Patch\n*** Update File: x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n*** End Patch\n",
        X10,
    ),
    (
        "unified diff with End Patch",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n*** End Patch\n",
        X10,
    ),
    ("search/replace", X, "x.py\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 10\n>>>>>>> REPLACE\n", X10),
    (
        "search/replace fenced",
        X,
        "Here is the change.\n\n```python\nx.py\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 10\n>>>>>>> REPLACE\n```\n",
        X10,
    ),
    (
        "diff and search/replace",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n\nx.py\n<<<<<<< SEARCH\n    b = 2\n=======\n    b = 20\n>>>>>>> REPLACE\n",
        X10_20,
    ),
    // Fences and prose.
    (
        "two fences with prose",
        X,
        "First:\n\n```diff\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n```\n\nThen, for the other:\n\n```diff\n--- a/x.py\n+++ b/x.py\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n```\n\n- done\n+ good\n",
        Refused("added lines stand outside any hunk"),
    ),
    (
        "second fence holds only a hunk",
        X,
        "```diff\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n```\nand\n```diff\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n```\n",
        Refused("without the name of a file"),
    ),
    (
        "prose with bullets between hunks",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n\n- this raises a\n- and next b\n\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n",
        Refused("no match"),
    ),
    (
        "tilde fence",
        X,
        "~~~diff\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n~~~\n",
        X10,
    ),
    (
        "markdown file with fences added",
        &[("r.md", "# T\n\ntext\n")],
        "```diff\n--- a/r.md\n+++ b/r.md\n@@ -1,3 +1,6 @@\n # T\n \n+```sh\n+run\n+```\n text\n```\n",
        Gives(&[("r.md", Some("# T\n\n```sh\nrun\n```\ntext\n"))]),
    ),
    (
        "markdown file with fences as context",
        &[("r.md", "# T\n```sh\nrun\n```\ntext\n")],
        "```diff\n--- a/r.md\n+++ b/r.md\n@@ -1,5 +1,5 @@\n # T\n ```sh\n-run\n+go\n ```\n text\n```\n",
        Gives(&[("r.md", Some("# T\n```sh\ngo\n```\ntext\n"))]),
    ),
    (
        "markdown fences without their space",
        &[("r.md", "# T\n```sh\nrun\n```\ntext\nmore\n")],
        "--- a/r.md\n+++ b/r.md\n@@ -1,6 +1,6 @@\n # T\n```sh\n-run\n+go\n```\n text\n-more\n+less\n",
        Refused("removed lines stand outside"),
    ),
    (
        "escaped newlines",
        X,
        "--- a/x.py\\n+++ b/x.py\\n@@ -1,3 +1,3 @@\\n def one():\\n-    a = 1\\n+    a = 10\\n     return a\\n",
        X10,
    ),
    (
        "whole thing a JSON string",
        X,
        "\"--- a/x.py\\n+++ b/x.py\\n@@ -1,3 +1,3 @@\\n def one():\\n-    a = 1\\n+    a = 10\\n     return a\\n\"",
        X10,
    ),
    (
        "escaped newlines in added code stay",
        &[("x.py", "print(1)\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-print(1)\n+print('a\\nb')\n",
        Gives(&[("x.py", Some("print('a\\nb')\n"))]),
    ),
    (
        "escaped newlines, code with an escape of its own",
        &[("x.py", "print('a\\nb')\n")],
        "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-print('a\\\\nb')\\n+print('c\\\\nd')\\n",
        Gives(&[("x.py", Some("print('c\\nd')\n"))]),
    ),
    (
        "escaped newlines, ambiguous escapes",
        &[("x.py", "print('a\\nb')\n")],
        "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-print('a\\nb')\\n+print('c\\nd')\\n",
        Refused("counts do not bear it out"),
    ),
    // Headers.
    (
        "git header with time stamps and index",
        X,
        "diff --git a/x.py b/x.py\nindex 83db48f..bf269f4 100644\n--- a/x.py\t2024-01-01 10:00:00.000000000 +0000\n+++ b/x.py\t2024-01-02 10:00:00.000000000 +0000\n@@ -1,3 +1,3 @@ def zero():\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "time stamp after spaces",
        X,
        "--- x.py 2024-01-01 10:00:00\n+++ x.py 2024-01-02 10:00:00\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "git header only",
        X,
        "diff --git a/x.py b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "svn Index header",
        X,
        "Index: x.py\n===================================================================\n--- x.py\t(revision 12)\n+++ x.py\t(working copy)\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        ".orig on the old side",
        X,
        "--- x.py.orig\n+++ x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "a/ prefix on one side only",
        &[("src/x.py", PY)],
        "--- a/src/x.py\n+++ src/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("src/x.py", Some(PY10))]),
    ),
    (
        "b/ prefix on one side only",
        &[("src/x.py", PY)],
        "--- src/x.py\n+++ b/src/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("src/x.py", Some(PY10))]),
    ),
    (
        "a real folder a",
        &[("a/x.py", PY), ("x.py", PY)],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "a real folder a, no prefixes",
        &[("a/x.py", PY), ("b.py", "b\n")],
        "--- a/x.py\n+++ a/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("a/x.py", Some(PY10))]),
    ),
    (
        "a real folder a, no prefixes, twin at the root",
        &[("a/x.py", PY), ("x.py", PY)],
        "--- a/x.py\n+++ a/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("a/x.py", Some(PY10))]),
    ),
    (
        "basename that two files have",
        &[("p/x.py", PY), ("q/x.py", PY)],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("several files"),
    ),
    (
        "basename that two files have, bare @@, text in one",
        &[("p/x.py", PY), ("q/x.py", "def other():\n    pass\n")],
        "--- a/x.py\n+++ b/x.py\n@@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("several files"),
    ),
    (
        "absolute path",
        &[("src/x.py", PY)],
        "--- /home/u/repo/src/x.py\n+++ /home/u/repo/src/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("leaves the repository"),
    ),
    (
        "absolute path after a",
        &[("src/x.py", PY)],
        "--- a//home/u/repo/src/x.py\n+++ b//home/u/repo/src/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("leaves the repository"),
    ),
    (
        "./ in the path",
        &[("src/x.py", PY)],
        "--- ./src/x.py\n+++ ./src/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("src/x.py", Some(PY10))]),
    ),
    (
        "windows separators",
        &[("src/x.py", PY)],
        "--- a\\src\\x.py\n+++ b\\src\\x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("src/x.py", Some(PY10))]),
    ),
    (
        "path with spaces",
        &[("my dir/x y.py", PY)],
        "--- a/my dir/x y.py\n+++ b/my dir/x y.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("my dir/x y.py", Some(PY10))]),
    ),
    (
        "git header only, path with spaces",
        &[("my dir/x y.py", PY)],
        "diff --git a/my dir/x y.py b/my dir/x y.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("my dir/x y.py", Some(PY10))]),
    ),
    (
        "path in quotes with octal",
        &[("d/\u{e4}.py", PY)],
        "--- \"a/d/\\303\\244.py\"\n+++ \"b/d/\\303\\244.py\"\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("d/\u{e4}.py", Some(PY10))]),
    ),
    (
        "path in quotes though plain",
        X,
        "--- \"a/x.py\"\n+++ \"b/x.py\"\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "path in backticks",
        X,
        "--- `a/x.py`\n+++ `b/x.py`\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "path decomposed",
        &[("d/\u{e4}.py", PY)],
        "--- a/d/a\u{308}.py\n+++ b/d/a\u{308}.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("unknown path"),
    ),
    (
        "names of two files in one header",
        &[("x.py", PY), ("y.py", PY)],
        "--- a/x.py\n+++ b/y.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("name different files"),
    ),
    (
        "git line and names disagree",
        &[("x.py", PY), ("y.py", PY)],
        "diff --git a/y.py b/y.py\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("disagree"),
    ),
    ("only +++", X, "+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n", X10),
    (
        "no header, one file",
        X,
        "@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("without the name of a file"),
    ),
    (
        "other case in the path",
        &[("src/Main.py", PY)],
        "--- a/src/main.py\n+++ b/src/main.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("unknown path"),
    ),
    // Line noise.
    (
        "cat -n numbers",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n     1\tdef one():\n-     2\t    a = 1\n+     2\t    a = 10\n      3\t    return a\n",
        X10,
    ),
    (
        "cat -n numbers on context only",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n      1\tdef one():\n-    a = 1\n+    a = 10\n      3\t    return a\n",
        X10,
    ),
    (
        "ellipsis between",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ ... @@\n def one():\n-    a = 1\n+    a = 10\n ...\n def two():\n-    b = 2\n+    b = 20\n     return b\n",
        X10_20,
    ),
    (
        "ellipsis without prefix",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,8 +1,8 @@\n def one():\n-    a = 1\n+    a = 10\n...\n def two():\n-    b = 2\n+    b = 20\n     return b\n",
        X10_20,
    ),
    (
        "ellipsis removed",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,8 +1,2 @@\n def one():\n-    a = 1\n-    ...\n-    return b\n+    pass\n",
        Refused("no match"),
    ),
    (
        "ellipsis added for the rest",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n-    return a\n+    a = 10\n+    # ... rest unchanged ...\n",
        Refused("left out"),
    ),
    (
        "indentation trimmed",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-a = 1\n+a = 10\n return a\n",
        Refused("indentation of the added lines"),
    ),
    (
        "whole diff indented",
        X,
        "    --- a/x.py\n    +++ b/x.py\n    @@ -1,3 +1,3 @@\n     def one():\n    -    a = 1\n    +    a = 10\n         return a\n",
        X10,
    ),
    (
        "whole diff quoted",
        X,
        "> --- a/x.py\n> +++ b/x.py\n> @@ -1,3 +1,3 @@\n>  def one():\n> -    a = 1\n> +    a = 10\n>      return a\n",
        X10,
    ),
    (
        "tabs typed for spaces",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-\ta = 1\n+\ta = 10\n \treturn a\n",
        X10,
    ),
    (
        "no leading space on context",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\ndef one():\n-    a = 1\n+    a = 10\n    return a\n",
        X10,
    ),
    (
        "added blank lines without plus",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,6 @@\n def one():\n     a = 1\n+    a += 1\n\n+    a += 2\n     return a\n",
        Gives(&[(
            "x.py",
            Some(
                "def one():\n    a = 1\n    a += 1\n\n    a += 2\n    return a\n\n\ndef two():\n    b = 2\n    return b\n",
            ),
        )]),
    ),
    (
        "html entities",
        &[("x.c", "if (a < b && c > d) {\n    go();\n}\n")],
        "--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,3 @@\n if (a &lt; b &amp;&amp; c &gt; d) {\n-    go();\n+    stop(a &lt; b);\n }\n",
        Gives(&[("x.c", Some("if (a < b && c > d) {\n    stop(a < b);\n}\n"))]),
    ),
    (
        "html entities meant",
        &[("x.html", "<p>a</p>\n<p>b</p>\n")],
        "--- a/x.html\n+++ b/x.html\n@@ -1,2 +1,2 @@\n <p>a</p>\n-<p>b</p>\n+<p>a &lt; b</p>\n",
        Gives(&[("x.html", Some("<p>a</p>\n<p>a &lt; b</p>\n"))]),
    ),
    (
        "smart quotes added too",
        &[("x.py", "print('a')\nprint(\"b\")\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n print(‘a’)\n-print(“b”)\n+print(“c”)\n",
        Refused("typographic"),
    ),
    (
        "typographic text meant",
        &[("x.md", "say \"a\"\nend\n")],
        "--- a/x.md\n+++ b/x.md\n@@ -1,2 +1,2 @@\n-say \"a\"\n+say “a” – now\n end\n",
        Gives(&[("x.md", Some("say “a” – now\nend\n"))]),
    ),
    (
        "typographic text corrected",
        &[("x.md", "say “a”\nend\n")],
        "--- a/x.md\n+++ b/x.md\n@@ -1,2 +1,2 @@\n-say “a”\n+say “b”\n end\n",
        Gives(&[("x.md", Some("say “b”\nend\n"))]),
    ),
    (
        "nbsp in indentation",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-\u{a0}\u{a0}\u{a0}\u{a0}a = 1\n+\u{a0}\u{a0}\u{a0}\u{a0}a = 10\n \u{a0}\u{a0}\u{a0}\u{a0}return a\n",
        Refused("typographic"),
    ),
    (
        "nbsp removed from a file",
        &[("x.py", "a\u{a0}= 1\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a\u{a0}= 1\n+a = 1\n b\n",
        Gives(&[("x.py", Some("a = 1\nb\n"))]),
    ),
    (
        "precomposed context for decomposed file",
        &[("x.py", "n = 'a\u{308}'\na = 1\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n n = '\u{e4}'\n-a = 1\n+a = 10\n",
        Refused("no exact match"),
    ),
    (
        "trailing spaces removed on purpose",
        &[("x.py", "a = 1  \nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a = 1  \n+a = 1\n b\n",
        Gives(&[("x.py", Some("a = 1\nb\n"))]),
    ),
    (
        "only trailing spaces differ between old and new, file has none",
        &[("x.py", "a = 1\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a = 1  \n+a = 1\n b\n",
        Refused("no change"),
    ),
    (
        "trailing space in added string stays",
        &[("x.md", "a\nb\n")],
        "--- a/x.md\n+++ b/x.md\n@@ -1,2 +1,2 @@\n-a\n+hard break  \n b\n",
        Gives(&[("x.md", Some("hard break  \nb\n"))]),
    ),
    // Line ends.
    (
        "CRLF file, LF diff",
        &[("x.py", "a\r\nb\r\nc\r\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n+B2\n c\n",
        Gives(&[("x.py", Some("a\r\nB\r\nB2\r\nc\r\n"))]),
    ),
    (
        "LF file, CRLF diff",
        X,
        "--- a/x.py\r\n+++ b/x.py\r\n@@ -1,3 +1,3 @@\r\n def one():\r\n-    a = 1\r\n+    a = 10\r\n     return a\r\n",
        X10,
    ),
    (
        "mixed file",
        &[("x.py", "a\r\nb\nc\r\nd\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n d\n",
        Gives(&[("x.py", Some("a\r\nB\nc\r\nd\n"))]),
    ),
    (
        "line ends converted to LF on purpose",
        &[("x.py", "a\r\nb\r\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a\r\n-b\r\n+a\n+b\n",
        Refused("no change"),
    ),
    (
        "old Mac line ends in the diff",
        X,
        "--- a/x.py\r+++ b/x.py\r@@ -1,3 +1,3 @@\r def one():\r-    a = 1\r+    a = 10\r     return a\r",
        X10,
    ),
    (
        "BOM file, first line changed",
        &[("x.py", "\u{feff}a\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n",
        Gives(&[("x.py", Some("\u{feff}A\nb\n"))]),
    ),
    (
        "BOM before the diff",
        X,
        "\u{feff}--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "BOM removed on purpose",
        &[("x.py", "\u{feff}a\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-\u{feff}a\n+a\n b\n",
        Refused("no change"),
    ),
    (
        "line separator inside a line",
        &[("x.js", "a = '\u{2028}'\nb\n")],
        "--- a/x.js\n+++ b/x.js\n@@ -1,2 +1,2 @@\n a = '\u{2028}'\n-b\n+c\n",
        Gives(&[("x.js", Some("a = '\u{2028}'\nc\n"))]),
    ),
    (
        "form feed line",
        &[("x.py", "a\n\u{c}\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n a\n \u{c}\n-b\n+c\n",
        Gives(&[("x.py", Some("a\n\u{c}\nc\n"))]),
    ),
    // Hunks.
    (
        "the same hunk twice",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "the same diff twice",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "a corrected second attempt",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 9\n     return a\n\nWait, that is wrong. Corrected:\n\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("overlapping"),
    ),
    (
        "an edit on top of the first",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 9\n     return a\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 9\n+    a = 10\n     return a\n",
        Refused("no match"),
    ),
    (
        "overlapping context only",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,7 +1,7 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n \n \n def two():\n     b = 2\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n",
        Refused("overlapping"),
    ),
    (
        "overlapping, second knows the first",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n@@ -2,3 +2,4 @@\n     a = 10\n     return a\n+    # end\n \n",
        Refused("overlapping"),
    ),
    (
        "hunks out of order",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10_20,
    ),
    (
        "two diffs of one file",
        X,
        "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\ndiff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -6,3 +6,3 @@\n def two():\n-    b = 2\n+    b = 20\n     return b\n",
        X10_20,
    ),
    (
        "twice, right line",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ -8,3 +8,3 @@\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "twice, line one off",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ -9,3 +9,3 @@\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Refused("2 matches"),
    ),
    (
        "twice, @@ heading @@",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ def two(): @@\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "twice, @@ heading",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ two\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Refused("2 matches"),
    ),
    (
        "twice, heading of the first and line of the second",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ -8,3 +8,3 @@ def one():\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "twice, line given for the context that is not there",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ -7,4 +7,4 @@\n def three():\n-    a = 1\n+    a = 2\n     go(a)\n     return a\n",
        Refused("no exact match"),
    ),
    (
        "both copies changed",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@\n-    a = 1\n+    a = 2\n     go(a)\n@@\n-    a = 1\n+    a = 2\n     go(a)\n",
        Refused("2 matches"),
    ),
    (
        "header inside a string of the file",
        &[("t.py", "D = '''\n@@ -1 +1 @@\n-a\n+b\n'''\nx = 1\n")],
        "--- a/t.py\n+++ b/t.py\n@@ -1,6 +1,6 @@\n D = '''\n @@ -1 +1 @@\n -a\n +b\n '''\n-x = 1\n+x = 2\n",
        Gives(&[("t.py", Some("D = '''\n@@ -1 +1 @@\n-a\n+b\n'''\nx = 2\n"))]),
    ),
    (
        "header inside a string, its space lost",
        &[("t.py", "D = '''\n@@ -1 +1 @@\n-a\n+b\n'''\nx = 1\n")],
        "--- a/t.py\n+++ b/t.py\n@@ -1,6 +1,6 @@\n D = '''\n@@ -1 +1 @@\n -a\n +b\n '''\n-x = 1\n+x = 2\n",
        Gives(&[("t.py", Some("D = '''\n@@ -1 +1 @@\n-a\n+b\n'''\nx = 2\n"))]),
    ),
    (
        "diff of a diff file",
        &[("f.patch", "--- a/q.c\n+++ b/q.c\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n")],
        "--- a/f.patch\n+++ b/f.patch\n@@ -1,6 +1,6 @@\n --- a/q.c\n +++ b/q.c\n @@ -1,2 +1,2 @@\n  one\n -two\n-+three\n++four\n",
        Gives(&[("f.patch", Some("--- a/q.c\n+++ b/q.c\n@@ -1,2 +1,2 @@\n one\n-two\n+four\n"))]),
    ),
    (
        "headers of a diff file changed",
        &[("f.patch", "--- a/q.c\n+++ b/q.c\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n")],
        "--- a/f.patch\n+++ b/f.patch\n@@ -1,4 +1,4 @@\n---- a/q.c\n-+++ b/q.c\n+--- a/r.c\n++++ b/r.c\n @@ -1,2 +1,2 @@\n  one\n",
        Gives(&[("f.patch", Some("--- a/r.c\n+++ b/r.c\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"))]),
    ),
    (
        "a new diff file",
        X,
        "--- /dev/null\n+++ b/f.patch\n@@ -0,0 +1,5 @@\n+--- a/q.c\n++++ b/q.c\n+@@ -1 +1 @@\n+-a\n++b\n",
        Gives(&[("f.patch", Some("--- a/q.c\n+++ b/q.c\n@@ -1 +1 @@\n-a\n+b\n"))]),
    ),
    (
        "sql comment removed and ++ added",
        &[("q.sql", "-- drop this\nselect 1\n")],
        "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- drop this\n+++ add this\n select 1\n",
        Gives(&[("q.sql", Some("++ add this\nselect 1\n"))]),
    ),
    (
        "sql comments, wrong counts",
        &[("q.sql", "select 0\n-- drop this\nselect 1\n-- x.py\n")],
        "--- a/q.sql\n+++ b/q.sql\n@@ -1,9 +1,9 @@\n select 0\n--- drop this\n+-- keep this\n select 1\n",
        Gives(&[("q.sql", Some("select 0\n-- keep this\nselect 1\n-- x.py\n"))]),
    ),
    (
        "removed and added line that look like headers of a real file",
        &[("q.sql", "select 0\n-- a/x.py\nselect 1\n"), ("x.py", PY)],
        "--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,3 @@\n select 0\n--- a/x.py\n+++ b/x.py\n select 1\n",
        Gives(&[("q.sql", Some("select 0\n++ b/x.py\nselect 1\n"))]),
    ),
    // Whole files, new files, deletions.
    (
        "/dev/null without git header",
        X,
        "--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+a\n+b\n",
        Gives(&[("y.py", Some("a\nb\n"))]),
    ),
    (
        "new file given as a change",
        X,
        "--- a/y.py\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+a\n+b\n",
        Gives(&[("y.py", Some("a\nb\n"))]),
    ),
    (
        "new file, too small a count",
        X,
        "diff --git a/y.py b/y.py\nnew file mode 100644\n--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,1 @@\n+a\n+b\n+c\n",
        Gives(&[("y.py", Some("a\nb\nc\n"))]),
    ),
    (
        "new file, blank and unprefixed lines",
        X,
        "diff --git a/y.py b/y.py\nnew file mode 100644\n--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,4 @@\n+a\n\n+b\n+\n+c\n",
        Gives(&[("y.py", Some("a\n\nb\n\nc\n"))]),
    ),
    (
        "new file without plus signs",
        X,
        "diff --git a/y.py b/y.py\nnew file mode 100644\n--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\ndef y():\n    pass\n",
        Refused("plus signs"),
    ),
    (
        "new file that ends in no newline",
        X,
        "--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n",
        Gives(&[("y.py", Some("a\nb"))]),
    ),
    ("new file over an old one", X, "--- /dev/null\n+++ b/x.py\n@@ -0,0 +1,2 @@\n+a\n+b\n", Refused("exists")),
    (
        "new file twice",
        X,
        "--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+a\n+b\n--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+c\n+d\n",
        Refused("contradict"),
    ),
    (
        "whole new file in two hunks",
        X,
        "--- /dev/null\n+++ b/y.py\n@@ -0,0 +1,2 @@\n+a\n+b\n@@ -0,0 +3,2 @@\n+c\n+d\n",
        Refused("more than one hunk"),
    ),
    (
        "whole file as context and new",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,8 +1,8 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n \n \n def two():\n     b = 2\n     return b\n",
        X10,
    ),
    (
        "whole file removed and added",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,8 +1,2 @@\n-def one():\n-    a = 1\n-    return a\n-\n-\n-def two():\n-    b = 2\n-    return b\n+def three():\n+    pass\n",
        Gives(&[("x.py", Some("def three():\n    pass\n"))]),
    ),
    (
        "whole file with no signs at all",
        X,
        "--- a/x.py\n+++ b/x.py\ndef one():\n    a = 10\n    return a\n",
        Refused("without a hunk"),
    ),
    (
        "whole file in a fence",
        X,
        "x.py:\n```python\ndef one():\n    a = 10\n    return a\n```\n",
        Refused("no unified diff"),
    ),
    (
        "deleted by emptying",
        &[("x.py", PY), ("y.py", "a\nb\n")],
        "--- a/y.py\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n",
        Gives(&[("y.py", None)]),
    ),
    (
        "emptied, not deleted",
        &[("y.py", "a\nb\n")],
        "--- a/y.py\n+++ b/y.py\n@@ -1,2 +0,0 @@\n-a\n-b\n",
        Gives(&[("y.py", Some(""))]),
    ),
    (
        "deleted with no body",
        &[("x.py", PY), ("y.py", "a\nb\n")],
        "diff --git a/y.py b/y.py\ndeleted file mode 100644\n",
        Refused("does not quote all"),
    ),
    (
        "deletion that quotes half",
        &[("y.py", "a\nb\n")],
        "--- a/y.py\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n",
        Refused("does not quote all"),
    ),
    (
        "rename with edits",
        X,
        "diff --git a/x.py b/z.py\nsimilarity index 90%\nrename from x.py\nrename to z.py\n--- a/x.py\n+++ b/z.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Gives(&[("x.py", None), ("z.py", Some(PY10))]),
    ),
    (
        "rename by names only",
        X,
        "--- a/x.py\n+++ b/z.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("without a rename header"),
    ),
    (
        "rename and edits under the new name apart",
        X,
        "diff --git a/x.py b/z.py\nsimilarity index 100%\nrename from x.py\nrename to z.py\ndiff --git a/z.py b/z.py\n--- a/z.py\n+++ b/z.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("unknown path"),
    ),
    (
        "mode lines",
        X,
        "diff --git a/x.py b/x.py\nold mode 100644\nnew mode 100755\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("mode"),
    ),
    (
        "binary",
        X,
        "diff --git a/y.png b/y.png\nnew file mode 100644\nindex 0000000..e69de29\nGIT binary patch\nliteral 3\nKcmZQzWMp7uVE\n\n",
        Refused("binary"),
    ),
    (
        "binary files differ",
        X,
        "diff --git a/y.png b/y.png\nBinary files a/y.png and b/y.png differ\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("disagree"),
    ),
    (
        "marker after the wrong line",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n\\ No newline at end of file\n+    a = 10\n     return a\n\\ No newline at end of file\n",
        X10,
    ),
    (
        "marker before the lines",
        &[("y.py", "a\nb")],
        "--- a/y.py\n+++ b/y.py\n@@ -1,2 +1,2 @@\n a\n\\ No newline at end of file\n-b\n+c\n",
        Gives(&[("y.py", Some("a\nc"))]),
    ),
    (
        "lines added after an end without newline",
        &[("y.py", "a\nb")],
        "--- a/y.py\n+++ b/y.py\n@@ -1,2 +1,3 @@\n a\n b\n+c\n",
        Gives(&[("y.py", Some("a\nb\nc"))]),
    ),
    (
        "added at the end of a file",
        &[("y.py", "a\nb\n")],
        "--- a/y.py\n+++ b/y.py\n@@ -1,2 +1,3 @@\n a\n b\n+c\n",
        Gives(&[("y.py", Some("a\nb\nc\n"))]),
    ),
    // Counts and numbers.
    (
        "no context, insertion only, right line",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -2,0 +3 @@\n+    a += 1\n",
        Refused("only adds lines"),
    ),
    (
        "counts much too large",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,300 +1,300 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "counts zero",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -0,0 +0,0 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "numbers that overflow",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -99999999999999999999999,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "range words",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ lines 1-3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "@@ only opened",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        X10,
    ),
    (
        "combined diff",
        X,
        "diff --cc x.py\n--- a/x.py\n+++ b/x.py\n@@@ -1,3 -1,3 +1,3 @@@\n  def one():\n- -    a = 1\n++    a = 10\n      return a\n",
        Refused("combined"),
    ),
    (
        "context diff",
        X,
        "*** a/x.py\n--- b/x.py\n***************\n*** 1,3 ****\n  def one():\n!     a = 1\n      return a\n--- 1,3 ----\n  def one():\n!     a = 10\n      return a\n",
        Refused("no unified diff"),
    ),
    ("normal diff", X, "2c2\n<     a = 1\n---\n>     a = 10\n", Refused("no unified diff")),
    (
        "plus before minus",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n+    a = 10\n-    a = 1\n     return a\n",
        X10,
    ),
    (
        "space after the sign",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n  def one():\n-     a = 1\n+     a = 10\n      return a\n",
        X10,
    ),
    (
        "colours",
        X,
        "\u{1b}[1m--- a/x.py\u{1b}[m\n\u{1b}[1m+++ b/x.py\u{1b}[m\n\u{1b}[36m@@ -1,3 +1,3 @@\u{1b}[m\n def one():\n\u{1b}[31m-    a = 1\u{1b}[m\n\u{1b}[32m+    a = 10\u{1b}[m\n     return a\n",
        X10,
    ),
    (
        "word diff",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n     a = [-1-]{+10+}\n     return a\n",
        Refused("no change"),
    ),
    (
        "minus typed as a dash",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n\u{2212}    a = 1\n+    a = 10\n     return a\n",
        Refused("no exact match"),
    ),
    (
        "conflict markers added",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,7 @@\n def one():\n+<<<<<<< HEAD\n     a = 1\n+=======\n+    a = 10\n+>>>>>>> fix\n     return a\n",
        Gives(&[(
            "x.py",
            Some(
                "def one():\n<<<<<<< HEAD\n    a = 1\n=======\n    a = 10\n>>>>>>> fix\n    return a\n\n\ndef two():\n    b = 2\n    return b\n",
            ),
        )]),
    ),
    (
        "format-patch mail",
        X,
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@b.c>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: [PATCH] ten\n\nWhy.\n---\n x.py | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/x.py b/x.py\nindex 1..2 100644\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n-- \n2.43.0\n\n",
        X10,
    ),
    (
        "already applied",
        &[("x.py", PY10)],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("no match"),
    ),
    (
        "nothing changes",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 1\n     return a\n",
        Refused("no change"),
    ),
    ("empty", X, "", Refused("no unified diff")),
    (
        "one good file, one lost",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n--- a/y.py\n+++ b/y.py\n@@ -1,3 +1,3 @@\n lost\n-line\n+found\n",
        Refused("unknown path"),
    ),
    // Where something could get lost on the way.
    ("only ---", X, "--- a/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n", X10),
    (
        "two files, both only +++",
        &[("x.py", PY), ("y.py", "l1\nl2\n")],
        "+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n+++ b/y.py\n@@ -1,2 +1,2 @@\n-l1\n+L1\n l2\n",
        Gives(&[("x.py", Some(PY10)), ("y.py", Some("L1\nl2\n"))]),
    ),
    (
        "two files, the second only +++, wrong counts",
        &[("x.py", PY), ("y.py", "l1\nl2\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,9 +1,9 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n+++ b/y.py\n@@ -1,2 +1,2 @@\n-l1\n+L1\n l2\n",
        Refused("header without its --- line"),
    ),
    (
        "two files, the second only ---",
        &[("x.py", PY), ("y.py", "l1\nl2\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n--- a/y.py\n@@ -1,2 +1,2 @@\n-l1\n+L1\n l2\n",
        Gives(&[("x.py", Some(PY10)), ("y.py", Some("L1\nl2\n"))]),
    ),
    (
        "last added line without its plus",
        &[("x.js", "f(\n  1)\n\nend()\n")],
        "--- a/x.js\n+++ b/x.js\n@@ -1,2 +1,4 @@\n-f(\n-  1)\n+f(\n+  1,\n+  2\n)\n",
        Refused("lost its plus sign"),
    ),
    (
        "last line of a new file without its plus",
        X,
        "--- /dev/null\n+++ b/y.js\n@@ -0,0 +1,3 @@\n+f(\n+  1\n)\n",
        Refused("plus sign"),
    ),
    (
        "last line of a new file without its plus, wrong counts",
        X,
        "--- /dev/null\n+++ b/y.js\n@@ -0,0 +1,9 @@\n+f(\n+  1\n)\n",
        Refused("plus sign"),
    ),
    (
        "apply_patch add, last line without its plus",
        X,
        "*** Begin Patch\n*** Add File: y.js\n+f(\n+  1\n)\n*** End Patch\n",
        Refused("plus sign"),
    ),
    (
        "apply_patch add without plus signs",
        X,
        "*** Begin Patch\n*** Add File: y.js\nf(1)\n*** End Patch\n",
        Refused("plus sign"),
    ),
    (
        "apply_patch of a folder a",
        &[("a/x.py", PY), ("x.py", PY)],
        "*** Begin Patch\n*** Update File: a/x.py\n@@\n-    a = 1\n+    a = 10\n*** End Patch\n",
        Gives(&[("a/x.py", Some(PY10))]),
    ),
    (
        "apply_patch new file in a folder a",
        X,
        "*** Begin Patch\n*** Add File: a/y.py\n+1\n*** End Patch\n",
        Gives(&[("a/y.py", Some("1\n"))]),
    ),
    (
        "apply_patch new file in a folder lib",
        X,
        "*** Begin Patch\n*** Add File: lib/y.py\n+1\n+\n+2\n*** End Patch\n",
        Gives(&[("lib/y.py", Some("1\n\n2\n"))]),
    ),
    (
        "apply_patch out of the repository",
        X,
        "*** Begin Patch\n*** Delete File: ../y.py\n*** End Patch\n",
        Refused("leaves the repository"),
    ),
    (
        "apply_patch absolute",
        X,
        "*** Begin Patch\n*** Update File: /repo/x.py\n@@\n-    a = 1\n+    a = 10\n*** End Patch\n",
        Refused("leaves the repository"),
    ),
    (
        "apply_patch two chunks, stacked headings",
        &[("x.py", TWICE)],
        "*** Begin Patch\n*** Update File: x.py\n@@ class A\n@@ def two():\n-    a = 1\n+    a = 2\n     go(a)\n*** End Patch\n",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "apply_patch heading then only an addition",
        X,
        "*** Begin Patch\n*** Update File: x.py\n@@ def two():\n+    c = 3\n*** End Patch\n",
        Refused("only adds lines"),
    ),
    (
        "apply_patch inside a unified diff as content",
        &[("n.md", "one\n*** Begin Patch\ntwo\n")],
        "--- a/n.md\n+++ b/n.md\n@@ -1,3 +1,3 @@\n one\n *** Begin Patch\n-two\n+three\n",
        Gives(&[("n.md", Some("one\n*** Begin Patch\nthree\n"))]),
    ),
    ("apply_patch without Begin", X, "*** Update File: x.py\n@@\n-    a = 1\n+    a = 10\n*** End Patch\n", X10),
    (
        "two search/replace blocks, one name",
        X,
        "x.py\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 10\n>>>>>>> REPLACE\n\n<<<<<<< SEARCH\n    b = 2\n=======\n    b = 20\n>>>>>>> REPLACE\n",
        X10_20,
    ),
    (
        "search/replace in two places",
        &[("x.py", TWICE)],
        "x.py\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 2\n>>>>>>> REPLACE\n",
        Refused("2 matches"),
    ),
    (
        "search/replace without a name",
        X,
        "Change this:\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 10\n>>>>>>> REPLACE\n",
        Refused("name of its file"),
    ),
    ("search/replace, end lost", X, "x.py\n<<<<<<< SEARCH\n    a = 1\n=======\n    a = 10\n", Refused("REPLACE line")),
    (
        "search/replace of an underlined heading",
        &[("r.rst", "Title\n=======\n\ntext\n")],
        "r.rst\n<<<<<<< SEARCH\nTitle\n=======\n=======\nNew\n=======\n>>>>>>> REPLACE\n",
        Refused("two ======="),
    ),
    (
        "search/replace, new file",
        X,
        "y.py\n<<<<<<< SEARCH\n=======\ndef y():\n\n    pass\n>>>>>>> REPLACE\n",
        Gives(&[("y.py", Some("def y():\n\n    pass\n"))]),
    ),
    (
        "search/replace, nothing searched in an old file",
        X,
        "x.py\n<<<<<<< SEARCH\n=======\ndef y():\n    pass\n>>>>>>> REPLACE\n",
        Refused("exists"),
    ),
    (
        "search/replace, text deleted",
        X,
        "**x.py**\n\n```\n<<<<<<< SEARCH\n    b = 2\n    return b\n=======\n    return 2\n>>>>>>> REPLACE\n```\n",
        Gives(&[("x.py", Some("def one():\n    a = 1\n    return a\n\n\ndef two():\n    return 2\n"))]),
    ),
    (
        "one place of three equal lines, exactly stated",
        &[("x", "x\nx\nx\n")],
        "--- a/x\n+++ b/x\n@@ -2,1 +2,1 @@\n-x\n+y\n",
        Gives(&[("x", Some("x\ny\nx\n"))]),
    ),
    (
        "a blank context line too few",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -3,4 +3,4 @@\n     return a\n \n-def two():\n+def three():\n     b = 2\n     return b\n",
        Gives(&[("x.py", Some("def one():\n    a = 1\n    return a\n\n\ndef three():\n    b = 2\n    return b\n"))]),
    ),
    (
        "lines of a listing that the file itself has",
        &[("n.txt", "1: one\n2: two\n3: three\n")],
        "--- a/n.txt\n+++ b/n.txt\n@@ -1,3 +1,3 @@\n 1: one\n-2: two\n+2: deux\n 3: three\n",
        Gives(&[("n.txt", Some("1: one\n2: deux\n3: three\n"))]),
    ),
    (
        "listing numbers select one of two places",
        &[("x.py", TWICE)],
        "--- a/x.py\n+++ b/x.py\n@@ @@\n-     8\t    a = 1\n+     8\t    a = 2\n      9\t    go(a)\n",
        Gives(&[("x.py", Some(TWICE_SECOND))]),
    ),
    (
        "listing numbers that do not count on",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ @@\n     1\tdef one():\n-     2\t    a = 1\n+     2\t    a = 10\n      7\t    return a\n",
        Refused("no match"),
    ),
    (
        "a real ellipsis in the code",
        &[("x.pyi", "def a():\n    ...\n\ndef b():\n    ...\n")],
        "--- a/x.pyi\n+++ b/x.pyi\n@@ -1,5 +1,5 @@\n def a():\n     ...\n \n-def b():\n+def c():\n     ...\n",
        Gives(&[("x.pyi", Some("def a():\n    ...\n\ndef c():\n    ...\n"))]),
    ),
    (
        "an ellipsis below an addition",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ @@\n def one():\n     a = 1\n+    a += 1\n ...\n def two():\n-    b = 2\n+    b = 20\n",
        Refused("no match"),
    ),
    (
        "entities in a long hunk that nearly matches",
        &[(
            "x.c",
            "int f(void)\n{\n    int a = 1;\n    int b = 2;\n    int c = 3;\n    if (a < b) {\n        go();\n        stop();\n    }\n    return c;\n}\n",
        )],
        "--- a/x.c\n+++ b/x.c\n@@ -3,8 +3,8 @@\n     int a = 1;\n     int b = 2;\n     int c = 3;\n     if (a &lt; b) {\n         go();\n-        stop();\n+        stop(b &gt; a);\n     }\n     return c;\n }\n",
        Gives(&[(
            "x.c",
            Some(
                "int f(void)\n{\n    int a = 1;\n    int b = 2;\n    int c = 3;\n    if (a < b) {\n        go();\n        stop(b > a);\n    }\n    return c;\n}\n",
            ),
        )]),
    ),
    (
        "two insertions at one place",
        X,
        "--- a/x.py\n+++ b/x.py\n@@\n def two():\n+    c = 3\n     b = 2\n@@\n def two():\n+    d = 4\n     b = 2\n",
        Refused("overlapping"),
    ),
    (
        "one insertion typed twice without numbers",
        X,
        "--- a/x.py\n+++ b/x.py\n@@\n def two():\n+    c = 3\n     b = 2\n@@\n def two():\n+    c = 3\n     b = 2\n",
        Refused("overlapping"),
    ),
    (
        "a placeholder that the file has",
        &[("x.py", "a\n# ... existing code\nb\n")],
        "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n-a\n-# ... existing code\n+A\n+# ... existing code\n b\n",
        Gives(&[("x.py", Some("A\n# ... existing code\nb\n"))]),
    ),
    (
        "a diff and what remains for a placeholder",
        X,
        "--- a/x.py\n+++ b/x.py\n@@ -1,8 +1,4 @@\n def one():\n-    a = 1\n-    return a\n+    a = 10\n+    // ... existing code ...\n",
        Refused("left out"),
    ),
    (
        "removal right below a stray fence",
        &[("r.md", "# T\n```\nrun\n```\ntext\nmore\n")],
        "```diff\n--- a/r.md\n+++ b/r.md\n@@ -1,6 +1,5 @@\n # T\n-run\n+go\n```\n text\n-more\n```\n",
        Refused("removed lines stand outside"),
    ),
    (
        "mode and text of a script in an envelope",
        &[("run.sh", "#!/bin/sh\necho a\n")],
        "*** Begin Patch\n*** Update File: run.sh\n@@\n #!/bin/sh\n-echo a\n+echo b\n*** End Patch\n",
        Gives(&[("run.sh", Some("#!/bin/sh\necho b\n"))]),
    ),
    (
        "windows separators out of the repository",
        X,
        "--- a\\..\\..\\x.py\n+++ b\\..\\..\\x.py\n@@ -1,3 +1,3 @@\n def one():\n-    a = 1\n+    a = 10\n     return a\n",
        Refused("leaves the repository"),
    ),
    (
        "quoted mail with a reply below",
        X,
        "> --- a/x.py\n> +++ b/x.py\n> @@ -1,3 +1,3 @@\n>  def one():\n> -    a = 1\n> +    a = 10\n>      return a\n\nFine.\n",
        X10,
    ),
    (
        "indented diff with one line further out",
        X,
        "    --- a/x.py\n    +++ b/x.py\n    @@ -1,3 +1,3 @@\n     def one():\n-    a = 1\n    +    a = 10\n         return a\n",
        Refused("no unified diff"),
    ),
    (
        "escaped, a string with an escape at the very end",
        &[("x.py", "a\n")],
        "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-a\\n+print('x\\ny')\\n",
        Refused("counts"),
    ),
    (
        "escaped, a string with two escapes at the very end",
        &[("x.py", "a\n")],
        "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-a\\n+print('x\\n\\ny')\\n",
        Refused("counts"),
    ),
    (
        "escaped, quotes inside bare",
        &[("x.py", "say(\"a\")\n")],
        "--- a/x.py\\n+++ b/x.py\\n@@ -1,1 +1,1 @@\\n-say(\"a\")\\n+say(\"b\")\\n",
        Gives(&[("x.py", Some("say(\"b\")\n"))]),
    ),
];

#[test]
fn what_models_type_gives_the_tree_meant_or_a_cause() {
    let mut faults = Vec::new();
    for (kind, files, typed, want) in ROWS {
        let before: BTreeMap<_, _> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let got = run(typed, files).map(|rebuilt| {
            let mut tree = before.clone();
            for file in &rebuilt.change.files {
                match &file.new {
                    Some(new) => tree.insert(file.path.clone(), new.text().unwrap().to_owned()),
                    None => tree.remove(&file.path),
                };
            }
            tree
        });
        match (got, want) {
            (Ok(tree), Gives(changes)) => {
                let mut meant = before;
                for (path, new) in *changes {
                    match new {
                        Some(new) => meant.insert((*path).to_owned(), (*new).to_owned()),
                        None => meant.remove(*path),
                    };
                }
                if tree != meant {
                    faults.push(format!("WRONG {kind}: {tree:?}"));
                }
            }
            (Ok(tree), Refused(_)) => faults.push(format!("APPLIED {kind}: {tree:?}")),
            (Err(refusal), Gives(_)) => faults.push(format!("REFUSED {kind}: {} {:?}", refusal.cause, refusal.code)),
            (Err(refusal), Refused(words)) => {
                if !refusal.cause.contains(words) {
                    faults.push(format!("CAUSE {kind}: {}", refusal.cause));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), ROWS.len(), faults.join("\n"));
}
