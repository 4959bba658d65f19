//! What `doctor` found: one line for each thing, and below it the command that mends it.

use super::{GREEN, RED, YELLOW, printable};
use crate::doctor::{Finding, Findings, Severity};

/// All of it; without what is as it should be where nobody wants to read that.
pub fn findings(findings: &Findings, quiet: bool) -> String {
    let shown = findings.findings.iter().filter(|finding| !quiet || finding.severity != Severity::Ok);
    let lines: String = shown.map(line).collect();
    if quiet { lines } else { lines + &summary(findings) }
}

fn line(finding: &Finding) -> String {
    let (style, word) = match finding.severity {
        Severity::Ok => (GREEN, "ok"),
        Severity::Warning => (YELLOW, "warning"),
        Severity::Problem => (RED, "problem"),
    };
    let what = printable(&finding.what);
    let fix = finding.fix.as_deref().map_or(String::new(), |fix| format!("{:19}mend: {}\n", "", printable(fix)));
    format!("{style}{word:<9}{style:#}{:<10}{what}\n{fix}", finding.check)
}

fn summary(findings: &Findings) -> String {
    let count = |severity| findings.findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match (problems, warnings) {
        (0, 0) => "\nall is well\n".into(),
        (0, warnings) => format!("\n{}\n", of(warnings, "warning")),
        (problems, 0) => format!("\n{}\n", of(problems, "problem")),
        (problems, warnings) => format!("\n{}, {}\n", of(problems, "problem"), of(warnings, "warning")),
    }
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
