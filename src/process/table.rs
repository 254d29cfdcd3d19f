//! The operating system's table of processes: who lives, who started whom, and when. The only platform code here.
//!
//! Never signals and never waits. A process is named by its id together with its start time, so that an id the
//! system has given to somebody else in the meantime is not mistaken for the old one.

use std::collections::{BTreeMap, BTreeSet};

/// A process that a reused id cannot be mistaken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Linux: clock ticks since boot; elsewhere: seconds since 1970.
    pub(super) start: u64,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) start: u64,
    /// Ended, but not yet waited for by its parent.
    pub(super) zombie: bool,
}

/// Everything that runs, by process id. Empty where the table cannot be read.
pub(super) type Table = BTreeMap<i32, Row>;

/// Returns the processes below `root` in the table, zombies included, `root` itself left out.
pub(super) fn descendants(table: &Table, root: i32) -> BTreeSet<Identity> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, row) in table {
        children.entry(row.parent).or_default().push(*pid);
    }
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for pid in children.get(&parent).into_iter().flatten() {
            if *pid != root && found.insert(Identity { pid: *pid, start: table[pid].start }) {
                open.push(*pid);
            }
        }
    }
    found
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{Row, Table};

    pub(in crate::process) fn read() -> Table {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Table::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| Some((pid, row(pid)?))).collect()
    }

    pub(in crate::process) fn row(pid: i32) -> Option<Row> {
        parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in brackets and may itself hold brackets and blanks: the fields are
    /// counted from the last closing bracket.
    pub(super) fn parse(stat: &[u8]) -> Option<Row> {
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Row {
            zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{Row, Table};

    pub(in crate::process) fn read() -> Table {
        ps(&["-axo", "pid=,ppid=,pgid=,stat=,lstart="])
    }

    pub(in crate::process) fn row(pid: i32) -> Option<Row> {
        ps(&["-o", "pid=,ppid=,pgid=,stat=,lstart=", "-p", &pid.to_string()]).remove(&pid)
    }

    #[expect(clippy::disallowed_methods, reason = "started here, so that it is no process of ours in its own table")]
    fn ps(arguments: &[&str]) -> Table {
        // The C locale fixes the words of the date.
        let output = std::process::Command::new("/bin/ps").args(arguments).env("LC_ALL", "C").env("TZ", "UTC").output();
        let Ok(output) = output else { return Table::new() };
        String::from_utf8_lossy(&output.stdout).lines().filter_map(super::parse_ps_line).collect()
    }
}

/// Reads `PID PPID PGID STAT Sat Nov 21 11:10:14 2026`.
#[cfg(any(not(target_os = "linux"), test))]
fn parse_ps_line(line: &str) -> Option<(i32, Row)> {
    let mut fields = line.split_whitespace();
    let pid = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let zombie = fields.next()?.starts_with('Z');
    let date = fields.collect::<Vec<_>>().join(" ");
    let time = jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", &date).ok()?;
    let start = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some((pid, Row { parent, group, start: u64::try_from(start).ok()?, zombie }))
}

pub(super) use platform::{read, row};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        #[cfg(target_os = "linux")]
        {
            let stat = b"42 (a) b (c) S 7 9 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1\n";
            assert_eq!(platform::parse(stat), Some(Row { parent: 7, group: 9, start: 12345, zombie: false }));
        }
    }

    #[test]
    fn a_line_of_ps_is_read() {
        let row = Row { parent: 1, group: 40, start: 1_795_259_414, zombie: true };
        assert_eq!(parse_ps_line("  42   1  40 Z+   Sat Nov 21 11:10:14 2026 "), Some((42, row)));
        assert_eq!(parse_ps_line("42 1 40"), None);
    }

    #[test]
    fn descendants_are_found_at_every_depth_and_cycles_end() {
        let row = |parent| Row { parent, group: 0, start: 5, zombie: false };
        let table = Table::from([
            (1, row(0)),
            (2, row(1)),
            (3, row(2)),
            (4, row(3)),
            (9, row(1)),
            (20, row(21)),
            (21, row(20)),
        ]);
        let pids = |root| descendants(&table, root).iter().map(|identity| identity.pid).collect::<Vec<_>>();
        assert_eq!(pids(2), [3, 4]);
        assert_eq!(pids(20), [21]);
    }

    #[test]
    fn the_own_process_stands_in_the_table() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(read().get(&pid).map(|row| row.start), row(pid).map(|row| row.start));
        assert!(row(pid).is_some_and(|row| !row.zombie));
    }
}
