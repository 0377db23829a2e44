//! What a server costs: CPU time and memory of its process tree from `/proc`, bytes and flushes of
//! the disk below its data folder.
//!
//! Everything here reads; nothing is ever signalled or changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Clock ticks of `/proc/PID/stat` a second; fixed at 100 on Linux for user space.
const TICKS_A_SECOND: f64 = 100.0;

/// A reading of the counters, to be subtracted from a later one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: f64,
    /// Flushes of the whole device, so the machine should do nothing else.
    pub(crate) flushes: u64,
}

impl Usage {
    /// Reads the counters of a process tree and of the device below a folder.
    pub(crate) fn read(pid: Option<u32>, data: &Path) -> Self {
        let cpu_ms = pid.map_or(0.0, |pid| {
            process_tree(pid)
                .into_iter()
                .filter_map(cpu_ticks)
                .sum::<u64>() as f64
                / TICKS_A_SECOND
                * 1000.0
        });
        Usage {
            cpu_ms,
            flushes: device_flushes(data).unwrap_or(0),
        }
    }

    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ms: self.cpu_ms - earlier.cpu_ms,
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

/// Resident memory of a process tree in MiB: now, and the sum of each process's peak.
pub(crate) fn memory_mib(pid: u32) -> (f64, f64) {
    let (mut now_kib, mut peak_kib) = (0u64, 0u64);
    for pid in process_tree(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        now_kib += field("VmRSS:");
        peak_kib += field("VmHWM:");
    }
    (now_kib as f64 / 1024.0, peak_kib as f64 / 1024.0)
}

/// Bytes that a folder occupies on disk, all files in all folders below.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            bytes += disk_bytes(&entry.path());
        } else {
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}

/// The journal mode of each SQLite database in a folder, read from the file's header.
pub(crate) fn sqlite_journals(folder: &Path) -> Vec<String> {
    let mut journals = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return journals;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let mut header = [0u8; 20];
        let is_read = fs::File::open(&path)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header))
            .is_ok();
        if !is_read || !header.starts_with(b"SQLite format 3\0") {
            continue;
        }
        let mode = if header[18] == 2 {
            "WAL"
        } else {
            "rollback journal"
        };
        journals.push(format!("{}: {mode}", entry.file_name().to_string_lossy()));
    }
    journals.sort();
    journals
}

/// A process and all below it.
fn process_tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = stat_fields(pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        let parent = tree[next];
        tree.extend(
            parents
                .iter()
                .filter(|(_, above)| *above == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    tree
}

/// The fields of `/proc/PID/stat` after the name, which may contain spaces.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    Some(after.split_whitespace().map(str::to_owned).collect())
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    let fields = stat_fields(pid)?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(user + system)
}

/// Completed flush requests of the device that holds a folder.
fn device_flushes(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}
