//! The ways a hunk can find its place, as words for records and reports.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a hunk found its place, from the strictest way to the loosest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum How {
    /// Every old line stands in the file as typed.
    Exact,
    /// But for blanks at the end of lines.
    Ws,
    /// But for typographic quotes, dashes and spaces.
    Fold,
    /// The whole hunk was shifted by this many characters of indentation, added ones too.
    Indent(isize),
    /// Tabs were typed as spaces, or spaces as tabs.
    Tabs,
    /// Empty lines among added ones had lost their prefix.
    Blank,
    /// The indentation of some context lines differs.
    Strip,
    /// This many outer context lines were set aside.
    Fuzz(usize),
    /// This many context lines differ.
    Altered(usize),
    /// The hunk left out lines of the file between two of its context lines.
    Split,
    /// A file that did not exist, or was empty.
    NewFile,
    /// A file that is gone.
    DeleteFile,
    /// A file under another name.
    Rename,
}

impl How {
    /// Says whether more than blanks at line ends had to be overlooked.
    pub fn is_loose(&self) -> bool {
        !matches!(self, Self::Exact | Self::Ws | Self::NewFile | Self::DeleteFile | Self::Rename)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Ws => f.write_str("ws"),
            Self::Fold => f.write_str("fold"),
            Self::Indent(by) => write!(f, "indent{by:+}"),
            Self::Tabs => f.write_str("tabs"),
            Self::Blank => f.write_str("blank"),
            Self::Strip => f.write_str("strip"),
            Self::Fuzz(lines) => write!(f, "fuzz{lines}"),
            Self::Altered(lines) => write!(f, "altered{lines}"),
            Self::Split => f.write_str("split"),
            Self::NewFile => f.write_str("new-file"),
            Self::DeleteFile => f.write_str("delete-file"),
            Self::Rename => f.write_str("rename"),
        }
    }
}

impl FromStr for How {
    type Err = String;

    /// Reads the spelling that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = match text {
            "exact" => Some(Self::Exact),
            "ws" => Some(Self::Ws),
            "fold" => Some(Self::Fold),
            "tabs" => Some(Self::Tabs),
            "blank" => Some(Self::Blank),
            "strip" => Some(Self::Strip),
            "split" => Some(Self::Split),
            "new-file" => Some(Self::NewFile),
            "delete-file" => Some(Self::DeleteFile),
            "rename" => Some(Self::Rename),
            _ => None,
        };
        let number = |start: &str| text.strip_prefix(start).and_then(|rest| rest.parse::<isize>().ok());
        word.or_else(|| number("indent").map(Self::Indent))
            .or_else(|| number("fuzz").map(|n| Self::Fuzz(n.unsigned_abs())))
            .or_else(|| number("altered").map(|n| Self::Altered(n.unsigned_abs())))
            .ok_or_else(|| format!("unknown way to match a hunk: {text}"))
    }
}

impl From<How> for String {
    fn from(how: How) -> Self {
        how.to_string()
    }
}

impl TryFrom<String> for How {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl JsonSchema for How {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "How".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "How a hunk found its place.",
            "pattern": "^(exact|ws|fold|indent[+-][0-9]+|tabs|blank|strip|fuzz[0-9]+|altered[0-9]+|split|new-file|delete-file|rename)$"
        })
    }
}

/// Where a hunk was placed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HunkMatch {
    /// The path as the tree spells it (the new name of a renamed file).
    pub path: String,
    /// Number of the hunk in its file, from 1; 0 stands for the file as a whole (a rename, an empty file).
    pub hunk: usize,
    /// Line of the old file where the hunk begins, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// How the place was found.
    pub how: How,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_reads_back_from_its_spelling() {
        for how in [
            How::Exact,
            How::Ws,
            How::Fold,
            How::Indent(4),
            How::Indent(-2),
            How::Tabs,
            How::Blank,
            How::Strip,
            How::Fuzz(1),
            How::Altered(2),
            How::Split,
            How::NewFile,
            How::DeleteFile,
            How::Rename,
        ] {
            assert_eq!(how.to_string().parse(), Ok(how));
        }
        assert_eq!(How::Indent(4).to_string(), "indent+4");
        assert_eq!(How::Indent(-2).to_string(), "indent-2");
        assert!("nearly".parse::<How>().is_err());
    }

    #[test]
    fn only_what_overlooks_more_than_line_ends_is_loose() {
        assert!(!How::Exact.is_loose() && !How::Ws.is_loose() && !How::Rename.is_loose());
        assert!(How::Fold.is_loose() && How::Indent(4).is_loose() && How::Split.is_loose());
    }
}
