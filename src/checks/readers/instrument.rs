//! Settings by environment that make runners leave a report a machine can read, without changing what they run.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest report that is read, in bytes: a report of 100 000 tests has about 20 MB.
const MAX_REPORT: u64 = 64 * 1024 * 1024;

/// A report a runner left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Where it stood, for messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// What to add to the environment of a check, and what to read after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// Variables to set, each replacing a value of the same name.
    pub env: Vec<(String, String)>,
    /// Reports that may stand there after the run.
    pub reports: Vec<PathBuf>,
}

/// Gives the settings for one run of a check, its files under `scratch`, which must be a fresh folder outside of the
/// repository for every run.
///
/// `PYTEST_ADDOPTS` gets a `--junitxml` behind the value it has (`addopts`); a `--junitxml` of the user's own command
/// line still wins, and then there is no report. `PYTHONPYCACHEPREFIX` points to an empty folder: Python takes a stale
/// `.pyc` for current after an edit that keeps size and second, and the work tree stays clean. Nothing else is set: no
/// other runner takes a second reporter from its environment without giving up its first.
pub fn instrument(scratch: &Path, addopts: Option<&OsStr>) -> Instrument {
    let mut instrument = Instrument { env: Vec::new(), reports: Vec::new() };
    let Some(folder) = scratch.to_str() else { return instrument };
    instrument.env.push(("PYTHONPYCACHEPREFIX".to_owned(), format!("{folder}/pycache")));
    let current = match addopts.map(OsStr::to_str) {
        None => "",
        Some(Some(value)) => value.trim(),
        // A value that is no text can't be handed on with something behind it.
        Some(None) => return instrument,
    };
    // pytest expands variables and `~` in the path; without its plug-in the option would be an error.
    if folder.contains(['$', '\0', '\n']) || folder.starts_with('~') || current.contains("no:junitxml") {
        return instrument;
    }
    let report = format!("{folder}/pytest.xml");
    let option = format!("--junitxml={}", quote(&report));
    let value = if current.is_empty() { option } else { format!("{current} {option}") };
    instrument.env.push(("PYTEST_ADDOPTS".to_owned(), value));
    instrument.reports.push(PathBuf::from(report));
    instrument
}

impl Instrument {
    /// Reads the reports that are there and not older than `started`, the time just before the check began. One that is
    /// missing, old, too large, a link, or no text is left out: the output is read instead.
    pub fn collect(&self, started: SystemTime) -> Vec<ReportFile> {
        self.reports.iter().filter_map(|path| read_report(path, started)).collect()
    }
}

fn read_report(path: &Path, started: SystemTime) -> Option<ReportFile> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    // File systems round times down, by up to two seconds.
    let fresh = metadata.modified().ok()? + std::time::Duration::from_secs(2) >= started;
    if !metadata.is_file() || metadata.len() > MAX_REPORT || !fresh {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_REPORT).read_to_string(&mut text).ok()?;
    Some(ReportFile { path: path.to_owned(), text })
}

/// Quotes a path for the shell-like splitting that pytest does.
fn quote(path: &str) -> String {
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:@".contains(c)) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r#"'"'"'"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_value_of_addopts_is_kept_in_front() {
        let set = instrument(Path::new("/tmp/a b/it's"), Some(OsStr::new(" -q ")));
        assert_eq!(
            set.env,
            [
                ("PYTHONPYCACHEPREFIX".to_owned(), "/tmp/a b/it's/pycache".to_owned()),
                ("PYTEST_ADDOPTS".to_owned(), r#"-q --junitxml='/tmp/a b/it'"'"'s/pytest.xml'"#.to_owned()),
            ]
        );
        assert_eq!(set.reports, [PathBuf::from("/tmp/a b/it's/pytest.xml")]);
    }

    #[test]
    fn without_the_plug_in_no_report_is_asked_for() {
        let set = instrument(Path::new("/tmp/x"), Some(OsStr::new("-p no:junitxml")));
        assert_eq!((set.env.len(), set.reports.len()), (1, 0));
    }

    #[test]
    fn only_a_fresh_file_is_collected() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let set = instrument(folder.path(), None);
        assert_eq!(set.collect(SystemTime::UNIX_EPOCH), []);
        std::fs::write(&set.reports[0], "<testsuites/>")?;
        assert_eq!(set.collect(SystemTime::now()).len(), 1);
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(set.collect(later), []);
        Ok(())
    }
}
