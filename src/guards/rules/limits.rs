//! Size, repetition, and content that a reader cannot see.

use super::super::view::Scene;
use super::super::{Code, Report, fingerprint};
use crate::change::FileVersion;

/// More files than this is no change that anybody reviews; it also bounds the work of the other rules.
const MAX_FILES: usize = 500;
/// Longest single line, in bytes, of added text: generated or minified content is no proposal.
const MAX_LINE: usize = 100_000;

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    let files = &scene.change.files;
    if files.len() > MAX_FILES {
        report.refuse(Code::TooLarge, "", None, format!("{} files change, {MAX_FILES} are allowed", files.len()));
    }
    let lines: usize = files.iter().map(|file| changed_lines(file.old_text(), file.new_text())).sum();
    if lines > scene.context.max_lines {
        report.refuse(
            Code::TooLarge,
            "",
            None,
            format!("{lines} lines change, {} are allowed", scene.context.max_lines),
        );
    }
    if !scene.context.earlier.is_empty() && scene.context.earlier.contains(&fingerprint(scene.change)) {
        report.refuse(Code::Duplicate, "", None, "the same change was proposed before");
    }
    for file in files {
        let Some(new) = &file.new else { continue };
        if new.is_binary() || new.text().is_none() {
            report.refuse(Code::ProtectedPath, &file.path, None, "binary content cannot be reviewed");
        } else if new.text().is_some_and(|text| text.lines().any(|line| line.len() > MAX_LINE)) {
            report.refuse(Code::TooLarge, &file.path, None, "a line is too long to review");
        }
        let before = file
            .old
            .as_ref()
            .and_then(FileVersion::text)
            .map_or(0, |text| text.chars().filter(|c| is_hidden(*c)).count());
        if file.new_text().chars().filter(|c| is_hidden(*c)).count() > before {
            let line = file.new_text().lines().position(|line| line.chars().any(is_hidden)).map(|at| at as u32 + 1);
            report.refuse(Code::ProtectedPath, &file.path, line, "hidden characters reorder or conceal the text");
        }
    }
}

/// Characters that show a reader other code than the compiler sees.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{2060}' | '\u{e0000}'..='\u{e007f}')
        || (c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}'))
}

/// Returns how many lines are added or removed.
fn changed_lines(old: &str, new: &str) -> usize {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // A common head and tail cost nothing to skip, and the rest of a huge file is counted whole.
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    if old.len().max(new.len()) > 20_000 {
        return old.len() + new.len();
    }
    similar::capture_diff_slices(similar::Algorithm::Myers, old, new)
        .iter()
        .filter(|op| op.tag() != similar::DiffTag::Equal)
        .map(|op| op.old_range().len() + op.new_range().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::codes_new;
    use super::*;

    #[test]
    fn changed_lines_are_counted_on_both_sides() {
        assert_eq!(changed_lines("a\nb\nc\n", "a\nx\ny\nc\n"), 3);
        assert_eq!(changed_lines("", "a\n"), 1);
    }

    #[test]
    fn too_much_and_hidden_text_is_refused() {
        assert_eq!(codes_new("big.txt", &"x\n".repeat(2001)), ["too-large"]);
        assert_eq!(codes_new("a.py", "if admin\u{202e}: pass\n"), ["protected-path"]);
        assert_eq!(codes_new("a.txt", "a\0b\n"), ["protected-path"]);
        assert!(codes_new("a.txt", "Grüße 你好 🎉\n").is_empty());
    }
}
