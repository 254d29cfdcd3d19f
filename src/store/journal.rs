//! The journal: one JSON event a line, appended and synced before its effect is relied on.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;

use crate::engine::event::{Event, Record};

/// Version of the journal's format that this program writes. A newer one is refused, never overwritten.
pub const FORMAT: u32 = 1;

/// A journal as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// The whole lines.
    pub records: Vec<Record>,
    /// Bytes of the whole lines; what follows is a torn line.
    pub whole: u64,
    /// Whether the last line was torn by a crash.
    pub torn: bool,
}

/// Why a journal cannot be used.
#[derive(Debug)]
pub enum JournalError {
    /// It does not exist.
    Missing(PathBuf),
    /// It was written by a newer program.
    Newer { path: PathBuf, format: u64 },
    /// A line that is not the last cannot be read.
    Corrupt { path: PathBuf, line: usize, cause: String },
    /// It cannot be read or written.
    Failed(anyhow::Error),
}

impl std::fmt::Display for JournalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "there is no journal at {}", path.display()),
            Self::Newer { path, format } => {
                write!(f, "{} has format {format}; this program reads up to {FORMAT}", path.display())
            }
            Self::Corrupt { path, line, cause } => write!(f, "{}:{line} cannot be read: {cause}", path.display()),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for JournalError {}

/// Says whether a journal exists and is more than the torn beginning of its first event.
pub(super) fn has_begun(path: &Path) -> bool {
    const FIRST: &[u8] = b"{\"seq\":1,";
    match std::fs::symlink_metadata(path) {
        // A pipe would be waited for, for ever, and a link written through.
        Ok(meta) if !meta.is_file() => return meta.is_dir(),
        Ok(_) => {}
        Err(_) => return false,
    }
    let Ok(mut file) = File::open(path) else { return false };
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    // Ends at the first line's end, or at once where it is no first line of ours: what that is, the reader says.
    loop {
        match std::io::Read::read(&mut file, &mut chunk) {
            Ok(0) => return !FIRST.starts_with(&bytes[..bytes.len().min(FIRST.len())]),
            // A power cut can leave a file with its length and none of its bytes.
            Ok(count) if bytes.is_empty() && chunk[..count].iter().all(|byte| *byte == 0) => continue,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(_) => return true,
        }
        if bytes.contains(&b'\n') || (bytes.len() >= FIRST.len() && !bytes.starts_with(FIRST)) {
            return true;
        }
    }
}

/// Reads a journal. A last line without its newline, or one that does not parse, is torn and left out; any other line
/// that does not parse makes the journal corrupt.
pub fn read_journal(path: &Path) -> Result<Journal, JournalError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(JournalError::Missing(path.into())),
        Err(error) => {
            return Err(JournalError::Failed(anyhow::Error::new(error).context(format!("read {}", path.display()))));
        }
    };
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Journal, JournalError> {
    let mut records: Vec<Record> = Vec::new();
    let mut whole = 0u64;
    let mut rest = bytes;
    let mut line_number = 0;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        line_number += 1;
        if line_number == 1
            && let Ok(value) = serde_json::from_slice::<serde_json::Value>(line)
            && let Some(format) = value.pointer("/event/format").and_then(serde_json::Value::as_u64)
            && format > u64::from(FORMAT)
        {
            return Err(JournalError::Newer { path: path.into(), format });
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) if record.seq == records.len() as u64 + 1 => {
                records.push(record);
                whole += end as u64 + 1;
            }
            // A power cut can leave the last block of a file as zeros or half a line with a newline behind it; a whole
            // JSON value is no such thing, but an event of some other program.
            _ if rest.is_empty() && serde_json::from_slice::<serde_json::Value>(line).is_err() => {
                return Ok(Journal { records, whole, torn: true });
            }
            Ok(record) => {
                return Err(JournalError::Corrupt {
                    path: path.into(),
                    line: line_number,
                    cause: format!("it has number {} where {} is due", record.seq, records.len() + 1),
                });
            }
            Err(error) => {
                return Err(JournalError::Corrupt { path: path.into(), line: line_number, cause: error.to_string() });
            }
        }
    }
    Ok(Journal { records, whole, torn: !rest.is_empty() })
}

/// Appends to a journal.
#[derive(Debug)]
pub struct JournalWriter {
    file: File,
    path: PathBuf,
    next: u64,
    end: u64,
}

/// Space kept back beside the journal, so that the end of a loop can be written down when the disk is full.
static RESERVE: [u8; 1 << 16] = [1; 1 << 16];

fn reserve(journal: &Path) -> PathBuf {
    journal.with_file_name("reserve")
}

