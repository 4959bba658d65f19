//! Reports of what broke, as the daemon leaves them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Patient, Said, fine, quoted, warning};

/// An older report says nothing about today.
const RECENT: Duration = Duration::from_hours(24 * 7);

/// What is read of a report to say what it is about, in bytes.
const HEAD: u64 = 4096;

pub fn check(patient: &Patient) -> Said {
    let is_recent = |path: &PathBuf| {
        let written = fs::metadata(path).and_then(|found| found.modified());
        written.is_ok_and(|written| patient.now.duration_since(written).is_ok_and(|age| age < RECENT))
    };
    let recent = reports(&patient.paths.home).unwrap_or_default().into_iter().filter(is_recent);
    let said: Said = recent
        .map(|path| {
            let fix = format!("less {}; talkiectl doctor --clear", quoted(&path));
            warning(format!("{} ({})", what(&path), path.display()), fix)
        })
        .collect();
    if said.is_empty() { vec![fine("nothing has broken for a week")] } else { said }
}

/// Removes all reports and says how many there were.
pub fn clear(home: &Path) -> io::Result<usize> {
    let reports = reports(home)?;
    reports.iter().try_for_each(fs::remove_file)?;
    Ok(reports.len())
}

/// The reports of a home, the oldest first.
fn reports(home: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(home.join("crashes")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_report = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "txt");
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_report).collect();
    found.sort();
    Ok(found)
}

/// What a report is about, by its first line.
fn what(path: &Path) -> String {
    let mut head = Vec::new();
    // A report that cannot be read is still one.
    let _ = fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let head = String::from_utf8_lossy(&head);
    let first = head.lines().next().and_then(|line| line.strip_prefix("what: "));
    first.unwrap_or("something broke").to_owned()
}