impl JournalWriter {
    /// Opens a journal, creating it if missing, and cuts a torn last line off.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let journal = match read_journal(path) {
            Ok(journal) => journal,
            Err(JournalError::Missing(_)) => Journal { records: Vec::new(), whole: 0, torn: false },
            Err(error) => return Err(error),
        };
        let open = || -> anyhow::Result<File> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("open {}", path.display()))?;
            file.set_len(journal.whole)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(JournalError::Failed)?;
        let reserve = reserve(path);
        if !reserve.exists() {
            // A disk without room for it has none for the next event either, and that will say so.
            let _ = super::files::write_new(&reserve, &RESERVE);
        }
        Ok(Self { file, path: path.into(), next: journal.records.len() as u64 + 1, end: journal.whole })
    }

    /// Appends an event and syncs it to the disk.
    ///
    /// Returns an error if it cannot be written (a full disk); the journal then ends with the event before.
    pub fn append(&mut self, at: Timestamp, event: Event) -> anyhow::Result<Record> {
        let record = Record { seq: self.next, at, event };
        let mut line = serde_json::to_vec(&record).context("write an event as JSON")?;
        line.push(b'\n');
        if self.write(&line).is_err() {
            let _ = std::fs::remove_file(reserve(&self.path));
            self.write(&line).with_context(|| format!("append to {}", self.path.display()))?;
        }
        self.end += line.len() as u64;
        self.next += 1;
        if record.event == Event::Finished {
            let _ = std::fs::remove_file(reserve(&self.path));
        }
        Ok(record)
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for seq in 1..=count {
            let record = Record { seq, at: Timestamp::UNIX_EPOCH, event: Event::WaitFinished };
            bytes.extend(serde_json::to_vec(&record).unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn a_last_line_torn_at_any_byte_is_left_out() {
        let bytes = lines(3);
        let two = lines(2).len();
        for cut in two..bytes.len() {
            let journal = parse(Path::new("j"), &bytes[..cut]).unwrap();
            assert_eq!(journal.records.len(), 2, "cut at {cut}");
            assert_eq!(journal.whole as usize, two);
            assert_eq!(journal.torn, cut != two);
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_corrupt_and_named() {
        let mut bytes = lines(3);
        bytes[0] = b'x';
        match parse(Path::new("j"), &bytes) {
            Err(JournalError::Corrupt { line: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_line_is_corrupt() {
        let mut bytes = lines(1);
        bytes.extend(&lines(3)[lines(2).len()..]);
        bytes.extend(lines(1));
        assert!(matches!(parse(Path::new("j"), &bytes), Err(JournalError::Corrupt { line: 2, .. })));
    }

    #[test]
    fn a_last_line_of_another_program_is_corrupt_and_not_torn() {
        let mut bytes = lines(2);
        bytes.extend(b"{\"seq\":3,\"at\":\"2026-01-01T00:00:00Z\",\"event\":{\"type\":\"teleported\"}}\n");
        assert!(matches!(parse(Path::new("j"), &bytes), Err(JournalError::Corrupt { line: 3, .. })));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_a_corrupt_one() {
        let line = b"{\"seq\":1,\"at\":\"2026-01-01T00:00:00Z\",\"event\":{\"type\":\"started\",\"format\":99}}\n";
        assert!(matches!(parse(Path::new("j"), line), Err(JournalError::Newer { format: 99, .. })));
    }

    #[test]
    fn a_journal_begins_with_its_first_whole_event_and_garbage_is_not_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        assert!(!has_begun(&path));
        for (bytes, begun) in [
            (&b""[..], false),
            (b"{\"se", false),
            (b"{\"seq\":1,\"at\"", false),
            (b"{\"seq\":1}\n", true),
            (b"garbage", true),
            (&[0; 5000], false),
            (b"\0\0garbage", true),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(has_begun(&path), begun, "{bytes:?}");
        }
        let pipe = dir.path().join("pipe");
        let made = crate::process::capture(&crate::process::Capture {
            argv: ["mkfifo".into(), pipe.clone().into()].to_vec(),
            cwd: dir.path().to_owned(),
            limit: std::time::Duration::from_secs(60),
            ..crate::process::Capture::default()
        });
        assert!(made.unwrap().exit.success());
        assert!(!has_begun(&pipe), "a pipe is no journal, and is not waited for");
    }

    #[test]
    fn appending_after_a_torn_line_keeps_the_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut bytes = lines(2);
        bytes.extend(b"{\"seq\":3,\"at\"");
        std::fs::write(&path, bytes).unwrap();
        let mut writer = JournalWriter::open(&path).unwrap();
        writer.append(Timestamp::UNIX_EPOCH, Event::Finished).unwrap();
        let journal = read_journal(&path).unwrap();
        assert_eq!((journal.records.len(), journal.torn), (3, false));
        assert_eq!(journal.records[2].event, Event::Finished);
    }
}
